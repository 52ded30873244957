"""What a file of predictions says of each row: probabilities, logits, a label, or the value of a regression."""

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.errors import UserError, some_of
from automm_distill.inputs.rows.class_names import class_of
from automm_distill.inputs.rows.cleaning import label_numbers
from automm_distill.tasks import Task

PROBABILITIES, LOGITS, LABEL, PREDICTION = "probabilities", "logits", "label", "prediction"
# The smallest probability. Its logarithm, -27.6, is a logit that every loss can be computed with; a class of
# probability 0 is still all but excluded at a high temperature: of two classes, it has .004 at T 5.
SMALLEST = 1e-12
ROUNDING = 0.01  # how far from 1 the sum of a row's probabilities may be, which are often written with two digits


@dataclass(frozen=True)
class Predictions:
    """What is said of each row.

    :param outputs: logits (rows, classes), those of probabilities their logarithms; of a regression values (rows, 1).
        In double precision, all finite.
    :param form: "probabilities", "logits", "labels" or "values": what they were made of.
    """

    outputs: np.ndarray
    form: str


def read_predictions(raw: pd.DataFrame, task: Task, about_rows: Iterable[str], where: str) -> Predictions:
    """The predictions in the columns of ``raw`` that say nothing about which rows these are.

    :param about_rows: the names of the columns that do.
    :raises UserError: on columns that are unknown, missing, or say it twice, and on values that are no predictions.
    """
    columns = [str(column) for column in raw.columns if column not in set(about_rows)]
    if task.is_regression:
        kinds: dict[str, list[str]] = {name: [name] for name in (PREDICTION, LABEL) if name in columns}
    else:
        kinds = {name: [name] for name in (PROBABILITIES, LOGITS, LABEL) if name in columns}
        kinds |= {"classes": found} if (found := _class_columns(columns, task)) else {}
    known = [column for of_kind in kinds.values() for column in of_kind]
    _refuse_unknown([column for column in columns if column not in known], task, where)
    if len(kinds) != 1:
        names = " and ".join(some_of(of_kind) for of_kind in kinds.values())
        raise UserError(f"{where}: {f'predictions in {names}; keep one of them' if kinds else _no_predictions(task)}")
    kind, chosen = next(iter(kinds.items()))
    if task.is_regression:
        return Predictions(_numbers(raw[chosen], where), "values")
    if kind == LABEL:
        return Predictions(_of_labels(raw[LABEL], task, where), "labels")
    if kind == "classes":
        _require_all_classes(chosen, task, where)
        return _logits(_numbers(raw[chosen], where), None, where)
    return _logits(_lists(raw[kind], len(task.classes), where), kind, where)


def _class_columns(columns: Iterable[str], task: Task) -> list[str]:
    """Those that are called like a class, in the order of the task's classes."""
    numbers = {column: class_of(column, task.classes) for column in columns}
    found = {column: number for column, number in numbers.items() if number is not None}
    return sorted(found, key=found.__getitem__)


def _require_all_classes(names: list[str], task: Task, where: str) -> None:
    present = [class_of(name, task.classes) for name in names]
    absent = [name for number, name in enumerate(task.classes) if number not in present]
    if absent:
        raise UserError(f"{where}: has no column for {some_of(absent)}; needs one for each of {some_of(task.classes)}")
    if len(present) > len(task.classes):
        raise UserError(f"{where}: has two columns for one class among {some_of(names)}")


def _refuse_unknown(columns: list[str], task: Task, where: str) -> None:
    if not columns:
        return
    names = [*task.classes, PREDICTION, LABEL] if task.is_regression else [*task.classes, PROBABILITIES, LOGITS, LABEL]
    near = difflib.get_close_matches(columns[0], names, n=1)
    hint = f"; rename it {near[0]}?" if near else "; take it out, or is it a class that the task does not have?"
    raise UserError(f"{where}: column {columns[0]!r} is neither a prediction nor says which row it is of{hint}")


def _no_predictions(task: Task) -> str:
    if task.is_regression:
        return f"has no predictions; needs a column {PREDICTION} or {LABEL} with the value"
    return (
        f"has no predictions; needs a column for each of {some_of(task.classes)}, or {PROBABILITIES} or {LOGITS} as a "
        f"list, or {LABEL}"
    )


