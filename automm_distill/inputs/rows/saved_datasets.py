"""Folders that ``datasets`` wrote with ``save_to_disk``: one for each split, also where a ``DatasetDict`` was saved."""

from pathlib import Path

import pandas as pd
import pyarrow

from automm_distill.errors import NoRowsError, RowFileError, first_line
from automm_distill.inputs.rows.arrow_files import as_frame

# Either says that a folder is meant to be one.
_STATE, _INFO = "state.json", "dataset_info.json"
_SPLITS = "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` was written by ``Dataset.save_to_disk``, perhaps not to the end."""
    return (folder / _STATE).is_file() or (folder / _INFO).is_file()


def holds_splits(folder: Path) -> bool:
    """Whether ``folder`` was written by ``DatasetDict.save_to_disk``: a folder of such folders."""
    return (folder / _SPLITS).is_file()


def read_saved(folder: Path) -> pd.DataFrame:
    """The rows of a split, class labels as the words that the data set has for them.

    :raises RowFileError: when the folder is damaged.
    """
    import datasets

    try:
        rows = datasets.Dataset.load_from_disk(folder)
        table = rows.with_format("arrow")[:]
        frame = as_frame(table.replace_schema_metadata(rows.features.arrow_schema.metadata))
    except PermissionError as error:
        raise RowFileError(f"{folder} cannot be read: {error.strerror}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        raise RowFileError(
            f"{folder} is not a whole save_to_disk folder: {first_line(error)}; save it again"
        ) from error
    if frame.empty:
        raise NoRowsError(f"{folder} has no rows")
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
