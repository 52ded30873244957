"""Words for a gain: worked by hand."""

import numpy as np
import pytest
from scipy import stats

from automm_distill.evaluation.verdict import judge_gain


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 2.0, "better"),
        (-3.0, -0.2, "worse"),
        (-0.4, 0.5, "equal within half a point"),
        (-0.5, 0.5, "equal within half a point"),
        (-0.6, 0.3, "no clear difference"),
        (-2.0, 3.0, "no clear difference"),
        (0.0, 0.0, "equal within half a point"),
        (0.0, 2.0, "no clear difference"),
    ],
)
def test_words(low: float, high: float, words: str) -> None:
    assert judge_gain(low, high).words == words


def test_a_test_that_finds_nothing_overrules_an_interval_that_barely_leaves_0_out() -> None:
    assert judge_gain(0.1, 2.0, p=0.0625).words == "no clear difference"
    assert judge_gain(-2.0, -0.1, p=0.0625).words == "no clear difference"
    assert judge_gain(0.1, 2.0, p=0.04).words == "better"


def test_so_many_more_rows_show_a_gain_of_one_point_in_four_tests_of_five() -> None:
    """1,000 rows, an interval of +-2.5 points; simulated with as many rows as it asks for."""
    more = judge_gain(-2.0, 3.0).more
    assert more is not None
    standard_error = 2.5 / stats.norm.ppf(0.975) / more**0.5  # in points, with so many more rows
    gains = np.random.default_rng(0).normal(1.0, standard_error, 20_000)
    assert (gains - stats.norm.ppf(0.975) * standard_error > 0).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("low", "high"), [(0.1, 2.0), (-0.3, 0.3), (-0.6, 0.4)])
def test_nothing_more_is_asked_for_where_it_is_clear_or_rows_suffice(low: float, high: float) -> None:
    assert judge_gain(low, high).more is None
