"""What a cache folder holds, and which of it no result refers to."""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm_distill import results
from automm_distill.cache.entries import MANIFEST, last_used
from automm_distill.errors import UserError

KINDS = ("teacher", "baseline", "predictions", "outputs", "tokens", "layers", "demo")
TOKENS_STAY = 7 * 86400.0  # seconds after their last use: no result refers to them, and the next run may want them

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache.

    ``kind`` is one of :data:`KINDS`, or "damaged"; ``bytes`` its size on disk; ``finished`` when it was completed, in
    Unix seconds; ``about`` what is known of it, for people.
    """

    path: Path
    kind: str
    bytes: int
    finished: float
    about: str


def entries_in(folder: Path) -> list[CacheEntry]:
    """Everything in a cache folder, oldest first.

    :raises UserError: when there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such cache folder")
    found = [_entry(path) for path in folder.iterdir() if path.is_dir() and path.name.partition("-")[0] in KINDS]
    return sorted(found, key=lambda entry: entry.finished)


def referenced_names(folders: Iterable[Path]) -> set[str]:
    """The cache entries that the runs in these result folders used.

    :raises UserError: when a folder has no results: a mistyped name must not look like "nothing is needed".
    """
    names: set[str] = set()
    for folder in folders:
        path = folder / results.RESULTS if folder.is_dir() else folder
        if not path.is_file():
            raise UserError(f"--results {folder}: no {results.RESULTS} there")
        rows, broken = results.read_rows(path)
        names.update(name for row in rows for name in row["cache_entries"])
        if broken:
            log.warning("%s: %d broken line(s); which entries those runs used is not known", path, broken)
    return names


def unreferenced(entries: Sequence[CacheEntry], names: set[str]) -> list[CacheEntry]:
    """Those that no run used, and tokens that none has used for a week.

    What ``--demo`` generated stays while anything of the demo may be run again.
    """
    kept = {entry.path.name for entry in entries if entry.kind == "demo" or _are_recent_tokens(entry)}
    return [entry for entry in entries if entry.path.name not in names | kept]


def age(entry: CacheEntry) -> str:
    """How long ago it was finished."""
    seconds = max(0.0, time.time() - entry.finished)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _are_recent_tokens(entry: CacheEntry) -> bool:
    return entry.kind == "tokens" and time.time() - max(last_used(entry.path), entry.finished) < TOKENS_STAY


def _entry(path: Path) -> CacheEntry:
    size = sum(_size(file) for file in path.rglob("*"))
    manifests = [path / MANIFEST] if (path / MANIFEST).is_file() else sorted(path.glob(f"part-*/{MANIFEST}"))
    finished = max((manifest.stat().st_mtime for manifest in manifests), default=0.0)
    kind = "damaged" if ".damaged-" in path.name else path.name.partition("-")[0]
    return CacheEntry(path, kind, size, finished, _about(manifests))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:  # a running process has removed it since
        return 0


def _about(manifests: Sequence[Path]) -> str:
    infos: list[Mapping[str, Any]] = []
    for manifest in manifests:
        try:
            infos.append(json.loads(manifest.read_text(encoding="utf-8"))["training_info"])
        except (OSError, ValueError, KeyError):
            return "unreadable, or of an older version"
    if not infos:
        return ""
    rows = sum(info.get("rows", 0) for info in infos)
    names = [str(infos[0][name]) for name in ("task", "checkpoint") if name in infos[0]]
    return ", ".join([*names, *([f"{rows:,} rows"] if rows else [])])
