"""Which columns of the user's rows hold the texts, and what is read of a row."""

from collections.abc import Sequence

import pandas as pd

from automm_distill.errors import UserError, some_of
from automm_distill.inputs.rows.cleaning import model_texts, require_columns
from automm_distill.inputs.rows.row_ids import ID_COLUMNS, one_spelling, row_ids

LABEL = "label"


def find_text_columns(raw: pd.DataFrame, label_column: str, where: str) -> tuple[str, ...]:
    """The only column of texts, besides label and id.

    :raises UserError: when there is none, or a choice.
    """
    require_columns(raw, [label_column], where)
    others = [column for column in raw.columns if column not in (label_column, *ID_COLUMNS)]
    candidates = [str(column) for column in others if _holds_texts(raw[column])]
    if len(candidates) == 1:
        return tuple(candidates)
    if not candidates:
        raise UserError(
            f"{where}: no column holds texts; found {some_of(raw.columns)}; name those to read with --text_columns"
        )
    raise UserError(
        f"{where}: several columns hold texts ({some_of(candidates)}); name those to read, in their order, with "
        "--text_columns"
    )


def read_columns(raw: pd.DataFrame, text_columns: Sequence[str], label_column: str, where: str) -> pd.DataFrame:
    """``id``, one or two texts under the names that models see, and ``label`` as it was read.

    Where rows have no ids, or only shared ones, an id is "row" and the row's number: no other file's ids are numbers of
    these rows.

    :raises UserError: on a missing column, or a value that is no text.
    """
    require_columns(raw, [*text_columns, label_column], where)
    raw = raw.reset_index(drop=True)
    frame = model_texts(raw, text_columns, where).assign(**{LABEL: raw[label_column]})
    ids = pd.Series(row_ids(raw, where), index=raw.index)
    numbers = raw.index.astype(str).to_series(index=raw.index)
    has_ids = any(name in raw and raw[name].map(one_spelling).eq(ids).any() for name in ID_COLUMNS)
    frame.insert(0, "id", ids if has_ids else "row " + numbers)
    return frame


def _holds_texts(column: pd.Series) -> bool:
    """Whether most values are words rather than numbers; a file of text has no other types."""
    if column.dtype != object and not isinstance(column.dtype, pd.StringDtype):
        return False
    values = [value for value in column.dropna().head(1000) if isinstance(value, str)]
    return bool(values) and bool(pd.to_numeric(pd.Series(values), errors="coerce").isna().mean() > 0.5)
