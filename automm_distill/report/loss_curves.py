"""A plot: each unweighted loss over the optimizer steps of the students' training."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from automm_distill.report.plot_style import colours, legend_below
from automm_distill.report.runs import Run, TaskRuns, describe

SMOOTHING_PARTS = 20  # a point is the mean over one of so many parts of the curve


def draw(task_runs: TaskRuns) -> Figure | None:
    """A line per run, a colour per group; None where the runs' logs are not there."""
    curves: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for number, group in enumerate(task_runs.groups):
        for run in group.runs:
            for name, steps, values in _logged_losses(run):
                curves.setdefault(name, []).append((number, steps, values))
    if not curves:
        return None
    group_colours = colours(len(task_runs.groups))
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(3.5 * columns + 0.5, 3 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (name, runs) in zip(panels, curves.items(), strict=False):
        smoothed = [(number, *_smooth(steps, values)) for number, steps, values in runs]
        for number, steps, values in smoothed:
            axes.plot(steps, values, "-", lw=1, alpha=0.7, color=group_colours[number])
        axes.set(title=name.replace("_", " "), xlabel="optimizer step", ylabel="loss")
        all_values = np.concatenate([values for _, _, values in smoothed])
        if 0 < all_values.min() < all_values.max() / 10:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for number, group in enumerate(task_runs.groups):
        label = describe(group.config, task_runs.columns) or "student"
        panels[0].plot([], [], "-", color=group_colours[number], label=label)
    figure.suptitle(f"{task_runs.name}: losses without their weights, smoothed, one line per run")
    legend_below(figure, 1 if columns == 1 else 2)
    return figure


def _logged_losses(run: Run) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, steps and values of each loss that the run logged for TensorBoard; arrays of shape (steps,)."""
    for path in sorted(run.student.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith("loss/"):
                points = events.Scalars(tag)
                steps, values = np.array([(point.step, point.value) for point in points]).T
                yield tag.removeprefix("loss/"), steps, values


def _smooth(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running means."""
    width = max(1, len(values) // SMOOTHING_PARTS)
    window = np.full(width, 1 / width)
    return np.convolve(steps, window, mode="valid"), np.convolve(values, window, mode="valid")
