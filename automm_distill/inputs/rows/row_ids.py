"""Ids of rows: what tells the rows of a split apart, and what rows in several languages have in common.

Rows of the same id in several languages are taken for one sentence pair: they are cut together and, for intervals,
drawn together. An id that says nothing of that kind must not group rows, or intervals come out too wide or without
any width.
"""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

log = logging.getLogger(__name__)

ID_COLUMNS = ("idx", "id", "index")  # the hub's GLUE, PAWS-X, and GLUE's archives

# Two languages of PAWS-X agree on the labels of 98 % of their shared ids or more, which is a kappa above 0.95; chance
# agreement is a kappa of 0. Of fewer ids than MIN_SHARED, nothing can be said.
MIN_KAPPA, MIN_SHARED = 0.5, 20


def row_ids(raw: pd.DataFrame, where: str) -> list[str]:
    """An id for each row, different from those of all others.

    It is taken from the first of :data:`ID_COLUMNS` that is there. Where that one is blank, or the same as another
    row's, the row's number takes its place.

    :param raw: rows as they were read, indexed by their number.
    """
    numbers = raw.index.astype(str)
    column = next((name for name in ID_COLUMNS if name in raw), None)
    if column is None:
        return numbers.tolist()
    values = raw[column]
    whole = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu"
    ids = values.astype(str) if whole else values.map(one_spelling)
    blank, repeated = ids == "", ids.duplicated(keep=False) & (ids != "")
    unusable = blank | repeated
    if unusable.any():
        log.info(
            "%s: column %r tells %s of %s rows apart (blank: %s, repeated: %s); the others go by their row number",
            *(where, column, f"{(~unusable).sum():,}", f"{len(ids):,}", f"{blank.sum():,}", f"{repeated.sum():,}"),
        )
    if unusable.all():
        return numbers.tolist()
    return ids.mask(unusable, "row " + numbers.to_series(index=ids.index)).tolist()


def separate_unrelated(tests: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The test sets of several languages, with ids made different where the same id is not the same sentence pair.

    A pair keeps its meaning, and so its label, when it is translated. Two languages whose labels agree on their shared
    ids no better than chance would have it were numbered independently.

    :param tests: ``{language: frame with id and label}``, all rows.
    """
    families: list[list[str]] = []
    for language, frame in tests.items():
        for family in families:
            if not _contradict(tests[family[0]], frame):
                family.append(language)
                break
        else:
            families.append([language])
    if len(families) > 1:
        log.warning(
            "rows of the same id have unrelated labels in the test sets of %s: their rows are taken as independent",
            " and ".join(", ".join(family) for family in families),
        )
    elif len(tests) > 1 and not set.intersection(*(set(frame["id"]) for frame in tests.values())):
        log.info("the test sets of %s share no ids: their rows are taken as independent", ", ".join(tests))
    unrelated = {language: family[0] for family in families[1:] for language in family}
    return {
        language: frame.assign(id=f"{unrelated[language]} " + frame["id"]) if language in unrelated else frame
        for language, frame in tests.items()
    }


def one_spelling(value: object) -> str:
    """The id as text; "" for a blank one.

    1, 1.0 and "1.0" are the same id: a column with one missing entry is read as numbers with a point.
    """
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = str(value).strip()
    whole, point, zeros = text.partition(".")
    return whole if point and whole.lstrip("-").isdigit() and set(zeros) == {"0"} else text


def _contradict(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    shared = one.merge(other, on="id", suffixes=("_one", "_other"))
    labels, others = shared["label_one"].to_numpy(), shared["label_other"].to_numpy()
    if len(shared) < MIN_SHARED:
        return False
    classes = np.unique([labels, others])
    by_chance = sum((labels == number).mean() * (others == number).mean() for number in classes)
    # Cohen's kappa (1960), without its division: classes of which all rows are in one leave nothing to divide by.
    return bool((labels == others).mean() - by_chance < MIN_KAPPA * (1 - by_chance))
