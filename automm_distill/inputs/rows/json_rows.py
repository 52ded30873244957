"""JSON: one object a line, an array of objects, or columns."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from automm_distill.errors import NoRowsError, RowFileError
from automm_distill.inputs.rows.text_lines import lines


def read_json(path: Path) -> pd.DataFrame:
    """The rows of ``path``, with values as JSON has them; what a row lacks is None.

    Read are: one object a line; ``[{...}, ...]``; ``{"data": [{...}, ...]}``; and what ``DataFrame.to_json`` writes,
    ``{"column": {"0": ...}}``, ``{"column": [...]}`` or ``{"0": {"column": ...}}``.

    :raises RowFileError: when a line is not JSON, or not an object; on a key that stands twice, on NaN, and on a text
        with half of a surrogate pair or a NUL, which no tokenizer reads.
    """
    numbered = ((number, line) for number, line in enumerate(lines(path), 1) if not line.isspace())
    beginning = list(islice(numbered, 2))
    if not beginning:
        raise RowFileError(f"{path} is empty")
    if len(beginning) == 1 or not _is_whole(beginning[0][1]):
        # Read again with its blank lines, for the numbers of lines in messages.
        rows = _rows_of(_parse("".join(lines(path)), path), path)
        return _frame(rows, "row", range(1, len(rows) + 1), path)
    rows, numbers = [], []
    for number, line in chain(beginning, numbered):
        rows.append(_parse(line, path, number))
        numbers.append(number)
    return _frame(rows, "line", numbers, path)


def _is_whole(line: str) -> bool:
    """Whether ``line`` is JSON by itself, and not the first line of something longer."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    """:param line: the number of the line that ``text`` is; None when it is the whole file."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"line {line or error.lineno} is not JSON: {error.msg} (column {error.colno})"
        raise RowFileError(f"{path} {reason}") from error
    except (ValueError, RecursionError) as error:
        place = f"line {line} " if line else ""
        raise RowFileError(f"{path} {place}cannot be read: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null for a value that is missing")


def _rows_of(document: Any, path: Path) -> list[Any]:
    match document:
        case list():
            return document
        case {"data": [*rows]} if all(isinstance(row, dict) for row in rows):
            return rows
        case dict() if document and all(isinstance(values, list | dict) for values in document.values()):
            return _rows_of_columns(document, path)
        case _:
            return [document]


def _rows_of_columns(columns: Mapping[str, Any], path: Path) -> list[Any]:
    """Rows of ``{column: {row: value}}``, ``{column: [value]}`` or ``{row: {column: value}}`` (rows are numbers)."""
    keyed = {}
    for name, values in columns.items():
        keyed[name] = dict(enumerate(values)) if isinstance(values, list) else values
    if all(name.isdigit() for name in keyed):
        return list(keyed.values())
    first, *others = keyed
    for name in others:
        if keyed[name].keys() != keyed[first].keys():
            raise RowFileError(
                f"{path} has columns of different rows: {len(keyed[first])} in {first!r}, "
                f"{len(keyed[name])} in {name!r}"
            )
    return [{name: values[row] for name, values in keyed.items()} for row in keyed[first]]


def _frame(rows: Sequence[Any], unit: str, numbers: Sequence[int], path: Path) -> pd.DataFrame:
    """:param numbers: that of each row in the file, counted in ``unit``."""
    for number, row in zip(numbers, rows, strict=True):
        if not isinstance(row, dict):
            raise RowFileError(f"{path} {unit} {number} is not an object: {reprlib.repr(row)}")
    columns = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        values = [row.get(name) for row in rows]
        column = pd.Series(values, dtype=object)
        # A column of numbers with gaps would be one of floats: 1 becomes 1.0, and a long id is rounded.
        columns[name] = column if None in values else column.infer_objects()
    if not columns:
        raise NoRowsError(f"{path} has no rows")
    return pd.DataFrame(columns)
