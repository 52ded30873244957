"""What the plots share: colours, names, and how a mean is drawn with its intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automm_distill.evaluation.bootstrap import Interval
from automm_distill.report.runs import RunGroup
from automm_distill.report.seeds import Spread

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008).
TEACHER, BASELINE = "#444444", "#E69F00"
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
LEGEND_LINE = 0.2  # inches
SEED_OFFSET = 0.06  # of single seeds from their mean, to the right


def colours(count: int) -> Sequence[Any]:
    """``count`` colours: distinct ones while there are enough, else steps of a scale."""
    return COLOURS if count <= len(COLOURS) else list(colormaps["viridis"](np.linspace(0, 0.9, count)))


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all panels, below them; the figure grows to hold it."""
    labels = sum(len(axes.get_legend_handles_labels()[1]) for axes in figure.axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LEGEND_LINE * -(-labels // columns))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def mean_or_nan(spread: Spread | None) -> float:
    """The mean; NaN, which is not drawn, where there is none."""
    return float("nan") if spread is None or spread.mean is None else spread.mean


def draw_mean(
    axes: Axes,
    x: float,
    spread: Spread | None,
    rows: Interval | None,
    seeds: Spread | None,
    per_seed: Sequence[float | None],
    colour: Any,
    scale: float = 1,
    seed_offset: float = SEED_OFFSET,
) -> None:
    """A mean over seeds, its interval over test rows, behind it that over seeds, and beside it the single seeds."""
    for bounds, look in ((seeds, dict(lw=6, alpha=0.2, solid_capstyle="butt")), (rows, dict(lw=2))):
        if bounds is not None and bounds.low is not None and bounds.high is not None:
            axes.plot([x, x], [scale * bounds.low, scale * bounds.high], "-", color=colour, **look)
    axes.plot(x, scale * mean_or_nan(spread), "o", color=colour, ms=6)
    known = [scale * value for value in per_seed if value is not None]
    if len(known) > 1:
        axes.plot([x + min(SEED_OFFSET, seed_offset)] * len(known), known, "x", color=colour, ms=4, alpha=0.7)


def model_name(group: RunGroup, role: str) -> str:
    """The short name of the teacher's or student's checkpoint."""
    return last_part(group.config[f"{role}_model"])


def last_part(checkpoint: str) -> str:
    """The last part of a hub name or of a folder."""
    return checkpoint.rstrip("/").rsplit("/", 1)[-1]
