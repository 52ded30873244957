r"""CSV and TSV: every row has the fields that the header names, or the file is refused.

Several customs share these two suffixes. A reading is one custom; a file is read by the first that explains all of it:

- CSV: as RFC 4180 says (a field with a separator or a quotation mark is enclosed in marks, those within are doubled);
  with ``\"`` for a mark within, as Spark and MySQL write it; cut at separators, if no field begins with a mark.
- TSV: lines cut at tabs, with quotation marks as characters, as GLUE and PAWS-X are distributed. But when all cells
  with a quotation mark are enclosed, as pandas, R and Excel do it, the marks are not part of the text. Fields with tabs
  or line breaks are only read when the whole file is written so.

The separator is looked for in the header, because Excel writes semicolons in half of Europe.

All fields are text as it is written: ``007``, ``1.0``, ``nan``, ``NULL`` and spaces stay.
"""

import csv
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from automm_distill.errors import NoRowsError, RowFileError
from automm_distill.inputs.rows.text_lines import lines

log = logging.getLogger(__name__)

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

# GLUE's own archive of QQP has line breaks in a few questions, which leave lines of fewer fields; the hub's copy was
# made without those rows, too.
QQP_HEADER = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
QQP_SHORT_LINES = 0.01  # the largest share of them; more is another fault

_DOUBLED = 'fields are enclosed in quotation marks where they need it (" within is "")'
_BACKSLASHED = 'a quotation mark within a field is written \\"'
_LOOSE_MARK = "has a quotation mark that neither encloses a field nor is doubled or escaped within one"
_CHARACTERS = "quotation marks are part of the texts"

_INDEX = re.compile(r"Unnamed: \d+(\.\d+)*")  # how pandas calls the index that it wrote without a name
_ENCLOSED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_ESCAPED = re.compile(r'("?)(?:[^"\\]|\\["\\])*\1')
_BACKSLASH_PAIR = re.compile(r"\\(.)", re.DOTALL)

Record = tuple[int, list[str]]  # number of its first line, fields
Reading = Callable[[Path], Iterable[Record]]


