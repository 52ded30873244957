"""Raw rows -> what models see: texts, labels as numbers, ids; what cannot be used is dropped and counted."""

import logging
from collections.abc import Hashable

import pandas as pd

from automm_distill.errors import UserError
from automm_distill.tasks import Task

log = logging.getLogger(__name__)

NO_TRANSLATION = "NS"  # how PAWS-X marks a sentence that was never translated


def clean(raw: pd.DataFrame, task: Task, where: str) -> pd.DataFrame:
    """Rename the text columns for the models, make labels numbers, drop and count what cannot be used.

    Rows without a label (empty or -1, as in GLUE's test files) or without text (empty, or PAWS-X's "NS") are dropped.

    :return: columns ``id`` (text), ``task.model_columns`` (text), ``label`` (int64, or float64 for a regression).
    :raises UserError: on a missing column, a label that the task does not have, or no row left.
    """
    missing = [column for column in (*task.text_columns, "label") if column not in raw]
    if missing:
        raise UserError(f"{where}: column {missing[0]!r} is missing; found {', '.join(map(str, raw.columns))}")
    frame = pd.DataFrame({"id": _ids(raw)})
    for column, source in zip(task.model_columns, task.text_columns, strict=True):
        frame[column] = raw[source].fillna("").astype(str).to_numpy()
    names = {name: number for number, name in enumerate(task.classes)}
    nested = raw["label"][raw["label"].map(lambda label: not isinstance(label, Hashable))]
    if len(nested):
        raise UserError(f"{where}: label {nested.iloc[0]!r} is not {_valid_labels(task)}")
    labels = raw["label"].map(lambda label: names.get(label, label)).replace("", None)
    frame["label"] = pd.to_numeric(labels, errors="coerce").to_numpy()
    _refuse_unreadable_labels(labels, frame["label"], task, where)

    unlabelled = frame["label"].isna() | (frame["label"] == -1)
    texts = frame[list(task.model_columns)]
    textless = ~unlabelled & (texts.apply(lambda text: text.str.strip() == "") | (texts == NO_TRANSLATION)).any(axis=1)
    for what, rows in (("without a label", unlabelled), ("without text", textless)):
        if rows.any():
            log.info("%s: dropped %s of %s rows %s", where, f"{rows.sum():,}", f"{len(frame):,}", what)
    frame = frame[~unlabelled & ~textless].reset_index(drop=True)
    if frame.empty:
        raise UserError(f"{where}: no row is left with a text and a label (of {len(raw):,})")
    _refuse_foreign_labels(frame["label"], task, where)
    if not task.is_regression:
        frame["label"] = frame["label"].astype("int64")
    return frame


def _ids(raw: pd.DataFrame) -> list[str]:
    for column in ("idx", "id"):
        if column in raw:
            return [_one_spelling(value) for value in raw[column]]
    return [str(number) for number in range(len(raw))]


def _one_spelling(value: object) -> str:
    """1, 1.0 and "1.0" are the same id: a column with one missing entry is read as numbers with a point."""
    text = str(value)
    whole, point, zeros = text.partition(".")
    return whole if point and whole.lstrip("-").isdigit() and set(zeros) == {"0"} else text


def _valid_labels(task: Task) -> str:
    if task.label_range is not None:
        return "a number from {:g} to {:g}".format(*task.label_range)
    return "one of " + ", ".join(f"{number} ({name})" for number, name in enumerate(task.classes))


def _refuse_unreadable_labels(labels: pd.Series, numbers: pd.Series, task: Task, where: str) -> None:
    unreadable = labels[numbers.isna().to_numpy() & labels.notna().to_numpy()]
    if len(unreadable):
        raise UserError(f"{where}: label {unreadable.iloc[0]!r} is not {_valid_labels(task)}")


def _refuse_foreign_labels(labels: pd.Series, task: Task, where: str) -> None:
    known = labels.between(*task.label_range) if task.label_range else labels.isin(range(len(task.classes)))
    if not known.all():
        raise UserError(f"{where}: label {labels[~known].iloc[0]:g} is not {_valid_labels(task)}")
