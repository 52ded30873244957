"""Arrays with an entry for each row, kept on disk in parts and found by a hash of the row's texts.

A folder holds what one recipe makes of rows, whichever runs, seeds and languages they come from. Each part is written
like a cache entry, with manifest and checksums, completely or not at all: a killed process loses at most one part.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.cache.entries import (
    DamagedEntry,
    fingerprint,
    locked,
    quarantine,
    remove_unfinished,
    staged,
    verified_manifest,
    write_manifest,
)

KEYS = "keys.npy"

Arrays = Mapping[str, np.ndarray]  # of some rows, by the name of the file that each becomes


def row_keys(texts: pd.DataFrame | Mapping[str, Sequence[str]], columns: Iterable[str]) -> np.ndarray:
    """A 64-bit hash of each row's texts, shape (rows,)."""
    digests = (
        hashlib.blake2b("\0".join(row).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for row in zip(*(texts[column] for column in columns), strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8")


class KeyedParts:
    """The rows in these folders; their arrays are memory-mapped by each process for itself.

    :param files: names of the arrays.
    """

    def __init__(self, parts: Sequence[Path], files: Sequence[str]) -> None:
        self.parts, self.files = list(parts), list(files)
        keys = [np.load(part / KEYS) for part in self.parts]
        self._keys = np.concatenate([np.empty(0, dtype="<u8"), *keys])
        order = np.argsort(self._keys, kind="stable")
        self._keys = self._keys[order]
        sizes = [len(of_part) for of_part in keys]
        self._part = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._row = np.concatenate([np.arange(0), *(np.arange(size) for size in sizes)])[order]
        self._arrays: list[tuple[np.ndarray, ...]] | None = self._mapped()

    @property
    def arrays(self) -> list[tuple[np.ndarray, ...]]:
        """Of each part, in the order of ``files``."""
        if self._arrays is None:
            self._arrays = self._mapped()
        return self._arrays

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The position of each key, for :meth:`places`, shape (keys,); -1 for a key that is missing."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        positions = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[positions] == keys, positions, -1)

    def places(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part that each row is in, and its number there, both (positions,)."""
        return self._part[positions], self._row[positions]

    def _mapped(self) -> list[tuple[np.ndarray, ...]]:
        # As plain arrays, of which a slice is cut several times as fast as of a memmap.
        return [tuple(np.asarray(np.load(part / file, mmap_mode="r")) for file in self.files) for part in self.parts]

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a mapped array would copy all of its rows to each process that trains.
        return self.__dict__ | {"_arrays": None}


def get_or_compute(
    folder: Path,
    recipe: Mapping[str, Any],
    keys: np.ndarray,
    compute: Callable[[np.ndarray], Arrays],
    *,
    part_rows: int,
    tell: Callable[[int, int], None],
    about: Mapping[str, Any],
) -> list[Path]:
    """The parts that hold all of ``keys``; what is not in ``folder`` yet is computed and added.

    If two processes lack the same rows, one computes them and the other waits.

    :param recipe: all that the arrays depend on. A part with another recipe is moved aside.
    :param compute: from places in ``keys``, ``part_rows`` at most, to the arrays of their rows.
    :param tell: is told, before anything is computed, how many rows are missing, and of how many different ones.
    :param about: kept in the manifests, for people.
    """
    _, first = np.unique(keys, return_index=True)
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        parts = _valid_parts(folder, recipe)
        found = KeyedParts(parts, ()).find(keys[first])
        missing = np.sort(first[found < 0])
        tell(len(missing), len(first))
        for start in range(0, len(missing), part_rows):
            chosen = missing[start : start + part_rows]
            parts.append(_write_part(folder, recipe, keys[chosen], compute(chosen), about))
        return parts


def _valid_parts(folder: Path, recipe: Mapping[str, Any]) -> list[Path]:
    valid = []
    for part in sorted(folder.glob("part-*")):
        if ".damaged-" in part.name:
            continue
        try:
            if fingerprint(verified_manifest(part)["recipe"]) != fingerprint(recipe):
                raise DamagedEntry("it has another recipe than the folder")
        except DamagedEntry as error:
            quarantine(part, error)
        else:
            valid.append(part)
    return valid


def _write_part(
    folder: Path, recipe: Mapping[str, Any], keys: np.ndarray, arrays: Arrays, about: Mapping[str, Any]
) -> Path:
    part = folder / f"part-{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}"
    with staged(part) as partial:
        partial.mkdir()
        for file, array in {KEYS: keys, **arrays}.items():
            np.save(partial / file, array)
        write_manifest(partial, recipe, {**about, "rows": len(keys)})
    return part
