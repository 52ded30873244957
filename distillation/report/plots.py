"""Pictures of a study, each as PNG and SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ..uncertainty import Interval
from .collection import Run, Setting, Study, shown
from .seeds import Spread
from .summary import Decision, Summary
from .tables import PERCENT, speed_up

# Okabe and Ito's colours, which colour-blind people can tell apart.
TEACHER, BASELINE = "#444444", "#E69F00"
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
SPREAD = 0.5  # of the points of several lines around one tick
LEGEND: dict[str, Any] = dict(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")


def draw(study: Study, summaries: Sequence[Summary], chosen: Decision | None, folder: Path) -> dict[str, Path]:
    """Everything there is to draw of a study, into ``folder``: the PNG's path by what it shows."""
    mine = [each for each in summaries if (each.test_set, each.metric) == study.primary]
    figures = {f"Score by {name}": _by_value(study, mine, name) for name in study.swept if _several(mine, name)}
    figures["Score by speed-up and size"] = _by_cost(study, mine, chosen)
    losses = _losses(study)
    if losses:
        figures["Losses of the student's training"] = losses
    made = {}
    for title, figure in figures.items():
        path = folder / f"{study.task}-{title}.png".lower().replace("->", "to").replace(" ", "-").replace("'", "")
        figure.savefig(path, dpi=150, bbox_inches="tight")
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):  # text stays text; the same each time
            figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
        made[title] = path
    return made


def _several(summaries: Sequence[Summary], name: str) -> bool:
    return len({each.setting.condition.get(name) for each in summaries}) > 1


