"""The raw rows of a user's files, folders and data sets of the hub, by split."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from automm_distill.errors import RowFileError, blamed_on
from automm_distill.inputs.rows.hub_rows import HubRows, download
from automm_distill.inputs.rows.layouts import SPLIT_NAMES, has_split
from automm_distill.inputs.rows.places import files_of
from automm_distill.inputs.rows.raw_rows import read_parts, read_split
from automm_distill.inputs.rows.row_files import FORMATS
from automm_distill.settings import Settings

TRAIN, VALIDATION, TEST = "train", "validation", "test"
FLAGS = {TRAIN: "--train_path", VALIDATION: "--validation_path", TEST: "--test_path"}

_HUB_NAME = re.compile(r"(?P<id>[\w-][\w.-]*/[\w.-]+)(:(?P<config>[\w.-]+))?")


def read_sources(settings: Settings, hub_folder: Path) -> dict[str, pd.DataFrame]:
    """The rows to train on, and those to select and score by where a flag names them or they lie beside.

    :param hub_folder: where data sets of the hub are kept.
    :raises UserError: when rows are nowhere to be found, or cannot be read.
    """
    assert settings.train_path is not None  # Settings has made sure
    frames = _read(TRAIN, settings.train_path, hub_folder, beside=True)
    for split, place in ((VALIDATION, settings.validation_path), (TEST, settings.test_path)):
        if place is not None:
            frames[split] = _read(split, place, hub_folder)[split]
    return frames


def describe(split: str, settings: Settings) -> str:
    """Where the rows of a split are from, as messages begin."""
    place = {TRAIN: settings.train_path, VALIDATION: settings.validation_path, TEST: settings.test_path}[split]
    return f"{FLAGS[TRAIN]} {settings.train_path} ({split})" if place is None else f"{FLAGS[split]} {place}"


def moved(settings: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The paths of ``settings`` whose files or folders are in ``folder`` now, under their names; by field."""
    fields = [flag.removeprefix("--") for flag in FLAGS.values()]
    places = {field: folder / Path(settings[field]).name for field in fields if settings.get(field)}
    return {field: str(place) for field, place in places.items() if place.exists()}


def task_name(train_path: str) -> str:
    """What a task of these rows is called: as the file, the folder or the data set; fit for a file's name."""
    hub = _hub_name(train_path)
    if hub is not None:
        name = "-".join(filter(None, (hub["id"].partition("/")[2], hub["config"])))
    else:
        path = Path(train_path).resolve()
        name = path.name if path.is_dir() else path.name.partition(".")[0]
        if name.lower() in (known for names in SPLIT_NAMES.values() for known in names):
            name = path.parent.name  # reviews/train.csv
    return re.sub(r"[^\w.-]+", "_", name) or "rows"


def hub_id(place: str) -> str | None:
    """The data set of the hub that a place is, rather than a file or a folder."""
    name = _hub_name(place)
    return None if name is None else name["id"]


def _hub_name(place: str) -> re.Match[str] | None:
    if place.lower().endswith(FORMATS) or Path(place).exists():
        return None
    return _HUB_NAME.fullmatch(place)


def _read(split: str, place: str, hub_folder: Path, *, beside: bool = False) -> dict[str, pd.DataFrame]:
    """The rows of ``place``; those of ``split``, or with ``beside`` of all splits, where it has several."""
    with blamed_on(FLAGS[split]):
        path, hub = Path(place), _hub_name(place)
        if hub is not None:
            path = _from_hub(place, hub["id"], hub["config"], split, hub_folder)
        try:
            if path.is_dir() and has_split(path, TRAIN):
                wanted = [name for name in FLAGS if beside and has_split(path, name)] or [split]
                return {name: read_split(path, name) for name in wanted}
            return {split: read_parts(files_of(path), f"the files of {path}")}
        except OSError as error:  # a folder that may not be entered, a name that is too long
            raise RowFileError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def _from_hub(place: str, hub_id: str, config: str | None, split: str, hub_folder: Path) -> Path:
    local = hub_folder / hub_id.replace("/", "--") / (config or "default")
    if not local.is_dir():
        download(
            local,
            HubRows(hub_id, config, [split]),
            missing=f"{FLAGS[split]} {place}: is no file or folder here, and",
            remedy="give a file, a folder, or the name of a data set, owner/name[:config]",
        )
    return local
