"""What a gain and its interval mean for somebody who has to decide, and when no judgement is possible."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from automm_distill.evaluation.bootstrap import LEVEL, RunPredictions
from automm_distill.evaluation.metrics import of_task
from automm_distill.tasks import Task

EQUAL_WITHIN = 0.5  # points, or percent of an error
POWER = 0.8
ONE = 1.0  # the same
FEWEST_ROWS = 30  # that a gain is judged on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """``words`` is one of "better", "worse", "equal within half a point" (or percent), "no clear difference".

    ``more`` is by how much the test rows, or the runs with other seeds, would have to be multiplied for a gain of one
    point or percent to be clear in four runs of five; None where the difference is clear already, or cannot be
    estimated.
    """

    words: str
    more: float | None = None


@dataclass(frozen=True)
class NotJudged:
    """Why there is no verdict on a gain: a few ``words`` for a table, and a ``sentence``."""

    words: str
    sentence: str


def judge_gain(low: float, high: float, p: float | None = None, unit: str = "point") -> Verdict:
    """The verdict on a gain whose 95 % interval goes from ``low`` to ``high``, both as ``Metric.judged`` gives them.

    :param p: of a test that there is no gain; if there is one, it has to agree that the difference is clear.
    :param unit: ``Metric.judged_in``.

    A gain of :data:`ONE` is found with probability :data:`POWER` when the standard error is at most one point over
    (z_0.975 + z_0.8); the standard error falls with the square root of the number of rows.
    """
    is_clear = p is None or p < 1 - LEVEL
    if low > 0 and is_clear:
        return Verdict("better")
    if high < 0 and is_clear:
        return Verdict("worse")
    if low >= -EQUAL_WITHIN and high <= EQUAL_WITHIN:
        return Verdict(f"equal within half a {unit}")
    z = stats.norm.ppf(0.975)
    standard_error = (high - low) / (2 * z)
    needed = ONE / (z + stats.norm.ppf(POWER))
    more = (standard_error / needed) ** 2
    return Verdict("no clear difference", more if math.isfinite(more) and more > 1 else None)


def why_not_judged(runs: Sequence[RunPredictions]) -> NotJudged | None:
    """Why the test rows of these runs, which differ in their seed, tell nothing of a gain; None where they do.

    Rows of one group count once: they are not independent.
    """
    rows = max(len(run.truth) for run in runs)
    if all(_same_answers(run) for run in runs):
        return NotJudged("same answers", f"Student and baseline gave the same answer on all {rows:,} rows.")
    units = len(np.unique(np.concatenate([run.groups for run in runs])))
    if units < FEWEST_ROWS:
        grouped = ", since rows with the same id count once" if units < rows else ""
        return NotJudged(
            "too few rows",
            f"No verdict: {FEWEST_ROWS} rows or more are needed to judge a gain; here are {units}{grouped}.",
        )
    if len(np.unique(np.concatenate([run.truth for run in runs]))) == 1:
        return NotJudged("one label", f"No verdict: all {rows:,} test rows have the same label.")
    return None


def warn_about_test_sets(task: Task, tests: Mapping[str, pd.DataFrame]) -> None:
    """Say before anything is trained which test sets are too small, or too much alike, to judge a gain on.

    :param tests: frames with ``label``, by the test set's name.
    """
    for name, frame in tests.items():
        where = task.test_set_name(name)
        if len(frame) < FEWEST_ROWS:
            log.warning("%s has %d test row(s): %d or more are needed to judge a gain", where, len(frame), FEWEST_ROWS)
        labels = frame["label"].unique()
        if len(labels) == 1:
            undefined = [metric.name for metric in of_task(task) if metric.needs_two_labels]
            more = f"; {' and '.join(undefined)} will be undefined" if undefined else ""
            log.warning(
                "%s: all %s test rows have the label %s: no gain can be judged on them%s",
                where,
                f"{len(frame):,}",
                task.label_text(labels[0]),
                more,
            )


def _same_answers(run: RunPredictions) -> bool:
    if "baseline" not in run.predicted:
        return False
    return np.allclose(run.predicted["student"], run.predicted["baseline"])
