"""What the models' predictions say: scores per test set, ratios, and whether the teacher has anything to teach.

``Outputs`` are one model's predictions per test set, each as ``Predictor.predict`` gives them.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import evaluation, uncertainty
from .tasks import Task

if TYPE_CHECKING:
    from .automm import Predictor

POOLED = "all"  # the union of the test sets of several languages
Outputs = Mapping[str, np.ndarray]
Scores = dict[str, dict[str, dict[str, float | None]]]

log = logging.getLogger(__name__)


def predict(model: "Predictor", tests: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """The model's outputs per test set, each row read once."""
    together = model.predict(pd.concat(tests.values(), ignore_index=True))
    ends = np.cumsum([len(frame) for frame in tests.values()])
    return dict(zip(tests, np.split(together, ends[:-1]), strict=True))


def pooled(sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The sets, and in front of several of them their union as ``all``."""
    if len(sets) < 2:
        return dict(sets)
    return {POOLED: np.concatenate(list(sets.values())), **sets}


def score_all(task: Task, labels: Mapping[str, np.ndarray], outputs: Mapping[str, Outputs]) -> Scores:
    """``{test set: {metric: {role: score}}}``.

    :param labels: the true labels per test set.
    :param outputs: ``{role: outputs}`` for the same test sets.
    """
    return {
        name: evaluation.scores_by_role(task.metrics, truth, {role: sets[name] for role, sets in outputs.items()})
        for name, truth in labels.items()
    }


def ratios(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """``{test set: {metric: {"value": ratio or None, "reason": why there is none}}}``."""
    return {
        test_set: {
            metric: asdict(
                evaluation.distillation_ratio(by_role["teacher"], by_role.get("baseline"), by_role["student"])
            )
            for metric, by_role in metrics.items()
        }
        for test_set, metrics in scores.items()
    }


def judge_all(task: Task, labels: Outputs, outputs: Mapping[str, Outputs], ids: Outputs) -> dict[str, Any]:
    """``{test set: {metric: uncertainty.Verdict as a dictionary}}``.

    :param ids: per test set, of its rows; rows of the same id, in several languages, are drawn together.
    """
    return {
        name: {
            metric: asdict(
                uncertainty.judge(
                    metric,
                    truth,
                    {role: evaluation.predicted_labels(sets[name]) for role, sets in outputs.items()},
                    ids[name],
                )
            )
            for metric in task.metrics
        }
        for name, truth in labels.items()
    }


def report_teacher(metric: str, labels: np.ndarray, outputs: np.ndarray) -> None:
    """Log the teacher's score; loudly, if it has learnt nothing, before the student's time is spent on it."""
    reached = evaluation.score(metric, labels, evaluation.predicted_labels(outputs))
    constant = evaluation.constant_score(metric, labels)
    shown = "n/a" if reached is None else f"{reached:.5f}"
    log.info("the teacher's %s is %s", metric, shown)
    if reached is None or reached <= constant:
        log.warning(
            "THE TEACHER HAS LEARNT NOTHING: its %s of %s is no better than the %.5f of always giving the same answer; "
            "what it teaches is noise. More epochs, more rows or another learning rate?",
            metric,
            shown,
            constant,
        )
