"""Metrics of rows that count so many times each: what the bootstrap computes in place of drawing rows.

All take the labels and what a metric reads of a model's outputs, both (rows,), and ``weights``, whole numbers of shape
(resamples, rows); all give one score per resample, (resamples,), NaN where it is undefined. The cost of a resample
grows with the rows and not with rows times classes: 1,000 classes are as good as two.
"""

import numpy as np
from scipy import sparse


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of right rows."""
    return np.asarray(weights @ (truth == predicted) / weights.sum(axis=1))


def f1_of(positive: int, truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 of one class against the rest; undefined where the labels do not hold both."""
    true, called = truth == positive, predicted == positive
    hit, of_truth, of_predicted = (weights @ rows for rows in (true & called, true, called))
    score = _divided(2 * hit, of_truth + of_predicted)
    return np.where((of_truth > 0) & (of_truth < weights.sum(axis=1)), score, np.nan)


def f1_macro(classes: int | None, truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of F1 over the classes that are among a resample's labels or predictions; undefined for one label alone.

    :param classes: how many there are to predict; a larger number in ``truth`` stands for none of them. None: all are.
    """
    size = 1 + int(max(truth.max(), predicted.max()))
    of_truth = _counts(truth, np.ones(len(truth)), size, weights)
    several = (of_truth > 0).sum(axis=1) > 1
    hit = _counts(truth, truth == predicted, size, weights)[:, :classes]
    both = (of_truth + _counts(predicted, np.ones(len(truth)), size, weights))[:, :classes]
    mean = _divided(_divided(2 * hit, both).sum(axis=1), (both > 0).sum(axis=1))
    return np.where(several, mean, np.nan)


def matthews(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gorodkin's correlation of any number of classes (2004); of two it is Matthews'. Undefined for one label alone."""
    size = 1 + int(max(truth.max(), predicted.max()))
    total = weights.sum(axis=1)
    right = weights @ (truth == predicted)
    of_truth, of_predicted = (_counts(labels, np.ones(len(truth)), size, weights) for labels in (truth, predicted))
    covariance = right * total - (of_truth * of_predicted).sum(axis=1)
    spread = np.sqrt(total**2 - (of_truth**2).sum(axis=1)) * np.sqrt(total**2 - (of_predicted**2).sum(axis=1))
    return np.where((of_truth > 0).sum(axis=1) > 1, _divided(covariance, spread), np.nan)


def roc_auc(truth: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often a row of class 1 has a larger probability of it than one of class 0; a tie is half of it.

    Rows of neither class do not count. Undefined where one of the two has no row.
    """
    order = np.argsort(probability, kind="stable")
    truth, probability, weights = truth[order], probability[order], weights[:, order]
    negative = np.zeros((len(weights), len(truth) + 1))
    np.cumsum(weights * (truth == 0), axis=1, out=negative[:, 1:])
    below = np.searchsorted(probability, probability, side="left")
    up_to = np.searchsorted(probability, probability, side="right")
    positive = weights * (truth == 1)
    wins = (positive * (negative[:, below] + negative[:, up_to]) / 2).sum(axis=1)
    pairs = positive.sum(axis=1) * negative[:, -1]
    return np.where(pairs > 0, _divided(wins, pairs), np.nan)


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation; undefined with a constant."""
    total = weights.sum(axis=1)
    x, y = x - x.mean(), y - y.mean()  # against cancellation
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    spread = (weights @ x**2 / total - mean_x**2) * (weights @ y**2 / total - mean_y**2)
    return np.where(spread > 1e-24, covariance / np.sqrt(np.maximum(spread, 1e-24)), np.nan)


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's: that of the mean ranks among the drawn rows."""
    (values_x, place_x), (values_y, place_y) = (np.unique(values, return_inverse=True) for values in (x, y))

    def of_one(row: np.ndarray) -> np.ndarray:
        ranks = (_ranks(place_x, len(values_x), row), _ranks(place_y, len(values_y), row))
        return pearson(*ranks, row[None])

    return np.concatenate([of_one(row) for row in weights])


def rmse(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The root of the mean squared error, in the labels' unit."""
    return np.asarray(np.sqrt(weights @ (truth - predicted) ** 2 / weights.sum(axis=1)))


def _ranks(place: np.ndarray, distinct: int, weights: np.ndarray) -> np.ndarray:
    """Mean ranks of rows that count ``weights`` times each, by the place of their values among the distinct ones."""
    counts = np.bincount(place, weights, minlength=distinct)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _counts(labels: np.ndarray, of_row: np.ndarray, size: int, weights: np.ndarray) -> np.ndarray:
    """How often each label is drawn, (resamples, size); a row counts ``of_row`` times its weight."""
    rows = np.arange(len(labels))
    one_hot = sparse.csr_array((np.asarray(of_row, dtype=float), (labels.astype(int), rows)), shape=(size, len(labels)))
    return np.asarray((one_hot @ weights.T).T)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)
