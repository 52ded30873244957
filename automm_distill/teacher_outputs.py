"""The teacher's logits and pooled features, computed once and kept on disk.

They depend on the teacher and a row's text only, so all epochs, and all later runs with this teacher, share them,
whatever their loss weights and languages. A folder holds the outputs of one teacher in one number format, in parts.
Each part is written like a cache entry, with manifest and checksums, completely or not at all: a killed pass loses at
most one part.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill import cache
from automm_distill.errors import TrainingError

KEYS, LOGITS, FEATURES = "keys.npy", "logits.npy", "features.npy"
PART_ROWS = 16384
NUMBER_FORMATS: dict[str, type[np.floating]] = {"32": np.float32, "16": np.float16}

log = logging.getLogger(__name__)

# Logits (rows, classes) and features (rows, width) of some rows.
Compute = Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]


def row_keys(frame: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """A 64-bit hash of each row's texts, shape (rows,)."""
    digests = (
        hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for texts in zip(*(frame[column] for column in columns), strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8")


class TeacherOutputs:
    """The outputs in these folders, memory-mapped by each process for itself."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts = list(parts)
        keys = [np.load(part / KEYS) for part in self.parts]
        self._keys = np.concatenate([np.empty(0, dtype="<u8"), *keys])
        order = np.argsort(self._keys, kind="stable")
        self._keys = self._keys[order]
        sizes = [len(of_part) for of_part in keys]
        self._part = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._row = np.concatenate([np.arange(0), *(np.arange(size) for size in sizes)])[order]
        self._arrays: list[tuple[np.ndarray, np.ndarray]] | None = self._mapped()

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The position of each key, for :meth:`take`, shape (keys,); -1 for a key that is missing."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        positions = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[positions] == keys, positions, -1)

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (rows, classes) and features (rows, width) in single precision."""
        if self._arrays is None:
            self._arrays = self._mapped()
        rows = [(self._arrays[self._part[position]], self._row[position]) for position in positions]
        logits = np.stack([arrays[0][row] for arrays, row in rows])
        features = np.stack([arrays[1][row] for arrays, row in rows])
        return logits.astype(np.float32), features.astype(np.float32)

    def _mapped(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.load(part / LOGITS, mmap_mode="r"), np.load(part / FEATURES, mmap_mode="r")) for part in self.parts]

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a mapped array would copy all of its rows to each process that trains.
        return self.__dict__ | {"_arrays": None}


def get_or_compute(folder: Path, recipe: Mapping[str, Any], frame: pd.DataFrame, compute: Compute) -> TeacherOutputs:
    """Outputs for all rows of ``frame``; those that are not in ``folder`` yet are computed and added.

    If two processes lack the same rows, one computes them and the other waits.

    :param recipe: all that the outputs depend on, with ``columns`` (the text columns) and ``precision`` ("32" or "16",
        the number format on disk). A part with another recipe is moved aside.
    :param compute: the teacher's forward pass over rows in the given order.
    :raises TrainingError: when an output is too large for the number format.
    """
    columns = recipe["columns"]
    unique = frame.drop_duplicates(subset=list(columns))
    keys = row_keys(unique, columns)
    with cache.locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        cache.remove_unfinished(folder)
        outputs = TeacherOutputs(_valid_parts(folder, recipe))
        missing = np.flatnonzero(outputs.find(keys) < 0)
        if len(missing) == 0:
            log.info("the teacher's outputs for %s rows are on disk: %s", f"{len(keys):,}", folder)
            return outputs
        log.info("computing the teacher's outputs for %s of %s rows", f"{len(missing):,}", f"{len(keys):,}")
        for start in range(0, len(missing), PART_ROWS):
            chosen = missing[start : start + PART_ROWS]
            _write_part(folder, recipe, keys[chosen], compute(unique.iloc[chosen]))
        return TeacherOutputs(_valid_parts(folder, recipe))


def _valid_parts(folder: Path, recipe: Mapping[str, Any]) -> list[Path]:
    valid = []
    for part in sorted(folder.glob("part-*")):
        if ".damaged-" in part.name:
            continue
        try:
            if cache.fingerprint(cache.verified_manifest(part)["recipe"]) != cache.fingerprint(recipe):
                raise cache.DamagedEntry("it belongs to another teacher")
        except cache.DamagedEntry as error:
            cache.quarantine(part, error)
        else:
            valid.append(part)
    return valid


def _write_part(
    folder: Path, recipe: Mapping[str, Any], keys: np.ndarray, outputs: tuple[np.ndarray, np.ndarray]
) -> None:
    dtype = NUMBER_FORMATS[recipe["precision"]]
    with np.errstate(over="ignore"):
        outputs = outputs[0].astype(dtype), outputs[1].astype(dtype)
    if not all(np.isfinite(array).all() for array in outputs):
        raise TrainingError("the teacher's outputs are too large for --teacher_outputs_precision 16; use 32")
    name = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
    with cache.staged(folder / f"part-{name}") as partial:
        partial.mkdir()
        for file, array in zip((KEYS, LOGITS, FEATURES), (keys, *outputs), strict=True):
            np.save(partial / file, array)
        cache.write_manifest(partial, recipe, {"rows": len(keys)})
