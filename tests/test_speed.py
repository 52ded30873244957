"""The speed-up protocol on plain functions."""

import numpy as np
import pytest

from automm_distill.evaluation import speed


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


@pytest.mark.parametrize(("seconds_per_pass", "expected"), [(0.001, 128), (0.2, 40), (30, 16)])
def test_rows_of_a_pass_depend_on_how_slow_the_teacher_is(monkeypatch, seconds_per_pass, expected):
    clock = iter([0.0, seconds_per_pass])
    monkeypatch.setattr(speed, "perf_counter", lambda: next(clock))
    assert speed.rows_per_pass(lambda: None, 8, lambda: None) == expected


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
