#!/usr/bin/env python3
"""Distil a large text model into a smaller one on your own rows.

    python automm_distillation.py --train_path reviews.csv
    python automm_distillation.py --train_path train.csv --test_path test.csv --text_columns title body --export onnx
    python automm_distillation.py --glue_task qnli     # without rows of your own: as automm_distillation_glue.py

1. Load the rows, find out which columns hold texts and what the labels are, and take a hold-out off the training rows.
2. Fine-tune the teacher, or load it from the cache.
3. Fine-tune the student checkpoint without distillation: the baseline.
4. Fine-tune the student checkpoint with distillation: the student.
5. Score all three on the same rows, time teacher against student, print the result.
"""

import sys

from automm_distill.startup import start


def main() -> int:
    """The command ``automm-distill``."""
    start()
    from automm_distill.cli import run_script

    return run_script("own")


if __name__ == "__main__":
    sys.exit(main())
