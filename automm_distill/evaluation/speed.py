"""The speed-up protocol: how much faster the student is than the teacher, with its spread.

Same rows, same batches, same precision for both; passes of the two interleaved, so that a machine that gets slower
slows both; warm-up passes first; the device synchronised before and after each timed pass; medians and percentiles
over the repeats, and an interval for the ratio of the paired passes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from automm_distill.automm import Predictor

WARM_UPS = 3
REPEATS = 10
MAX_ROWS, MIN_ROWS = 128, 16  # of one pass, spread evenly over the test set
PASS_SECONDS = 1.0  # fewer rows than the most where the teacher would need longer
LATENCY_ROWS = 8  # one at a time


@dataclass(frozen=True)
class SpeedUp:
    """Seconds per pass over all ``rows`` (median, 10th, 90th percentile), and teacher / student over paired passes.

    ``low`` and ``high`` bound the median ratio with at least 95 % confidence (order statistics).
    ``tokens`` is the mean and the largest number of tokens of a row, as the teacher counts them.
    """

    ratio: float
    low: float
    high: float
    teacher_seconds: tuple[float, float, float]
    student_seconds: tuple[float, float, float]
    rows: int
    batch_size: int
    repeats: int
    tokens: tuple[float, int] | None = None


def compare(
    teacher: "Predictor",
    student: "Predictor",
    frame: pd.DataFrame,
    batch_size: int,
    synchronize: Callable[[], None],
    *,
    repeats: int = REPEATS,
) -> dict[str, dict[str, Any]]:
    """Speed-up of ``student`` over ``teacher`` on rows of ``frame``, seen three ways, each as :class:`SpeedUp`.

    ``forward`` (the headline) and ``latency`` (batches of one row) run the network on rows tokenised beforehand;
    ``end_to_end`` is ``predict`` as a user calls it, tokenisation and the set-up of a Lightning trainer included. It is
    left out on several GPUs, where each of its calls would start as many processes.
    """
    single = evenly_spaced_rows(frame, LATENCY_ROWS)
    rows = evenly_spaced_rows(frame, rows_per_pass(teacher.forward_passes(single, 1), len(single), synchronize))

    def both(run: Callable[["Predictor"], Callable[[], object]], rows: pd.DataFrame, batch_size: int) -> dict[str, Any]:
        lengths = teacher.token_counts(rows)
        measured = measure(
            run(teacher), run(student), synchronize, rows=len(rows), batch_size=batch_size, repeats=repeats
        )
        return asdict(replace(measured, tokens=(float(lengths.mean()), int(lengths.max()))))

    measured = {
        "forward": both(lambda model: model.forward_passes(rows, batch_size), rows, batch_size),
        "latency": both(lambda model: model.forward_passes(single, 1), single, 1),
    }
    if not teacher.predict_starts_processes:
        predict = both(lambda model: lambda: model.call_predict(rows), rows, teacher.predict_batch_size)
        measured["end_to_end"] = predict
    return measured


def rows_per_pass(run: Callable[[], object], rows: int, synchronize: Callable[[], None]) -> int:
    """How many rows fit into :data:`PASS_SECONDS`, judged by a second pass of ``run`` over ``rows`` rows."""
    run()
    return int(np.clip(PASS_SECONDS * rows / _timed(run, synchronize), MIN_ROWS, MAX_ROWS))


def measure(
    teacher: Callable[[], object],
    student: Callable[[], object],
    synchronize: Callable[[], None],
    *,
    rows: int,
    batch_size: int,
    warm_ups: int = WARM_UPS,
    repeats: int = REPEATS,
) -> SpeedUp:
    """Time two passes over the same rows, one against the other.

    :param synchronize: waits until the device has finished what it was given.
    """
    for _ in range(warm_ups):
        teacher()
        student()
    pairs = np.array([(_timed(teacher, synchronize), _timed(student, synchronize)) for _ in range(repeats)])
    return summarize(pairs, rows=rows, batch_size=batch_size)


def summarize(pairs: np.ndarray, *, rows: int, batch_size: int) -> SpeedUp:
    """Statistics of ``pairs``, seconds of shape (repeats, 2): teacher and student, one pair per repeat."""
    ratios = pairs[:, 0] / pairs[:, 1]
    interval = stats.quantile_test(ratios, p=0.5).confidence_interval(0.95)
    return SpeedUp(
        ratio=float(np.median(ratios)),
        low=float(interval.low),
        high=float(interval.high),
        teacher_seconds=_median_p10_p90(pairs[:, 0]),
        student_seconds=_median_p10_p90(pairs[:, 1]),
        rows=rows,
        batch_size=batch_size,
        repeats=len(ratios),
    )


def evenly_spaced_rows(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """``rows`` of the rows, or all if there are fewer, at equal distances."""
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(rows, len(frame)), dtype=int))]


def _median_p10_p90(seconds: np.ndarray) -> tuple[float, float, float]:
    median, low, high = np.percentile(seconds, (50, 10, 90))
    return float(median), float(low), float(high)


def _timed(run: Callable[[], object], synchronize: Callable[[], None]) -> float:
    synchronize()
    start = perf_counter()
    run()
    synchronize()
    return perf_counter() - start
