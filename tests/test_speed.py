"""The speed-up protocol on plain functions."""

from time import perf_counter, sleep

import numpy as np
import pandas as pd
import pytest

from automm_distill import speed


def test_passes_are_interleaved_warmed_up_and_synchronised():
    calls = []
    speed.measure(
        lambda: calls.append("teacher"),
        lambda: calls.append("student"),
        lambda: calls.append("sync"),
        rows=1,
        batch_size=1,
        warm_ups=3,
        repeats=10,
    )
    assert calls == ["teacher", "student"] * 3 + ["sync", "teacher", "sync", "sync", "student", "sync"] * 10


@pytest.mark.parametrize(
    ("of_pair", "seconds", "expected"),
    [(0.001, 1000, 128), (0.05, 1000, 40), (0.05, 6.5, 10), (1, 26, 4), (60, 1000, 4), (60, -1, 4)],
)
def test_rows_of_a_pass_depend_on_how_slow_the_models_are_and_on_the_budget(of_pair, seconds, expected):
    assert speed.affordable_rows(of_pair, seconds, fewest=4, most=128) == expected


@pytest.mark.parametrize(("of_pair", "seconds", "expected"), [(0.1, 5, 10), (1, 11, 8), (1, 5, 6), (1, -3, 6)])
def test_repeats_depend_on_the_budget_but_are_enough_for_an_interval(of_pair, seconds, expected):
    assert speed.affordable_repeats(of_pair, seconds) == expected


def test_fewest_repeats_bound_the_median():
    six = speed.summarize(np.array([[2, 1], [3, 1], [4, 1], [5, 1], [6, 1], [7, 1]], dtype=float), rows=1, batch_size=1)
    assert (six.low, six.high) == (2, 7)
    assert 1 - 2 * 0.5**speed.FEWEST_REPEATS >= 0.95


@pytest.mark.parametrize(("run_seconds", "budget"), [(10, 20), (200, 20), (7200, 720)])
def test_budget_is_a_tenth_of_the_run_or_20_seconds(run_seconds, budget):
    assert speed.budget_seconds(run_seconds) == budget


class Sleeper:
    """A model that takes ``of_row`` seconds for a row and ``of_call`` for each ``predict``."""

    predict_starts_processes = False
    predict_batch_size = 8

    def __init__(self, of_row: float, of_call: float = 0.0) -> None:
        self.of_row, self.of_call = of_row, of_call

    def forward_passes(self, frame, batch_size):
        return lambda: sleep(self.of_row * len(frame))

    def call_predict(self, frame):
        sleep(self.of_call + self.of_row * len(frame))

    def token_counts(self, frame):
        return np.full(len(frame), 7)


@pytest.mark.parametrize(
    ("of_row", "budget", "kinds"),
    [(1e-4, 3.0, {"forward", "latency", "end_to_end"}), (2e-3, 3.0, {"forward", "latency"})],
)
def test_timing_keeps_its_budget_and_leaves_out_what_it_cannot_afford(of_row, budget, kinds):
    """A slow predict does not fit in; its 32 rows are a part of the comparison, so they never become fewer."""
    frame = pd.DataFrame({"sentence": ["a"] * 20})
    start = perf_counter()
    measured = speed.compare(
        Sleeper(of_row, 0.02), Sleeper(of_row / 2, 0.02), frame, 8, lambda: None, budget if len(kinds) == 3 else 0.5
    )
    assert perf_counter() - start < budget
    assert set(measured) == kinds
    assert measured["forward"]["ratio"] == pytest.approx(2, rel=0.3)
    if "end_to_end" in kinds:
        assert measured["end_to_end"]["rows"] == speed.END_TO_END_ROWS


def test_ratio_is_the_median_of_paired_ratios():
    # The machine slows down tenfold halfway; pairs are still worth twice.
    student = np.array([1, 1, 1, 1, 1, 10, 10, 10, 10, 10], dtype=float)
    measured = speed.summarize(np.stack([2 * student, student], axis=1), rows=5, batch_size=2)
    assert (measured.ratio, measured.low, measured.high) == (2, 2, 2)
    assert measured.student_seconds == pytest.approx((5.5, 1, 10))
    assert measured.repeats == 10


def test_interval_covers_the_true_median_ratio_in_at_least_95_percent():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        student = rng.uniform(1, 2, 10)
        measured = speed.summarize(
            np.stack([3 * student * rng.lognormal(0, 0.3, 10), student], axis=1), rows=1, batch_size=1
        )
        covered += measured.low <= 3 <= measured.high
    assert covered >= 950
