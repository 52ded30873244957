"""Predictions to scores, and scores to the distillation ratio. Plain arrays, no models."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn import metrics

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": metrics.accuracy_score,
    "f1": metrics.f1_score,
    "matthews": metrics.matthews_corrcoef,
    "pearson": lambda truth, predicted: stats.pearsonr(truth, predicted).statistic,
    "spearman": lambda truth, predicted: stats.spearmanr(truth, predicted).statistic,
}


@dataclass(frozen=True)
class Ratio:
    """The distillation ratio, or why there is none (``value`` is then None)."""

    value: float | None
    reason: str = ""


def score(metric: str, truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """One metric on one test set; None where it is undefined (a correlation with a constant, F1 of a single class).

    :param truth: labels, shape (rows,).
    :param predicted: predicted labels or values, shape (rows,).
    """
    if metric in ("pearson", "spearman") and (len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0):
        return None
    if metric in ("f1", "matthews") and len(np.unique(truth)) < 2:
        return None
    value = float(METRICS[metric](truth, predicted))
    return value if math.isfinite(value) else None


def predicted_labels(outputs: np.ndarray) -> np.ndarray:
    """Class numbers from probabilities of shape (rows, classes); values of shape (rows,) stay as they are."""
    return outputs.argmax(axis=1) if outputs.ndim == 2 else outputs


def distillation_ratio(teacher: float | None, baseline: float | None, student: float | None) -> Ratio:
    """The share of the gap between baseline and teacher that distillation closes: 0 no gain, 1 the teacher's score.

    (student - baseline) / (teacher - baseline), as in He et al. 2022, Towards Automated Distillation. There is none
    unless the teacher is better than the baseline.
    """
    if baseline is None or teacher is None or student is None:
        absent = next(
            role
            for role, value in (("baseline", baseline), ("teacher", teacher), ("student", student))
            if value is None
        )
        return Ratio(None, f"no {absent} score")
    if teacher <= baseline:
        return Ratio(None, f"the teacher ({teacher:.5f}) is not better than the baseline ({baseline:.5f})")
    return Ratio((student - baseline) / (teacher - baseline))


def constant_score(metric: str, truth: np.ndarray) -> float:
    """The best score that always giving the same answer can reach; 0 for a correlation."""
    if metric in ("pearson", "spearman"):
        return 0.0
    return max(float(METRICS[metric](truth, np.full(len(truth), answer))) for answer in np.unique(truth))


def scores_by_role(
    task_metrics: tuple[str, ...], truth: np.ndarray, outputs: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """``{metric: {role: score}}`` on one test set, from each role's predictions as ``Predictor.predict`` gives them."""
    labels = {role: predicted_labels(output) for role, output in outputs.items()}
    return {
        metric: {role: score(metric, truth, predicted) for role, predicted in labels.items()} for metric in task_metrics
    }
