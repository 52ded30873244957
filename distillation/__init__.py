"""Distil a fine-tuned text classifier or regressor into a smaller one with AutoGluon.

The data flows one way:

    argv -> settings (cli, settings) -> rows (sources, data, demo)
         -> teacher, baseline, student (experiment, store, automm)
         -> predictions -> scores, ratio (evaluation) and speed-up (timing) -> row and table (results, report)

Only ``automm`` touches AutoGluon; nothing heavy is imported until the command line is known to be good.
"""
