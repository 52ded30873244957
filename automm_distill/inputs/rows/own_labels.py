"""Labels as people have them: words, numbers, booleans or nothing -> classes or values, none of them guessed away."""

import logging
import math
import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd

from automm_distill.errors import UserError, some_of
from automm_distill.tasks import CLASSIFICATION, REGRESSION

MOST_CLASSES = 1000
MOST_NUMBERED_CLASSES = 20  # different whole numbers that are taken for classes
NOTHING = ("na", "n/a", "nan", "null", "none")  # what other programs write for a missing value

log = logging.getLogger(__name__)


def class_names(labels: pd.Series, where: str) -> pd.Series:
    """Each label as the name of its class, None where there is none: an empty field, blanks, a missing value.

    A word stays as it is, with its case and blanks; 1, 1.0 and the text "1.0" are "1", true is "True".

    :raises UserError: for a label that is a list or the like.
    """
    values = labels.astype(object)
    nested = values[values.map(lambda value: not isinstance(value, Hashable))]
    if len(nested):
        raise UserError(f"{where}: label {nested.iloc[0]!r} is neither a word nor a number")
    values = values.map(lambda value: str(value) if isinstance(value, bool | np.bool_) else value)  # True equals 1
    codes, distinct = pd.factorize(values)  # missing values have the code -1
    names = np.array([*map(_name, distinct), None], dtype=object)
    return pd.Series(names[codes], index=labels.index, dtype=object)


def values(names: pd.Series, where: str) -> pd.Series:
    """The labels of a regression, float64; NaN where there is none.

    :param names: of :func:`class_names`.
    :raises UserError: for a label that is no finite number.
    """
    codes, distinct = pd.factorize(names)
    numbers = [number_of(name) for name in distinct]
    if None in numbers:
        foreign = numbers.index(None)
        row = int(np.flatnonzero(codes == foreign)[0])
        raise UserError(
            f"{where}: label {distinct[foreign]!r} is no number; first in row {row} (counted from 0); a regression "
            "needs numbers, words need --problem_type classification"
        )
    known = np.array([*numbers, math.nan], dtype=float)
    return pd.Series(known[codes], index=names.index)


def problem_type(names: pd.Series) -> str:
    """What the labels are: classes, unless they are numbers with a fraction, or many different whole ones.

    :param names: of :func:`class_names`.
    :raises UserError: for numbers with a decimal comma.
    """
    numbers = [number_of(name) for name in names.dropna().unique()]
    if None in numbers:
        _refuse_decimal_commas(names.dropna().unique())
        return CLASSIFICATION
    whole = all(number.is_integer() for number in numbers if number is not None)
    return CLASSIFICATION if whole and len(numbers) <= MOST_NUMBERED_CLASSES else REGRESSION


def find_classes(names: pd.Series, where: str) -> tuple[str, ...]:
    """The classes of labelled training rows: numbers in their order, words in that of the alphabet.

    Two that differ in case or blanks alone are two classes, and a warning.

    :param names: of :func:`class_names`, none missing.
    :raises UserError: when there is one class only, or more than can be told apart.
    """
    counts = names.value_counts()
    if len(counts) < 2:
        raise UserError(f"{where}: all {len(names):,} labels are {counts.index[0]!r}; needs two classes or more")
    if len(counts) > MOST_CLASSES:
        raise UserError(
            f"{where}: {len(counts):,} different labels in {len(names):,} rows "
            f"({some_of(map(repr, counts.index), 3)}); up to {MOST_CLASSES:,} classes can be told "
            "apart. Is it another column (--label_column), or numbers (--problem_type regression)?"
        )
    alike: dict[str, list[str]] = {}
    for name in counts.index:
        alike.setdefault(_plain(name), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            shown = " and ".join(f"{name!r} ({counts[name]:,} rows)" for name in group)
            log.warning("%s: %s differ in case or blanks only, and are taken for different classes", where, shown)
    missing = [name for name in counts.index if name.strip().casefold() in NOTHING]
    for name in missing:
        log.warning(
            "%s: %r is taken for a class (%s rows); leave the field empty if it means none", where, name, counts[name]
        )
    if are_numbers(counts.index):
        return tuple(sorted(counts.index, key=float))
    return tuple(sorted(counts.index))


def are_numbers(names: Iterable[str]) -> bool:
    """Whether all names of classes are numbers."""
    return all(number_of(name) is not None for name in names)


def in_other_spelling(name: str, classes: Sequence[str]) -> str | None:
    """The class that differs from the name in case or blanks only."""
    return next((each for each in classes if _plain(each) == _plain(name)), None)


def class_numbers(names: pd.Series, classes: Sequence[str]) -> pd.Series:
    """The places of the names among the classes; ``len(classes)`` for a name that is none of them."""
    places = {name: place for place, name in enumerate(classes)}
    return names.map(lambda name: places.get(name, len(classes))).astype("int64")


def _refuse_decimal_commas(names: Sequence[str]) -> None:
    with_comma = [name for name in names if re.fullmatch(r"\s*-?\d+,\d+\s*", name)]
    if with_comma and all(number_of(name.replace(",", ".")) is not None for name in names):
        raise UserError(
            f"label {with_comma[0]!r} has a decimal comma; write it with a point, or say what the labels are with "
            f"--problem_type {CLASSIFICATION}"
        )


def _name(value: object) -> str | None:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    name = str(value)
    if re.fullmatch(r"-?\d+\.0+", name):  # as a file of text has 1.0
        return name.partition(".")[0]
    return name if name.strip() else None


def _plain(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().casefold()


def number_of(name: str) -> float | None:
    """The number that a label is; None for a word, and for what Python but no user would call a number (1_000, nan)."""
    if "_" in name:
        return None
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
