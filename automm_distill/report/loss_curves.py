"""A plot: each unweighted loss over the optimizer steps of the students' training."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from automm_distill.report.plot_style import colours, legend_below
from automm_distill.report.runs import Run, TaskRuns, format_value

SMOOTHED = 20  # a point of a curve is the mean over this part of it


def draw(study: TaskRuns) -> Figure | None:
    """A line per run, a colour per setting; None where the runs' logs are not there."""
    curves: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for number, setting in enumerate(study.settings):
        for run in setting.runs:
            for name, steps, values in _logged(run):
                curves.setdefault(name, []).append((number, steps, values))
    if not curves:
        return None
    own = colours(len(study.settings))
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(3.5 * columns + 0.5, 3 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (name, runs) in zip(panels, curves.items(), strict=False):
        smooth = [(number, *_smoothed(steps, values)) for number, steps, values in runs]
        for number, steps, values in smooth:
            axes.plot(steps, values, "-", lw=1, alpha=0.7, color=own[number])
        axes.set(title=name.replace("_", " "), xlabel="optimizer step")
        everything = np.concatenate([values for _, _, values in smooth])
        if 0 < everything.min() < everything.max() / 10:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for number, setting in enumerate(study.settings):
        label = ", ".join(f"{name} {format_value(setting.config.get(name))}" for name in study.varied_flags)
        panels[0].plot([], [], "-", color=own[number], label=label or "student")
    figure.suptitle(f"{study.name}: losses, unweighted and smoothed, a line per run")
    legend_below(figure, 1 if columns == 1 else 2)
    return figure


def _logged(run: Run) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, steps and values of each loss that the run left for TensorBoard."""
    for path in sorted(run.student.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith("loss/"):
                points = events.Scalars(tag)
                values = np.array([each.value for each in points])
                yield tag.removeprefix("loss/"), np.array([each.step for each in points]), values


def _smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running means."""
    width = max(1, len(values) // SMOOTHED)
    window = np.full(width, 1 / width)
    return np.convolve(steps, window, mode="valid"), np.convolve(values, window, mode="valid")
