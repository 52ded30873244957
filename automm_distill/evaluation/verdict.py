"""What a gain and its interval mean for somebody who has to decide."""

import math
from dataclasses import dataclass

from scipy import stats

from automm_distill.evaluation.bootstrap import LEVEL

EQUAL_WITHIN = 0.5  # points
POWER = 0.8
ONE_POINT = 1.0


@dataclass(frozen=True)
class Verdict:
    """``words`` is one of "better", "worse", "equal within half a point", "no clear difference".

    ``more`` is by how much the test rows, or the runs with other seeds, would have to be multiplied for a gain of one
    point to be clear in four runs of five; None where the difference is clear already, or cannot be estimated.
    """

    words: str
    more: float | None = None


def judge_gain(low: float, high: float, p: float | None = None) -> Verdict:
    """The verdict on a gain whose 95 % interval goes from ``low`` to ``high``, in points.

    :param p: of a test that there is no gain; if there is one, it has to agree that the difference is clear.

    A gain of ``ONE_POINT`` is found with probability :data:`POWER` when the standard error is at most one point over
    (z_0.975 + z_0.8); the standard error falls with the square root of the number of rows.
    """
    is_clear = p is None or p < 1 - LEVEL
    if low > 0 and is_clear:
        return Verdict("better")
    if high < 0 and is_clear:
        return Verdict("worse")
    if low >= -EQUAL_WITHIN and high <= EQUAL_WITHIN:
        return Verdict("equal within half a point")
    z = stats.norm.ppf(0.975)
    standard_error = (high - low) / (2 * z)
    needed = ONE_POINT / (z + stats.norm.ppf(POWER))
    more = (standard_error / needed) ** 2
    return Verdict("no clear difference", more if math.isfinite(more) and more > 1 else None)
