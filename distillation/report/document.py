"""The report on disk: report.md with its tables and pictures, and the numbers as CSV."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import plots, tables
from .collection import Collected, Study, shown
from .summary import Decision, Summary, choose, decide, summarize

REPORT, NUMBERS = "report.md", "settings.csv"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A study with everything that was found out about it."""

    study: Study
    summaries: Sequence[Summary]
    decisions: Sequence[Decision]
    chosen: Decision | None


def judge(collected: Collected) -> list[Judged]:
    """All numbers of the report."""
    made = []
    for study in collected.studies:
        log.info("judging %s: %s settings, %s runs", study.task, len(study.settings), _runs(study))
        summaries = [
            summarize(setting, test_set, metric)
            for test_set, metrics in study.measured.items()
            for metric in metrics
            for setting in study.settings
        ]
        decisions = decide(study, summaries)
        made.append(Judged(study, summaries, decisions, choose(decisions)))
    return made


def write(judged: Sequence[Judged], left_out: Sequence[str], folder: Path) -> None:
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
        parts += [f"## {each.study.task}", _about(each.study), *sentences(each)]
        for sheet in (
            tables.verdicts(each.study, each.decisions, each.chosen),
            *tables.scores(each.study, each.summaries),
        ):
            parts += [f"### {sheet.title}", tables.markdown(sheet)]
        parts += [f"### {title}\n\n![{title}]({path.name})" for title, path in pictures.items()]
    (folder / REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    pd.concat(frames, ignore_index=True).to_csv(folder / NUMBERS, index=False)


def sentences(judged: Judged) -> list[str]:
    """What to take from a study: the warning about many comparisons, and the choice with its test score."""
    count = len(judged.decisions)
    made = []
    if count > 1:
        chance = 1 - 0.95**count
        made.append(
            f"{count} settings were compared on the same test rows: even if none gained anything, one of them would "
            f"look better or worse by chance in up to {chance:.0%} of such studies. The p-values are corrected for "
            "that (Holm)."
        )
    if judged.chosen is not None:
        made.append(_choice(judged.study, judged.chosen))
        fewer = sum(each.validation.n < judged.chosen.validation.n for each in judged.decisions)
        if fewer:
            made.append(f"{_count(fewer, 'setting')} with fewer seeds did not take part in the choice.")
    elif count == 1:
        made.append(f"The student is {judged.decisions[0].verdict}.")
    return made


def _choice(study: Study, chosen: Decision) -> str:
    summary = chosen.summary
    test_set, metric = study.primary
    point = ", ".join(f"{name} {shown(summary.setting.condition.get(name))}" for name in study.swept)
    student = summary.scores["student"].mean
    sentence = (
        f"Chosen by the validation score, not by the test score: {point} (validation {metric} "
        f"{chosen.validation.mean:.4f}, {_count(chosen.validation.n, 'seed')}). Its {metric} on {test_set} is "
        f"{'undefined' if student is None else f'{student:.4f}'}"
    )
    if summary.gain is not None and summary.gain.mean is not None:
        gain = tables.PERCENT * summary.gain.mean
        sentence += (
            f", {abs(gain):.1f} points {'better' if gain > 0 else 'worse'} than the baseline's (95 % over test rows: "
            f"{tables.interval(summary.rows.gain if summary.rows else None, '.1f', tables.PERCENT)}; over seeds: "
            f"{tables.interval(summary.gain, '.1f', tables.PERCENT)}): {chosen.verdict}"
        )
    return f"{sentence}."


def _about(study: Study) -> str:
    """What all settings have in common, and how many runs there are."""
    common = {
        name: value
        for name, value in study.settings[0].condition.items()
        if all(setting.condition.get(name) == value for setting in study.settings) and value not in (None, ())
    }
    models = f"{shown(common.get('teacher_model'))} -> {shown(common.get('student_model'))}"
    flags = " ".join(f"`{name} {shown(value)}`" for name, value in common.items())
    demonstration = " Generated sentences: the scores say nothing about real tasks." if study.demonstration else ""
    head = f"{_count(len(study.settings), 'setting')}, {_count(_runs(study), 'run')}; {models}.{demonstration}"
    return f"{head}\n\n<details><summary>The same in all of them</summary>\n\n{flags}\n\n</details>"


def _explanation() -> str:
    return (
        "Scores are means over the seeds, ± their standard deviation. *Gain* is student - baseline of the same seed, "
        "in points (hundredths). *Over test rows*: where the mean over these seeds would lie on other test rows "
        "(bootstrap, the same rows for all models). *Over seeds*: where the mean over more seeds would lie on these "
        "test rows (t-interval, paired by seed).\n\n"
        "A student is *better* or *worse* than the baseline where both are clear after the correction for the number "
        "of settings; *with these seeds* where other test rows would show it too but other seeds might not, *on these "
        "test rows* the other way round. The distillation ratio is undefined where the teacher's lead over the "
        "baseline is not clearly above 0. *Size* is the student's share of the teacher's weights."
    )


def _runs(study: Study) -> int:
    return sum(len(setting.runs) for setting in study.settings)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
