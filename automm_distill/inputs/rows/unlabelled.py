"""Rows without a label, for the teacher to label: from files, or the test split whose labels are kept secret.

They are a set: in which files they lie, and in which order, makes no difference. What is known by another name already
(a test row, a row of the hold-out, a labelled training row) is left out, so that no model learns from what it is judged
by.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill.errors import NoRowsError, UserError, blamed_on
from automm_distill.inputs.rows.cleaning import clean_unlabelled
from automm_distill.inputs.rows.places import files_of
from automm_distill.inputs.rows.raw_rows import read_part, read_splits
from automm_distill.inputs.rows.row_texts import text_hashes
from automm_distill.settings import REST, TEST
from automm_distill.tasks import Task

FLAG = "--unlabelled_path"

log = logging.getLogger(__name__)


def read(places: Sequence[str], task: Task, folder: Path) -> pd.DataFrame:
    """The texts of the places but for ``rest``, cleaned, with repeats: the task's ``model_columns``.

    :param places: files, folders, and the words that ``--unlabelled_path`` knows.
    :param folder: where the test split is, see :func:`automm_distill.inputs.rows.raw_rows.read_splits`.
    :raises UserError: when there is no such file, or it cannot be read, or lacks a column.
    """
    parts = [pd.DataFrame(columns=list(task.model_columns), dtype=object)]
    if TEST in places:
        for split, raw in read_splits(folder, task, task.unlabelled_splits).items():
            parts.append(clean_unlabelled(raw, task, f"{task.config}/{split}"))
    for place in places:
        if place not in (TEST, REST):
            parts += _read_place(Path(place), task)
    return pd.concat(parts, ignore_index=True)


def fingerprint(frame: pd.DataFrame) -> str:
    """Hash of the set of texts: neither their order nor repeats count."""
    return hashlib.sha256(np.unique(_exact_hashes(frame)).tobytes()).hexdigest()


def without_known(
    frame: pd.DataFrame, known: Mapping[str, pd.DataFrame], task: Task
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows whose texts are in none of the ``known`` frames, each once.

    What is left out is counted in one line.

    :param frame: with ``task.model_columns``, and perhaps others.
    :param known: by what they are, as a message calls them.
    :return: ``id`` and ``task.model_columns``, whose order and ids follow from the texts; and how many rows were left
        out for what.
    :raises UserError: when none is left.
    """
    columns = list(task.model_columns)
    texts = frame[columns]
    texts = texts.iloc[np.argsort(_exact_hashes(texts), kind="stable")]
    hashes = text_hashes(texts, columns)
    kept = np.ones(len(texts), dtype=bool)
    counts = []
    for what, rows in known.items():
        counts.append((what, kept & np.isin(hashes, text_hashes(rows, columns))))
        kept &= ~counts[-1][1]
    counts.append(("repeats", kept & pd.Series(hashes).duplicated().to_numpy()))
    kept &= ~counts[-1][1]
    left_out = {what: int(found.sum()) for what, found in counts if found.any()}
    counted = ", ".join(f"{count:,} {what}" for what, count in left_out.items())
    if not kept.any():
        raise UserError(f"{FLAG}: none of {len(texts):,} rows is left{f'; left out: {counted}' if counted else ''}")
    log.info("%s unlabelled rows%s", f"{kept.sum():,}", f"; left out: {counted}" if counted else "")
    rows = texts[kept].reset_index(drop=True)
    rows.insert(0, "id", [f"unlabelled {number:016x}" for number in hashes[kept].tolist()])
    return rows, left_out


def _read_place(place: Path, task: Task) -> list[pd.DataFrame]:
    """The rows of a file, of a folder of ``save_to_disk``, or of all files in a folder."""
    parts, empty = [], []
    if not os.path.lexists(place):
        raise UserError(f"{FLAG} {place}: is neither a file nor a folder, nor one of the words {TEST} and {REST}")
    with blamed_on(FLAG):
        for path in files_of(place):
            try:
                parts.append(clean_unlabelled(read_part(path, task.archive_header), task, f"{FLAG} {path}"))
            except NoRowsError as error:  # of some shards, as Spark writes them
                empty.append(error)
        if not parts:
            raise empty[0]
    return parts


def _exact_hashes(texts: pd.DataFrame) -> np.ndarray:
    return pd.util.hash_pandas_object(texts, index=False, categorize=False).to_numpy()
