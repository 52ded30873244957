"""A plot: the scores of all students, teachers and baselines against speed-up and against size."""

from collections.abc import Sequence

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
                    axes.plot(x, mean_or_nan(summary.scores[role]), ls="", **look)
                    if label not in labelled:
                        axes.plot([], [], ls="", label=label, **look)
                        labelled.add(label)
            if chosen is not None and summary is chosen.summary:
                spread = summary.scores["student"]
                rows = summary.rows.scores["student"] if summary.rows else None
                draw_mean(axes, costs["student"], spread, rows, None, [], colour)
                axes.plot(costs["student"], mean_or_nan(spread), "o", ms=13, mfc="none", mec="black")
    if chosen is not None:
        look = dict(ms=13, mfc="none", mec="black", ls="")
        by_size.plot([], [], "o", **look, label="chosen by validation, 95 % over test rows")
    test_set, metric = task_runs.primary
    speeds = [speed for summary in summaries if (speed := speed_up(summary.group)) is not None]
    by_speed.set(xlabel="speed-up over the teacher, forward pass", ylabel=f"{metric} on {test_set}")
    if speeds:
        by_speed.set_xlim(0.8 * min(1.0, *speeds), 1.1 * max(1.0, *speeds))
    else:
        by_speed.set_xticks([])
        by_speed.text(0.5, 0.5, "not measured", transform=by_speed.transAxes, ha="center", color=TEACHER)
    by_size.set(xlabel="size (million weights)")
    by_size.set_xlim(0, 1.05 * by_size.get_xlim()[1])
    for axes in (by_speed, by_size):
        axes.grid(alpha=0.3)
    figure.suptitle(f"{task_runs.name}: score against speed-up and size")
    legend_below(figure, 2)
    return figure
