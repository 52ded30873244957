"""Every metric, once: what it reads of a model's outputs, how it is computed, which way is better, how it is shown.

Plain arrays, no models. A label that equals the number of classes stands for a class that no training row has: no model
can be right on it, and it is no class of its own in an average over classes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from automm_distill.errors import UserError
from automm_distill.evaluation import weighted_scores
from automm_distill.tasks import Task

HUNDREDTHS = 100  # points of a score in 1, and percent of an error
F1_OF = "f1:"  # and the name of a class

Needs = Literal["labels", "value", "probability"]
Number = TypeVar("Number", float, np.ndarray)
Score = Callable[[np.ndarray, np.ndarray], float]
WeightedScore = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """One metric of one task.

    :param needs: what it reads of a model's outputs, see :meth:`answers`: predicted "labels", the "value" of a
        regression, or the "probability" of class 1 of two.
    :param plain: the metric of labels and answers, (rows,) each.
    :param weighted: the same of rows that count so often each, see :mod:`automm_distill.evaluation.weighted_scores`.
    :param lower_is_better: it is an error, in the labels' unit and without an upper end.
    :param needs_two_labels: it is undefined where all rows have the same label.
    :param is_share_of_right_rows: so that intervals and tests of proportions are valid for it.
    :param positive: F1 of one class: its number.
    """

    name: str
    needs: Needs
    plain: Score
    weighted: WeightedScore
    lower_is_better: bool = False
    needs_two_labels: bool = True
    is_share_of_right_rows: bool = False
    positive: int | None = None

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """What the metric reads, shape (rows,), of outputs as ``Predictor.predict`` gives them."""
        if self.needs == "probability":
            return np.asarray(outputs[:, 1])
        return np.asarray(predicted_labels(outputs))

    def score(self, truth: np.ndarray, answers: np.ndarray) -> float | None:
        """On one test set; None where it is undefined (a correlation with a constant, F1 of a single class).

        :param truth: labels, shape (rows,); ``answers``: of :meth:`answers`, the same shape.
        """
        if self.needs_two_labels and not self._tells_labels_apart(truth):
            return None
        if self.needs_two_labels and self.needs == "value" and np.ptp(answers) == 0:
            return None
        value = float(self.plain(truth, answers))
        return value if math.isfinite(value) else None

    def constant_score(self, truth: np.ndarray, classes: int) -> float:
        """The best score that always giving the same answer can reach: of an error, that of the mean.

        A correlation with a constant counts as 0.

        :param classes: the number of those that can be answered; 0 for a regression.
        """
        if self.needs == "probability":
            return 0.5
        if self.needs == "value":
            return float(self.plain(truth, np.full(len(truth), truth.mean()))) if self.lower_is_better else 0.0
        counts = np.bincount(truth[truth < classes], minlength=classes)
        answer = counts.argmax() if self.positive is None else self.positive
        return float(self.plain(truth, np.full(len(truth), answer)))

    def gain(self, score: Number, over: Number) -> Number:
        """By how much one score is better than another: positive where it is, also of an error."""
        gain: Number = over - score if self.lower_is_better else score - over
        return gain

    def merit(self, score: float | None) -> float:
        """The score turned so that a larger one is better; an undefined one is the worst."""
        if score is None:
            return -math.inf
        return -score if self.lower_is_better else score

    def judged(self, difference: float, reference: float) -> float:
        """A gain, or a bound of one, in the unit in which it is judged.

        That is points (hundredths), or of an error percent of that of the model which the gain is over.

        :param reference: the score of that model.
        """
        if not self.lower_is_better or difference == 0:
            return HUNDREDTHS * difference
        return HUNDREDTHS * difference / reference if reference else math.copysign(math.inf, difference)

    @property
    def judged_in(self) -> str:
        """The unit of :meth:`judged`: one of it."""
        return "percent" if self.lower_is_better else "point"

    @property
    def scale(self) -> float:
        """What a difference is multiplied by when it is shown: in points, or of an error in the labels' unit."""
        return 1 if self.lower_is_better else HUNDREDTHS

    @property
    def shown_in(self) -> str:
        """The unit of differences that are shown."""
        return "the labels' unit" if self.lower_is_better else "points"

    def gain_text(self, gain: float, decimals: int) -> str:
        """A gain with its sign: in points with so many decimals, of an error in three digits."""
        return _digits(gain, 3, "+") if self.lower_is_better else f"{HUNDREDTHS * gain:+.{decimals}f}"

    def gain_sentence(self, gain: float, decimals: int) -> str:
        """A gain of the student over the baseline in words."""
        if not self.lower_is_better:
            return f"student - baseline is {self.gain_text(gain, decimals)} points {self.name}"
        if gain == 0:
            return f"the student's {self.name} equals the baseline's"
        return f"the student's {self.name} is {_digits(abs(gain), 3)} {'lower' if gain > 0 else 'higher'}"

    def score_text(self, score: float | None, decimals: int = 4) -> str:
        """A score with so many decimals, an error in as many digits and one more; "n/a" for None."""
        if score is None:
            return "n/a"
        return _digits(score, decimals + 1) if self.lower_is_better else f"{score:.{decimals}f}"

    def _tells_labels_apart(self, truth: np.ndarray) -> bool:
        if self.positive is not None:
            return bool(0 < (truth == self.positive).sum() < len(truth))
        if self.needs == "probability":
            return bool((truth == 0).any() and (truth == 1).any())
        return len(truth) > 1 and bool(np.ptp(truth) > 0)


@dataclass(frozen=True)
class Ratio:
    """The distillation ratio, or why there is none (``value`` is then None)."""

    value: float | None
    reason: str = ""


