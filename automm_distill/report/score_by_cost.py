"""A plot: scores against speed-up, and against size, of all students, their teachers and baselines."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from automm_distill.report.plot_style import TEACHER, colours, legend_below, mean, model, point
from automm_distill.report.runs import RunGroup, TaskRuns
from automm_distill.report.summary import Decision, Summary
from automm_distill.report.tables import speed_up

TEACHER_MARKS = "*PXDv^"


def draw(study: TaskRuns, summaries: Sequence[Summary], chosen: Decision | None) -> Figure:
    """A colour per student checkpoint, a mark per teacher checkpoint."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    by_speed, by_size = figure.subplots(1, 2, sharey=True)
    students = list(dict.fromkeys(model(each.setting, "student") for each in summaries))
    teachers = list(dict.fromkeys(model(each.setting, "teacher") for each in summaries))
    known: set[str] = set()
    for each in summaries:
        teacher, student = model(each.setting, "teacher"), model(each.setting, "student")
        mark = TEACHER_MARKS[teachers.index(teacher) % len(TEACHER_MARKS)]
        colour = colours(len(students))[students.index(student)]
        looks = {
            f"teacher {teacher}": ("teacher", dict(marker=mark, color=TEACHER, ms=9)),
            f"baseline {student}": ("baseline", dict(marker="s", color=colour, ms=6, mfc="none")),
            f"student {student}": ("student", dict(marker="o", color=colour, ms=6, alpha=0.8)),
        }
        for axes, costs in (
            (by_speed, {"teacher": 1.0, "student": speed_up(each.setting)}),
            (by_size, {role: _millions(each.setting, role) for role in ("teacher", "student")}),
        ):
            for label, (role, look) in looks.items():
                if role in each.scores:
                    height = mean(each.scores[role])
                    axes.plot(costs["teacher" if role == "teacher" else "student"], height, ls="", **look)
                    if label not in known:
                        axes.plot([], [], ls="", label=label, **look)
                        known.add(label)
            if chosen is not None and each is chosen.summary:
                height = mean(each.scores["student"])
                rows = each.rows.scores["student"] if each.rows else None
                point(axes, costs["student"], each.scores["student"], rows, None, [], colour)
                axes.plot(costs["student"], height, "o", ms=13, mfc="none", mec="black")
    if chosen is not None:
        look = dict(ms=13, mfc="none", mec="black", ls="")
        by_size.plot([], [], "o", **look, label="chosen by validation, 95 % over test rows")
    test_set, metric = study.primary
    slowest = min(1.0, *(speed_up(each.setting) for each in summaries))
    by_speed.set(xlabel="speed-up over the teacher, forward pass", ylabel=f"{metric} on {test_set}")
    by_speed.set_xlim(0.8 * slowest, 1.05 * by_speed.get_xlim()[1])
    by_size.set(xlabel="size (million weights)")
    by_size.set_xlim(0, 1.05 * by_size.get_xlim()[1])
    for axes in (by_speed, by_size):
        axes.grid(alpha=0.3)
    figure.suptitle(f"{study.name}: what the students cost")
    legend_below(figure, 2)
    return figure


def _millions(setting: RunGroup, role: str) -> float:
    return setting.runs[0].row["size"][role]["parameters"] / 1e6
