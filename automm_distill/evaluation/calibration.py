"""How sure a classifier is, and whether it is right to be. Plain arrays of class probabilities, no models."""

import numpy as np
from scipy.special import entr, softmax

BINS = 15  # as in Guo et al. 2017


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """How far confidence is from accuracy (Guo et al. 2017, On calibration of modern neural networks, eq. 3).

    Rows are put into ``bins`` intervals (low, high] of equal width by their confidence, the largest probability. The
    error is the mean, weighted by rows, of |accuracy - mean confidence| in each: 0 is calibrated, 1 the worst.

    :param probabilities: shape (rows, classes), of one row or more.
    :param labels: the true class numbers, shape (rows,).
    """
    confidence = probabilities.max(axis=1)
    excess = confidence - (probabilities.argmax(axis=1) == labels)
    bin_of_row = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    # rows of the bin / all rows * |difference of its means| = |difference of its sums| / all rows
    return float(np.abs(np.bincount(bin_of_row, weights=excess)).sum() / len(labels))


def mean_entropy(probabilities: np.ndarray) -> float:
    """Mean over the rows of -sum p ln p, in nats: 0 for one-hot rows, ln(classes) for uniform ones.

    :param probabilities: shape (rows, classes), of one row or more.
    """
    return float(entr(probabilities).sum(axis=1).mean())


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T) from softmax(logits), both (rows, classes): p^(1/T), normalised.

    A probability that is 0, as where logits differ by more than 745, stays 0.
    """
    with np.errstate(divide="ignore"):
        softened: np.ndarray = softmax(np.log(probabilities) / temperature, axis=1)
    return softened
