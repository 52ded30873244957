"""What the models' predictions say: scores per test set, ratios, and whether the teacher has anything to teach.

``Outputs`` are one model's predictions per test set, each as ``Predictor.predict`` gives them.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automm_distill.evaluation import bootstrap, metrics
from automm_distill.tasks import Task

if TYPE_CHECKING:
    from automm_distill.automm import Predictor

POOLED = "all"  # the union of the test sets of several languages
VALIDATION = "validation"  # the hold-out among the evaluation sets
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
        name: metrics.scores_by_role(task.metrics, truth, {role: sets[name] for role, sets in outputs.items()})
        for name, truth in labels.items()
    }


def ratios(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """``{test set: {metric: {"value": ratio or None, "reason": why there is none}}}``."""
    return {
        test_set: {
            metric: asdict(metrics.distillation_ratio(by_role["teacher"], by_role.get("baseline"), by_role["student"]))
            for metric, by_role in by_metric.items()
        }
        for test_set, by_metric in scores.items()
    }


def bootstrap_all(task: Task, labels: Outputs, outputs: Mapping[str, Outputs], ids: Outputs) -> dict[str, Any]:
    """``{test set: {metric: bootstrap.BootstrapResult as a dictionary}}``.

    :param ids: per test set, of its rows; rows of the same id, in several languages, are drawn together.
    """
    return {
        name: {
            metric: asdict(
                bootstrap.bootstrap_run(
                    metric,
                    truth,
                    {role: metrics.predicted_labels(sets[name]) for role, sets in outputs.items()},
                    ids[name],
                )
            )
            for metric in task.metrics
        }
        for name, truth in labels.items()
    }


def compare(
    task: Task, eval_sets: Mapping[str, pd.DataFrame], predictions: Mapping[str, Outputs], *, pool: bool
) -> dict[str, Any]:
    """Everything that the predictions say, for a result row.

    :param eval_sets: the test sets, and the hold-out as :data:`VALIDATION`; frames with ``id`` and ``label``.
    :param predictions: ``{role: {evaluation set: output of Predictor.predict}}``.
    :param pool: the test sets are one task in several languages: score their union too.
    :return: ``scores`` and ``validation``, ``distillation_ratio``, and ``bootstrap`` with the intervals.
    """
    labels = {name: frame["label"].to_numpy() for name, frame in eval_sets.items()}
    ids = {name: frame["id"].to_numpy() for name, frame in eval_sets.items() if name != VALIDATION}
    by_set = {role: dict(sets) for role, sets in predictions.items()}
    validation = score_all(
        task,
        {VALIDATION: labels.pop(VALIDATION)},
        {role: {VALIDATION: sets.pop(VALIDATION)} for role, sets in by_set.items()},
    )[VALIDATION]
    if pool:
        labels, ids = pooled(labels), pooled(ids)
        by_set = {role: pooled(sets) for role, sets in by_set.items()}
    test_scores = score_all(task, labels, by_set)
    return {
        "scores": test_scores,
        "validation": validation,
        "distillation_ratio": ratios(test_scores),
        "bootstrap": bootstrap_all(task, labels, by_set, ids),
    }


def warn_if_no_better_than_constant(task: Task, tests: Mapping[str, pd.DataFrame], predictions: Outputs) -> None:
    """Log the teacher's score; loudly, if it has learnt nothing, before the student's time is spent on it.

    :param predictions: the teacher's, per test set.
    """
    metric = task.metrics[0]
    labels = np.concatenate([frame["label"].to_numpy() for frame in tests.values()])
    reached = metrics.score(metric, labels, metrics.predicted_labels(np.concatenate([predictions[s] for s in tests])))
    constant = metrics.constant_score(metric, labels)
    shown = "n/a" if reached is None else f"{reached:.5f}"
    log.info("the teacher's %s is %s", metric, shown)
    if reached is None or reached <= constant:
        log.warning(
            "THE TEACHER HAS LEARNT NOTHING: its %s of %s is no better than the %.5f of always giving the same answer; "
            "its outputs are noise. More epochs, more rows or another learning rate?",
            metric,
            shown,
            constant,
        )
