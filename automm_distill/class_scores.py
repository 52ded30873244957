"""How baseline and student do on each class: precision, recall and F1, from a run's predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from automm_distill.text_table import TextTable

MOST_CLASSES = 30  # that have a line of their own
ROLES = ("baseline", "student")


def table(predictions: pd.DataFrame, classes: Sequence[str]) -> TextTable:
    """A line for each of the most frequent classes, and one for the means over all others.

    :param predictions: ``label`` and, per role, the predicted class, as numbers; a row for each test row.
    """
    roles = [role for role in ROLES if role in predictions]
    truth = predictions["label"].to_numpy()
    numbers = np.arange(len(classes))
    counts = np.bincount(truth[truth < len(classes)], minlength=len(classes))
    scores = {
        role: np.stack(
            precision_recall_fscore_support(truth, predictions[role].to_numpy(), labels=numbers, zero_division=0)[:3]
        )
        for role in roles
    }
    shown = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    others = np.setdiff1d(numbers, shown)
    lines = [
        [
            classes[number],
            f"{counts[number]:,}",
            *(f"{scores[role][kind, number]:.3f}" for kind in range(3) for role in roles),
        ]
        for number in (np.sort(shown) if len(classes) <= MOST_CLASSES else shown)
    ]
    if len(others):
        means = [f"{scores[role][kind, others].mean():.3f}" for kind in range(3) for role in roles]
        lines.append([f"{len(others):,} others (means)", f"{counts[others].sum():,}", *means])
    headings = ["class", "rows", *(f"{kind}, {role}" for kind in ("precision", "recall", "F1") for role in roles)]
    return TextTable("", headings, lines, range(1, len(headings)))
