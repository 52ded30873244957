"""What the runs of a task say: means and intervals of each group, verdicts on them, and which group to take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from automm_distill.evaluation.bootstrap import LEVEL, BootstrapResult, RunPredictions, bootstrap_mean, bootstrap_run
from automm_distill.evaluation.metrics import Metric, Ratio, distillation_ratio
from automm_distill.evaluation.scores import POOLED
from automm_distill.evaluation.verdict import NotJudged, why_not_judged
from automm_distill.predictions import PROBABILITIES
from automm_distill.report.runs import Run, RunGroup, TaskRuns
from automm_distill.report.seeds import Spread, holm, over_seeds

ROLES = ("teacher", "baseline", "student")
ZERO = 1e-9  # a difference of two scores that is no larger is a rounding error

Evidence = Literal["clear", "these seeds only", "this seed only", "these test rows only", "none", "unknown"]


@dataclass(frozen=True)
class Summary:
    """One group on one test set by one metric.

    ``per_seed`` has each run's scores by role, and the student's ``gain`` over the baseline; ``scores`` and ``gain``
    are their spreads over the seeds. ``rows`` has the intervals of the means over the test rows, None without the runs'
    predictions. ``ratio`` is that of the means. ``not_judged`` says why the test rows tell nothing of the gain.
    """

    group: RunGroup
    test_set: str
    metric: Metric
    per_seed: Mapping[str, Sequence[float | None]]
    scores: Mapping[str, Spread]
    gain: Spread | None
    rows: BootstrapResult | None
    ratio: Ratio
    not_judged: NotJudged | None


@dataclass(frozen=True)
class Decision:
    """A summary by the primary metric, with p-values corrected for the number of configurations.

    ``validation`` is the students' score on the hold-out. ``evidence`` says which p-values are below 5 %.
    """

    summary: Summary
    validation: Spread
    p_rows: float | None
    p_seeds: float | None
    evidence: Evidence

    @property
    def verdict(self) -> str:
        """The student against the baseline, in a few words."""
        gain = self.summary.gain
        if gain is None:
            return "no baseline"
        if gain.mean is None:
            return "undefined"
        if self.summary.not_judged:
            return self.summary.not_judged.words
        if self.evidence in ("none", "unknown"):
            return "no clear difference" if self.evidence == "none" else "unknown"
        only = "" if self.evidence == "clear" else f" ({self.evidence})"
        return f"{direction(gain.mean)}{only}"


def direction(gain: float) -> str:
    """How the student compares with the baseline: "better", "worse", or "equal" for a gain of 0."""
    if abs(gain) <= ZERO:
        return "equal"
    return "better" if gain > 0 else "worse"


def summarize(group: RunGroup, task_runs: TaskRuns) -> list[Summary]:
    """One summary per test set and metric. The runs' predictions are in memory only meanwhile."""
    metrics = {test_set: [task_runs.metric(name) for name in of_set] for test_set, of_set in task_runs.metrics.items()}
    probabilities = any(metric.needs == "probability" for of_set in metrics.values() for metric in of_set)
    predictions = [read_predictions(run, probabilities=probabilities) for run in group.runs]
    return [
        _summarize(group, test_set, metric, [_of_test_set(frame, test_set, metric) for frame in predictions])
        for test_set, of_set in metrics.items()
        for metric in of_set
    ]


def decide(task_runs: TaskRuns, summaries: Sequence[Summary]) -> list[Decision]:
    """Verdicts on the groups by the primary metric, corrected by Holm's method for all that were tried.

    Those that a search stopped early count too: they were left behind for their scores.
    """
    primary_summaries = of_primary(task_runs, summaries)
    stopped = len(task_runs.stopped)
    p_rows = holm([summary.rows.p if summary.rows else None for summary in primary_summaries], stopped)
    p_seeds = holm([summary.gain.p if summary.gain else None for summary in primary_summaries], stopped)
    return [
        Decision(summary, _validation(summary.group, summary.metric), rows, seeds, _evidence(summary, rows, seeds))
        for summary, rows, seeds in zip(primary_summaries, p_rows, p_seeds, strict=True)
    ]


def of_primary(task_runs: TaskRuns, summaries: Sequence[Summary]) -> list[Summary]:
    """Those by the metric that verdicts and the choice rely on."""
    return [summary for summary in summaries if (summary.test_set, summary.metric.name) == task_runs.primary]


