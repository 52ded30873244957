"""The tables of a report, and its numbers for a CSV file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from automm_distill.evaluation.bootstrap import Interval
from automm_distill.evaluation.metrics import Metric
from automm_distill.report.runs import RunGroup, StoppedConfig, TaskRuns, format_value
from automm_distill.report.seeds import Spread
from automm_distill.report.summary import ROLES, Decision, Summary
from automm_distill.text_table import TextTable


def scores(task_runs: TaskRuns, summaries: Sequence[Summary]) -> list[TextTable]:
    """One table per test set and metric, a line per group."""
    headings = [*task_runs.columns, "seeds", "teacher", "baseline", "student", "gain", "gain, 95 % over test rows"]
    headings += ["gain, 95 % over seeds", "distillation ratio", "ratio, 95 % over test rows", "speed-up", "size"]
    numbers = range(len(task_runs.columns), len(headings))
    tables = []
    for test_set, metrics in task_runs.metrics.items():
        for metric in metrics:
            rows = [
                [*_column_values(task_runs, summary.group), *_cells(summary)]
                for summary in summaries
                if (summary.test_set, summary.metric.name) == (test_set, metric)
            ]
            tables.append(TextTable(f"{test_set}: {metric}", headings, rows, numbers))
    return tables


def verdicts(task_runs: TaskRuns, decisions: Sequence[Decision], chosen: Decision | None) -> TextTable:
    """What can be said of each group, corrected for the number of comparisons."""
    test_set, metric = task_runs.primary
    rows = [
        [
            *_column_values(task_runs, decision.summary.group),
            _mean_and_sd(decision.validation, decision.summary.metric) + (" (chosen)" if decision is chosen else ""),
            _gain(decision.summary),
            _p_value(decision.p_rows),
            _p_value(decision.p_seeds),
            decision.verdict,
        ]
        for decision in decisions
    ]
    headings = [*task_runs.columns, f"validation {metric}", f"gain on {test_set}", "p over test rows*"]
    headings += ["p over seeds*", "student against baseline"]
    numbers = range(len(task_runs.columns), len(headings) - 1)
    return TextTable("verdicts (* corrected by Holm's method)", headings, rows, numbers)


def csv_lines(task_runs: TaskRuns, summaries: Sequence[Summary], decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """A line per group, test set and metric; scores from 0 to 1, not in points. Then one per stopped trial.

    A gain is positive where the student is better, also of an error.
    """
    decision_of = {id(decision.summary): decision for decision in decisions}
    lines = []
    for summary in summaries:
        line: dict[str, Any] = {"task": task_runs.name, "test_set": summary.test_set, "metric": summary.metric.name}
        line |= {name: format_value(summary.group.config.get(name)) for name in task_runs.columns}
        line |= {"seeds": " ".join(str(run.seed) for run in summary.group.runs)}
        for role in ROLES:
            spread = summary.scores.get(role)
            line |= {role: spread.mean if spread else None, f"{role}_sd": spread.sd if spread else None}
            line |= _bounds(f"{role}_rows", summary.rows.scores.get(role) if summary.rows else None)
        gain = summary.gain
        line |= {"gain": gain.mean if gain else None, "gain_sd": gain.sd if gain else None}
        line |= _bounds("gain_rows", summary.rows.gain if summary.rows else None)
        line |= _bounds("gain_seeds", gain)
        line |= {"distillation_ratio": summary.ratio.value}
        line |= _bounds("distillation_ratio_rows", summary.rows.ratio if summary.rows else None)
        line |= {"speed_up": speed_up(summary.group)}
        line |= {f"{role}_parameters": parameters(summary.group, role) for role in ("teacher", "student")}
        decision = decision_of.get(id(summary))
        if decision:
            line |= {"validation": decision.validation.mean, "p_rows_holm": decision.p_rows}
            line |= {"p_seeds_holm": decision.p_seeds, "verdict": decision.verdict}
        lines.append(line)
    return lines + [_stopped_line(task_runs, stopped, row) for stopped in task_runs.stopped for row in stopped.rows]


def _stopped_line(task_runs: TaskRuns, stopped: StoppedConfig, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": task_runs.name,
        "metric": row["best_validation"]["metric"],
        **{name: format_value(stopped.config.get(name)) for name in task_runs.columns},
        "seeds": str(row["settings"]["seed"]),
        "validation": row["best_validation"]["score"],
        "verdict": f"stopped at epoch {row['rung']}",
    }


def speed_up(group: RunGroup) -> float | None:
    """Teacher's over student's time for a forward pass, the median over the runs; None where none was timed."""
    timed = [run.row["speed_up"]["forward"]["ratio"] for run in group.runs if "forward" in run.row["speed_up"]]
    return float(np.median(timed)) if timed else None


def parameters(group: RunGroup, role: str) -> int | None:
    """The number of weights of the group's teacher or student; None for a teacher of which only outputs are known."""
    return group.runs[0].row["size"].get(role, {}).get("parameters")


def interval(bounds: Interval | Spread | None, shown: Callable[[float], str]) -> str:
    """An interval as text, "n/a" where there is none.

    :param shown: a bound as text.
    """
    if bounds is None or bounds.low is None or bounds.high is None:
        return "n/a"
    return f"{shown(bounds.low)} to {shown(bounds.high)}"


def gain_interval(bounds: Interval | Spread | None, metric: Metric) -> str:
    """The interval of a gain."""
    return interval(bounds, partial(metric.gain_text, decimals=2))


def _column_values(task_runs: TaskRuns, group: RunGroup) -> list[str]:
    return [format_value(group.config.get(name)) for name in task_runs.columns]


def _cells(summary: Summary) -> list[str]:
    group, rows, metric = summary.group, summary.rows, summary.metric
    ratio, speed = summary.ratio.value, speed_up(summary.group)
    of_teacher, of_student = parameters(group, "teacher"), parameters(group, "student")
    return [
        str(len(group.runs)),
        *(_mean_and_sd(summary.scores.get(role), metric) for role in ROLES),
        _gain(summary),
        gain_interval(rows.gain if rows else None, metric),
        gain_interval(summary.gain, metric),
        f"{ratio:.2f}" if ratio is not None else "n/a" if summary.gain is None else "undefined",
        interval(rows.ratio if rows and ratio is not None else None, "{:.2f}".format),
        "n/a" if speed is None else f"{speed:.2f}x",
        "n/a" if of_teacher is None or of_student is None else f"{of_student / of_teacher:.0%}",
    ]


def _gain(summary: Summary) -> str:
    if summary.gain is None or summary.gain.mean is None:
        return "n/a"
    return summary.metric.gain_text(summary.gain.mean, 2)


def _mean_and_sd(spread: Spread | None, metric: Metric) -> str:
    if spread is None or spread.mean is None:
        return "n/a"
    return metric.score_text(spread.mean) + ("" if spread.sd is None else f" ± {metric.score_text(spread.sd)}")


def _p_value(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2g}"


def _bounds(name: str, bounds: Interval | Spread | None) -> dict[str, float | None]:
    return {f"{name}_low": bounds.low if bounds else None, f"{name}_high": bounds.high if bounds else None}
