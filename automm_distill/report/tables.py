"""Tables of a study: for Markdown, for the screen, and as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from automm_distill.evaluation.bootstrap import Interval
from automm_distill.report.runs import RunGroup, TaskRuns, format_value
from automm_distill.report.seeds import Spread
from automm_distill.report.summary import ROLES, Decision, Summary

PERCENT = 100


@dataclass(frozen=True)
class TextTable:
    """A table of texts; the columns in ``numbers`` are aligned to the right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: range


def scores(study: TaskRuns, summaries: Sequence[Summary]) -> list[TextTable]:
    """One sheet per test set and metric, in the form that distillation results are published in."""
    headings = [*study.varied_flags, "seeds", "teacher", "pretrained", "student", "gain", "gain, 95 % over test rows"]
    headings += ["gain, 95 % over seeds", "distillation ratio", "ratio, 95 % over test rows", "speed-up", "size"]
    sheets = []
    for test_set, metrics in study.measured.items():
        for metric in metrics:
            rows = [
                [*_point(study, each.setting), *_numbers(each)]
                for each in summaries
                if (each.test_set, each.metric) == (test_set, metric)
            ]
            sheets.append(
                TextTable(f"{test_set}: {metric}", headings, rows, range(len(study.varied_flags), len(headings)))
            )
    return sheets


def verdicts(study: TaskRuns, decisions: Sequence[Decision], chosen: Decision | None) -> TextTable:
    """What can be said of each setting, after correction for having looked at all of them."""
    test_set, metric = study.primary
    rows = [
        [
            *_point(study, each.summary.setting),
            _spread(each.validation) + (" (chosen)" if each is chosen else ""),
            _gain(each.summary),
            _p(each.p_rows),
            _p(each.p_seeds),
            each.verdict,
        ]
        for each in decisions
    ]
    headings = [
        *study.varied_flags,
        f"validation {metric}",
        f"gain on {test_set}",
        "p over test rows*",
        "p over seeds*",
    ]
    numbers = range(len(study.varied_flags), len(headings))
    return TextTable("verdicts (* corrected by Holm's method)", [*headings, "the student is"], rows, numbers)


def markdown(sheet: TextTable) -> str:
    """The sheet as a Markdown table."""
    alignment = ["---:" if number in sheet.numbers else "---" for number in range(len(sheet.headings))]
    cells = [[text.replace("|", "\\|") for text in row] for row in (sheet.headings, alignment, *sheet.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def rich_table(sheet: TextTable, title: str) -> Table:
    """The sheet for the logs."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, heading in enumerate(sheet.headings):
        table.add_column(heading, justify="right" if number in sheet.numbers else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*row)
    return table


def csv(study: TaskRuns, summaries: Sequence[Summary], decisions: Sequence[Decision]) -> pd.DataFrame:
    """One line per setting, test set and metric; scores as they are, not in percent."""
    decided = {id(decision.summary): decision for decision in decisions}
    lines = []
    for each in summaries:
        line: dict[str, Any] = {"task": study.name, "test_set": each.test_set, "metric": each.metric}
        line |= {name: format_value(each.setting.config.get(name)) for name in study.varied_flags}
        line |= {"seeds": " ".join(str(run.seed) for run in each.setting.runs)}
        for role in ROLES:
            spread = each.scores.get(role)
            line |= {role: spread.mean if spread else None, f"{role}_sd": spread.sd if spread else None}
            line |= _ends(f"{role}_rows", each.rows.scores.get(role) if each.rows else None)
        line |= {"gain": each.gain.mean if each.gain else None, "gain_sd": each.gain.sd if each.gain else None}
        line |= _ends("gain_rows", each.rows.gain if each.rows else None)
        line |= _ends("gain_seeds", each.gain)
        line |= {"distillation_ratio": each.ratio.value}
        line |= _ends("distillation_ratio_rows", each.rows.ratio if each.rows else None)
        line |= {"speed_up": speed_up(each.setting), **_sizes(each.setting)}
        decision = decided.get(id(each))
        if decision:
            line |= {"validation": decision.validation.mean, "p_rows_holm": decision.p_rows}
            line |= {"p_seeds_holm": decision.p_seeds, "verdict": decision.verdict}
        lines.append(line)
    return pd.DataFrame(lines)


def speed_up(setting: RunGroup) -> float:
    """Of the forward pass; the median over the runs."""
    return float(np.median([run.row["speed_up"]["forward"]["ratio"] for run in setting.runs]))


def size(setting: RunGroup) -> float:
    """The student's number of weights, as a share of the teacher's."""
    sizes = setting.runs[0].row["size"]
    return sizes["student"]["parameters"] / sizes["teacher"]["parameters"]


def interval(made: Interval | Spread | None, form: str, scale: float = 1) -> str:
    """Its ends, "n/a" where there are none."""
    if made is None or made.low is None or made.high is None:
        return "n/a"
    return f"{scale * made.low:{form}} to {scale * made.high:{form}}"


def _point(study: TaskRuns, setting: RunGroup) -> list[str]:
    return [format_value(setting.config.get(name)) for name in study.varied_flags]


def _numbers(summary: Summary) -> list[str]:
    setting, rows = summary.setting, summary.rows
    ratio = summary.ratio.value
    return [
        str(len(setting.runs)),
        *(_spread(summary.scores.get(role)) for role in ROLES),
        _gain(summary),
        interval(rows.gain if rows else None, "+.2f", PERCENT),
        interval(summary.gain, "+.2f", PERCENT),
        f"{ratio:.2f}" if ratio is not None else "n/a" if summary.gain is None else "undefined",
        interval(rows.ratio if rows and ratio is not None else None, ".2f"),
        f"{speed_up(setting):.2f}x",
        f"{size(setting):.0%}",
    ]


def _gain(summary: Summary) -> str:
    return "n/a" if summary.gain is None or summary.gain.mean is None else f"{PERCENT * summary.gain.mean:+.2f}"


def _spread(spread: Spread | None) -> str:
    if spread is None or spread.mean is None:
        return "n/a"
    return f"{spread.mean:.4f}" + ("" if spread.sd is None else f" ± {spread.sd:.4f}")


def _p(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2g}"


def _sizes(setting: RunGroup) -> dict[str, int]:
    sizes = setting.runs[0].row["size"]
    return {f"{role}_parameters": sizes[role]["parameters"] for role in ("teacher", "student")}


def _ends(name: str, made: Interval | Spread | None) -> dict[str, float | None]:
    return {f"{name}_low": made.low if made else None, f"{name}_high": made.high if made else None}
