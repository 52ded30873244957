#!/usr/bin/env python3
"""Tables and plots of many runs, from their results.jsonl.

    python automm_distillation_report.py results
    python automm_distillation_report.py results/results.jsonl other/results.jsonl --output_folder report

Runs that differ only in their seed are averaged. The best configuration is the one with the best validation score; its
test score is reported and never used for selection.
"""

import sys

from automm_distill.startup import start


def main() -> int:
    """The command ``automm-distill-report``."""
    start()
    from automm_distill.report.command import run_report

    return run_report()


if __name__ == "__main__":
    sys.exit(main())
