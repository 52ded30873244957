"""Raw rows: from a local folder when it has them, else from the Hugging Face hub, which then fills the folder."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from automm_distill.errors import NoRowsError, RowFileError, UserError, blamed_on
from automm_distill.inputs.rows import msrp
from automm_distill.inputs.rows.hub_rows import HubRows, download
from automm_distill.inputs.rows.layouts import find_folder, find_split, has_split
from automm_distill.inputs.rows.row_files import read_file
from automm_distill.inputs.rows.saved_datasets import read_saved
from automm_distill.inputs.rows.text_lines import lines
from automm_distill.tasks import Task


def read_splits(folder: Path, task: Task, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The named splits of ``task``, with the columns as they are in the source.

    :param folder: what ``inputs.rows.layouts`` knows. When it has nothing of this configuration, the hub is asked and
        the answer is kept there; a folder that is there is never added to.
    :raises UserError: when rows are nowhere to be found, a split is missing, or a file cannot be read.
    """
    try:
        with blamed_on("--dataset_path"):
            local = find_folder(folder, task)
            if local is None:
                local = folder / task.config
                _download(local, task)
            if task.config == "mrpc" and msrp.is_original(local) and not has_split(local, "train"):
                return msrp.read_original(local, splits)
            _require_unlabelled(local, task, splits)
            return {split: read_split(local, split, task.archive_header) for split in splits}
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise UserError(f"--dataset_path: {error.filename or folder} cannot be read: {error.strerror}") from error


def _require_unlabelled(local: Path, task: Task, splits: Sequence[str]) -> None:
    """Refuse a folder without the rows of GLUE's own test split, which nothing else needs.

    :raises UserError: that says how to get them.
    """
    for split in splits:
        if split in task.unlabelled_splits and not has_split(local, split):
            raise UserError(
                f"--unlabelled_path test: {local} has no split {split!r}; put {split}.parquet there, or move that "
                "folder away, and all splits are downloaded"
            )


def _download(local: Path, task: Task) -> None:
    state = "is no folder" if os.path.lexists(local) else "does not exist"
    download(
        local,
        HubRows(task.hub_id, task.config, task.splits),
        missing=f"no rows for {task.config}: {local} {state}, and",
        remedy=f"give --dataset_path a folder with {task.config}/{task.splits[0]}.parquet, or try --demo",
    )


def read_split(local: Path, split: str, archive_header: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of a split in the folder of a configuration, all its shards.

    :param archive_header: the columns of an official archive's files that have no header line.
    :raises RowFileError: when it is missing, or cannot be read.
    """
    return read_parts(find_split(local, split), f"the shards of {split!r} in {local}", archive_header)


def read_parts(paths: Sequence[Path], what: str, archive_header: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of several files, or folders of ``save_to_disk``, one below the other.

    :param what: what the files are, for messages.
    :raises RowFileError: when one cannot be read, all are empty, or their columns differ.
    """
    parts, empty = [], []
    for path in paths:
        try:
            parts.append(read_part(path, archive_header))
        except NoRowsError as error:  # Spark writes its first part even so
            empty.append(error)
    if not parts:
        raise empty[0]
    odd = next((part for part in parts if set(part.columns) != set(parts[0].columns)), None)
    if odd is not None:
        raise RowFileError(
            f"{what} have different columns: {', '.join(map(str, parts[0]))}, and {', '.join(map(str, odd))}"
        )
    return pd.concat(parts, ignore_index=True)


def read_part(path: Path, archive_header: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of one file, or of a folder of ``save_to_disk``.

    :raises RowFileError: when it cannot be read as what it says it is.
    """
    if path.is_dir():
        return read_saved(path)
    return read_file(path, columns=archive_header if _lacks_header(path, archive_header) else None)


def _lacks_header(path: Path, archive_header: Sequence[str]) -> bool:
    """Whether ``path`` is a file of an official archive that begins with a row, not with the names of its columns."""
    if not archive_header or not path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")):
        return False
    first = next((line for line in lines(path) if not line.isspace()), "")
    names = [field.strip(' "\r\n') for field in first.split("\t")]
    return len(names) == len(archive_header) and "sentence" not in names
