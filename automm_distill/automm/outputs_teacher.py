"""The teacher's side of distillation where nothing but its outputs is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal.constants import LOGITS
from scipy.special import softmax

from automm_distill.automm.teacher import TeacherTargets, class_mapping, scale_mapping
from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import TrainingError
from automm_distill.given_outputs import covered
from automm_distill.losses import LogitMapping
from automm_distill.tasks import Task

WEIGHTS = "weights"


class GivenTargets:
    """The outputs for the rows of a fit, in their order.

    :param outputs: see :class:`~automm_distill.given_outputs.GivenOutputs`. Rows that the teacher says nothing of
        have the weight 0 in the soft label loss, and the others one such that all have 1 on average: the mean over many
        passes is then that of the covered rows, each counting alike.
    """

    def __init__(self, outputs: np.ndarray) -> None:
        known = covered(outputs)
        self.outputs = np.where(known[:, None], outputs, 0.0)
        self.weights = None if known.all() else (known * (len(known) / known.sum())).astype(np.float32)

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The part of a training batch that :meth:`batch_targets` needs: the targets themselves.

        In double precision, in which a regression's values lose nothing on the way to the student's scale.
        """
        chosen = np.asarray(indices)
        batch = {LOGITS: torch.from_numpy(self.outputs[chosen])}
        return batch if self.weights is None else batch | {WEIGHTS: torch.from_numpy(self.weights[chosen])}

    def to(self, device: torch.device) -> None:
        """Nothing to move: batches bring the outputs along."""

    def batch_targets(self, batch: dict[str, torch.Tensor]) -> TeacherTargets:
        """What the teacher says of the batch's rows."""
        return TeacherTargets(batch[LOGITS], None, weights=batch.get(WEIGHTS))


class OutputsTeacher:
    """A teacher without features, head and layers, for ``MultiModalPredictor.fit(teacher_predictor=...)``.

    It takes the place of :class:`~automm_distill.automm.teacher.Teacher`.

    :param rows: those that the student is distilled on, with ``task.model_columns``.
    :param outputs: for these rows, see :class:`~automm_distill.given_outputs.GivenOutputs`.
    """

    head = None
    layers = ()

    def __init__(self, task: Task, rows: pd.DataFrame, outputs: np.ndarray) -> None:
        self.task = task
        self.classes = None if task.is_regression else list(range(len(task.classes)))
        self._keys, self._outputs = row_keys(rows, task.model_columns), outputs

    @property
    def _learner(self) -> "OutputsTeacher":
        return self

    def targets_for(self, frame: pd.DataFrame) -> GivenTargets:
        """The targets for the rows of ``frame``, which are those that this teacher was made with.

        By their order, since rows of the same texts may have different outputs, where these were found by ids.

        :raises TrainingError: when they are others.
        """
        if not np.array_equal(row_keys(frame, self.task.model_columns), self._keys):
            raise TrainingError("the teacher's outputs are for other rows than those that the student is trained on")
        return GivenTargets(self._outputs)

    def covers(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows it has outputs for, by their texts: a mask of shape (rows,)."""
        return covered(self.given_outputs(frame))

    def given_outputs(self, frame: pd.DataFrame) -> np.ndarray:
        """The outputs for rows of ``frame``, by their texts; of equal texts the first."""
        keys, first = np.unique(self._keys, return_index=True)
        places = pd.Index(keys).get_indexer(pd.Index(row_keys(frame, self.task.model_columns)))
        found = self._outputs[first[places]]
        found[places < 0] = np.nan
        return found

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """As :meth:`~automm_distill.automm.predictor.Predictor.predict`, of rows that it covers."""
        return as_predictions(self.given_outputs(frame), self.task)

    def logit_mapping(self, classes: list[Any] | None, label_scaler: Any) -> LogitMapping:
        """From the task's order of classes, or the labels' own unit, to those of a student; see ``Teacher``."""
        if self.classes is None:
            return scale_mapping(np.ones(1), np.zeros(1), label_scaler)
        assert classes is not None
        return class_mapping(self.classes, classes)


def as_predictions(outputs: np.ndarray, task: Task) -> np.ndarray:
    """What ``Predictor.predict`` gives: probabilities (rows, classes), or the values of a regression (rows,).

    :param outputs: see :class:`~automm_distill.given_outputs.GivenOutputs`.
    """
    return outputs[:, 0] if task.is_regression else softmax(outputs, axis=1)
