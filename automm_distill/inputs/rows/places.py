"""The files of rows in a place that a flag names: a file itself, a folder of files, or a ``save_to_disk`` folder."""

from pathlib import Path

from automm_distill.errors import RowFileError, some_of
from automm_distill.inputs.rows.row_files import FORMATS
from automm_distill.inputs.rows.saved_datasets import holds_splits, is_saved


def files_of(place: Path) -> list[Path]:
    """What is read of ``place``: paths of files, or of one folder of ``Dataset.save_to_disk``.

    :raises RowFileError: when there is nothing.
    """
    try:
        if not place.exists():
            raise RowFileError(f"{place}: is neither a file nor a folder")
        if not place.is_dir() or is_saved(place):
            return [place]
        if holds_splits(place):
            raise RowFileError(f"{place}: is a save_to_disk folder of several splits; name the folder of one")
        visible = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RowFileError(f"{place}: cannot be read: {error.strerror}") from error
    files = [path for path in visible if path.name.lower().endswith(FORMATS) and not path.is_dir()]
    if not files:
        found = some_of(f"{path.name}/" if path.is_dir() else path.name for path in visible)
        raise RowFileError(f"{place}: has no file of rows ({', '.join(FORMATS)}); found {found or 'nothing'}")
    return files
