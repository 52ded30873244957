"""The speed-up protocol: how much faster the student is than the teacher, with its spread.

Same rows, same batches, same precision for both; passes of the two interleaved, so that a machine that gets slower
slows both; warm-up passes first; the device synchronised before and after each timed pass; medians and percentiles
over the repeats, and an interval for the ratio of the paired passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from automm_distill.automm import Predictor

WARM_UPS = 3
REPEATS, FEWEST_REPEATS = 10, 6  # six pairs are the fewest whose extremes bound the median with 95 % confidence
PILOT_ROWS = 2  # that tell how long a row takes
MAX_ROWS, MIN_ROWS = 128, 4  # of one pass, spread evenly over the test set
PASS_SECONDS = 1.0  # fewer rows than the most where the teacher would need longer
LATENCY_ROWS = 8  # one at a time
END_TO_END_ROWS = 32  # always, so that runs compare; with realtime=None predict changes its way at 100 rows
LEAST_BUDGET_S, BUDGET_SHARE = 20.0, 0.1  # of a run


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


def budget_seconds(run_seconds: float) -> float:
    """How long timing may take in a run that has taken ``run_seconds`` so far."""
    return max(LEAST_BUDGET_S, BUDGET_SHARE * run_seconds)


def compare(
    teacher: "Predictor",
    student: "Predictor",
    frame: pd.DataFrame,
    batch_size: int,
    synchronize: Callable[[], None],
    budget: float,
) -> dict[str, dict[str, Any]]:
    """Speed-up of ``student`` over ``teacher`` on rows of ``frame``, seen three ways, each as :class:`SpeedUp`.

    ``forward`` (the headline) and ``latency`` (batches of one row) run the network on rows tokenised beforehand;
    ``end_to_end`` is ``predict`` as a user calls it, tokenisation and the set-up of a Lightning trainer included, on
    the same number of rows in every run. It is left out on several GPUs, where each of its calls would start as many
    processes, and where the budget is too small for it.

    :param budget: seconds that all may take, about; it decides over the number of rows and of repeats.
    """
    share = budget / 3
    pilot = evenly_spaced_rows(frame, PILOT_ROWS)
    of_row = _second_pass_seconds(teacher.forward_passes(pilot, 1), synchronize) / len(pilot)
    of_pair = 2 * of_row  # the student is rather faster

    def both(
        run: Callable[["Predictor"], Callable[[], object]], rows: pd.DataFrame, batch_size: int, repeats: int
    ) -> dict[str, Any]:
        lengths = teacher.token_counts(rows)
        measured = measure(
            run(teacher), run(student), synchronize, rows=len(rows), batch_size=batch_size, repeats=repeats
        )
        return asdict(replace(measured, tokens=(float(lengths.mean()), int(lengths.max()))))

    rows = evenly_spaced_rows(frame, affordable_rows(of_pair, share, MIN_ROWS, MAX_ROWS))
    single = evenly_spaced_rows(frame, affordable_rows(of_pair, share, 1, LATENCY_ROWS))
    measured = {
        "forward": both(
            lambda model: model.forward_passes(rows, batch_size),
            rows,
            batch_size,
            affordable_repeats(of_pair * len(rows), share),
        ),
        "latency": both(
            lambda model: model.forward_passes(single, 1), single, 1, affordable_repeats(of_pair * len(single), share)
        ),
    }
    if teacher.predict_starts_processes:
        return measured
    fixed = frame.iloc[
        np.resize(np.linspace(0, len(frame) - 1, min(END_TO_END_ROWS, len(frame)), dtype=int), END_TO_END_ROWS)
    ]
    of_call = 2 * _timed(lambda: teacher.call_predict(fixed), synchronize)
    repeats = affordable_repeats(of_call, share)
    if (WARM_UPS + repeats) * of_call <= 2 * share:  # the first call is slower than the others
        measured["end_to_end"] = both(
            lambda model: lambda: model.call_predict(fixed), fixed, teacher.predict_batch_size, repeats
        )
    return measured


def affordable_rows(of_pair: float, seconds: float, fewest: int, most: int) -> int:
    """How many rows a pass may have, if ``of_pair`` is what one row takes both models."""
    return int(np.clip(min(seconds / (WARM_UPS + REPEATS), 2 * PASS_SECONDS) / of_pair, fewest, most))


def affordable_repeats(of_pair: float, seconds: float) -> int:
    """How many timed passes ``seconds`` are enough for, if ``of_pair`` is what one pass takes both models."""
    return int(np.clip(seconds / of_pair - WARM_UPS, FEWEST_REPEATS, REPEATS))


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
    passes = {"teacher": teacher, "student": student}
    seconds = interleaved(passes, synchronize, warm_ups=warm_ups, repeats=repeats)
    return summarize(np.column_stack(list(seconds.values())), rows=rows, batch_size=batch_size)


def interleaved(
    passes: Mapping[str, Callable[[], object]],
    synchronize: Callable[[], None],
    *,
    warm_ups: int = WARM_UPS,
    repeats: int = REPEATS,
) -> dict[str, np.ndarray]:
    """Seconds of each pass, (repeats,), one pass of every model after the other."""
    for _ in range(warm_ups):
        for run in passes.values():
            run()
    rounds = [[_timed(run, synchronize) for run in passes.values()] for _ in range(repeats)]
    return dict(zip(passes, np.array(rounds).T, strict=True))


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


def _second_pass_seconds(run: Callable[[], object], synchronize: Callable[[], None]) -> float:
    """Of a pass after the one that sets things up."""
    run()
    return _timed(run, synchronize)


def _timed(run: Callable[[], object], synchronize: Callable[[], None]) -> float:
    synchronize()
    start = perf_counter()
    run()
    synchronize()
    return perf_counter() - start
