#!/usr/bin/env python3
"""Distil a large multilingual model into a smaller one on PAWS-X (paraphrase or not, seven languages).

    python automm_distillation_pawsx.py --demo                # no network, no data, about a minute on a CPU
    python automm_distillation_pawsx.py --precision 16
    python automm_distillation_pawsx.py --pawsx_teacher_tasks en de zh ja --pawsx_student_tasks en de --resume

1. Load the train, validation and test splits of the teacher's and of the student's languages.
2. Fine-tune the teacher on its languages, or load it from the cache.
3. Fine-tune the student checkpoint on the student's languages without distillation: the baseline.
4. Fine-tune the student checkpoint on the student's languages with distillation: the student.
5. Score all three on the student's test sets, time teacher against student, print the result.
"""

import sys

from automm_distill.startup import start


def main() -> int:
    """The command ``automm-distill-pawsx``."""
    start()
    from automm_distill.cli import run_script

    return run_script("pawsx")


if __name__ == "__main__":
    sys.exit(main())
