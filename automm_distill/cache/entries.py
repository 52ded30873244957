"""Folders that are whole or not there: fingerprints, locks, manifests and renames for everything kept on disk.

An entry is built in a hidden folder beside its path, completed by a manifest written last, and renamed into place, all
under a lock of its own. A process killed at any moment leaves at most a hidden folder, which the next run removes.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from filelock import FileLock, Timeout

MANIFEST = "manifest.json"
_PARTIAL = ".partial-"
_REPLACED = ".replaced"
_LOCK = ".lock"
_IN_USE = ".in-use"
LOAD_TIMEOUT_S = 60.0  # to load an entry while others load it too
POLL_S = 0.2

try:
    import fcntl
except ImportError:  # Windows: entries cannot be marked as in use there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


class NotAvailable(Exception):
    """An entry that cannot be loaded at once; the message says why."""


class DamagedEntry(Exception):
    """A cache entry whose files are not those that its manifest lists."""


def fingerprint(recipe: Mapping[str, object]) -> str:
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


@contextlib.contextmanager
def locked(path: Path, *, disposable: bool = False) -> Iterator[None]:
    """Hold the lock of ``path``; say so when another process has it, and wait.

    :param disposable: nobody else will ever ask for this lock again; remove its file in the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another run is making %s: waiting for it", path.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
        if disposable:
            _lock_path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A place to build the folder ``path`` in: renamed to ``path`` at the end, removed if the block raises.

    Hold the lock of ``path`` around it. A folder that stood there before is replaced only then.
    """
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if path.exists():
            replaced = path.with_name(f"{_PARTIAL}{path.name}{_REPLACED}")
            shutil.rmtree(replaced, ignore_errors=True)
            path.rename(replaced)
            partial.rename(path)
            shutil.rmtree(replaced)
        else:
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def remove_unfinished(folder: Path, *, disposable_locks: str = "") -> int:
    """Remove what killed processes left half-built in ``folder``; what a living one is building stays.

    A folder that was about to be replaced goes back to its place.

    :param disposable_locks: a pattern of lock files that nobody asks for again: those that nobody holds are removed.
    :return: how many unfinished folders were removed.
    """
    removed = 0
    for partial in folder.glob(f"{_PARTIAL}*"):
        path = partial.with_name(partial.name.removeprefix(_PARTIAL).removesuffix(_REPLACED))
        try:
            with FileLock(_lock_path(path), timeout=0):
                if not partial.exists():  # finished since we looked
                    continue
                if partial.name.endswith(_REPLACED) and not path.exists():
                    partial.rename(path)
                    continue
                shutil.rmtree(partial, ignore_errors=True)
                removed += 1
        except Timeout:
            continue
    if disposable_locks:
        for lock in folder.glob(disposable_locks):
            try:
                with FileLock(lock, timeout=0):
                    lock.unlink(missing_ok=True)
            except Timeout:
                continue
    return removed


def get_or_build(
    path: Path,
    recipe: Mapping[str, Any],
    *,
    not_before: float,
    build: Callable[[Path], Mapping[str, Any]],
    load: Callable[[Path, Mapping[str, Any]], Loaded],
) -> tuple[Loaded, bool]:
    """The entry at ``path``, loaded; built first unless one is there that is young enough.

    Loading happens under the lock, so that no other process replaces the files meanwhile.

    :param recipe: all that shapes the entry; kept in the manifest.
    :param not_before: use an entry finished at this time or later, in :func:`file_system_time`: 0 takes any; the start
        of the run takes only what a parallel run made meanwhile.
    :param build: builds the entry's files at the given path; what it returns is kept in the manifest as
        ``training_info``.
    :param load: turns the finished folder and its manifest into what the caller wants.
    :return: what ``load`` returned, and whether the entry was found rather than built.
    """
    with locked(path):
        if path.exists():
            try:
                manifest = verified_manifest(path)
                if (path / MANIFEST).stat().st_mtime >= not_before:
                    return load(path, manifest), True
            except DamagedEntry as error:
                quarantine(path, error)
        with staged(path) as partial:
            manifest = write_manifest(partial, recipe, build(partial))
        return load(path, manifest), False


def load_now(path: Path, load: Callable[[Path, Mapping[str, Any]], Loaded]) -> Loaded:
    """The entry at ``path``, loaded, but not built, and waited for only while another run loads it too.

    :raises NotAvailable: when it is not there, is being replaced by another run, or is damaged.
    """
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    lock = FileLock(_lock_path(path))
    while True:
        try:
            lock.acquire(timeout=POLL_S)
            break
        except Timeout:
            if path.with_name(f"{_PARTIAL}{path.name}").exists():
                raise NotAvailable(f"another run is replacing {path.name}") from None
            if time.monotonic() > deadline:
                raise NotAvailable(f"another run has held {path.name} for {LOAD_TIMEOUT_S:g} s") from None
    try:
        return load(path, verified_manifest(path))
    except DamagedEntry as error:
        raise NotAvailable(f"{path.name} is {'damaged: ' + str(error) if path.exists() else 'gone'}") from None
    finally:
        lock.release()


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep ``prune`` of any process from removing the entry at ``path`` while the block runs."""
    with mark_in_use(path):
        yield


