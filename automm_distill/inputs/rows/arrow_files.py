"""Parquet and Arrow files: values with the types of the file, class numbers with the names that it carries."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from automm_distill.errors import NoRowsError, RowFileError, first_line
from automm_distill.inputs.rows.file_kinds import HEAD, refuse_other_kinds

_INDEX = re.compile(r"__index_level_\d+__")  # how pandas calls the index that it writes without a name
_ARROW_FILE = b"ARROW1"  # the beginning of an IPC file; save_to_disk writes streams, which begin otherwise


def read_parquet(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file.

    Texts are ``str`` however they are stored (dictionary, binary, large or view). Integers with gaps stay integers
    beside None. A column of class numbers is one of names where the schema has those of a ``ClassLabel``.

    :raises RowFileError: when the file is damaged or something else, has no rows, or a column twice.
    """
    return _read(path, "Parquet", lambda: pq.ParquetFile(path, page_checksum_verification=True).read())


def read_arrow(path: Path) -> pd.DataFrame:
    """As :func:`read_parquet`, of an Arrow stream or file."""
    return _read(path, "Arrow", lambda: _arrow_table(path))


def name_classes(labels: pd.Series, names: Sequence[str]) -> pd.Series:
    """The words for the numbers of a ``ClassLabel``; None for -1 and for a missing one.

    A number that has no name stays as it is, for the caller to refuse.
    """
    words: dict[object, object] = {-1: None, **dict(enumerate(names))}
    named = [None if pd.isna(label) else words.get(label, label) for label in labels]
    return pd.Series(named, index=labels.index, name=labels.name, dtype=object)


def _arrow_table(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
        file.seek(0)
        return (pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)).read_all()


def _read(path: Path, kind: str, read: Callable[[], pa.Table]) -> pd.DataFrame:
    try:
        with path.open("rb") as file:
            refuse_other_kinds(path, file.read(HEAD))
        frame = as_frame(read())
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise RowFileError(f"{path} cannot be read as {kind}: {reason}") from error
    if frame.empty:
        raise NoRowsError(f"{path} has no rows")
    return frame


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A table with its texts, decimals and class numbers as :func:`read_parquet` says.

    :raises ValueError: when it has a column twice, or is damaged.
    """
    table.validate(full=True)  # among other things: texts are UTF-8
    frame = _frame(table)
    for name, names in _class_names(table.schema).items():
        frame[name] = name_classes(frame[name], names)
    return frame


def _frame(table: pa.Table) -> pd.DataFrame:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise ValueError(f"it has two columns {twice[0]!r}")
    plain = pa.table({name: _plain(table[name]) for name in table.column_names if not _INDEX.fullmatch(name)})
    # Metadata of pandas would make an index of a column that was one when it was written, ids for example.
    return plain.to_pandas(ignore_metadata=True, integer_object_nulls=True)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as strings and decimals as numbers, so that a value does not depend on how it is stored."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return _cast(column, pa.string(), otherwise=column)  # bytes may be of a column that nobody reads
    if pa.types.is_decimal(kind):
        as_float = column.cast(pa.float64())
        return as_float if kind.scale else _cast(column, pa.int64(), otherwise=as_float)
    return column


def _cast(column: pa.ChunkedArray, kind: pa.DataType, *, otherwise: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return otherwise


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of each integer column for which ``datasets`` left those of its ``ClassLabel`` in the metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if feature.get("_type") == "ClassLabel" and pa.types.is_integer(schema.field(name).type)
        }
    except (KeyError, TypeError, AttributeError, ValueError):  # metadata of something else, or of another version
        return {}
