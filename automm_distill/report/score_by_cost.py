"""A plot: the scores of all models and exported forms against speed-up and against size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.export_formats import FORMATS, HF, INT8, ONNX, THROUGHPUT
from automm_distill.report.plot_style import TEACHER, colours, draw_mean, legend_below, mean_or_nan, model_name
from automm_distill.report.runs import TaskRuns
from automm_distill.report.summary import Decision, Summary
from automm_distill.report.tables import speed_up

TEACHER_MARKERS = "*PXDph"
FORM_MARKERS = {HF: "<", ONNX: ">", INT8: "^"}
FORM_SIZE = 9  # of a marker, in points
MEGABYTE = 1e6

Look = tuple[str, dict[str, Any]]  # a role, and how its points look
Points = Mapping[str, tuple[float, float]]  # by form: the cost and the score


def draw(task_runs: TaskRuns, summaries: Sequence[Summary], chosen: Decision | None) -> Figure:
    """A colour per student checkpoint, a marker per teacher checkpoint and per exported form.

    What has no measured speed-up is in the plot of the size only.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    by_speed, by_size = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.06})
    students = list(dict.fromkeys(model_name(summary.group, "student") for summary in summaries))
    teachers = list(dict.fromkeys(model_name(summary.group, "teacher") for summary in summaries))
    labelled: set[str] = set()
    speeds = [speed_up(summary.group) for summary in summaries]
    exported = [_exported(summary) for summary in summaries]
    for summary, speed, forms in zip(summaries, speeds, exported, strict=True):
        teacher, student = model_name(summary.group, "teacher"), model_name(summary.group, "student")
        marker = TEACHER_MARKERS[teachers.index(teacher) % len(TEACHER_MARKERS)]
        colour = colours(len(students))[students.index(student)]
        looks: dict[str, Look] = {
            f"teacher: {teacher}": ("teacher", dict(marker=marker, color=TEACHER, ms=9)),
            f"baseline: {student}": ("baseline", dict(marker="s", color=colour, ms=6, mfc="none")),
            f"student: {student}": ("student", dict(marker="o", color=colour, ms=6, alpha=0.8)),
        }
        sizes = summary.group.runs[0].row["size"]
        in_megabytes = {role: sizes[role]["bytes"] / MEGABYTE for role in ("teacher", "student") if role in sizes}
        panels = [(by_size, in_megabytes)]
        if speed is not None:
            panels.append((by_speed, {"teacher": 1.0, "student": speed}))
        for axes, costs in panels:
            _draw_models(axes, costs, summary, looks, labelled)
            if chosen is not None and summary is chosen.summary:
                _ring(axes, costs["student"], summary, colour)
        for axes, points in zip((by_speed, by_size), forms, strict=True):
            _draw_forms(axes, points, colour)
    for form in sorted({form for _, of_size in exported for form in of_size}, key=FORMATS.index):
        by_size.plot([], [], FORM_MARKERS[form], color=TEACHER, ms=FORM_SIZE, mfc="none", label=f"exported: {form}")
    if chosen is not None:
        look = dict(ms=13, mfc="none", mec="black", ls="")
        by_size.plot([], [], "o", **look, label="chosen by validation, 95 % over test rows")
    test_set, metric = task_runs.primary
    better = " (lower is better)" if task_runs.metric(metric).lower_is_better else ""
    by_speed.set(ylabel=f"{metric} on {test_set}{better}")
    _scale_speeds(by_speed, speeds, [cost for of_speed, _ in exported for cost, _ in of_speed.values()])
    by_size.set(xlabel="size on disk (MB)")
    by_size.set_xlim(0, 1.05 * by_size.get_xlim()[1])
    for axes in (by_speed, by_size):
        axes.grid(alpha=0.3)
    figure.suptitle(f"{task_runs.name}: score against speed-up and size")
    legend_below(figure, 2)
    return figure


def _draw_models(
    axes: Axes, costs: Mapping[str, float], summary: Summary, looks: Mapping[str, Look], labelled: set[str]
) -> None:
    """The mean scores of teacher, baseline and student; each label once in the figure."""
    for label, (role, look) in looks.items():
        cost = "teacher" if role == "teacher" else "student"
        if role in summary.scores and cost in costs:  # a file of predictions has no size
            x = costs[cost]
            shown: dict[str, Any] = {"label": label} if label not in labelled else {}
            axes.plot(x, mean_or_nan(summary.scores[role]), ls="", **look, **shown)
            labelled.add(label)


def _draw_forms(axes: Axes, points: Points, colour: Any) -> None:
    for form, (cost, score) in points.items():
        axes.plot(cost, score, FORM_MARKERS[form], color=colour, ms=FORM_SIZE, mfc="none")


def _exported(summary: Summary) -> tuple[Points, Points]:
    """Where the exported forms lie by speed-up and by megabytes: means over the runs that know both numbers.

    The speed-up is over the teacher as the export timed it, in batches.
    """
    by_speed: dict[str, list[tuple[float, float]]] = {}
    by_size: dict[str, list[tuple[float, float]]] = {}
    for run in summary.group.runs:
        export = run.row.get("export", {})
        teacher = export.get("models", {}).get("teacher", {})
        for form, found in export.get("forms", {}).items():
            score = found["scores"][summary.test_set][summary.metric.name]
            if score is None:
                continue
            by_size.setdefault(form, []).append((found["bytes"] / MEGABYTE, score))
            if THROUGHPUT in found and THROUGHPUT in teacher:
                by_speed.setdefault(form, []).append((found[THROUGHPUT] / teacher[THROUGHPUT], score))
    return _means(by_speed), _means(by_size)


def _means(points: Mapping[str, Sequence[tuple[float, float]]]) -> Points:
    means = {form: np.mean(of_form, axis=0) for form, of_form in points.items()}
    return {form: (float(cost), float(score)) for form, (cost, score) in means.items()}


def _ring(axes: Axes, cost: float, summary: Summary, colour: Any) -> None:
    """Mark the chosen student, with its interval over test rows."""
    spread = summary.scores["student"]
    rows = summary.rows.scores["student"] if summary.rows else None
    draw_mean(axes, cost, spread, rows, None, [], colour)
    axes.plot(cost, mean_or_nan(spread), "o", ms=13, mfc="none", mec="black")


def _scale_speeds(axes: Axes, speeds: Sequence[float | None], form_speeds: Sequence[float]) -> None:
    known = [*(speed for speed in speeds if speed is not None), *form_speeds]
    axes.set_xlabel("speed-up over the teacher, forward pass" + ("\n(exported: on the CPU)" if form_speeds else ""))
    if known:
        axes.set_xlim(0.8 * min(1.0, *known), 1.1 * max(1.0, *known))
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=TEACHER)
