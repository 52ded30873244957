#!/usr/bin/env python3
"""Distil a large text model into a smaller one on a GLUE task.

    python automm_distillation_glue.py --demo                 # no network, no data, about a minute on a CPU
    python automm_distillation_glue.py --glue_task qnli
    python automm_distillation_glue.py --glue_task rte --resume --output_feature_loss_weight 0.1

1. Load the task's rows and take a hold-out off the training split; the validation split is the test set.
2. Fine-tune the teacher, or load it from the cache.
3. Fine-tune the student checkpoint without distillation: the baseline.
4. Fine-tune the student checkpoint with distillation: the student.
5. Score all three on the same rows, time teacher against student, print the result.
"""

import sys

from automm_distill.startup import start


def main() -> int:
    """The command ``automm-distill-glue``."""
    start()
    from automm_distill.cli import run_script

    return run_script("glue")


if __name__ == "__main__":
    sys.exit(main())
