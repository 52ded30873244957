"""Where rows lie on disk: which folder holds a configuration, and which files in it hold a split.

Known are this program's own layout, the official archives of GLUE and PAWS-X as they unpack, repositories of the hub
as they are downloaded, and folders of ``save_to_disk``. Hidden files, which systems and tools leave beside, are not
looked at.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from automm_distill.errors import RowFileError, some_of
from automm_distill.inputs.rows import msrp
from automm_distill.inputs.rows.row_files import FORMATS
from automm_distill.inputs.rows.saved_datasets import is_saved, saved_config
from automm_distill.tasks import Task

log = logging.getLogger(__name__)

# What a split may be called: as on the hub, which comes first, in the official archives, and by habit.
SPLIT_NAMES = {
    "train": ("train", "translated_train"),
    "validation": ("validation", "dev", "dev_2k", "valid", "val"),
    "validation_matched": ("validation_matched", "dev_matched"),
    "validation_mismatched": ("validation_mismatched", "dev_mismatched"),
    "test": ("test", "test_2k"),
}

# train-00000-of-00002, as the hub names shards; older uploads add a hash.
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{5,})-of-(?P<count>\d{5,})(-[0-9a-f]{8,})?")
_PART = re.compile(r"\d+|part[-.]\d+.*")  # in a folder of the split's name: the hub's copies as Parquet, Spark, Dask

Rank = tuple[int, int, int, str]  # of names, of formats, number of shards; the name, to tell the rest apart


def find_folder(folder: Path, task: Task) -> Path | None:
    """The folder with the rows of ``task``; None where ``folder`` has nothing of it.

    It is a folder in ``folder`` that is called like the configuration, whatever its letters and hyphens (SST-2), or
    else ``folder`` itself, or else a folder one level deeper, as in an unpacked archive.

    :raises RowFileError: when ``folder`` cannot be read, holds rows of who knows what, or several folders may be meant.
    """
    if not folder.exists():
        return None
    named = [path for path in _folders(folder) if _is_called(path, task)]
    named = [path for path in named if _holds_rows(path)] or named
    if not named and _holds_rows(folder):
        config = saved_config(_first_saved(folder))
        if _is_called(folder, task) or _is_called(folder.resolve(), task) or config == task.config:
            return folder
        what = (
            f"the configuration {config!r}, not {task.config!r}"
            if config
            else f"rows ({_content(folder)}), but its name is not that task's"
        )
        raise RowFileError(f"{folder} holds {what}; put those of {task.config} into {folder / task.config}")
    if not named:
        below = chain.from_iterable(_folders(path) for path in _folders(folder) if os.access(path, os.R_OK | os.X_OK))
        named = [path for path in below if _is_called(path, task) and _holds_rows(path)]
        if len(named) > 1:
            raise RowFileError(f"{folder}: is it {' or '.join(map(str, named))}? Give the folder above one")
    named.sort(key=lambda path: path.name != task.config)
    if len(named) > 1:
        log.warning("%s is read, and not %s", named[0], " or ".join(map(str, named[1:])))
    return named[0] if named else None


def find_split(local: Path, split: str) -> list[Path]:
    """The files of ``split`` in their order, or a single folder of ``Dataset.save_to_disk``.

    Of several the first is taken and the choice is logged: by the order in :data:`SPLIT_NAMES`, then a
    ``save_to_disk`` folder, then by the order of ``FORMATS``.

    :param local: the folder of a configuration; the files may be in its subfolder ``data``, as on the hub.
    :raises RowFileError: when there is none, or a shard is missing.
    """
    sources = _sources(local, split) or _sources(local / "data", split)
    if not sources:
        names = SPLIT_NAMES.get(split, (split,))
        raise RowFileError(
            f"split {split!r} is missing in {local}: needs {' or '.join(names)}, one file "
            f"({', '.join(FORMATS)}), shards of it, or a save_to_disk folder; found {_content(local)}"
        )
    (_, files), *others = sorted(sources.items())
    if others:
        unread = ", ".join(_some_name(paths) for _, paths in others)
        log.warning("%s: split %r is there more than once: %s is read, not %s", local, split, _some_name(files), unread)
    for path in files:
        if not path.exists():
            raise RowFileError(f"{path} is a link to {path.readlink()}, which does not exist; copy links with cp -L")
    return _in_order(files) if len(files) > 1 or _SHARD.fullmatch(_without_suffix(files[0])) else files


def has_split(local: Path, split: str) -> bool:
    """Whether :func:`find_split` has something to find."""
    return bool(_sources(local, split) or _sources(local / "data", split))


def _some_name(files: list[Path]) -> str:
    """The first of the files, and how many more there are."""
    return files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"


def _sources(place: Path, split: str) -> dict[Rank, list[Path]]:
    """What may be meant by ``split`` in ``place``, by rank; the lowest is the best."""
    if not place.is_dir():
        return {}
    names = SPLIT_NAMES.get(split, (split,))
    found = _named_files(place, names)
    for folder in _folders(place):
        name = _without_suffix(folder)  # Spark calls its folder train.parquet
        if name not in names:
            continue
        if is_saved(folder):
            found[names.index(name), -1, 0, folder.name] = [folder]
            continue
        for (rank, suffix, count, file), files in _named_files(folder, names).items():
            found[rank, suffix, count, f"{folder.name}/{file}"] = files
        parts = _parts(folder, names)
        if parts:
            found[names.index(name), _format(parts[0]), len(parts), folder.name] = parts
    return found


def _named_files(place: Path, names: Sequence[str]) -> dict[Rank, list[Path]]:
    """The files that are called like a split, and the shards of such files."""
    found: dict[Rank, list[Path]] = {}
    for path in _visible(place):
        stem = _without_suffix(path)
        shard = _SHARD.fullmatch(stem)
        name = shard["name"] if shard else stem
        if name in names and path.name.lower().endswith(FORMATS) and not path.is_dir():
            size = (int(shard["count"]), "") if shard else (0, path.name)
            found.setdefault((names.index(name), _format(path), *size), []).append(path)
    return found


def _in_order(files: list[Path]) -> list[Path]:
    """The shards by their number.

    :raises RowFileError: when one is missing or there twice, or they are of different formats.
    """
    formats = sorted({FORMATS[_format(path)] for path in files})
    if len(formats) > 1:
        raise RowFileError(f"{files[0].parent} has files in several formats: {', '.join(formats)}")
    stems = [_without_suffix(path) for path in files]
    shards = [_SHARD.fullmatch(stem) for stem in stems]
    if all(shards):
        numbers = [int(shard["number"]) for shard in shards if shard]
        counts = {int(shard["count"]) for shard in shards if shard}
    elif all(stem.isdigit() for stem in stems):
        numbers, counts = [int(stem) for stem in stems], {len(stems)}
    else:  # of Spark, which leaves out the parts without rows
        return sorted(files)
    for number in range(max(counts)):
        if numbers.count(number) != 1:
            state = "missing" if number not in numbers else "there more than once"
            raise RowFileError(
                f"{files[0].parent}: shard {number} of {max(counts)} (counted from 0) of "
                f"{_some_name(sorted(files))} is {state}"
            )
    return [path for _, path in sorted(zip(numbers, files, strict=True))]


def _is_called(path: Path, task: Task) -> bool:
    return re.sub(r"[-_ ]", "", path.name.lower()) == task.config


def _holds_rows(path: Path) -> bool:
    """Whether any split of any task is in ``path``."""
    return any(has_split(path, split) for split in SPLIT_NAMES) or msrp.is_original(path)


def _first_saved(folder: Path) -> Path | None:
    return next((path for path in _folders(folder) if is_saved(path)), None)


def _parts(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files in a folder of a split's name that are parts of it without being called like it."""
    parts = []
    for path in _visible(folder):
        stem = _without_suffix(path)
        shard = _SHARD.fullmatch(stem)
        if path.name.lower().endswith(FORMATS) and (
            shard["name"] not in names if shard else stem not in names and _PART.fullmatch(stem)
        ):
            parts.append(path)
    return parts


def _format(path: Path) -> int:
    """The place of a file's suffix in ``FORMATS``."""
    return next(rank for rank, suffix in enumerate(FORMATS) if path.name.lower().endswith(suffix))


def _without_suffix(path: Path) -> str:
    name = path.name.lower()
    return next((name.removesuffix(suffix) for suffix in FORMATS if name.endswith(suffix)), name)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in _visible(folder) if path.is_dir())


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RowFileError(f"{folder} cannot be read: {error.strerror}") from error


def _content(folder: Path) -> str:
    names: Iterable[str] = (f"{path.name}/" if path.is_dir() else path.name for path in _visible(folder))
    return some_of(names) or "nothing"
