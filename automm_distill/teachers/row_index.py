"""Rows of a run found in a file of predictions: by their texts, or by their ids."""

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import UserError, some_of
from automm_distill.inputs.rows.cleaning import texts_of
from automm_distill.inputs.rows.row_ids import ID_COLUMNS, one_spelling
from automm_distill.inputs.rows.row_texts import text_hashes
from automm_distill.tasks import Task

SPLIT, LANGUAGE = "split", "language"
TRAIN, UNLABELLED, HOLD_OUT = "train", "unlabelled", "hold-out"  # what stands in SPLIT, besides names of test sets
TEXTS, IDS = "texts", "ids"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowIndex:
    """Where in a file each row is.

    ``by`` is "texts" or "ids"; ``keys`` are 64-bit hashes of them, without repeats, and ``rows`` the rows in the file
    that they are first found in, both of shape (different rows,). ``even_keys`` and ``even_rows`` are the same of texts
    whatever the blanks between their words, without those that contradict each other; of ids there are none.
    """

    by: str
    keys: np.ndarray
    rows: np.ndarray
    even_keys: np.ndarray
    even_rows: np.ndarray

    def find(self, frame: pd.DataFrame, task: Task, splits: Collection[str]) -> np.ndarray:
        """The row in the file of each row of ``frame``, shape (rows,); -1 for one that is not there.

        Texts that stand in the file as they are go before those with other blanks, which some networks tell apart.

        :param frame: with ``id`` and ``task.model_columns``.
        :param splits: what a file may call the rows' split, where they go by their ids.
        """
        if self.by == TEXTS:
            exact = _rows_of(self.keys, self.rows, row_keys(frame, task.model_columns))
            even = _rows_of(self.even_keys, self.even_rows, text_hashes(frame, task.model_columns))
            return np.where(exact < 0, even, exact)
        rows = np.full(len(frame), -1)
        for split in splits:
            found = _rows_of(self.keys, self.rows, _id_keys(pd.Series(split, index=frame.index), frame["id"]))
            rows = np.where(rows < 0, found, rows)
        return rows


def columns_about_rows(raw: pd.DataFrame, task: Task) -> list[str]:
    """The columns of ``raw`` that say which rows these are; where every class has one, none that is called like one."""
    texts = {*task.text_columns, *task.model_columns}
    classes = set(task.classes) if set(task.classes) <= set(raw.columns) else set()
    names = {*ID_COLUMNS, *texts, SPLIT, LANGUAGE, *(old for old, name in task.archive_columns if name in texts)}
    return [column for column in raw.columns if column in names - classes]


def make_index(
    raw: pd.DataFrame, outputs: np.ndarray, task: Task, where: str, *, tests: Collection[str], languages: int = 1
) -> RowIndex:
    """By texts if the file has them, else by ids.

    :param outputs: of the rows of ``raw``: those of the same texts, or the same id, must have the same.
    :param tests: the names of the test sets.
    :param languages: of the run's rows; rows in several share their ids.
    :raises UserError: when it has neither, and on predictions that contradict each other.
    """
    archive = dict(task.archive_columns)
    present = {archive.get(column, column) for column in raw.columns}
    column = next((name for name in ID_COLUMNS if name in raw), None)
    even = np.empty(0, dtype=np.uint64)
    if set(task.text_columns) <= present or set(task.model_columns) <= present:
        texts = texts_of(raw, task, where)
        by, keys, even = TEXTS, row_keys(texts, task.model_columns), text_hashes(texts, task.model_columns)
    elif column is None:
        raise UserError(
            f"{where}: says of no row which it is; needs a column {' or '.join(ID_COLUMNS[:2])}, or the texts "
            f"({', '.join(task.text_columns)})"
        )
    elif languages > 1:
        raise UserError(
            f"{where}: has ids and no texts, and rows in several languages share their ids; needs the texts "
            f"({', '.join(task.text_columns)})"
        )
    else:
        by, keys = IDS, _id_keys(_splits(raw, where, tests), raw[column].map(one_spelling))
    unique, first, which, agrees = _first_of_each(keys, outputs)
    if not agrees.all():
        row = int(np.flatnonzero(~agrees)[0])
        other = int(first[which[row]])
        what = f"id {raw[column].iloc[row]!r}" if by == IDS and column is not None else "texts"
        raise UserError(
            f"{where}: rows {other} and {row} (counted from 0) have the same {what} and different predictions"
        )
    even_unique, even_first, even_which, even_agrees = _first_of_each(even, outputs[: len(even)])
    sound = np.bincount(even_which, ~even_agrees, len(even_unique)) == 0
    return RowIndex(by, unique, first, even_unique[sound], even_first[sound])


def fingerprint(index: RowIndex, outputs: np.ndarray) -> str:
    """Hash of which rows are predicted how, whatever their order, their format and what else is in the file."""
    digest = hashlib.sha256(repr((index.by, outputs.shape[1])).encode())
    digest.update(index.keys.tobytes())
    digest.update(np.ascontiguousarray(outputs[index.rows]).tobytes())
    return digest.hexdigest()


def _first_of_each(keys: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """The different keys; the first row of each; of each row the place of its key, and if it agrees with that first."""
    unique, first, which = np.unique(keys, return_index=True, return_inverse=True)
    agrees = np.isclose(outputs, outputs[first][which], rtol=1e-5, atol=1e-8).all(axis=1)
    return unique, first, which, agrees


def _rows_of(keys: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The one of ``rows`` for each wanted key, -1 where there is none."""
    places = pd.Index(keys).get_indexer(pd.Index(wanted))
    return np.where(places < 0, -1, np.append(rows, -1)[places])


def _splits(raw: pd.DataFrame, where: str, tests: Collection[str]) -> pd.Series:
    """The split of each row; a file that does not say is of the training rows."""
    if SPLIT not in raw:
        return pd.Series(TRAIN, index=raw.index)
    splits = raw[SPLIT].astype(str).str.strip()
    known = {TRAIN, UNLABELLED, HOLD_OUT, *tests}
    foreign = [split for split in splits.unique() if split not in known]
    if foreign:
        needed = ", ".join([TRAIN, UNLABELLED, HOLD_OUT, *tests])
        raise UserError(f"{where}: column {SPLIT!r} has {some_of(map(repr, foreign))}; needs one of {needed}")
    return splits


def _id_keys(splits: pd.Series, ids: pd.Series) -> np.ndarray:
    names = splits.astype(str) + "\0" + ids.astype(str)
    return pd.util.hash_array(names.to_numpy(dtype=object), categorize=False)
