"""Raw rows: from a local folder when it has them, else from the Hugging Face hub, which then fills the folder."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow

from automm_distill import cache
from automm_distill.errors import UserError
from automm_distill.inputs import hub
from automm_distill.tasks import Task

FORMATS = ("parquet", "csv", "tsv", "jsonl")
_SAVED = "dataset_dict.json"

log = logging.getLogger(__name__)


def read_splits(folder: Path, task: Task, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The named splits of ``task``, with the columns as they are in the source.

    :param folder: holds ``<config>/<split>.parquet|csv|tsv|jsonl``, or a ``save_to_disk`` folder as ``<config>`` or as
        the folder itself. When it has nothing of this configuration, the hub is asked and the answer is kept there.
    :raises UserError: when rows are nowhere to be found, a split is missing, or a file cannot be read.
    """
    local = folder / task.config
    if (local / _SAVED).is_file():
        return _read_saved(local, task, splits)
    if (folder / _SAVED).is_file():
        return _read_saved(folder, task, splits)
    if not local.is_dir():
        _download(local, task)
    return {split: _read_split(local, split) for split in splits}


def _read_split(local: Path, split: str) -> pd.DataFrame:
    for suffix in FORMATS:
        path = local / f"{split}.{suffix}"
        if path.is_file():
            return _read_file(path)
    raise UserError(
        f"--dataset_path: split {split!r} is missing in {local}: needs {split}.parquet (or .csv, .tsv, .jsonl); "
        f"found {', '.join(sorted(path.name for path in local.iterdir())) or 'nothing'}"
    )


def _read_file(path: Path) -> pd.DataFrame:
    try:
        match path.suffix:
            case ".parquet":
                return pd.read_parquet(path)
            case ".jsonl":
                return pd.read_json(path, lines=True, dtype=False)
            case ".csv":
                return pd.read_csv(path, keep_default_na=False)
            case _:
                # GLUE and PAWS-X are distributed as TSV in which a quotation mark is a character like any other.
                return pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--dataset_path: {path} cannot be read: {_first_line(error)}") from error


def _read_saved(folder: Path, task: Task, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    import datasets

    try:
        saved = datasets.load_from_disk(folder)
        config = next(iter(saved.values())).info.config_name
    except (OSError, ValueError, KeyError, TypeError, StopIteration, pyarrow.ArrowException) as error:
        raise UserError(
            f"--dataset_path: {folder} is not a whole save_to_disk folder: {_first_line(error)}; save it again"
        ) from error
    # A folder named for the configuration is believed; any other has to say that it is this one.
    if folder.name != task.config and config != task.config:
        raise UserError(
            f"--dataset_path: {folder} holds the configuration {config!r}, not {task.config!r}; "
            f"put each configuration in a folder of its name"
        )
    missing = [split for split in splits if split not in saved]
    if missing:
        raise UserError(
            f"--dataset_path: split {missing[0]!r} is missing in {folder}; found {', '.join(sorted(saved))}"
        )
    try:
        return {split: saved[split].to_pandas() for split in splits}
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"--dataset_path: {folder} cannot be read: {_first_line(error)}; save it again") from error


def _download(local: Path, task: Task) -> None:
    """Fetch the splits from the hub (or from its own offline cache) and keep them under ``local``, all or none."""
    reachable = hub.is_reachable()
    import datasets
    import httpx

    try:
        splits = datasets.load_dataset(task.hub_id, task.config, split=list(task.splits))
    except (OSError, ValueError, httpx.HTTPError, datasets.exceptions.DatasetsError) as error:
        if reachable:
            raise UserError(f"{task.hub_id} ({task.config}) cannot be loaded: {_first_line(error)}") from error
        raise UserError(
            f"no rows for {task.config}: {local} does not exist, the Hugging Face hub cannot be reached and its cache "
            f"({datasets.config.HF_CACHE_HOME}) has no {task.hub_id}; give --dataset_path a folder with "
            f"{task.config}/{task.splits[0]}.parquet, or try --demo"
        ) from error
    if not reachable:
        log.info(
            "the Hugging Face hub cannot be reached; using the copy of %s in its cache on this machine", task.config
        )
    try:
        with cache.locked(local):
            if local.is_dir():  # another run was faster
                return
            with cache.staged(local) as partial:
                partial.mkdir()
                for split, rows in zip(task.splits, splits, strict=True):
                    rows.to_parquet(partial / f"{split}.parquet")
    except OSError as error:
        raise UserError(f"--dataset_path: cannot write to {local.parent}: {error.strerror}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
