"""Calibration error and entropy against values worked out by hand, an independent loop, SciPy and scikit-learn."""

import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn.calibration import calibration_curve

from automm_distill.evaluation.calibration import at_temperature, expected_calibration_error, mean_entropy


def some_rows(classes: int, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of all degrees of confidence, and labels that they are often right about."""
    random = np.random.default_rng(classes)
    logits = random.normal(size=(rows, classes)) * random.uniform(0, 6, size=(rows, 1))
    probabilities = special.softmax(logits, axis=1)
    labels = np.where(random.uniform(size=rows) < 0.7, probabilities.argmax(axis=1), random.integers(0, classes, rows))
    return probabilities, labels


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.62, 0.38], [0.38, 0.62], [0.35, 0.65]])
    labels = np.array([0, 0, 0, 1, 1])
    # (13/15, 14/15]: confidence .9 and .9, one right; (9/15, 10/15]: .62, .62 and .65, all right.
    assert expected_calibration_error(probabilities, labels) == pytest.approx((2 * 0.4 + 3 * 0.37) / 5)


@pytest.mark.parametrize(("labels", "error"), [([0, 1, 1], 0), ([1, 0, 0], 1), ([0, 1, 0], 1 / 3)])
def test_calibration_error_of_certainty_is_the_share_of_wrong_rows(labels, error):
    assert expected_calibration_error(np.eye(2)[[0, 1, 1]], np.array(labels)) == pytest.approx(error)


def test_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.array([[0.75, 0.25], [0.7, 0.3]])
    error = expected_calibration_error(probabilities, np.array([0, 1]), bins=4)
    assert error == pytest.approx((0.7 - 0.25) / 2), "both in (.5, .75]; apart it would be (.7 + .25) / 2"


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_calibration_error_agrees_with_a_loop_over_the_bins(classes):
    probabilities, labels = some_rows(classes)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected > 0.05
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_calibration_error_agrees_with_scikit_learns_curve():
    probabilities, labels = some_rows(2)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15)
    sizes, _ = np.histogram(confidence, bins=15, range=(0, 1))
    expected = sizes[sizes > 0] @ np.abs(accuracies - confidences) / len(labels)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_entropy_by_hand():
    assert mean_entropy(np.eye(3)) == 0
    assert mean_entropy(np.full((2, 4), 0.25)) == pytest.approx(math.log(4))
    rows = np.array([[0.5, 0.5], [1.0, 0.0], [0.2, 0.8]])
    assert mean_entropy(rows) == pytest.approx((math.log(2) - 0.2 * math.log(0.2) - 0.8 * math.log(0.8)) / 3)


def test_entropy_agrees_with_scipys():
    probabilities, _ = some_rows(5)
    assert mean_entropy(probabilities) == pytest.approx(stats.entropy(probabilities, axis=1).mean())


@pytest.mark.parametrize("temperature", [0.5, 1, 2, 5])
def test_temperature_divides_the_logits(temperature):
    logits = np.random.default_rng(0).normal(size=(50, 3)) * 20
    softened = at_temperature(special.softmax(logits, axis=1), temperature)
    assert softened == pytest.approx(special.softmax(logits / temperature, axis=1))


@pytest.mark.filterwarnings("error")
def test_no_temperature_softens_a_probability_of_0():
    assert np.array_equal(at_temperature(np.eye(2), 5), np.eye(2))