@dataclass(frozen=True)
class Table:
    """Fields of a file: the names, and as many fields in every row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class MisfitError(Exception):
    """A line that a reading cannot explain: its number and what is wrong with it."""

    def __init__(self, line: int, reason: str):
        super().__init__(line, reason)
        self.line = line
        self.reason = reason


def read_delimited(path: Path, columns: Sequence[str] | None, usual: str) -> pd.DataFrame:
    """The rows of a CSV or TSV file, all text.

    An index that pandas wrote (first column without a name, ``Unnamed: 0``) is left out.

    :param columns: their names, for a file without a header line.
    :param usual: the separator that the name of the file promises.
    :raises RowFileError: when no reading explains every line; when the header lacks a name or has one twice; when there
        are no rows.
    """
    csv.field_size_limit(2**31 - 1)  # the module's own limit is 131,072 characters a field
    separator = usual if columns else _find_separator(path, usual)
    if separator != usual:
        log.info("%s: fields are separated by %s, not %s", path, SEPARATORS[separator], SEPARATORS[usual])
    try:
        table = _read_tabbed(path, columns) if separator == "\t" else _read_csv(path, columns, separator)
    except MisfitError as misfit:
        raise RowFileError(f"{path} line {misfit.line} {misfit.reason}") from misfit
    if not table.rows:
        raise NoRowsError(f"{path} has no rows{' below its header' if table.header else ''}")
    return _frame(path, table)


def _find_separator(path: Path, usual: str) -> str:
    header = next((line for line in lines(path) if not line.isspace()), "")
    fields = {separator: len(next(csv.reader([header], delimiter=separator), [])) for separator in SEPARATORS}
    if fields[usual] > 1:
        return usual
    return max(SEPARATORS, key=lambda separator: (fields[separator], separator == usual))


def _read_csv(path: Path, columns: Sequence[str] | None, separator: str) -> Table:
    readings: dict[str, Reading] = {
        "": partial(_quoted, separator=separator),
        _BACKSLASHED: partial(_backslashed, separator=separator),
        _CHARACTERS: partial(_unenclosed, separator=separator),
    }
    return _first_that_fits(path, columns, readings)


def _read_tabbed(path: Path, columns: Sequence[str] | None) -> Table:
    quoted: dict[str, Reading] = {
        _DOUBLED: partial(_quoted, separator="\t"),
        _BACKSLASHED: partial(_backslashed, separator="\t"),
    }
    try:
        table = _collect(_cut(path, "\t"), columns)
    except MisfitError:
        return _first_that_fits(path, columns, {**quoted, "": _cut_qqp})
    custom = _custom_of_marks(table)
    if custom in quoted:
        return _first_that_fits(path, columns, {custom: quoted[custom]})
    if custom:
        log.info("%s: %s", path, custom)
    return table


def _custom_of_marks(table: Table) -> str:
    """What quotation marks are in a file whose lines can be cut at tabs; empty where no field begins with one.

    That all are at the ends of a cell or written double is not enough to leave some out: a file of a few quotations
    would lose them. It takes a mark that is doubled, or a column in which every cell is enclosed, or cells that are
    enclosed if they have a comma, and only then, as Excel writes them.
    """
    cells = [cell for row in (table.header, *table.rows) for cell in row]
    marked = [cell for cell in cells if '"' in cell]
    if all(map(_ENCLOSED.fullmatch, marked)) and (
        any('""' in cell[1:-1] for cell in marked)
        or any(all(map(_ENCLOSED.fullmatch, column)) for column in zip(*table.rows, strict=True))
        or (marked and marked == [cell for cell in cells if "," in cell])
    ):
        return _DOUBLED
    enclosed = any(cell.startswith('"') for cell in marked)
    if any('\\"' in cell for cell in marked):
        # Marks that enclose nothing are the weaker sign; then there must be no backslash that is text, either.
        telling = marked if enclosed else [cell for cell in cells if '"' in cell or "\\" in cell]
        if all(map(_ESCAPED.fullmatch, telling)):
            return _BACKSLASHED
    return _CHARACTERS if enclosed else ""


def _first_that_fits(path: Path, columns: Sequence[str] | None, readings: Mapping[str, Reading]) -> Table:
    """The table by the first of ``readings`` that explains every line; its name is said.

    :raises MisfitError: that of the reading which came furthest.
    """
    misfits = []
    for custom, reading in readings.items():
        try:
            table = _collect(reading(path), columns)
        except MisfitError as misfit:
            misfits.append(misfit)
        else:
            if custom:
                log.info("%s: %s", path, custom)
            return table
    raise max(misfits, key=lambda misfit: misfit.line)


def _collect(records: Iterable[Record], columns: Sequence[str] | None) -> Table:
    header, rows = columns, []
    for line, fields in records:
        if header is None:
            header = fields
        elif len(fields) == len(header):
            rows.append(fields)
        else:
            expected = f"not {len(header)} ({', '.join(columns)})" if columns else f"the header {len(header)}"
            raise MisfitError(line, f"has {len(fields)} field{'' if len(fields) == 1 else 's'}, {expected}")
    return Table(header or (), rows)


def _cut(path: Path, separator: str) -> Iterator[Record]:
    """Lines cut at ``separator``."""
    for number, line in enumerate(lines(path), 1):
        if not line.isspace():
            yield number, line.rstrip("\r\n").split(separator)


def _cut_qqp(path: Path) -> list[Record]:
    """As :func:`_cut`, but in the archive of QQP the few lines that end early are left out, and counted."""
    records = list(_cut(path, "\t"))
    short = [line for line, fields in records if len(fields) < len(QQP_HEADER)]
    if records[0][1] != QQP_HEADER or not 0 < len(short) <= QQP_SHORT_LINES * len(records):
        return records
    log.info(
        "%s: %s of %s lines end early and are dropped, first line %s", path, len(short), f"{len(records):,}", short[0]
    )
    return [record for record in records if len(record[1]) >= len(QQP_HEADER)]


def _quoted(path: Path, separator: str) -> Iterator[Record]:
    """Records as RFC 4180 has them: a field with a quotation mark is enclosed in them."""
    for number, raw, fields in _records(path, delimiter=separator):
        if '"' in raw:
            for field in fields:
                if '"' in field and '"{}"'.format(field.replace('"', '""')) not in raw:
                    raise MisfitError(number, _LOOSE_MARK)
        yield number, fields


def _unenclosed(path: Path, separator: str) -> Iterator[Record]:
    """Lines cut at ``separator``, with quotation marks in the middle of texts only."""
    for number, fields in _cut(path, separator):
        if any(field.lstrip().startswith('"') or '\\"' in field for field in fields):
            raise MisfitError(number, _LOOSE_MARK)
        yield number, fields


def _backslashed(path: Path, separator: str) -> Iterator[Record]:
    """Records in which a backslash precedes quotation marks, separators, line ends and backslashes that are text."""
    # The csv module checks what follows a closing quotation mark only where marks are doubled.
    field = rf'(?:"[^"]*"|[^"{separator}\r\n]*)'
    well_formed = re.compile(rf"{field}(?:[{separator}]{field})*[\r\n]*")
    escaped_marks = 0
    for number, raw, fields in _records(path, delimiter=separator, escapechar="\\", doublequote=False):
        for pair in _BACKSLASH_PAIR.finditer(raw):
            if pair[1] not in f'"\\\r\n{separator}':
                raise MisfitError(
                    number, f'has a backslash before {pair[1]!r}; where \\" is a mark, a backslash is \\\\'
                )
            escaped_marks += pair[1] == '"'
        if '"' in raw and not well_formed.fullmatch(_BACKSLASH_PAIR.sub("__", raw)):
            raise MisfitError(number, _LOOSE_MARK)
        yield number, fields
    if not escaped_marks:
        raise MisfitError(0, "has no such mark")  # another reading is at fault, and came further


def _records(path: Path, **dialect: str | bool) -> Iterator[tuple[int, str, list[str]]]:
    """Number of the first line, text and fields of each record; blank lines are none."""
    taken: list[str] = []

    def take() -> Iterator[str]:
        for line in lines(path):
            taken.append(line)
            yield line

    reader = csv.reader(take(), strict=True, **dialect)  # type: ignore[arg-type]
    first = 1
    try:
        for fields in reader:
            raw = "".join(taken)
            if not raw.isspace():
                yield first, raw, fields
            taken.clear()
            first = reader.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            raise MisfitError(first, "has a quotation mark that opens a field and is never closed") from error
        reason = f"has a quotation mark that opens a field and closes within it (on line {reader.line_num})"
        raise MisfitError(first, reason) from error


def _frame(path: Path, table: Table) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for position, (name, values) in enumerate(
        zip(map(str.strip, table.header), zip(*table.rows, strict=True), strict=True)
    ):
        if _INDEX.fullmatch(name) or (not name and (position == 0 or not any(values))):
            continue
        if not name or name in columns:
            fault = f"has the name {name!r} twice" if name else f"has no name for column {position + 1}"
            raise RowFileError(f"the header of {path} {fault}")
        columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)
