"""A plot: the scores of all three models against the values of one flag, and below them the student's gain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.report.plot_style import BASELINE, TEACHER, colours, draw_mean, last_part, legend_below, mean_or_nan
from automm_distill.report.runs import TaskRuns, describe, format_value, sortable
from automm_distill.report.summary import Summary

LINE_SPREAD = 0.5  # of the distance between two ticks, over which the points of several lines are spread
LONG_LABELS = 30  # letters; tick labels that are longer together are turned

Line = list[tuple[int, Summary]]  # tick and what is drawn there


def draw(task_runs: TaskRuns, summaries: Sequence[Summary], flag: str) -> Figure:
    """A line per combination of the other flags; bars are 95 % intervals."""
    values = sorted({summary.group.config.get(flag) for summary in summaries}, key=sortable)
    others = [name for name in task_runs.columns if name != flag]
    lines: dict[tuple[Any, ...], Line] = {}
    for summary in summaries:
        key = tuple(summary.group.config.get(name) for name in others)
        lines.setdefault(key, []).append((values.index(summary.group.config.get(flag)), summary))
    figure = Figure(figsize=(7, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    line_colours = dict(zip(lines, colours(len(lines)), strict=False))
    _draw_reference(above, lines, line_colours, "teacher", "teacher", TEACHER, "--")
    _draw_reference(above, lines, line_colours, "baseline", "baseline (no distillation)", BASELINE, "-.")
    seed_offset = LINE_SPREAD / (2 * len(lines))
    test_set, metric = task_runs.primary[0], task_runs.metric(task_runs.primary[1])
    for number, (key, line) in enumerate(lines.items()):
        label = describe(dict(zip(others, key, strict=True)), others)
        shift = LINE_SPREAD * (number - (len(lines) - 1) / 2) / len(lines)
        colour = line_colours[key]
        heights = [mean_or_nan(summary.scores["student"]) for _, summary in line]
        above.plot([tick + shift for tick, _ in line], heights, "-", color=colour, lw=1, alpha=0.5)
        for tick, summary in line:
            x, rows, per_seed = tick + shift, summary.rows, summary.per_seed
            score_rows, gain_rows = (rows.scores["student"], rows.gain) if rows else (None, None)
            student = summary.scores["student"]
            draw_mean(above, x, student, score_rows, None, per_seed["student"], colour, seed_offset=seed_offset)
            draw_mean(
                below, x, summary.gain, gain_rows, summary.gain, per_seed["gain"], colour, metric.scale, seed_offset
            )
        above.plot([], [], "o-", color=colour, label=f"student{': ' if label else ''}{label}")
    better = " (lower is better)" if metric.lower_is_better else ""
    above.set(title=f"{task_runs.name}: {metric.name} on {test_set}", ylabel=f"{metric.name}, mean over seeds{better}")
    below.axhline(0, color=BASELINE, ls="-.", lw=1.5)
    gain = "baseline - student" if metric.lower_is_better else "student - baseline"
    below.set(ylabel=f"{gain}\n({metric.shown_in})", xlabel=f"{flag} (not to scale)")
    texts = [last_part(str(value)) if flag.endswith("_model") else format_value(value) for value in values]
    turned = dict(rotation=20, ha="right") if len("".join(texts)) > LONG_LABELS else {}
    below.set_xticks(range(len(values)), texts, **turned)
    below.set_xlim(-0.6, len(values) - 0.4)
    _limit_gains(below, summaries, metric.scale)
    below.plot([], [], "-", color="black", lw=2, label="95 % over test rows")
    if any(len(summary.group.runs) > 1 for summary in summaries):
        below.plot([], [], "-", color="black", lw=6, alpha=0.2, label="95 % over seeds")
        below.plot([], [], "x", color="black", ms=4, ls="", label="one seed")
    legend_below(figure, 2)
    return figure


def _limit_gains(axes: Axes, summaries: Sequence[Summary], scale: float) -> None:
    """Fit the axis to the gains and their intervals over test rows; that over two seeds may reach beyond it."""
    gains = [value for summary in summaries for value in summary.per_seed["gain"]]
    for summary in summaries:
        if summary.rows and summary.rows.gain:
            gains += [summary.rows.gain.low, summary.rows.gain.high]
    known = [scale * value for value in (*gains, 0.0) if value is not None]
    margin = 0.6 * (max(known) - min(known))
    if margin == 0:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min(known) - margin), min(high, max(known) + margin))


def _draw_reference(
    axes: Axes,
    lines: Mapping[Any, Line],
    line_colours: Mapping[Any, Any],
    role: str,
    label: str,
    colour: str,
    style: str,
) -> None:
    """The teacher's or the baseline's line: one where the other flags do not change it, else one per line."""
    curves = {
        key: {tick: mean_or_nan(summary.scores.get(role)) for tick, summary in line if role in summary.scores}
        for key, line in lines.items()
    }
    curves = {key: curve for key, curve in curves.items() if curve}
    common = {tick: height for curve in curves.values() for tick, height in curve.items()}
    agree = all(np.isclose(height, common[tick]) for curve in curves.values() for tick, height in curve.items())
    for key, curve in {None: common}.items() if agree else curves.items():
        look: dict[str, Any] = dict(ls=style, lw=1.5, color=colour if agree else line_colours[key])
        if agree and len(set(curve.values())) == 1:
            axes.axhline(next(iter(curve.values())), **look)
        else:
            ticks = sorted(curve)
            axes.plot(ticks, [curve[tick] for tick in ticks], **look)
    if curves:
        axes.plot([], [], style, color=colour if agree else "black", label=label)
