"""The teacher's logits and pooled features, computed once and kept on disk.

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

LOGITS, FEATURES = "logits.npy", "features.npy"
PART_ROWS = 16384
NUMBER_FORMATS: dict[str, type[np.floating]] = {"32": np.float32, "16": np.float16}

log = logging.getLogger(__name__)

# Logits (rows, classes) and features (rows, width) of some rows.
Compute = Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]


class TeacherOutputs(KeyedParts):
    """The outputs in these folders, memory-mapped by each process for itself."""

    def __init__(self, parts: list[Path]) -> None:
        super().__init__(parts, (LOGITS, FEATURES))

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (rows, classes) and features (rows, width) in single precision, of rows that were found."""
        arrays = self.arrays
        rows = [(arrays[part], row) for part, row in zip(*self.places(positions), strict=True)]
        logits = np.stack([logits[row] for (logits, _), row in rows])
        features = np.stack([features[row] for (_, features), row in rows])
        return logits.astype(np.float32), features.astype(np.float32)


def get_or_compute(folder: Path, recipe: Mapping[str, Any], frame: pd.DataFrame, compute: Compute) -> TeacherOutputs:
    """Outputs for all rows of ``frame``; those that are not in ``folder`` yet are computed and added.

    If two processes lack the same rows, one computes them and the other waits.

    :param recipe: all that the outputs depend on, with ``columns`` (the text columns) and ``precision`` ("32" or "16",
        the number format on disk). A part with another recipe is moved aside.
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
    return TeacherOutputs(parts)


def _as_stored(outputs: tuple[np.ndarray, np.ndarray], precision: str) -> Arrays:
    with np.errstate(over="ignore"):
        logits, features = (array.astype(NUMBER_FORMATS[precision]) for array in outputs)
    if not (np.isfinite(logits).all() and np.isfinite(features).all()):
        raise TrainingError("the teacher's outputs are too large for --teacher_outputs_precision 16; use 32")
    return {LOGITS: logits, FEATURES: features}
