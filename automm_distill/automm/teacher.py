"""The teacher's side of distillation: its outputs for each batch, kept on disk or computed in every step."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.models.utils import run_model

from automm_distill.automm.predictor import Predictor, predictions
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import TrainingError, UserError
from automm_distill.losses import LogitMapping
from automm_distill.teacher_outputs import TeacherOutputs

TeacherTargets = tuple[torch.Tensor, torch.Tensor]  # logits (B, C), features (B, D)


class CachedTeacherTargets:
    """The teacher's outputs for the rows of a fit, from disk."""

    def __init__(self, outputs: TeacherOutputs, keys: np.ndarray) -> None:
        self.outputs = outputs
        self.positions = outputs.find(keys)
        if (self.positions < 0).any():
            raise TrainingError(f"the teacher's outputs lack {(self.positions < 0).sum()} of {len(keys)} rows")

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The part of a training batch that :meth:`batch_targets` needs: here the targets themselves."""
        logits, features = self.outputs.take(self.positions[np.asarray(indices)])
        return {LOGITS: torch.from_numpy(logits), FEATURES: torch.from_numpy(features)}

    def to(self, device: torch.device) -> None:
        """Nothing to move: batches bring the outputs along."""

    def batch_targets(self, batch: dict[str, torch.Tensor]) -> TeacherTargets:
        """Logits and features of the batch's rows."""
        return batch[LOGITS], batch[FEATURES]


class OnlineTeacherTargets:
    """The teacher predicts each batch while the student trains, as in AutoGluon, but on rows without augmentation."""

    def __init__(self, teacher: Predictor, rows: Rows) -> None:
        self.model = teacher.automm._learner._model
        self.rows = rows

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The part of a training batch that :meth:`batch_targets` needs: the rows as the teacher tokenises them."""
        return self.rows.batch(indices)

    def to(self, device: torch.device) -> None:
        """Move the teacher to the device."""
        self.model.to(device).eval()

    def batch_targets(self, batch: dict[str, torch.Tensor]) -> TeacherTargets:
        """Logits and features of the batch's rows."""
        with torch.no_grad():
            output = run_model(self.model, batch)[self.model.prefix]
        return output[LOGITS], output[FEATURES]


TeacherTargetSource = CachedTeacherTargets | OnlineTeacherTargets


class Teacher:
    """The parts of a teacher that distillation needs, for ``MultiModalPredictor.fit(teacher_predictor=...)``.

    AutoGluon accepts any object with a ``_learner`` (predictor.py:527), and passes that on to our learner.

    :param outputs: the teacher's outputs for all training rows; None to run the teacher in every step.
    """

    def __init__(self, predictor: Predictor, outputs: TeacherOutputs | None = None) -> None:
        self.task = predictor.task
        self.classes = None if self.task.is_regression else np.asarray(predictor.automm.class_labels).tolist()
        learner = predictor.automm._learner
        self.head = copy.deepcopy(learner._model.head).cpu().float().requires_grad_(False)
        self.label_scaler = predictor.label_scaler
        self._outputs = outputs
        self._online = None if outputs is not None else predictor

    @property
    def _learner(self) -> "Teacher":
        return self

    def targets_for(self, frame: pd.DataFrame) -> CachedTeacherTargets | OnlineTeacherTargets:
        """The targets for the rows of ``frame``."""
        if self._online is None:
            assert self._outputs is not None
            return CachedTeacherTargets(self._outputs, row_keys(frame, self.task.model_columns))
        return OnlineTeacherTargets(self._online, self._online._rows(frame))

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """As :meth:`Predictor.predict`, of training rows; from the outputs that are kept, if they are."""
        if self._online is not None:
            return self._online.predict(frame)
        kept = self.targets_for(frame).batch(range(len(frame)))
        return predictions(kept[LOGITS].numpy(), self.label_scaler)

    def logit_mapping(self, classes: list[Any] | None, label_scaler: Any) -> LogitMapping:
        """From the teacher's outputs to those of a student with these classes, or with this label scaler.

        AutoGluon compares the number of classes only (utils/distillation.py:43): with another order of the classes,
        the student would learn the wrong ones.

        :param classes: the student's, in the order of its logits; None for a regression.
        :raises UserError: when the classes differ.
        """
        if self.classes is None:
            teacher, student = self.label_scaler, label_scaler
            (factor,), (shift,) = teacher.scale_ / student.scale_, (teacher.mean_ - student.mean_) / student.scale_
            return LogitMapping(factor=float(factor), shift=float(shift))
        assert classes is not None
        if sorted(self.classes) != sorted(classes):
            raise UserError(f"the teacher's classes {self.classes} are not the student's classes {classes}")
        return LogitMapping(columns=[self.classes.index(label) for label in classes])
