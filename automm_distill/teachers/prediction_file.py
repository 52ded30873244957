"""A teacher that is a file of predictions: read, found among the run's rows, and what it covers of them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.errors import UserError, blamed_on
from automm_distill.evaluation.scores import VALIDATION
from automm_distill.given_outputs import GivenOutputs, covered
from automm_distill.inputs.rows.row_files import read_file
from automm_distill.inputs.rows.splits import Splits
from automm_distill.tasks import Task
from automm_distill.teachers import row_index
from automm_distill.teachers.prediction_columns import FORMS, read_predictions
from automm_distill.teachers.row_index import HOLD_OUT, TRAIN, UNLABELLED, RowIndex

FLAG = "--teacher_predictions"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions, and what it says of the rows of a run.

    ``fingerprint`` depends on what is predicted, not on the file's name, format or order. ``form`` is that of
    :class:`~automm_distill.teachers.prediction_columns.Predictions`, ``found_by`` "texts" or "ids", and ``coverage``
    has ``(rows that it covers, rows)`` of each set of rows.
    """

    path: Path
    fingerprint: str
    form: str
    found_by: str
    coverage: Mapping[str, tuple[int, int]]
    outputs: GivenOutputs
    bytes: int = 0  # no model is kept of it

    @property
    def about(self) -> dict[str, Any]:
        """What a result row says of it."""
        return {
            "kind": "predictions",
            "name": self.path.name,
            "fingerprint": self.fingerprint,
            "form": self.form,
            "found_by": self.found_by,
            "coverage": {name: list(counts) for name, counts in self.coverage.items()},
        }


def open_file(path: Path, task: Task, splits: Splits, *, languages: int = 1) -> tuple[PredictionFile, Splits]:
    """The predictions for the rows of a run, and these rows without the unlabelled ones that the file lacks.

    :param languages: of the rows.
    :raises UserError: when it cannot be read or says nothing of any row that the student learns from.
    """
    where = f"{FLAG} {path}"
    if not path.is_file():
        raise UserError(f"{where}: {'is a folder; name a file in it' if path.is_dir() else 'no such file'}")
    with blamed_on(FLAG):
        raw = read_file(path).reset_index(drop=True)
    predictions = read_predictions(raw, task, row_index.columns_about_rows(raw, task), where)
    index = row_index.make_index(raw, predictions.outputs, task, where, tests=list(splits.tests), languages=languages)

    def outputs_of(frame: pd.DataFrame, *names: str) -> np.ndarray:
        return _outputs_of(frame, index, predictions.outputs, task, names)

    train = outputs_of(splits.student.train, TRAIN)
    held_out = [HOLD_OUT, *([TRAIN] if task.tuning_split is None else [])]  # which were training rows then
    tested = [TRAIN] if splits.test_rows_were_training_rows else []
    eval_sets = {name: outputs_of(frame, name, *tested) for name, frame in splits.tests.items()}
    eval_sets[VALIDATION] = outputs_of(splits.student.validation, *held_out)
    sets = {"training": train, "hold-out": eval_sets[VALIDATION]}
    distillation = train
    if splits.unlabelled is not None:
        unlabelled = sets["unlabelled"] = outputs_of(splits.unlabelled, UNLABELLED)
        splits = _with_covered(splits, covered(unlabelled))
        distillation = np.concatenate([train, unlabelled[covered(unlabelled)]])
    sets |= {f"{name} (test)" if name != "test" else name: eval_sets[name] for name in splits.tests}
    coverage = {name: (int(covered(outputs).sum()), len(outputs)) for name, outputs in sets.items()}
    counts = ", ".join(f"{found:,} of {rows:,} {name}" for name, (found, rows) in coverage.items())
    log.info("%s: %s, rows found by their %s; it covers %s rows", where, FORMS[predictions.form], index.by, counts)
    if not covered(distillation).any():
        raise UserError(
            f"{where}: none of the {len(distillation):,} rows that the student learns from is in it, by their "
            f"{index.by}{_why_none(raw, index)}"
        )
    digest = row_index.fingerprint(index, predictions.outputs)
    outputs = GivenOutputs(distillation, eval_sets)
    return PredictionFile(path, digest, predictions.form, index.by, coverage, outputs), splits


def _outputs_of(
    frame: pd.DataFrame, index: RowIndex, outputs: np.ndarray, task: Task, names: tuple[str, ...]
) -> np.ndarray:
    rows = index.find(frame, task, names)
    found = outputs[rows]
    found[rows < 0] = np.nan
    return found


def _with_covered(splits: Splits, kept: np.ndarray) -> Splits:
    """Without the unlabelled rows that nobody has an answer for."""
    assert splits.unlabelled is not None
    dropped = int((~kept).sum())
    if not dropped:
        return splits
    log.info("%s of %s unlabelled rows are dropped: the file lacks them", f"{dropped:,}", f"{len(kept):,}")
    rows = splits.unlabelled[kept].reset_index(drop=True) if kept.any() else None
    return replace(splits, unlabelled=rows, left_out={**splits.left_out, "without a prediction": dropped})


def _why_none(raw: pd.DataFrame, index: RowIndex) -> str:
    if index.by == row_index.IDS:
        return f"; with a column {row_index.SPLIT}, is it {TRAIN}?" if row_index.SPLIT in raw else ""
    return "; are they the same texts?"
