"""Means over seeds with their intervals, and p-values corrected for the number of comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from automm_distill.evaluation.bootstrap import LEVEL


@dataclass(frozen=True)
class Spread:
    """Of ``n`` runs that differ in their seed: mean, standard deviation (n - 1), 95 % t-interval of the mean.

    ``p`` is the two-sided p-value of the t-test that the true mean is 0. All but the mean are None for one run.
    Interval and p are None too where all runs agree: a sample without spread does not tell how large the spread is. All
    are None where a run has no value.
    """

    n: int
    mean: float | None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def over_seeds(values: Sequence[float | None]) -> Spread:
    """The spread of one number per run."""
    known = [value for value in values if value is not None]
    n = len(values)
    if len(known) < n:
        return Spread(n, None)
    mean = float(np.mean(known))
    if n < 2:
        return Spread(n, mean)
    sd = float(np.std(known, ddof=1))
    if sd < 1e-12:
        return Spread(n, mean, 0.0)
    test = stats.ttest_1samp(known, 0)
    low, high = test.confidence_interval(LEVEL)
    return Spread(n, mean, sd, float(low), float(high), float(test.pvalue))


def holm(p_values: Sequence[float | None], untested: int = 0) -> list[float | None]:
    """Each p-value corrected for the number of them by Holm's method (1979); None stays None and does not count.

    :param untested: so many more hypotheses were given up before they were tested: they count, and as not rejected.
    """
    known = [p for p in p_values if p is not None]
    corrected = iter(multipletests([*known, *[1.0] * untested], method="holm")[1].tolist() if known else [])
    return [None if p is None else next(corrected) for p in p_values]
