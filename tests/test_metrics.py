"""Scores and ratios against published rows and formulas written out by hand."""

import math

import numpy as np
import pytest

from automm_distill.evaluation.metrics import constant_score, distillation_ratio, score, scores_by_role

# AutoGluon's published tables: teacher, baseline, student, ratio as printed, digits printed.
PUBLISHED = [
    (0.91726, 0.89401, 0.89713, 0.13, 2),
    (0.91726, 0.89401, 0.90298, 0.39, 2),
    (0.91726, 0.89401, 0.89365, -0.02, 2),
    (0.91293, 0.88493, 0.88857, 0.1301, None),
    (0.91293, 0.88493, 0.88550, 0.02041, None),
    (0.91293, 0.88493, 0.89093, 0.21429, None),
    (0.91293, 0.88493, 0.89264, 0.27551, None),
    (0.91293, 0.88493, 0.89100, 0.21684, None),
    (0.91293, 0.88493, 0.88971, 0.17092, None),
]


@pytest.mark.parametrize(("teacher", "baseline", "student", "printed", "digits"), PUBLISHED)
def test_ratio_is_the_published_one(teacher, baseline, student, printed, digits):
    ratio = distillation_ratio(teacher, baseline, student).value
    if digits is None:  # the scores were rounded to five digits before they were printed, the ratios were not
        assert ratio == pytest.approx(printed, abs=4e-4)
    else:
        assert round(ratio, digits) == printed


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "reason"),
    [
        (0.8, 0.8, 0.9, "not better than the baseline"),
        (0.7, 0.8, 0.9, "not better than the baseline"),
        (0.8, None, 0.9, "no baseline score"),
        (None, 0.5, 0.9, "no teacher score"),
        (0.8, 0.5, None, "no student score"),
    ],
)
def test_ratio_is_absent_with_a_reason(teacher, baseline, student, reason):
    ratio = distillation_ratio(teacher, baseline, student)
    assert ratio.value is None
    assert reason in ratio.reason


def test_metrics_agree_with_their_formulas():
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    predicted = np.array([1, 0, 1, 0, 1, 0, 0, 1])
    tp, fp, fn, tn = 3, 1, 1, 3
    assert score("accuracy", truth, predicted) == pytest.approx((tp + tn) / 8)
    assert score("f1", truth, predicted) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert score("matthews", truth, predicted) == pytest.approx(expected)


def test_correlations_agree_with_their_formulas():
    truth, predicted = np.array([0.0, 1.0, 2.0, 5.0, 4.0]), np.array([0.1, 0.9, 3.0, 3.5, 9.0])
    centred = [values - values.mean() for values in (truth, predicted)]
    pearson = (centred[0] @ centred[1]) / math.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1]))
    assert score("pearson", truth, predicted) == pytest.approx(pearson)
    differences = np.array([1, 2, 3, 5, 4]) - np.array([1, 2, 3, 4, 5])
    assert score("spearman", truth, predicted) == pytest.approx(1 - 6 * (differences**2).sum() / (5 * 24))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlation_with_a_constant_is_undefined(metric):
    assert score(metric, np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) is None


def test_constant_score_is_the_best_that_one_answer_reaches():
    assert constant_score("accuracy", np.array([1, 1, 1, 0])) == 0.75
    assert constant_score("matthews", np.array([1, 1, 1, 0])) == 0
    assert constant_score("pearson", np.array([1.0, 2.0])) == 0


def test_scores_come_from_probabilities_by_the_largest_one():
    outputs = {"teacher": np.array([[0.9, 0.1], [0.2, 0.8]]), "student": np.array([[0.4, 0.6], [0.3, 0.7]])}
    assert scores_by_role(("accuracy",), np.array([0, 1]), outputs) == {"accuracy": {"teacher": 1.0, "student": 0.5}}


@pytest.mark.parametrize("metric", ["f1", "matthews"])
@pytest.mark.parametrize("label", [0, 1])
def test_scores_that_weigh_two_classes_need_both(metric, label):
    assert score(metric, np.full(4, label), np.array([0, 1, 1, 1])) is None
    assert score(metric, np.array([0, 1, 1, 1]), np.full(4, label)) is not None, "always the same answer has one"
