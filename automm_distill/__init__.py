"""Distil a fine-tuned text classifier or regressor into a smaller one with AutoGluon.

The data flows one way:

    argv -> settings (settings, cli) -> rows and checkpoints (inputs), checked (preflight)
         -> teacher, baseline, student (experiment, training, automm; kept in cache)
         -> predictions -> scores, intervals, speed-up (evaluation) -> row (results) -> screen (run_summary)
    a student -> files for elsewhere, checked (export)
    many runs (sweep) -> rows -> tables and plots (report)

Only ``automm`` touches AutoGluon; nothing heavy is imported until the command line is known to be good.
"""

__version__ = "0.7.0"