def mark_in_use(path: Path) -> IO[str]:
    """Keep ``prune`` of any process from removing the entry at ``path`` until what is returned is closed.

    The operating system ends the mark with the process, however that ends. Its file stays, and tells when the entry was
    last used: were it removed, two processes could hold marks on two files of the same name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = _mark_path(path)
    mark.touch()
    file = mark.open("w")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            log.debug("no marks in %s, whose file system has no locks: %s", path.parent, error)
    return file


def last_used(path: Path) -> float:
    """When the entry at ``path`` was last marked as in use, in Unix seconds; 0 if never."""
    try:
        return _mark_path(path).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove(path: Path) -> bool:
    """Remove the entry (or the quarantined one) at ``path``, unless a process builds, loads or uses it.

    :return: whether it was removed.
    """
    try:
        with FileLock(_lock_path(path), timeout=0), _mark_path(path).open("w") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial = path.with_name(f"{_PARTIAL}{path.name}")  # half-removed must not look whole
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                path.rename(partial)
                shutil.rmtree(partial)
    except (Timeout, OSError) as error:  # OSError: marked, or no locks on this file system to tell
        log.debug("%s stays: %s", path, error)
        return False
    return True


def file_system_time(folder: Path) -> float:
    """Now, in Unix seconds, by the clock that stamps the files in ``folder``: that of another machine, if shared."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        return Path(file.name).stat().st_mtime


def quarantine(path: Path, error: DamagedEntry) -> None:
    """Move a damaged entry out of the way, and say so. Hold the lock of ``path`` around it."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
    path.rename(aside)
    log.warning("%s is damaged (%s): moved to %s, making it again", path.name, error, aside.name)


def write_manifest(folder: Path, recipe: Mapping[str, Any], training_info: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the entry that was built at ``folder``; the manifest is returned, too."""
    manifest = {
        "recipe": recipe,
        "training_info": dict(training_info),
        "files": hash_folder(folder),
        "finished": time.time(),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False), encoding="utf-8")
    return manifest


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole entry, its files checked against it.

    :raises DamagedEntry: when the entry is not what its manifest says.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected, _, _ = manifest["files"], manifest["training_info"], float(manifest["finished"])
    except FileNotFoundError:
        raise DamagedEntry(f"no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedEntry(f"{MANIFEST} is not readable") from None
    found = hash_folder(folder)
    for name, digest in expected.items():
        if found.get(name) != digest:
            raise DamagedEntry(f"{name} is {'changed' if name in found else 'missing'}")
    return manifest


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{_LOCK}")


def _mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{_IN_USE}")
