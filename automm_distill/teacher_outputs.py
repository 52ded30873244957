"""The teacher's logits, pooled features and hidden states, computed once and kept on disk.

They depend on the teacher and a row's text only, so all epochs, and all later runs with this teacher, share them,
whatever their loss weights and languages. A folder holds the outputs of one teacher in one number format, in parts.
Each part is written like a cache entry, with manifest and checksums, completely or not at all: a killed pass loses at
most one part.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.cache import keyed_parts
from automm_distill.cache.keyed_parts import Arrays, KeyedParts, row_keys
from automm_distill.errors import TrainingError

LOGITS, FEATURES, STATES = "logits.npy", "features.npy", "hidden_states.npy"
PART_ROWS = 16384
NUMBER_FORMATS: dict[str, type[np.floating]] = {"32": np.float32, "16": np.float16}

log = logging.getLogger(__name__)

# Logits (rows, classes) and features (rows, width) of some rows and, where the recipe has "layers", the first token's
# states after each of them (rows, layers, width).
Compute = Callable[[pd.DataFrame], tuple[np.ndarray, ...]]


class TeacherOutputs(KeyedParts):
    """The outputs in these folders, memory-mapped by each process for itself.

    :param with_states: whether they include hidden states.
    """

    def __init__(self, parts: list[Path], *, with_states: bool = False) -> None:
        super().__init__(parts, _files(with_states))

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Logits (rows, classes), features (rows, width) and, if kept, hidden states (rows, layers, width).

        In single precision, of rows that were found.
        """
        arrays = self.arrays
        rows = [(arrays[part], row) for part, row in zip(*self.places(positions), strict=True)]
        return tuple(
            np.stack([of_part[kind][row] for of_part, row in rows]).astype(np.float32)
            for kind in range(len(self.files))
        )


def get_or_compute(folder: Path, recipe: Mapping[str, Any], frame: pd.DataFrame, compute: Compute) -> TeacherOutputs:
    """Outputs for all rows of ``frame``; those that are not in ``folder`` yet are computed and added.

    If two processes lack the same rows, one computes them and the other waits.

    :param recipe: all that the outputs depend on, with ``columns`` (the text columns), ``precision`` ("32" or "16",
        the number format on disk) and, if hidden states are kept, ``layers``. A part with another recipe is moved
        aside.
    :param compute: the teacher's forward pass over rows in the given order.
    :raises TrainingError: when an output is too large for the number format.
    """

    def tell(missing: int, rows: int) -> None:
        if missing:
            log.info("computing the teacher's outputs for %s of %s rows", f"{missing:,}", f"{rows:,}")
        else:
            log.info("the teacher's outputs for %s rows are on disk: %s", f"{rows:,}", folder)

    parts = keyed_parts.get_or_compute(
        folder,
        recipe,
        row_keys(frame, recipe["columns"]),
        lambda chosen: _as_stored(compute(frame.iloc[chosen]), recipe["precision"]),
        part_rows=PART_ROWS,
        tell=tell,
        about={},
    )
    return TeacherOutputs(parts, with_states="layers" in recipe)


def _files(with_states: bool) -> tuple[str, ...]:
    return (LOGITS, FEATURES, STATES) if with_states else (LOGITS, FEATURES)


def _as_stored(outputs: tuple[np.ndarray, ...], precision: str) -> Arrays:
    with np.errstate(over="ignore"):
        stored = [array.astype(NUMBER_FORMATS[precision]) for array in outputs]
    if not all(np.isfinite(array).all() for array in stored):
        raise TrainingError("the teacher's outputs are too large for --teacher_outputs_precision 16; use 32")
    return dict(zip(_files(len(stored) == 3), stored, strict=True))