def _numbers(values: pd.DataFrame, where: str) -> np.ndarray:
    """(rows, columns), all finite."""
    numbers = np.stack([_as_numbers(values[column]) for column in values], axis=1)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, place = wrong[0]
        value = values.iloc[row, place]
        shown = repr(value) if isinstance(value, str) else value
        raise UserError(
            f"{where}: row {row} (counted from 0) has {shown} in column {values.columns[place]!r}; needs a finite "
            "number, or leave the row out"
        )
    return numbers


def _as_numbers(column: pd.Series) -> np.ndarray:
    """To the last digit, which pandas' reading of text is not; NaN for what is no number."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64)
    numbers = np.full(len(column), np.nan)
    for row, value in enumerate(column):
        with contextlib.suppress(ValueError, TypeError):
            numbers[row] = float(value)
    return numbers


def _lists(column: pd.Series, classes: int, where: str) -> np.ndarray:
    """A column of lists, or of their JSON, as numbers (rows, classes)."""
    rows = []
    for row, value in enumerate(column):
        numbers = _as_list(value)
        if numbers is None or len(numbers) != classes or not np.isfinite(numbers).all():
            raise UserError(
                f"{where}: row {row} (counted from 0) has {value!r} in column {column.name!r}; needs a list of "
                f"{classes} finite numbers, such as {json.dumps([round(1 / classes, 2)] * min(classes, 3))}"
            )
        rows.append(numbers)
    return np.array(rows, dtype=np.float64)


def _as_list(value: Any) -> np.ndarray | None:
    try:
        return np.asarray(json.loads(value) if isinstance(value, str) else value, dtype=np.float64).reshape(-1)
    except (ValueError, TypeError):
        return None


def _of_labels(column: pd.Series, task: Task, where: str) -> np.ndarray:
    """A label is a distribution in which its class has all the probability."""
    labels = label_numbers(column, task, where).to_numpy()
    missing = np.flatnonzero(np.isnan(labels))
    if len(missing):
        raise UserError(f"{where}: row {missing[0]} (counted from 0) has no label; leave the row out")
    return np.asarray(np.log(np.maximum(np.eye(len(task.classes))[labels.astype(int)], SMALLEST)))


def _logits(values: np.ndarray, kind: str | None, where: str) -> Predictions:
    """Probabilities, if all rows are such; else logits.

    :param kind: which of them the column says they are; None where it does not.
    :raises UserError: when only some rows are probabilities.
    """
    if kind == LOGITS:
        return Predictions(values, LOGITS)
    sums = values.sum(axis=1)
    sound = (values >= 0).all(axis=1) & (np.abs(sums - 1) <= ROUNDING)
    if sound.all():
        return Predictions(np.log(np.maximum(values / sums[:, None], SMALLEST)), PROBABILITIES)
    negative = bool((values < 0).any())
    if kind is None and not negative and (np.abs(sums - 100) <= 100 * ROUNDING).all():
        raise UserError(f"{where}: every row sums to 100: percentages; divide them by 100")
    if kind is None and not sound.any():
        if not negative and (values <= 1).all():
            raise UserError(
                f"{where}: all numbers are from 0 to 1, and no row sums to 1: neither probabilities of one class each "
                f"nor logits; divide each row by its sum, or write logits as a list in a column {LOGITS}"
            )
        return Predictions(values, LOGITS)
    if kind is None and negative and sound.mean() <= 0.5:  # a row of logits may happen to sum to 1
        return Predictions(values, LOGITS)
    row = int(np.flatnonzero(~sound)[0])
    wrong = "has a negative number" if (values[row] < 0).any() else f"sums to {sums[row]:.4g}"
    raise UserError(
        f"{where}: row {row} (counted from 0) {wrong}, where probabilities sum to 1 ({sound.sum():,} of {len(sums):,} "
        "rows do)"
    )


FORMS: Mapping[str, str] = {
    "probabilities": "probabilities",
    "logits": "logits",
    "labels": "labels, each taken for a probability of 1",
    "values": "values",
}