def choose(decisions: Sequence[Decision]) -> Decision | None:
    """The group whose students score best on the hold-out; test rows are never used for selection.

    Only groups with the largest number of seeds take part, since the best mean over few seeds is often a lucky one. Of
    equals the first. None where there is nothing to choose from.
    """
    scored = [decision for decision in decisions if decision.validation.mean is not None]
    if len(decisions) < 2 or not scored:
        return None
    most_seeds = max(decision.validation.n for decision in scored)
    candidates = [decision for decision in scored if decision.validation.n == most_seeds]
    return max(candidates, key=lambda decision: decision.summary.metric.merit(decision.validation.mean))


def best_run(decision: Decision) -> Run:
    """Of a group whose validation scores are known, the run whose student has the best; of equals the first."""
    metric = decision.summary.metric
    return max(decision.summary.group.runs, key=lambda run: metric.merit(run.row["validation"][metric.name]["student"]))


def _summarize(group: RunGroup, test_set: str, metric: Metric, predictions: Sequence[RunPredictions | None]) -> Summary:
    by_run = [run.row["scores"][test_set][metric.name] for run in group.runs]
    per_seed = {role: [scores[role] for scores in by_run] for role in ROLES if all(role in scores for scores in by_run)}
    spreads = {role: over_seeds(values) for role, values in per_seed.items()}
    gains = [_gain(metric, scores["student"], scores.get("baseline")) for scores in by_run]
    gain = over_seeds(gains) if "baseline" in spreads else None
    known = [run for run in predictions if run is not None]
    rows = _over_rows(metric, known) if len(known) == len(predictions) else None
    ratio = distillation_ratio(metric, *(spreads[role].mean if role in spreads else None for role in ROLES))
    if rows is None or rows.ratio is None:
        ratio = Ratio(None, ratio.reason or "the teacher's lead over the baseline is not clearly above 0")
    not_judged = why_not_judged(known) if rows is not None else None
    return Summary(group, test_set, metric, per_seed | {"gain": gains}, spreads, gain, rows, ratio, not_judged)


def _validation(group: RunGroup, metric: Metric) -> Spread:
    return over_seeds([run.row["validation"][metric.name]["student"] for run in group.runs])


def _over_rows(metric: Metric, runs: Sequence[RunPredictions]) -> BootstrapResult:
    """Intervals over test rows of the mean over runs; of a single run the same as on its own screen."""
    if len(runs) > 1:
        return bootstrap_mean(metric, runs)
    return bootstrap_run(metric, runs[0].truth, runs[0].predicted, runs[0].groups)


def _gain(metric: Metric, one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else metric.gain(one, other)


def _evidence(summary: Summary, p_rows: float | None, p_seeds: float | None) -> Evidence:
    rows, seeds = (p is not None and p < 1 - LEVEL for p in (p_rows, p_seeds))
    if rows and seeds:
        return "clear"
    if rows:
        return "this seed only" if len(summary.group.runs) == 1 else "these seeds only"
    if seeds:
        return "these test rows only"
    return "unknown" if p_rows is None and p_seeds is None else "none"


def read_predictions(run: Run, *, probabilities: bool) -> pd.DataFrame | None:
    """Labels and what was predicted, with probabilities if asked for; None where the file is absent or cut off."""
    try:
        roles = [role for role in ROLES if role in pyarrow.parquet.read_schema(run.predictions).names]
        more = [f"{role}{PROBABILITIES}" for role in roles] if probabilities else []
        return pd.read_parquet(run.predictions, columns=["test_set", "id", "label", *roles, *more])
    except (FileNotFoundError, pyarrow.ArrowInvalid):
        return None


def _of_test_set(frame: pd.DataFrame | None, test_set: str, metric: Metric) -> RunPredictions | None:
    if frame is None:
        return None
    if test_set != POOLED:
        frame = frame[frame["test_set"] == test_set]
    predicted: dict[str, Any] = {  # a teacher that is a file may lack rows
        role: frame[role].to_numpy() for role in ROLES if role in frame and frame[role].notna().all()
    }
    if metric.needs == "probability":
        predicted = {role: metric.answers(np.stack(frame[f"{role}{PROBABILITIES}"])) for role in predicted}
    return RunPredictions(frame["label"].to_numpy(), predicted, frame["id"].astype(str).to_numpy())