def _by_value(study: Study, summaries: Sequence[Summary], name: str) -> Figure:
    """Scores of all three models against the values of one flag, and below it the gain; a line per other setting."""
    values = list(dict.fromkeys(each.setting.condition.get(name) for each in summaries))
    values.sort(key=lambda value: (isinstance(value, str), value if value is not None else 0))
    others = [other for other in study.swept if other != name]
    lines: dict[tuple[Any, ...], list[Summary]] = {}
    for each in summaries:
        lines.setdefault(tuple(each.setting.condition.get(other) for other in others), []).append(each)
    figure = Figure(figsize=(7, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    drawn: set[tuple[Any, ...]] = set()
    colours = _colours(len(lines))
    for number, (point, members) in enumerate(lines.items()):
        colour = colours[number]
        label = ", ".join(f"{other} {shown(value)}" for other, value in zip(others, point, strict=True))
        middle = np.array([values.index(each.setting.condition.get(name)) for each in members], dtype=float)
        places = middle + SPREAD * (number - (len(lines) - 1) / 2) / len(lines)
        for role, role_colour, style in (("teacher", TEACHER, "--"), ("baseline", BASELINE, "-.")):
            heights = tuple(_mean(each.scores.get(role)) for each in members)
            if (role, *heights) not in drawn and not np.isnan(heights).all():
                new = not any(entry[0] == role for entry in drawn)
                drawn.add((role, *heights))
                known = {"teacher": "teacher", "baseline": "baseline (no distillation)"}[role]
                above.plot(middle, heights, style, color=role_colour, lw=1.5, label=known if new else None)
                if len(middle) == 1 or len(set(heights)) == 1:
                    above.axhline(heights[0], ls=style, color=role_colour, lw=1.5)
        above.plot(places, [_mean(each.scores["student"]) for each in members], "-", color=colour, lw=1, alpha=0.5)
        for place, each in zip(places, members, strict=True):
            rows = each.rows.scores["student"] if each.rows else None
            _point(above, place, each.scores["student"], rows, None, each.singles["student"], colour)
            rows = each.rows.gain if each.rows else None
            _point(below, place, each.gain, rows, each.gain, each.singles["gain"], colour, PERCENT)
        above.plot([], [], "o-", color=colour, label=f"student{': ' if label else ''}{label}")
    test_set, metric = study.primary
    seeds = max(len(each.setting.runs) for each in summaries)
    above.set(title=f"{study.task}: {metric} on {test_set}", ylabel=f"{metric}, mean of {_seeds(seeds)}")
    above.legend(**LEGEND)
    below.axhline(0, color=BASELINE, ls="-.", lw=1.5)
    below.set(ylabel="student - baseline\n(points)", xlabel=f"{name} (not to scale)")
    below.set_xticks(range(len(values)), [shown(value) for value in values])
    below.set_xlim(-0.6, len(values) - 0.4)
    below.plot([], [], "-", color="black", lw=2, label="95 % over test rows")
    if seeds > 1:
        below.plot([], [], "-", color="black", lw=6, alpha=0.2, label="95 % over seeds")
        below.plot([], [], "x", color="black", ms=4, label="one seed")
    below.legend(**LEGEND)
    return figure


def _point(
    axes: Axes,
    place: float,
    spread: Spread | None,
    rows: Interval | None,
    seeds: Spread | None,
    singles: Sequence[float | None],
    colour: str,
    scale: float = 1,
) -> None:
    """A mean over seeds, its interval over test rows, behind it that over seeds, and beside it the single seeds."""
    for made, look in ((seeds, dict(lw=6, alpha=0.2, solid_capstyle="butt")), (rows, dict(lw=2))):
        if made is not None and made.low is not None and made.high is not None:
            axes.plot([place, place], [scale * made.low, scale * made.high], "-", color=colour, **look)
    axes.plot(place, scale * _mean(spread), "o", color=colour, ms=6)
    known = [scale * value for value in singles if value is not None]
    if len(known) > 1:
        axes.plot([place + 0.06] * len(known), known, "x", color=colour, ms=4, alpha=0.7)


def _by_cost(study: Study, summaries: Sequence[Summary], chosen: Decision | None) -> Figure:
    """Score against speed-up, and against size, of all students and their teachers and baselines."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    test_set, metric = study.primary
    students = list(dict.fromkeys(_models(each.setting)[1] for each in summaries))
    teachers = list(dict.fromkeys(_models(each.setting)[0] for each in summaries))
    marks = "*PXDv^"
    for axes, of_student, teacher_cost in ((panels[0], speed_up, 1.0), (panels[1], _parameters, None)):
        seen: set[str] = set()
        for each in summaries:
            teacher, student = _models(each.setting)
            colour = _colours(len(students))[students.index(student)]
            cost = of_student(each.setting)
            of_teacher = teacher_cost or _parameters(each.setting, "teacher")
            for role, place, look in (
                ("teacher", of_teacher, dict(marker=marks[teachers.index(teacher) % len(marks)], color=TEACHER, ms=9)),
                ("baseline", cost, dict(marker="s", color=colour, ms=6, mfc="none")),
                ("student", cost, dict(marker="o", color=colour, ms=6, alpha=0.8)),
            ):
                if role not in each.scores:
                    continue
                label = f"{role} {teacher if role == 'teacher' else student}"
                axes.plot(place, _mean(each.scores[role]), ls="", label=None if label in seen else label, **look)
                seen.add(label)
            if chosen is not None and each is chosen.summary:
                rows = each.rows.scores["student"] if each.rows else None
                _point(axes, cost, each.scores["student"], rows, None, [], colour)
                look = dict(ms=13, mfc="none", mec="black", label="chosen by validation (95 % over test rows)")
                axes.plot(cost, _mean(each.scores["student"]), "o", **look)
        axes.grid(alpha=0.3)
    panels[0].set(xlabel="speed-up over the teacher, forward pass", ylabel=f"{metric} on {test_set}")
    panels[0].set_xlim(0.8, 1.05 * panels[0].get_xlim()[1])
    panels[1].set(xlabel="size (million weights)")
    panels[1].set_xlim(0, 1.05 * panels[1].get_xlim()[1])
    panels[1].legend(**LEGEND)
    figure.suptitle(f"{study.task}: what the students cost")
    return figure


def _losses(study: Study) -> Figure | None:
    """Each unweighted term over the optimizer steps, a line per run, a colour per setting; None without the logs."""
    curves: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for number, setting in enumerate(study.settings):
        for run in setting.runs:
            for name, steps, values in _curves(run):
                curves.setdefault(name, []).append((number, steps, values))
    if not curves:
        return None
    colours = _colours(len(study.settings))
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(4 * columns, 3 * lines + 0.2 * len(study.settings)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (name, runs) in zip(panels, curves.items(), strict=False):
        for number, steps, values in runs:
            axes.plot(steps, values, "-", lw=1, alpha=0.7, color=colours[number])
        axes.set(title=name.replace("_", " "), xlabel="optimizer step")
        everything = np.concatenate([values for _, _, values in runs])
        if 0 < everything.min() < everything.max() / 10:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for number, setting in enumerate(study.settings):
        label = ", ".join(f"{name} {shown(setting.condition.get(name))}" for name in study.swept)
        panels[0].plot([], [], "-", color=colours[number], label=label or "student")
    figure.legend(
        loc="outside lower center", frameon=False, fontsize="small", ncols=2 if len(study.settings) > 6 else 1
    )
    figure.suptitle(f"{study.task}: unweighted losses while the students trained, a line per seed")
    return figure


def _curves(run: Run) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, steps and values of each loss that the run logged to TensorBoard."""
    for path in sorted((run.folder / "student").glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith("loss/"):
                points = events.Scalars(tag)
                values = np.array([point.value for point in points])
                yield tag.removeprefix("loss/"), np.array([point.step for point in points]), values


def _colours(count: int) -> Sequence[Any]:
    """As many as needed: distinct ones while there are enough, else steps of a scale."""
    return COLOURS if count <= len(COLOURS) else list(colormaps["viridis"](np.linspace(0, 0.9, count)))


def _models(setting: Setting) -> tuple[str, str]:
    teacher, student = (setting.condition[f"{role}_model"].rsplit("/", 1)[-1] for role in ("teacher", "student"))
    return teacher, student


def _parameters(setting: Setting, role: str = "student") -> float:
    return setting.runs[0].row["size"][role]["parameters"] / 1e6


def _mean(spread: Spread | None) -> float:
    return float("nan") if spread is None or spread.mean is None else spread.mean


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
