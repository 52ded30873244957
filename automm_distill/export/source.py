"""What is exported: a fitted model with the rows of its run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from automm_distill.automm import Predictor, fitted_parts
from automm_distill.export.exported import Texts
from automm_distill.inputs.rows.splits import Splits
from automm_distill.speed import evenly_spaced_rows
from automm_distill.tasks import Task

SAMPLE_ROWS = 1000  # of the training rows


@dataclass(frozen=True)
class Source:
    """A fitted model and the rows that it was trained and scored on.

    :param role: "student", "baseline" or "teacher".
    :param models: fitted models by role, the model itself among them: what the forms are timed against, the slowest
        first.
    :param pool: the test sets are one task in several languages.
    """

    role: str
    models: Mapping[str, Predictor]
    task: Task
    splits: Splits
    pool: bool

    @property
    def predictor(self) -> Predictor:
        """The model itself."""
        return self.models[self.role]

    @property
    def test_rows(self) -> pd.DataFrame:
        """Those of all test sets, one after the other."""
        return pd.concat(self.splits.tests.values(), ignore_index=True)

    @property
    def sample(self) -> Texts:
        """Texts of training rows from all over them."""
        return self.texts(evenly_spaced_rows(self.splits.student.train, SAMPLE_ROWS))

    def texts(self, frame: pd.DataFrame) -> Texts:
        """What the model reads of these rows."""
        texts: Texts = frame[list(self.task.model_columns)].to_numpy().tolist()
        return texts

    @property
    def longest_row(self) -> int:
        """In tokens, special ones included."""
        return fitted_parts(self.predictor).rows.max_tokens

    def logits(self, frame: pd.DataFrame) -> np.ndarray:
        """The model's own, in single precision, (rows, classes); of a regression its values, (rows, 1)."""
        logits = self.predictor.outputs(frame, "32", on_cpu=True)[0]
        scaler = self.predictor.label_scaler
        return logits if scaler is None else scaler.inverse_transform(logits)
