"""A plot: which classes a student takes for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from automm_distill.report.runs import Run
from automm_distill.report.summary import read_predictions

MOST_CLASSES = 30  # the most frequent ones
LONGEST_NAME = 24  # characters of a class's name
NUMBERS_UP_TO = 12  # classes whose squares have their share written in them


def of_run(run: Run, task: str, *, is_chosen: bool) -> Figure | None:
    """The plot of a run's student; None of a regression, and where the classes or the predictions are not there.

    :param is_chosen: its setting was chosen among several.
    """
    classes = run.row.get("classes", ())
    frame = read_predictions(run, probabilities=False)
    if not classes or frame is None:
        return None
    student = "the chosen setting's student" if is_chosen else "the student"
    title = f"{task}: {student}, seed {run.seed}"
    return draw(frame["label"].to_numpy(), frame["student"].to_numpy(), classes, title)


def draw(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Rows are true classes, columns predicted ones; each row adds up to 1, but for classes that are not shown.

    :param truth: class numbers, (rows,); ``predicted``: the same.
    """
    counts = np.bincount(truth[truth < len(classes)], minlength=len(classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    matrix = np.array([[np.sum((truth == row) & (predicted == column)) for column in shown] for row in shown])
    shares = matrix / np.maximum(counts[shown], 1)[:, None]
    side = max(4.0, 2.2 + 0.28 * len(shown))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    names = [_short(classes[number]) for number in shown]
    axes.set_xticks(
        range(len(shown)), names, rotation=45 if len(shown) < 8 else 90, ha="right" if len(shown) < 8 else "center"
    )
    axes.set_yticks(
        range(len(shown)), [f"{name} ({counts[number]:,})" for name, number in zip(names, shown, strict=True)]
    )
    axes.set(xlabel="predicted", ylabel="true (rows)")
    if len(shown) <= NUMBERS_UP_TO:
        for row, of_row in enumerate(shares):
            for column, share in enumerate(of_row):
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize="small")
    hidden = len(classes) - len(shown)
    figure.suptitle(title + (f"\n{hidden:,} rarer classes are not shown" if hidden else ""), fontsize="medium")
    return figure


def _short(name: str) -> str:
    one_line = " ".join(name.split())
    short = one_line if len(one_line) <= LONGEST_NAME else f"{one_line[: LONGEST_NAME - 1]}…"
    return short.replace("$", r"\$")  # which begins a formula
