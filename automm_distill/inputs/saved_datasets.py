"""Folders that ``datasets`` wrote with ``save_to_disk``: one for each split, also where a ``DatasetDict`` was saved."""

from pathlib import Path

import pandas as pd
import pyarrow

from automm_distill.errors import UserError, first_line
from automm_distill.inputs.row_files import name_classes

# Either says that a folder is meant to be one.
_STATE, _INFO = "state.json", "dataset_info.json"


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` was written by ``Dataset.save_to_disk``, perhaps not to the end."""
    return (folder / _STATE).is_file() or (folder / _INFO).is_file()


def read_saved(folder: Path) -> pd.DataFrame:
    """The rows of a split, class labels as the words that the data set has for them.

    :raises UserError: when the folder is damaged.
    """
    import datasets

    try:
        rows = datasets.Dataset.load_from_disk(folder)
        frame = rows.to_pandas()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        raise UserError(
            f"--dataset_path: {folder} is not a whole save_to_disk folder: {first_line(error)}; save it again"
        ) from error
    for column, feature in rows.features.items():
        if isinstance(feature, datasets.ClassLabel):
            frame[column] = name_classes(frame[column], feature.names)
    return frame


def saved_config(folder: Path | None) -> str | None:
    """The configuration that the rows in a folder of ``save_to_disk`` were loaded as; None where nothing says it."""
    if folder is None:
        return None
    import datasets

    try:
        return datasets.DatasetInfo.from_directory(folder).config_name
    except (OSError, ValueError, TypeError, AttributeError):
        return None
