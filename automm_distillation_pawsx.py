#!/usr/bin/env python3
"""Distil a large multilingual model into a smaller one on PAWS-X (paraphrase or not, seven languages).

    python automm_distillation_pawsx.py --demo                # no network, no data, a few minutes on a CPU
    python automm_distillation_pawsx.py --precision 16
    python automm_distillation_pawsx.py --pawsx_teacher_tasks en de zh ja --pawsx_student_tasks en de --resume

1. Load the train, validation and test splits of the teacher's and of the student's languages.
2. Fine-tune the teacher on its languages, or load it from the cache.
3. Fine-tune the student checkpoint on the student's languages without distillation: the baseline.
4. Fine-tune the student checkpoint on the student's languages with distillation: the student.
5. Score all three on the student's test sets, time teacher against student, print the table.
"""

import sys
from typing import Any

from distillation.cli import flag, make_parser, run_script
from distillation.tasks import PAWSX_LANGUAGES


def add_task_flags(group: Any) -> None:
    for role in ("teacher", "student"):
        flag(
            group,
            f"--pawsx_{role}_tasks",
            nargs="+",
            choices=PAWSX_LANGUAGES,
            metavar="LANGUAGE",
            shown_default="all",
            help=f"languages that the {role} learns from: one or more of {' '.join(PAWSX_LANGUAGES)}",
            unit="languages",
        )


def get_parser():
    return make_parser(
        "Distil a large multilingual model into a smaller one on PAWS-X.",
        add_task_flags,
        dataset_path="data/paws-x",
        teacher_model="microsoft/mdeberta-v3-base",
        student_model="nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large",
        student_learning_rate=2e-4,
        student_weight_decay=2e-3,
        pawsx_teacher_tasks=PAWSX_LANGUAGES,
        pawsx_student_tasks=PAWSX_LANGUAGES,
    )


if __name__ == "__main__":
    sys.exit(run_script(get_parser(), "pawsx"))
