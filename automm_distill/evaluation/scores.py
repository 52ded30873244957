"""What the models' predictions say: scores per test set, ratios, and whether the teacher has anything to teach.

``Outputs`` are one model's predictions per test set, each as ``Predictor.predict`` gives them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.evaluation import bootstrap, metrics
from automm_distill.evaluation.verdict import why_not_judged
from automm_distill.tasks import Task

POOLED = "all"  # the union of the test sets of several languages
VALIDATION = "validation"  # the hold-out among the evaluation sets
Outputs = Mapping[str, np.ndarray]
Scores = dict[str, dict[str, dict[str, float | None]]]

log = logging.getLogger(__name__)


def predict(
    predict_rows: Callable[[pd.DataFrame], np.ndarray], tests: Mapping[str, pd.DataFrame]
) -> dict[str, np.ndarray]:
    """A model's outputs per test set, of all rows at once."""
    together = predict_rows(pd.concat(tests.values(), ignore_index=True))
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
    :param outputs: ``{role: outputs}`` for the same test sets; a teacher that is a file may lack some.
    """
    return {
        name: metrics.scores_by_role(
            metrics.of_task(task), truth, {role: sets[name] for role, sets in outputs.items() if name in sets}
        )
        for name, truth in labels.items()
    }


def ratios(task: Task, scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """``{test set: {metric: {"value": ratio or None, "reason": why there is none}}}``."""
    return {
        test_set: {
            metric.name: asdict(
                metrics.distillation_ratio(
                    metric, *(by_metric[metric.name].get(role) for role in ("teacher", "baseline", "student"))
                )
            )
            for metric in metrics.of_task(task)
        }
        for test_set, by_metric in scores.items()
    }


def bootstrap_all(task: Task, labels: Outputs, outputs: Mapping[str, Outputs], ids: Outputs) -> dict[str, Any]:
    """``{test set: {metric: bootstrap.BootstrapResult as a dictionary}}``.

    With ``not_judged`` in each: why there can be no verdict on the gain, as a sentence, or None.

    :param ids: per test set, of its rows; rows of the same id, in several languages, are drawn together.
    """
    results = {}
    for name, truth in labels.items():
        predicted = {role: metrics.predicted_labels(sets[name]) for role, sets in outputs.items() if name in sets}
        obstacle = why_not_judged([bootstrap.RunPredictions(truth, predicted, ids[name])])
        results[name] = {
            metric.name: asdict(
                bootstrap.bootstrap_run(
                    metric,
                    truth,
                    {role: metric.answers(sets[name]) for role, sets in outputs.items() if name in sets},
                    ids[name],
                )
            )
            | {"not_judged": obstacle.sentence if obstacle else None}
            for metric in metrics.of_task(task)
        }
    return results


def compare(
    task: Task, eval_sets: Mapping[str, pd.DataFrame], predictions: Mapping[str, Outputs], *, pool: bool
) -> dict[str, Any]:
    """What the predictions say, for a result row.

    :param eval_sets: the test sets, and the hold-out as :data:`VALIDATION`; frames with ``id`` and ``label``.
    :param predictions: ``{role: {evaluation set: output of Predictor.predict}}``.
    :param pool: the test sets are one task in several languages: score their union too.
    :return: ``scores``, ``validation`` and ``distillation_ratio``.
    """
    validation = score_all(task, _columns(eval_sets, "label", [VALIDATION]), predictions)
    test_scores = score_all(task, *_test_sets(eval_sets, "label", predictions, pool=pool))
    return {
        "scores": test_scores,
        "validation": validation[VALIDATION],
        "distillation_ratio": ratios(task, test_scores),
    }


def intervals(
    task: Task, eval_sets: Mapping[str, pd.DataFrame], predictions: Mapping[str, Outputs], *, pool: bool
) -> dict[str, Any]:
    """How far the numbers of :func:`compare`, which has the same parameters, can be trusted; see ``bootstrap_all``."""
    labels, outputs = _test_sets(eval_sets, "label", predictions, pool=pool)
    ids, _ = _test_sets(eval_sets, "id", predictions, pool=pool)
    return bootstrap_all(task, labels, outputs, ids)


def _test_sets(
    eval_sets: Mapping[str, pd.DataFrame], column: str, predictions: Mapping[str, Outputs], *, pool: bool
) -> tuple[Outputs, Mapping[str, Outputs]]:
    """A column of the test sets, and each role's predictions for them; with ``pool``, of their union too."""
    names = [name for name in eval_sets if name != VALIDATION]
    values = _columns(eval_sets, column, names)
    outputs: dict[str, Outputs] = {
        role: {name: sets[name] for name in names if name in sets} for role, sets in predictions.items()
    }
    if not pool:
        return values, outputs
    whole = {role: pooled(sets) if len(sets) == len(names) else sets for role, sets in outputs.items()}
    return pooled(values), whole


def _columns(eval_sets: Mapping[str, pd.DataFrame], column: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: eval_sets[name][column].to_numpy() for name in names}


def warn_if_no_better_than_constant(
    task: Task, tests: Mapping[str, pd.DataFrame], predictions: Outputs, *, trained: bool
) -> None:
    """Log the teacher's score; loudly, if it has learnt nothing, before the student's time is spent on it.

    :param predictions: the teacher's, per test set; where one is missing, there is no score.
    :param trained: by this run; otherwise it came finished.
    """
    if not set(tests) <= set(predictions):
        log.info("the teacher's score is n/a: it does not cover all test rows")
        return
    metric = metrics.of_task(task)[0]
    labels = np.concatenate([frame["label"].to_numpy() for frame in tests.values()])
    reached = metric.score(labels, metric.answers(np.concatenate([predictions[test_set] for test_set in tests])))
    shown = metric.score_text(reached, 5)
    log.info("the teacher's %s is %s", metric.name, shown)
    if len(np.unique(labels)) == 1:
        return  # the same answer is right on all of them, and no teacher can do better
    constant = metric.constant_score(labels, len(task.classes))
    if reached is None or metric.gain(reached, constant) <= 0:
        log.warning(
            "THE TEACHER HAS LEARNT NOTHING: its %s of %s is no better than the %s of always giving the same answer; "
            "its outputs are noise. %s",
            metric.name,
            shown,
            metric.score_text(constant, 5),
            "More epochs, more rows or another learning rate?"
            if trained
            else "Are its classes and its rows those of this run?",
        )
