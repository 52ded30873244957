"""A plot: scores of all three models against the values of one flag, and below it what the student gained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.report.plot_style import BASELINE, TEACHER, colours, last_part, legend_below, mean, point
from automm_distill.report.runs import TaskRuns, format_value, sortable
from automm_distill.report.summary import Summary
from automm_distill.report.tables import PERCENT

SPREAD = 0.5  # of the points of several lines around one tick
LONG = 30  # letters; labels that are longer together are turned

Line = list[tuple[int, Summary]]  # place on the axis, and what is there


def draw(study: TaskRuns, summaries: Sequence[Summary], name: str) -> Figure:
    """A line per combination of the other flags; bars are 95 % intervals."""
    values = sorted({each.setting.config.get(name) for each in summaries}, key=sortable)
    others = [other for other in study.varied_flags if other != name]
    lines: dict[tuple[Any, ...], Line] = {}
    for each in summaries:
        key = tuple(each.setting.config.get(other) for other in others)
        lines.setdefault(key, []).append((values.index(each.setting.config.get(name)), each))
    figure = Figure(figsize=(7, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    own = dict(zip(lines, colours(len(lines)), strict=False))
    _reference(above, lines, own, "teacher", "teacher", TEACHER, "--")
    _reference(above, lines, own, "baseline", "baseline (no distillation)", BASELINE, "-.")
    room = SPREAD / (2 * len(lines))
    for number, (key, line) in enumerate(lines.items()):
        label = ", ".join(f"{other} {format_value(value)}" for other, value in zip(others, key, strict=True))
        shift = SPREAD * (number - (len(lines) - 1) / 2) / len(lines)
        heights = [mean(each.scores["student"]) for _, each in line]
        above.plot([place + shift for place, _ in line], heights, "-", color=own[key], lw=1, alpha=0.5)
        for place, each in line:
            rows = each.rows.scores["student"] if each.rows else None
            point(
                above, place + shift, each.scores["student"], rows, None, each.per_seed["student"], own[key], room=room
            )
            rows = each.rows.gain if each.rows else None
            point(below, place + shift, each.gain, rows, each.gain, each.per_seed["gain"], own[key], PERCENT, room)
        above.plot([], [], "o-", color=own[key], label=f"student{': ' if label else ''}{label}")
    test_set, metric = study.primary
    above.set(title=f"{study.name}: {metric} on {test_set}", ylabel=f"{metric}, mean over seeds")
    below.axhline(0, color=BASELINE, ls="-.", lw=1.5)
    below.set(ylabel="student - baseline\n(points)", xlabel=f"{name} (not to scale)")
    texts = [last_part(str(value)) if name.endswith("_model") else format_value(value) for value in values]
    turned = dict(rotation=20, ha="right") if len("".join(texts)) > LONG else {}
    below.set_xticks(range(len(values)), texts, **turned)
    below.set_xlim(-0.6, len(values) - 0.4)
    _limit(below, summaries)
    below.plot([], [], "-", color="black", lw=2, label="95 % over test rows")
    if any(len(each.setting.runs) > 1 for each in summaries):
        below.plot([], [], "-", color="black", lw=6, alpha=0.2, label="95 % over seeds")
        below.plot([], [], "x", color="black", ms=4, ls="", label="one seed")
    legend_below(figure, 2)
    return figure


def _limit(axes: Axes, summaries: Sequence[Summary]) -> None:
    """Make room for gains and what test rows say of them; an interval over two seeds may run out of the picture."""
    shown = [value for each in summaries for value in each.per_seed["gain"]]
    shown += [
        end for each in summaries if each.rows and each.rows.gain for end in (each.rows.gain.low, each.rows.gain.high)
    ]
    known = [PERCENT * value for value in (*shown, 0.0) if value is not None]
    margin = 0.6 * (max(known) - min(known))
    if margin == 0:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min(known) - margin), min(high, max(known) + margin))


def _reference(
    axes: Axes, lines: Mapping[Any, Line], own: Mapping[Any, Any], role: str, label: str, colour: str, style: str
) -> None:
    """The line of teacher or baseline: one where other flags do not change it, else one in each line's colour."""
    curves = {
        key: {place: mean(each.scores.get(role)) for place, each in line if role in each.scores}
        for key, line in lines.items()
    }
    curves = {key: curve for key, curve in curves.items() if curve}
    common = {place: height for curve in curves.values() for place, height in curve.items()}
    agree = all(np.isclose(height, common[place]) for curve in curves.values() for place, height in curve.items())
    for key, curve in {None: common}.items() if agree else curves.items():
        look: dict[str, Any] = dict(ls=style, lw=1.5, color=colour if agree else own[key])
        if agree and len(set(curve.values())) == 1:
            axes.axhline(next(iter(curve.values())), **look)
        else:
            places = sorted(curve)
            axes.plot(places, [curve[place] for place in places], **look)
    if curves:
        axes.plot([], [], style, color=colour if agree else "black", label=label)
