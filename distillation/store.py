"""Folders that are whole or not there: fingerprints, locks, manifests and renames for everything kept on disk.

An entry is built in a hidden folder beside its place, completed by a manifest written last, and renamed into place,
all under a lock of its own. A process killed at any moment leaves at most a hidden folder, which the next run sweeps.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

MANIFEST = "manifest.json"
_PARTIAL = ".partial-"
_REPLACED = ".replaced"
_LOCK = ".lock"

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


class DamagedEntry(Exception):
    """A cache entry whose files are not those that its manifest lists."""


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that change when anything in ``recipe`` (plain JSON values) changes."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def hash_folder(folder: Path, patterns: Sequence[str] = ("**/*",)) -> dict[str, str]:
    """SHA-256 of the files below ``folder`` that match any of ``patterns``, by relative path."""
    hashes = {}
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        if path.is_file():
            with path.open("rb") as file:
                hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


@contextmanager
def locked(place: Path, *, disposable: bool = False) -> Iterator[None]:
    """Hold the lock of ``place``; say so when another process has it, and wait.

    :param disposable: nobody else will ever ask for this lock again; remove its file in the end.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_path(place))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another run is making %s: waiting for it", place.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
        if disposable:
            _lock_path(place).unlink(missing_ok=True)


@contextmanager
def staged(place: Path) -> Iterator[Path]:
    """A path to build the folder ``place`` at; renamed into place at the end, removed if the block raises.

    Hold the lock of ``place`` around it. What stood in its place before is replaced only then.
    """
    partial = place.with_name(f"{_PARTIAL}{place.name}")
    shutil.rmtree(partial, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if place.exists():
            replaced = place.with_name(f"{_PARTIAL}{place.name}{_REPLACED}")
            shutil.rmtree(replaced, ignore_errors=True)
            place.rename(replaced)
            partial.rename(place)
            shutil.rmtree(replaced)
        else:
            partial.rename(place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sweep(folder: Path) -> int:
    """Remove what killed processes left half-built in ``folder``; what a living one is building stays.

    A folder that was about to be replaced goes back to its place.

    :return: how many were removed.
    """
    removed = 0
    for partial in folder.glob(f"{_PARTIAL}*"):
        place = partial.with_name(partial.name.removeprefix(_PARTIAL).removesuffix(_REPLACED))
        try:
            with FileLock(_lock_path(place), timeout=0):
                if partial.name.endswith(_REPLACED) and not place.exists():
                    partial.rename(place)
                    continue
                shutil.rmtree(partial, ignore_errors=True)
                removed += 1
        except Timeout:
            continue
    return removed


def obtain(
    place: Path,
    recipe: Mapping[str, Any],
    *,
    since: float,
    build: Callable[[Path], Mapping[str, Any]],
    load: Callable[[Path, Mapping[str, Any]], Loaded],
) -> tuple[Loaded, bool]:
    """The entry at ``place``, loaded; built first unless one is there that is young enough.

    Loading happens under the lock, so that no other process replaces the files meanwhile.

    :param since: use an entry finished at this time (Unix seconds) or later: 0 takes any; the start of the run takes
        only what a parallel run made meanwhile.
    :param build: builds the entry's files at the given path; what it returns is kept in the manifest as ``facts``.
    :param load: turns the finished folder and its manifest into what the caller wants.
    :return: what ``load`` returned, and whether the entry was found rather than built.
    """
    with locked(place):
        if place.exists():
            try:
                manifest = verified_manifest(place)
                if manifest["finished"] >= since:
                    return load(place, manifest), True
            except DamagedEntry as error:
                set_aside(place, error)
        with staged(place) as partial:
            manifest = write_manifest(partial, recipe, build(partial))
        return load(place, manifest), False


def set_aside(place: Path, error: DamagedEntry) -> None:
    """Move a damaged entry out of the way, and say so. Hold the lock of ``place`` around it."""
    aside = place.with_name(f"{place.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
    place.rename(aside)
    log.warning("%s is damaged (%s): set aside as %s, made anew", place.name, error, aside.name)


def write_manifest(folder: Path, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the entry that was built at ``folder``; the manifest is returned, too."""
    manifest = {"recipe": recipe, "facts": dict(facts), "files": hash_folder(folder), "finished": time.time()}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False), encoding="utf-8")
    return manifest


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole entry, its files checked against it.

    :raises DamagedEntry: when the entry is not what its manifest says.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected, _, _ = manifest["files"], manifest["facts"], float(manifest["finished"])
    except FileNotFoundError:
        raise DamagedEntry(f"no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedEntry(f"{MANIFEST} is not readable") from None
    found = hash_folder(folder)
    for name, digest in expected.items():
        if found.get(name) != digest:
            raise DamagedEntry(f"{name} is {'changed' if name in found else 'missing'}")
    return manifest


def _lock_path(place: Path) -> Path:
    return place.with_name(f".{place.name}{_LOCK}")
