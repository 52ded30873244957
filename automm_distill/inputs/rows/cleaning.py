"""Raw rows -> what models see: texts, labels as numbers, ids; what cannot be used is dropped and counted."""

import difflib
import logging
import math
import re
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from automm_distill.errors import UserError, some_of
from automm_distill.inputs.rows.class_names import class_of, class_of_number
from automm_distill.inputs.rows.file_kinds import unusable_text
from automm_distill.inputs.rows.row_ids import row_ids
from automm_distill.tasks import Task, model_columns

log = logging.getLogger(__name__)

NO_TRANSLATION = "NS"  # how PAWS-X marks a sentence that was never translated
# A dash is MultiNLI's mark of a row on whose label people did not agree, NA what R writes for a missing value.
NO_LABEL = ("", "-", "na", "n/a", "nan", "null", "none")
UNKNOWN_LABEL = -1  # in GLUE's test files


def clean(raw: pd.DataFrame, task: Task, where: str) -> pd.DataFrame:
    """Rename the columns for the models, make labels numbers, drop and count what cannot be used.

    Rows without a label (empty, "-", or -1 as in GLUE's test files) or without text (empty, or PAWS-X's "NS") are
    dropped. A label may be a number or the name of a class.

    :param raw: with the columns of the hub or of the official archive.
    :return: columns ``id`` (text), ``task.model_columns`` (text), ``label`` (int64, or float64 for a regression).
    :raises UserError: on a missing column, a value that is no text, a label that the task does not have, or no row
        left.
    """
    raw = _with_hub_names(raw, task).reset_index(drop=True)
    require_columns(raw, [*task.text_columns, "label"], where)
    texts = model_texts(raw, task.text_columns, where)
    labels = label_numbers(raw["label"], task, where)

    unlabelled = labels.isna()
    textless = ~unlabelled & _lacks_text(texts, task)
    for what, rows in (("without a label", unlabelled), ("without text", textless)):
        if rows.any():
            log.info("%s: dropped %s of %s rows %s", where, f"{rows.sum():,}", f"{len(raw):,}", what)
    kept = ~unlabelled & ~textless
    if not kept.any():
        raise UserError(f"{where}: no row is left with a text and a label (of {len(raw):,})")
    frame = texts[kept].assign(label=labels[kept] if task.is_regression else labels[kept].astype("int64"))
    frame.insert(0, "id", row_ids(raw[kept], where))
    return frame.reset_index(drop=True)


def clean_unlabelled(raw: pd.DataFrame, task: Task, where: str) -> pd.DataFrame:
    """Rename the columns for the models, drop and count rows without text. Labels are not looked at.

    :param raw: with the columns of the hub, of the official archive, or with ``task.model_columns``.
    :return: columns ``task.model_columns`` (text).
    :raises UserError: on a missing column, a value that is no text, or no row left.
    """
    texts = texts_of(raw, task, where)
    textless = _lacks_text(texts, task)
    if textless.any():
        log.info("%s: dropped %s of %s rows without text", where, f"{textless.sum():,}", f"{len(raw):,}")
    if textless.all():
        raise UserError(f"{where}: no row is left with a text (of {len(raw):,})")
    return texts[~textless].reset_index(drop=True)


def texts_of(raw: pd.DataFrame, task: Task, where: str) -> pd.DataFrame:
    """The texts of all rows, under the names that models see.

    :param raw: as :func:`clean_unlabelled` takes it.
    :raises UserError: on a missing column, or a value that is no text.
    """
    raw = _with_hub_names(raw, task)
    raw = raw.reset_index(drop=True)
    found = set(raw.columns)
    columns = task.model_columns if set(task.model_columns) <= found and not set(task.text_columns) & found else None
    require_columns(raw, columns or task.text_columns, where)
    return model_texts(raw, columns or task.text_columns, where)


def warn_if_names_meet_numbers(splits: Mapping[str, pd.DataFrame], task: Task) -> None:
    """Say that class names in one place and bare numbers in another are taken for the same.

    The names may stand for other numbers where they come from, and then so do the numbers.

    :param splits: as they were read.
    """
    where: dict[str, set[str]] = {"names": set(), "numbers": set()}
    for split, raw in splits.items():
        frame = _with_hub_names(raw, task)
        known = {str(label).strip() for label in frame["label"].drop_duplicates()} if "label" in frame else set()
        for label in known:
            if class_of(label, task.classes) is not None:
                where["names"].add(split)
            elif re.fullmatch(r"\d+(\.0*)?", label):
                where["numbers"].add(split)
    if where["names"] and where["numbers"]:
        log.warning(
            "%s: labels are names in %s and numbers in %s; the numbers are taken for %s",
            *(task.config, ", ".join(sorted(where["names"])), ", ".join(sorted(where["numbers"]))),
            _valid_labels(task).removeprefix("one of "),
        )


def _with_hub_names(raw: pd.DataFrame, task: Task) -> pd.DataFrame:
    names = {archive: hub for archive, hub in task.archive_columns if archive in raw and hub not in raw}
    return raw.rename(columns=names)


