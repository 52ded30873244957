"""What the runs of a study say: means and intervals of each setting, verdicts on them, and which one to take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from automm_distill.evaluation.bootstrap import LEVEL, BootstrapResult, RunPredictions, bootstrap_mean
from automm_distill.evaluation.metrics import Ratio, distillation_ratio
from automm_distill.evaluation.scores import POOLED
from automm_distill.report.runs import Run, RunGroup, TaskRuns
from automm_distill.report.seeds import Spread, holm, over_seeds

ROLES = ("teacher", "baseline", "student")


@dataclass(frozen=True)
class Summary:
    """One setting on one test set by one metric.

    ``per_seed`` are the scores of each run by role, and its student - baseline as ``gain``. ``scores`` and ``gain`` are
    their spreads over the seeds; ``rows`` is what the test rows say of the means over the seeds, None without the runs'
    predictions; ``ratio`` is that of the means.
    """

    setting: RunGroup
    test_set: str
    metric: str
    per_seed: Mapping[str, Sequence[float | None]]
    scores: Mapping[str, Spread]
    gain: Spread | None
    rows: BootstrapResult | None
    ratio: Ratio


@dataclass(frozen=True)
class Decision:
    """``p_rows`` and ``p_seeds`` are corrected for the number of settings; ``verdict`` is their meaning in words."""

    summary: Summary
    validation: Spread
    p_rows: float | None
    p_seeds: float | None
    verdict: str


def summarize(setting: RunGroup, test_set: str, metric: str) -> Summary:
    """See :class:`Summary`."""
    measured = [run.row["scores"][test_set][metric] for run in setting.runs]
    per_seed = {role: [of_run[role] for of_run in measured] for role in ROLES if role in measured[0]}
    scores = {role: over_seeds(values) for role, values in per_seed.items()}
    gains = [_difference(of_run["student"], of_run.get("baseline")) for of_run in measured]
    gain = over_seeds(gains) if "baseline" in scores else None
    answers = [_answers(run, test_set) for run in setting.runs]
    rows = bootstrap_mean(metric, [known for known in answers if known]) if all(answers) else None
    ratio = distillation_ratio(*(scores[role].mean if role in scores else None for role in ROLES))
    if rows is None or rows.ratio is None:
        ratio = Ratio(None, ratio.reason or "the teacher's lead over the baseline is not clearly above 0")
    return Summary(setting, test_set, metric, per_seed | {"gain": gains}, scores, gain, rows, ratio)


def decide(study: TaskRuns, summaries: Sequence[Summary]) -> list[Decision]:
    """Verdicts on the settings, by the primary metric, corrected for their number by Holm's method."""
    mine = [summary for summary in summaries if (summary.test_set, summary.metric) == study.primary]
    p_rows = holm([summary.rows.p if summary.rows else None for summary in mine])
    p_seeds = holm([summary.gain.p if summary.gain else None for summary in mine])
    return [
        Decision(summary, _validation(summary.setting, study.primary[1]), rows, seeds, _verdict(summary, rows, seeds))
        for summary, rows, seeds in zip(mine, p_rows, p_seeds, strict=True)
    ]


def choose(decisions: Sequence[Decision]) -> Decision | None:
    """The setting whose students score best on the rows held out from training, not on the test rows.

    Only settings with the largest number of seeds take part: a mean over fewer is easier to be lucky with. Of equals
    the first. None where there is nothing to choose from.
    """
    known = [each for each in decisions if each.validation.mean is not None]
    if len(decisions) < 2 or not known:
        return None
    most = max(each.validation.n for each in known)
    return max((each for each in known if each.validation.n == most), key=lambda each: each.validation.mean or 0.0)


def _validation(setting: RunGroup, metric: str) -> Spread:
    return over_seeds([run.row["validation"][metric]["student"] for run in setting.runs])


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _verdict(summary: Summary, p_rows: float | None, p_seeds: float | None) -> str:
    if summary.gain is None:
        return "no baseline"
    if summary.gain.mean is None:
        return "undefined"
    better = "better" if summary.gain.mean > 0 else "worse"
    rows, seeds = (p is not None and p < 1 - LEVEL for p in (p_rows, p_seeds))
    if rows and seeds:
        return better
    if rows:
        return f"{better} with {'this seed' if summary.gain.n == 1 else 'these seeds'}"
    if seeds:
        return f"{better} on these test rows"
    return "unknown" if p_rows is None and p_seeds is None else "could be noise"


def _answers(run: Run, test_set: str) -> RunPredictions | None:
    """From the run's predictions; None when they are not there, or cut off."""
    try:
        frame = _predictions(run.predictions)
    except (FileNotFoundError, pyarrow.ArrowInvalid):
        return None
    if test_set != POOLED:
        frame = frame[frame["test_set"] == test_set]
    predicted: dict[str, Any] = {role: frame[role].to_numpy() for role in ROLES if role in frame}
    return RunPredictions(frame["label"].to_numpy(), predicted, frame["id"].astype(str).to_numpy())


@cache
def _predictions(path: Path) -> pd.DataFrame:
    roles = [role for role in ROLES if role in pyarrow.parquet.read_schema(path).names]
    return pd.read_parquet(path, columns=["test_set", "id", "label", *roles])  # without the probabilities
