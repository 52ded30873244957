"""The outputs of a teacher of which nothing else is known, for the rows of one run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GivenOutputs:
    """Logits (rows, classes) in the order of the task's classes; of a regression the values themselves, (rows, 1).

    In double precision; NaN in the rows that the teacher says nothing of. ``distillation`` are for the rows that the
    student is distilled on, in their order; ``eval_sets`` for each set of rows that models are scored on.
    """

    distillation: np.ndarray
    eval_sets: Mapping[str, np.ndarray]

    @property
    def whole_sets(self) -> dict[str, np.ndarray]:
        """The sets that it says something of every row of."""
        return {name: outputs for name, outputs in self.eval_sets.items() if covered(outputs).all()}


def covered(outputs: np.ndarray) -> np.ndarray:
    """The rows that there are outputs for, a mask of shape (rows,)."""
    return ~np.isnan(outputs).any(axis=1)


def as_outputs(predictions: np.ndarray) -> np.ndarray:
    """Outputs that the same predictions follow from.

    :param predictions: probabilities (rows, classes), or the values of a regression (rows,).
    """
    if predictions.ndim == 1:
        return predictions[:, None].astype(np.float64)
    return np.log(np.maximum(predictions.astype(np.float64), np.finfo(np.float64).tiny))
