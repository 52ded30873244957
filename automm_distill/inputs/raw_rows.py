"""Raw rows: from a local folder when it has them, else from the Hugging Face hub, which then fills the folder."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from automm_distill.errors import UserError
from automm_distill.inputs.hub_rows import download
from automm_distill.inputs.row_files import FORMATS, read_file
from automm_distill.inputs.saved_datasets import SAVED, read_saved
from automm_distill.tasks import Task


def read_splits(folder: Path, task: Task, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The named splits of ``task``, with the columns as they are in the source.

    :param folder: holds ``<config>/<split>.parquet|csv|tsv|jsonl``, or a ``save_to_disk`` folder as ``<config>`` or as
        the folder itself. When it has nothing of this configuration, the hub is asked and the answer is kept there.
    :raises UserError: when rows are nowhere to be found, a split is missing, or a file cannot be read.
    """
    local = folder / task.config
    if (local / SAVED).is_file():
        return read_saved(local, task, splits)
    if (folder / SAVED).is_file():
        return read_saved(folder, task, splits)
    if not local.is_dir():
        download(local, task)
    return {split: _read_split(local, split) for split in splits}


def _read_split(local: Path, split: str) -> pd.DataFrame:
    for suffix in FORMATS:
        path = local / f"{split}{suffix}"
        if path.is_file():
            return read_file(path)
    raise UserError(
        f"--dataset_path: split {split!r} is missing in {local}: needs {split}.parquet (or .csv, .tsv, .jsonl); "
        f"found {', '.join(sorted(path.name for path in local.iterdir())) or 'nothing'}"
    )
