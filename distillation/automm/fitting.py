"""Fit a ``MultiModalPredictor``: fine-tune a teacher or baseline, or distil a student."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.data.utils import turn_on_off_feature_column_info

from ..data import Fold
from ..errors import TrainingFailed, UserError
from ..losses import Recipe
from ..tasks import Task
from .configuration import LABEL, VERBOSITY
from .learner import Learner
from .predictor import Predictor


def fit(
    folder: Path,
    fold: Fold,
    task: Task,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    time_limit: int | None,
    teacher: Predictor | None = None,
    recipe: Recipe | None = None,
    verbosity: str = "normal",
) -> dict[str, Any]:
    """Fine-tune a checkpoint and leave the finished predictor in ``folder``.

    :param parameters: AutoGluon's hyperparameters; with ``distiller.*`` among them if there is a ``teacher``.
    :param teacher: distil from this predictor, which predicts as before afterwards.
    :param recipe: the losses to distil by.
    :return: ``optimizer_steps`` and ``epochs`` that the fit took; with a teacher, also ``terms``, see
        :meth:`distillation.account.TermAccount.table`.
    :raises TrainingFailed: when it ended before the first optimizer step or with weights that are not finite.
    :raises UserError: when the teacher's classes are not the student's.
    """
    columns = [*task.model_columns, LABEL]
    if teacher is not None:
        columns_of_classes = _teacher_columns(teacher, fold.train[LABEL])
        _show_clean_text(teacher)
    predictor = MultiModalPredictor(
        label=LABEL,
        problem_type=task.problem_type,
        eval_metric=task.selection_metric,
        path=str(folder),
        verbosity=VERBOSITY[verbosity],
        enable_progress_bar=verbosity != "quiet",
    )
    predictor._learner.__class__ = Learner  # predictor.py:217 offers no way to choose the learner
    if teacher is not None:
        predictor._learner.recipe = recipe
        predictor._learner.teacher_columns = columns_of_classes
    predictor.fit(
        train_data=fold.train[columns],
        tuning_data=fold.tune[columns],
        hyperparameters=dict(parameters),
        column_types=dict.fromkeys(task.model_columns, "text"),
        teacher_predictor=teacher.automm if teacher is not None else None,
        time_limit=time_limit,
        seed=seed,
    )
    progress = dict(predictor._learner.progress)
    if progress["optimizer_steps"] == 0:
        raise TrainingFailed(
            f"--time_limit {time_limit}: over before the first optimizer step; give it more seconds or leave it out"
        )
    if not all(torch.isfinite(weight).all() for weight in predictor._learner._model.parameters()):
        raise TrainingFailed(
            "training diverged: the weights are not finite; try a lower learning rate or --precision bf16 or 32"
        )
    if teacher is not None:
        # AutoGluon leaves per-column features switched on in both predictors, where they cost time in every later
        # forward pass (utils/distillation.py:107), and has already saved the student that way.
        for automm in (predictor, teacher.automm):
            turn_on_off_feature_column_info(automm._learner._data_processors, False)
        predictor.save(predictor.path)
    return progress


def _teacher_columns(teacher: Predictor, labels: pd.Series) -> list[int] | None:
    """Which of the teacher's outputs belongs to each of the student's classes; None for a regression.

    AutoGluon compares the number of classes only (utils/distillation.py:43); another order would invert the lesson.

    :raises UserError: when the classes differ.
    """
    if teacher.task.is_regression:
        return None
    taught, learned = np.asarray(teacher.automm.class_labels).tolist(), sorted(labels.unique().tolist())
    if sorted(taught) != learned:
        raise UserError(f"the teacher's classes {taught} are not the student's classes {learned}")
    return [taught.index(label) for label in learned]


def _show_clean_text(teacher: Predictor) -> None:
    """Let the teacher judge the original text; its own, independent augmentation would make it judge another row.

    The processor remembers how it was trained (data/process_text.py:463) and augments whenever a fit runs it.
    """
    for processor in teacher.automm._learner._data_processors["text"]:
        processor.text_trivial_aug_maxscale = 0.0
        processor.train_augmenter = None
