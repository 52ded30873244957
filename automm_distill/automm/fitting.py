"""Fit a ``MultiModalPredictor``: fine-tune a teacher or baseline, or distil a student."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor

from automm_distill.automm.fit_options import LABEL, VERBOSITY, FitOptions
from automm_distill.automm.learner import Learner
from automm_distill.automm.outputs_teacher import OutputsTeacher
from automm_distill.automm.saved import CLASSES
from automm_distill.automm.selection import autogluon_metric
from automm_distill.automm.teacher import Teacher
from automm_distill.errors import NotFiniteError, TrainingError
from automm_distill.evaluation import metrics
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.tasks import Task

# The files of a saved predictor that its outputs depend on: weights and tokenizer (learners/base.py, save).
WEIGHT_FILES = ("model.ckpt", "hf_text/")


def fit(
    folder: Path,
    data: TrainValidation,
    task: Task,
    options: FitOptions,
    teacher: Teacher | OutputsTeacher | None = None,
    unlabelled: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Fine-tune a checkpoint, or distil a teacher into it, and save the predictor in ``folder``.

    :param teacher: what to distil, by ``options.losses``; None to fine-tune.
    :param unlabelled: rows that only the teacher has an answer for, with ``task.model_columns``.
    :return: ``optimizer_steps`` and ``epochs`` of the fit; with a teacher, also ``loss_terms``, see
        :meth:`automm_distill.loss_log.LossLog.summary`. ``diverged_at`` is there if a loss was not finite: the first
        such optimizer step, counted from 1.
    :raises TrainingError: when the fit ended before the first optimizer step.
    :raises NotFiniteError: when it ended with weights that are not finite.
    :raises UserError: when the teacher's classes are not the student's.
    """
    assert (teacher is None) == (options.losses is None), "a teacher and losses go together"
    columns = [*task.model_columns, LABEL]
    headline = metrics.of_task(task)[0]
    predictor = MultiModalPredictor(
        label=LABEL,
        problem_type=task.problem_type,
        eval_metric=autogluon_metric(headline),
        path=str(folder),
        verbosity=VERBOSITY[options.verbosity],
        enable_progress_bar=True,  # else Lightning would refuse ours, which is silent where the log is
    )
    learner = predictor._learner  # predictor.py:217 creates it, and offers no way to choose its class
    learner.__class__ = Learner
    learner.options, learner.unlabelled, learner.headline = options, unlabelled, headline
    predictor.fit(
        train_data=data.train[columns],
        tuning_data=data.validation[columns],
        hyperparameters=dict(options.hyperparameters),
        column_types=dict.fromkeys(task.model_columns, "text"),
        teacher_predictor=teacher,
        time_limit=options.time_limit,
        seed=options.seed,
    )
    if task.classes:  # the labels are their numbers
        (folder / CLASSES).write_text(json.dumps(task.classes), encoding="utf-8")
    progress = dict(learner.progress)
    if progress["optimizer_steps"] == 0:
        raise TrainingError(
            f"--time_limit {options.time_limit}: over before the first optimizer step; give it more seconds or leave "
            "it out"
        )
    if not all(torch.isfinite(weight).all() for weight in learner._model.parameters()):
        step = progress.get("diverged_at")
        raise NotFiniteError(
            "weights are not finite after training"
            + (f", its loss first at optimizer step {step:,}" if step is not None else "")
        )
    return progress