def _f1_of(positive: int, truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(sklearn_metrics.f1_score(truth == positive, predicted == positive, zero_division=0))


def _f1_macro(classes: int | None, truth: np.ndarray, predicted: np.ndarray) -> float:
    present = np.union1d(truth, predicted)
    counted = present if classes is None else present[present < classes]
    return float(sklearn_metrics.f1_score(truth, predicted, labels=counted, average="macro", zero_division=0))


def _roc_auc(truth: np.ndarray, probability: np.ndarray) -> float:
    known = truth < 2
    return float(sklearn_metrics.roc_auc_score(truth[known], probability[known]))


def _rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


_ACCURACY = Metric(
    name="accuracy",
    needs="labels",
    plain=sklearn_metrics.accuracy_score,
    weighted=weighted_scores.accuracy,
    needs_two_labels=False,
    is_share_of_right_rows=True,
)
_F1 = Metric("f1", "labels", partial(_f1_of, 1), partial(weighted_scores.f1_of, 1), positive=1)
# Those that are the same for all tasks.
_FIXED = {
    metric.name: metric
    for metric in (
        _ACCURACY,
        _F1,
        replace(_ACCURACY, name="f1_micro"),  # where each row has one label, the two are the same number
        Metric("matthews", "labels", sklearn_metrics.matthews_corrcoef, weighted_scores.matthews),
        Metric("roc_auc", "probability", _roc_auc, weighted_scores.roc_auc),
        Metric("pearson", "value", lambda x, y: stats.pearsonr(x, y).statistic, weighted_scores.pearson),
        Metric("spearman", "value", lambda x, y: stats.spearmanr(x, y).statistic, weighted_scores.spearman),
        Metric("rmse", "value", _rmse, weighted_scores.rmse, lower_is_better=True, needs_two_labels=False),
    )
}
F1_MACRO = "f1_macro"
OF_VALUES = tuple(name for name, metric in _FIXED.items() if metric.needs == "value")
OF_TWO_CLASSES = ("f1", "roc_auc")
OF_CLASSES = (*(name for name in _FIXED if name not in OF_VALUES), F1_MACRO)


def named(name: str, classes: Sequence[str] = ()) -> Metric:
    """The metric of that name: one of :data:`OF_CLASSES`, :data:`OF_VALUES`, or ``f1:<class>``, one against the rest.

    :param classes: the task's, in the order of their numbers; none of a regression. Rows of results before 0.7 do not
        know theirs.
    :raises UserError: when there is no such metric, or when it is not defined for so many classes.
    """
    return _named(name, tuple(classes))


@lru_cache
def _named(name: str, classes: tuple[str, ...]) -> Metric:
    if name.startswith(F1_OF):
        wanted = name.removeprefix(F1_OF)
        if wanted not in classes:
            raise UserError(f"--metric {name}: no such class; needs one of {_some(classes)}")
        positive = classes.index(wanted)
        of_class, weighted = partial(_f1_of, positive), partial(weighted_scores.f1_of, positive)
        return replace(_F1, name=name, plain=of_class, weighted=weighted, positive=positive)
    if name == F1_MACRO:
        count = len(classes) or None
        return Metric(name, "labels", partial(_f1_macro, count), partial(weighted_scores.f1_macro, count))
    if name not in _FIXED:
        known = (*OF_CLASSES, f"{F1_OF}<class>", *OF_VALUES)
        raise UserError(f"--metric {name}: no such metric; needs one of {', '.join(known)}")
    if name in OF_TWO_CLASSES and len(classes) > 2:
        others = f"f1_macro, f1_micro or {F1_OF}<class>" if name == "f1" else "f1_macro, matthews or accuracy"
        raise UserError(f"--metric {name}: defined for two classes, and here are {len(classes)}; use {others}")
    return _FIXED[name]


def of_task(task: Task) -> tuple[Metric, ...]:
    """The task's metrics, the headline first.

    :raises UserError: as :func:`named`, and when a metric is not for this kind of labels.
    """
    found = tuple(named(name, task.classes) for name in task.metrics)
    for metric in found:
        if (metric.needs == "value") != task.is_regression:
            kind, suited = ("numbers", OF_VALUES) if task.is_regression else ("classes", OF_CLASSES)
            raise UserError(f"--metric {metric.name}: not for labels that are {kind}; use {', '.join(suited)}")
    return found


def of_row(row: Mapping[str, Any], name: str) -> Metric:
    """The metric of that name of a result row's task."""
    return named(name, row.get("classes", ()))


def predicted_labels(outputs: np.ndarray) -> np.ndarray:
    """Class numbers from probabilities of shape (rows, classes); values of shape (rows,) stay as they are."""
    return outputs.argmax(axis=1) if outputs.ndim == 2 else outputs


def distillation_ratio(metric: Metric, teacher: float | None, baseline: float | None, student: float | None) -> Ratio:
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
    if metric.gain(teacher, baseline) <= 0:
        shown = [metric.score_text(score, 5) for score in (teacher, baseline)]
        return Ratio(None, "the teacher ({}) is not better than the baseline ({})".format(*shown))
    return Ratio((student - baseline) / (teacher - baseline))


def scores_by_role(
    task_metrics: Iterable[Metric], truth: np.ndarray, outputs: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """``{metric: {role: score}}`` on one test set, from each role's predictions as ``Predictor.predict`` gives them."""
    return {
        metric.name: {role: metric.score(truth, metric.answers(output)) for role, output in outputs.items()}
        for metric in task_metrics
    }


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _digits(value: float, digits: int, sign: str = "") -> str:
    """A number with so many significant digits, and all of those before its point."""
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else digits - 1
    return f"{value:{sign},.{min(max(decimals, 0), 12)}f}"
