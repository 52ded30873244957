#!/usr/bin/env python3
"""Distil a large text model into a smaller one on a GLUE task.

    python automm_distillation_glue.py --demo                 # no network, no data, a few minutes on a CPU
    python automm_distillation_glue.py --glue_task qnli
    python automm_distillation_glue.py --glue_task rte --resume --output_feature_loss_weight 0.1

1. Load the task's rows and take a hold-out off the training split; the validation split is the test set.
2. Fine-tune the teacher, or load it from the cache.
3. Fine-tune the student checkpoint without distillation: the baseline.
4. Fine-tune the student checkpoint with distillation: the student.
5. Score all three on the same rows, time teacher against student, print the table.
"""

import sys
from typing import Any

from distillation.cli import flag, make_parser, run_script
from distillation.tasks import GLUE_TASKS


def add_task_flags(group: Any) -> None:
    flag(
        group,
        "--glue_task",
        choices=GLUE_TASKS,
        shown_default="qnli",
        help="GLUE task; mnli reports both test sets, mnlim and mnlimm one",
        unit="name",
    )


def get_parser():
    return make_parser(
        "Distil a large text model into a smaller one on a GLUE task.",
        add_task_flags,
        dataset_path="data/glue",
        teacher_model="google/bert_uncased_L-12_H-768_A-12",
        student_model="google/bert_uncased_L-6_H-768_A-12",
        student_learning_rate=1e-4,
        student_weight_decay=1e-3,
    )


if __name__ == "__main__":
    sys.exit(run_script(get_parser(), "glue"))
