"""A plot: the scores of all students, teachers and baselines against speed-up and against size."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.report.plot_style import TEACHER, colours, draw_mean, legend_below, mean_or_nan, model_name
from automm_distill.report.runs import TaskRuns
from automm_distill.report.summary import Decision, Summary
from automm_distill.report.tables import parameters, speed_up

TEACHER_MARKERS = "*PXDv^"


def draw(task_runs: TaskRuns, summaries: Sequence[Summary], chosen: Decision | None) -> Figure:
    """A colour per student checkpoint, a marker per teacher checkpoint.

    Groups whose speed-up was not measured are in the plot of the size only.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    by_speed, by_size = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.06})
    students = list(dict.fromkeys(model_name(summary.group, "student") for summary in summaries))
    teachers = list(dict.fromkeys(model_name(summary.group, "teacher") for summary in summaries))
    labelled: set[str] = set()
    for summary in summaries:
        teacher, student = model_name(summary.group, "teacher"), model_name(summary.group, "student")
        marker = TEACHER_MARKERS[teachers.index(teacher) % len(TEACHER_MARKERS)]
        colour = colours(len(students))[students.index(student)]
        looks = {
            f"teacher: {teacher}": ("teacher", dict(marker=marker, color=TEACHER, ms=9)),
            f"baseline: {student}": ("baseline", dict(marker="s", color=colour, ms=6, mfc="none")),
            f"student: {student}": ("student", dict(marker="o", color=colour, ms=6, alpha=0.8)),
        }
        millions = {role: parameters(summary.group, role) / 1e6 for role in ("teacher", "student")}
        speed = speed_up(summary.group)
        panels = [(by_size, millions)]
        if speed is not None:
            panels.append((by_speed, {"teacher": 1.0, "student": speed}))
        for axes, costs in panels:
            for label, (role, look) in looks.items():
                if role in summary.scores:
                    x = costs["teacher" if role == "teacher" else "student"]
                    shown = {"label": label} if label not in labelled else {}
                    axes.plot(x, mean_or_nan(summary.scores[role]), ls="", **look, **shown)
                    labelled.add(label)
            if chosen is not None and summary is chosen.summary:
                _ring(axes, costs["student"], summary, colour)
    if chosen is not None:
        look = dict(ms=13, mfc="none", mec="black", ls="")
        by_size.plot([], [], "o", **look, label="chosen by validation, 95 % over test rows")
    test_set, metric = task_runs.primary
    by_speed.set(xlabel="speed-up over the teacher, forward pass", ylabel=f"{metric} on {test_set}")
    _limit_speeds(by_speed, [speed_up(summary.group) for summary in summaries])
    by_size.set(xlabel="size (million weights)")
    by_size.set_xlim(0, 1.05 * by_size.get_xlim()[1])
    for axes in (by_speed, by_size):
        axes.grid(alpha=0.3)
    figure.suptitle(f"{task_runs.name}: score against speed-up and size")
    legend_below(figure, 2)
    return figure


def _ring(axes: Axes, cost: float, summary: Summary, colour: Any) -> None:
    """Mark the chosen student, with its interval over test rows."""
    spread = summary.scores["student"]
    rows = summary.rows.scores["student"] if summary.rows else None
    draw_mean(axes, cost, spread, rows, None, [], colour)
    axes.plot(cost, mean_or_nan(spread), "o", ms=13, mfc="none", mec="black")


def _limit_speeds(axes: Axes, speeds: Sequence[float | None]) -> None:
    known = [speed for speed in speeds if speed is not None]
    if known:
        axes.set_xlim(0.8 * min(1.0, *known), 1.1 * max(1.0, *known))
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=TEACHER)
