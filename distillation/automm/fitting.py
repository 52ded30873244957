"""Fit a ``MultiModalPredictor``: fine-tune a teacher or baseline, or distil a student."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from autogluon.multimodal import MultiModalPredictor

from ..data import Fold
from ..errors import TrainingFailed
from ..losses import Recipe
from ..tasks import Task
from .configuration import LABEL, VERBOSITY
from .learner import Learner
from .teaching import Teacher


def fit(
    folder: Path,
    fold: Fold,
    task: Task,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    time_limit: int | None,
    length_grouping: bool = True,
    compiled: bool = False,
    teacher: Teacher | None = None,
    recipe: Recipe | None = None,
    verbosity: str = "normal",
) -> dict[str, Any]:
    """Fine-tune a checkpoint and leave the finished predictor in ``folder``.

    :param parameters: AutoGluon's hyperparameters; with ``distiller.*`` among them if there is a ``teacher``.
    :param length_grouping: make batches of rows of about the same length.
    :param compiled: train through torch.compile.
    :param teacher: distil from it, by the losses of ``recipe``.
    :return: ``optimizer_steps`` and ``epochs`` that the fit took; with a teacher, also ``terms``, see
        :meth:`distillation.account.TermAccount.table`.
    :raises TrainingFailed: when it ended before the first optimizer step or with weights that are not finite.
    :raises UserError: when the teacher's classes are not the student's.
    """
    columns = [*task.model_columns, LABEL]
    predictor = MultiModalPredictor(
        label=LABEL,
        problem_type=task.problem_type,
        eval_metric=task.selection_metric,
        path=str(folder),
        verbosity=VERBOSITY[verbosity],
        enable_progress_bar=verbosity != "quiet",
    )
    predictor._learner.__class__ = Learner  # predictor.py:217 offers no way to choose the learner
    predictor._learner.seed = seed
    predictor._learner.length_grouping = length_grouping
    predictor._learner.compiled = compiled
    predictor._learner.on_gpu = parameters["env.num_gpus"] > 0
    predictor._learner.recipe = recipe
    predictor.fit(
        train_data=fold.train[columns],
        tuning_data=fold.tune[columns],
        hyperparameters=dict(parameters),
        column_types=dict.fromkeys(task.model_columns, "text"),
        teacher_predictor=teacher,
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
    return progress
