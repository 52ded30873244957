"""Folders that ``datasets`` wrote with ``save_to_disk``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow

from automm_distill.errors import UserError, first_line
from automm_distill.tasks import Task

SAVED = "dataset_dict.json"


def read_saved(folder: Path, task: Task, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The named splits of ``task`` in a folder of ``DatasetDict.save_to_disk``.

    :raises UserError: when the folder is damaged, or holds something else.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(folder)
        config = next(iter(saved.values())).info.config_name
    except (OSError, ValueError, KeyError, TypeError, StopIteration, pyarrow.ArrowException) as error:
        raise UserError(
            f"--dataset_path: {folder} is not a whole save_to_disk folder: {first_line(error)}; save it again"
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
        raise UserError(f"--dataset_path: {folder} cannot be read: {first_line(error)}; save it again") from error
