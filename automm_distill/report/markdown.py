"""The report on disk: report.md with its tables and pictures, and the numbers as CSV."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from automm_distill.evaluation.bootstrap import LEVEL
from automm_distill.report import plots, tables
from automm_distill.report.runs import LoadedRuns, TaskRuns, format_value
from automm_distill.report.summary import Decision, Summary, choose, decide, summarize

REPORT, NUMBERS = "report.md", "settings.csv"

# What a verdict says, besides better or worse, as the end of a sentence.
MEANINGS = {
    "": "other test rows and other seeds would show it too",
    "with these seeds": "other test rows would show it too, other seeds might not",
    "with this seed": "other test rows would show it too, other seeds might not",
    "on these test rows": "other seeds would show it too, other test rows might not",
    "could be noise": "not distinguishable from noise",
    "unknown": "whether that is noise, these files cannot tell",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyResult:
    """A study with everything that was found out about it."""

    study: TaskRuns
    summaries: Sequence[Summary]
    decisions: Sequence[Decision]
    chosen: Decision | None


def bootstrap_run(collected: LoadedRuns) -> list[StudyResult]:
    """All numbers of the report."""
    made = []
    for study in collected.studies:
        log.info("judging %s: %s settings, %s runs", study.name, len(study.settings), _runs(study))
        summaries = [
            summarize(setting, test_set, metric)
            for test_set, metrics in study.measured.items()
            for metric in metrics
            for setting in study.settings
        ]
        decisions = decide(study, summaries)
        made.append(StudyResult(study, summaries, decisions, choose(decisions)))
    return made


def write(judged: Sequence[StudyResult], left_out: Sequence[str], folder: Path) -> None:
    """Leave the report in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# What distillation gained"]
    if left_out:
        parts.append(f"Left out: {'; '.join(left_out)}.")
    parts.append(_explanation())
    frames = []
    for each in judged:
        pictures = plots.draw(each.study, each.summaries, each.chosen, folder)
        frames.append(tables.csv(each.study, each.summaries, each.decisions))
        parts += [f"## {each.study.name}", _about(each.study), *sentences(each)]
        for sheet in (
            tables.verdicts(each.study, each.decisions, each.chosen),
            *tables.scores(each.study, each.summaries),
        ):
            parts += [f"### {sheet.title}", tables.markdown(sheet)]
        parts += [f"### {title}\n\n![{title}]({path.name})" for title, path in pictures.items()]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    pd.concat(frames, ignore_index=True).to_csv(folder / NUMBERS, index=False)


def sentences(judged: StudyResult) -> list[str]:
    """What to take from a study: its caveats, and last the answer."""
    study, decisions, chosen = judged.study, judged.decisions, judged.chosen
    tested = sum(each.p_rows is not None or each.p_seeds is not None for each in decisions)
    made = []
    if study.demonstration:
        made.append("These are generated sentences; the scores say nothing about real tasks.")
    circumstances = [name for name in study.varied_flags if name not in study.flags]
    if circumstances:
        made.append(f"The runs differ in {', '.join(circumstances)}, and only runs that do not are averaged.")
    unknown = sum(each.summary.rows is None for each in decisions)
    if unknown:
        made.append(f"{_count(unknown, 'setting')} without all predictions: no intervals over test rows there.")
    if tested > 1:
        chance = 1 - LEVEL**tested
        made.append(
            f"{tested} settings were compared on the same test rows: even if none gained anything, one of them would "
            f"look better or worse by chance in up to {chance:.0%} of such studies. The p-values are corrected for "
            "that (Holm)."
        )
    if chosen is None:
        return [*made, *(_gained(study, each, tested) for each in decisions if len(decisions) == 1)]
    fewer = sum(each.validation.n < chosen.validation.n for each in decisions)
    if fewer:
        made.append(f"{_count(fewer, 'setting')} with fewer seeds did not take part in the choice.")
    equal = sum(each.validation == chosen.validation for each in decisions) - 1
    point = ", ".join(f"{name} {format_value(chosen.summary.setting.config.get(name))}" for name in study.varied_flags)
    made.append(
        f"Chosen by the validation score, not by the test score: {point} (validation {study.primary[1]} "
        f"{chosen.validation.mean:.4f}, {_count(chosen.validation.n, 'seed')}"
        f"{f', the first of {equal + 1} equals' if equal else ''}). {_gained(study, chosen, tested)}"
    )
    return made


def _gained(study: TaskRuns, decision: Decision, tested: int) -> str:
    summary, (test_set, metric) = decision.summary, study.primary
    student = summary.scores["student"].mean
    if student is None:
        return f"Its {metric} on {test_set} is undefined."
    reached = f"The student's {metric} on {test_set} is {student:.4f}"
    if summary.gain is None or summary.gain.mean is None:
        return f"{reached}; without a baseline nothing can be said of what distillation gained."
    gain = tables.PERCENT * summary.gain.mean
    sure = decision.verdict.removeprefix("better").removeprefix("worse").strip()
    corrected = f"after correction for {tested} settings " if tested > 1 else ""
    return (
        f"{reached}, {abs(gain):.1f} points {'better' if gain > 0 else 'worse'} than the baseline's (95 % over test "
        f"rows: {tables.interval(summary.rows.gain if summary.rows else None, '.1f', tables.PERCENT)}; over seeds: "
        f"{tables.interval(summary.gain, '.1f', tables.PERCENT)}); {corrected}{MEANINGS[sure]}."
    )


def _about(study: TaskRuns) -> str:
    """What all settings have in common, and how many runs there are."""
    common = {
        name: value
        for name, value in study.settings[0].config.items()
        if all(setting.config.get(name) == value for setting in study.settings) and value not in (None, ())
    }
    models = " -> ".join(format_value(common.get(f"{role}_model", "several")) for role in ("teacher", "student"))
    flags = " ".join(f"`{name} {format_value(value)}`" for name, value in common.items())
    head = f"{_count(len(study.settings), 'setting')}, {_count(_runs(study), 'run')}; {models}."
    return f"{head}\n\n<details><summary>The same in all of them</summary>\n\n{flags}\n\n</details>"


def _explanation() -> str:
    return (
        "Scores are means over the seeds, ± their standard deviation. *Gain* is student - baseline of the same seed, "
        "in points (hundredths).\n\n"
        "*Over test rows*: a 95 % interval for the mean gain of these very models on all rows of this kind (bootstrap, "
        "the same rows for all models). *Over seeds*: a 95 % interval for the mean gain over all seeds (t-interval, "
        "paired by seed). Neither contains the other.\n\n"
        "A student is *better* or *worse* than the baseline where both are clear after the correction for the number "
        "of settings; *with these seeds* where the test rows are clear and the seeds are not, *on these test rows* the "
        "other way round. Verdicts, choice and plots are about the first metric of the first test set, and corrected "
        "within one task.\n\n"
        "The distillation ratio is undefined where the teacher's lead over the baseline is not clearly above 0. "
        "*Size* is the student's share of the teacher's weights."
    )


def _runs(study: TaskRuns) -> int:
    return sum(len(setting.runs) for setting in study.settings)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
