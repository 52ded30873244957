"""One file of rows -> a frame, with the values as the file has them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from automm_distill.errors import RowFileError
from automm_distill.inputs.rows.arrow_files import read_arrow, read_parquet
from automm_distill.inputs.rows.delimited import read_delimited
from automm_distill.inputs.rows.json_rows import read_json

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".jsonl": read_json,
    ".json": read_json,
}
_TEXT = (*_SEPARATORS, ".jsonl", ".json")

# Suffixes of files that can be read; of two files for the same rows the first is preferred.
FORMATS = (".parquet", ".arrow", *_TEXT, *(f"{suffix}.gz" for suffix in _TEXT))


def read_file(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of ``path``, whose suffix says its format.

    CSV and TSV give text as it is written, JSON and Parquet the types of the file.

    :param columns: names of the columns of a CSV or TSV file without a header line.
    :raises RowFileError: when it cannot be read as what it says it is: with path, line or row, and reason.
    """
    name = path.name.lower()
    if not name.endswith(FORMATS):
        raise RowFileError(f"{path} has none of the suffixes {', '.join(FORMATS)}")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in _SEPARATORS:
        return read_delimited(path, columns, _SEPARATORS[suffix])
    return _READERS[suffix](path)
