"""What the plots have in common: colours, names, and how a mean with its intervals looks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.evaluation.bootstrap import Interval
from automm_distill.report.runs import RunGroup
from automm_distill.report.seeds import Spread

# Okabe and Ito's colours, which colour-blind people can tell apart.
TEACHER, BASELINE = "#444444", "#E69F00"
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
LEGEND_LINE = 0.2  # inches


def colours(count: int) -> Sequence[Any]:
    """As many as needed: distinct ones while there are enough, else steps of a scale."""
    return COLOURS if count <= len(COLOURS) else list(colormaps["viridis"](np.linspace(0, 0.9, count)))


def legend_below(figure: Figure, columns: int) -> None:
    """All labels of the figure, below its panels, for which it grows."""
    labels = sum(len(axes.get_legend_handles_labels()[1]) for axes in figure.axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LEGEND_LINE * -(-labels // columns))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def mean(spread: Spread | None) -> float:
    """Not a number where there is none: such a point is not drawn."""
    return float("nan") if spread is None or spread.mean is None else spread.mean


def point(
    axes: Axes,
    place: float,
    spread: Spread | None,
    rows: Interval | None,
    seeds: Spread | None,
    per_seed: Sequence[float | None],
    colour: Any,
    scale: float = 1,
    room: float = 1,
) -> None:
    """A mean over seeds, its interval over test rows, behind it that over seeds, and beside it the single seeds.

    :param room: to the next point on the right.
    """
    for made, look in ((seeds, dict(lw=6, alpha=0.2, solid_capstyle="butt")), (rows, dict(lw=2))):
        if made is not None and made.low is not None and made.high is not None:
            axes.plot([place, place], [scale * made.low, scale * made.high], "-", color=colour, **look)
    axes.plot(place, scale * mean(spread), "o", color=colour, ms=6)
    known = [scale * value for value in per_seed if value is not None]
    if len(known) > 1:
        axes.plot([place + min(0.06, room)] * len(known), known, "x", color=colour, ms=4, alpha=0.7)


def model(setting: RunGroup, role: str) -> str:
    """A checkpoint's short name."""
    return last_part(setting.config[f"{role}_model"])


def last_part(checkpoint: str) -> str:
    """Of a name on the hub, or of a folder."""
    return checkpoint.rstrip("/").rsplit("/", 1)[-1]