def require_columns(raw: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    found = list(map(str, raw.columns))
    for column in columns:
        if found.count(column) > 1:
            raise UserError(f"{where}: column {column!r} is there {found.count(column)} times")
        if column not in found:
            near = {name.lower(): name for name in found}
            similar = difflib.get_close_matches(column, near)
            hint = f"; rename {near[similar[0]]!r}?" if similar else ""
            raise UserError(f"{where}: column {column!r} is missing; found {some_of(found) or 'none'}{hint}")


def model_texts(raw: pd.DataFrame, text_columns: Sequence[str], where: str) -> pd.DataFrame:
    """The texts under the names that the models see.

    Of three columns or more, the second is all but the first, one text below the other: so every form of a model reads
    the same, however it joins columns.
    """
    texts = [_texts(raw[column], where) for column in text_columns]
    if len(texts) > 2:
        rows = zip(*texts[1:], strict=True)
        joined = ["\n".join(text for text in row if text.strip()) for row in rows]
        texts = [texts[0], pd.Series(joined, index=raw.index, dtype=object)]
    return pd.DataFrame(dict(zip(model_columns(len(text_columns)), texts, strict=True)))


def lacks_text(texts: pd.DataFrame, *, may_be_empty: bool) -> pd.Series:
    """Whether one of a row's texts is empty; where they may be, whether all are."""
    blank = texts.apply(lambda text: text.str.strip() == "")
    return blank.all(axis=1) if may_be_empty else blank.any(axis=1)


def _lacks_text(texts: pd.DataFrame, task: Task) -> pd.Series:
    """The same, or whether one was never translated."""
    lacking = lacks_text(texts, may_be_empty=task.texts_may_be_empty)
    return lacking | (texts == NO_TRANSLATION).any(axis=1) if task.name == "pawsx" else lacking


def _texts(column: pd.Series, where: str) -> pd.Series:
    """The column as text: numbers as they are written, nothing for a missing value."""
    texts = column.astype(object)
    if pd.api.types.infer_dtype(texts, skipna=False) != "string":  # else there is nothing to look at one by one
        for row, value in texts.items():
            if isinstance(value, bytes) or not isinstance(value, Hashable):
                kind = type(value).__name__
                raise UserError(f"{where}: column {column.name!r} is not text: row {row} (counted from 0) is a {kind}")
        texts = texts.where(texts.notna(), "").astype(str)
    unusable = unusable_text(texts.tolist())
    if unusable is not None:
        raise UserError(
            f"{where}: column {column.name!r} row {unusable} (counted from 0) has a NUL or half of a surrogate pair, "
            "which no tokenizer reads"
        )
    return texts


def label_numbers(column: pd.Series, task: Task, where: str) -> pd.Series:
    """The labels as float64; NaN for those that are not known.

    :raises UserError: for labels that the task does not have.
    """
    values = column.astype(object)
    nested = values[values.map(lambda value: not isinstance(value, Hashable))]
    if len(nested):
        raise UserError(f"{where}: label {nested.iloc[0]!r} is not {_valid_labels(task)}")
    codes, distinct = pd.factorize(values)  # missing values have the code -1
    numbers = [_label_number(value, task) for value in distinct]
    foreign = [value for value, number in zip(distinct, numbers, strict=True) if number is None]
    if foreign:
        found = f"; found {some_of(map(repr, distinct))}" if len(distinct) > 1 else ""
        row = int(np.flatnonzero(codes == list(distinct).index(foreign[0]))[0])
        raise UserError(
            f"{where}: label {foreign[0]!r} is not {_valid_labels(task)}{found}; first in row {row} (counted from 0)"
        )
    known = np.array([*numbers, math.nan], dtype=float)
    # The hub has STS-B's scores in single precision: 3.8 in a text file is to be the same number.
    return pd.Series(known.astype("float32").astype("float64")[codes], index=values.index)


def _label_number(value: object, task: Task) -> float | None:
    """The label as a number: of its class, or itself for a regression; NaN if not known, None if it is none of them."""
    missing = isinstance(value, str) and value.strip().casefold() in NO_LABEL
    if missing and value not in task.classes:  # a user's class may be called "none"
        return math.nan
    named = class_of(value, task.classes)
    if named is not None:
        return float(named)
    if len(task.classes) == 2 and not task.classes[1].startswith("not_"):  # true would be not_entailment
        truth = class_of(value, ("false", "true"))
        if truth is not None:
            return float(truth)
    if isinstance(value, bool) or "_" in str(value):  # Python takes 1_000 for a number
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    of_class = class_of_number(number, task.classes)
    if of_class is None and (math.isnan(number) or number == UNKNOWN_LABEL):
        return math.nan
    if task.is_regression:
        low, high = task.label_range or (-math.inf, math.inf)
        return number if low <= number <= high else None
    return of_class


def _valid_labels(task: Task) -> str:
    if task.label_range is not None:
        return "a number from {:g} to {:g}".format(*task.label_range)
    return "one of " + ", ".join(f"{number} ({name})" for number, name in enumerate(task.classes))
