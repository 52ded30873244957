"""The teacher's side of distillation: its outputs for each batch, kept on disk or computed in every step."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.models.utils import run_model

from automm_distill.automm.hidden_states import HiddenStates
from automm_distill.automm.predictor import Predictor, predictions
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import TrainingError, UserError
from automm_distill.inputs.checkpoints.layers import find_layers
from automm_distill.losses import HIDDEN_STATES, LogitMapping
from automm_distill.teacher_outputs import TeacherOutputs

_KINDS = (LOGITS, FEATURES, HIDDEN_STATES)  # in the order of TeacherOutputs.take


class TeacherTargets(NamedTuple):
    """The teacher's logits (B, C) and features (B, D) for a batch and, if they are compared, its hidden states.

    Those are of the first tokens, (B, K, D), or, of a teacher that runs in every step, of all tokens, (B, K, L, D).
    Features are None of a teacher of which only outputs are known. ``weights`` (B,) are those of the rows in the soft
    label loss, where the teacher lacks some.
    """

    logits: torch.Tensor
    features: torch.Tensor | None
    states: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class CachedTeacherTargets:
    """The teacher's outputs for the rows of a fit, from disk."""

    def __init__(self, outputs: TeacherOutputs, keys: np.ndarray) -> None:
        self.outputs = outputs
        self.positions = outputs.find(keys)
        if (self.positions < 0).any():
            raise TrainingError(f"the teacher's outputs lack {(self.positions < 0).sum()} of {len(keys)} rows")

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The part of a training batch that :meth:`batch_targets` needs: here the targets themselves."""
        outputs = self.outputs.take(self.positions[np.asarray(indices)])
        return {kind: torch.from_numpy(array) for kind, array in zip(_KINDS, outputs, strict=False)}

    def to(self, device: torch.device) -> None:
        """Nothing to move: batches bring the outputs along."""

    def batch_targets(self, batch: dict[str, torch.Tensor]) -> TeacherTargets:
        """What the teacher makes of the batch's rows."""
        return TeacherTargets(batch[LOGITS], batch[FEATURES], batch.get(HIDDEN_STATES))


class OnlineTeacherTargets:
    """The teacher predicts each batch while the student trains, as in AutoGluon, but on rows without augmentation.

    :param layers: those whose hidden states are compared.
    """

    def __init__(self, teacher: Predictor, rows: Rows, layers: Sequence[int] = ()) -> None:
        self.model = teacher.automm._learner._model
        self.rows = rows
        self.hidden = HiddenStates(self.model.model, layers) if layers else None

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The part of a training batch that :meth:`batch_targets` needs: the rows as the teacher tokenises them."""
        return self.rows.batch(indices)

    def to(self, device: torch.device) -> None:
        """Move the teacher to the device."""
        self.model.to(device).eval()

    def batch_targets(self, batch: dict[str, torch.Tensor]) -> TeacherTargets:
        """What the teacher makes of the batch's rows."""
        with torch.no_grad():
            output = run_model(self.model, batch)[self.model.prefix]
            states = torch.stack(self.hidden.take(), dim=1) if self.hidden is not None else None
        return TeacherTargets(output[LOGITS], output[FEATURES], states)


class Teacher:
    """The parts of a teacher that distillation needs, for ``MultiModalPredictor.fit(teacher_predictor=...)``.

    AutoGluon accepts any object with a ``_learner`` (predictor.py:527), and passes that on to our learner.

    :param outputs: the teacher's outputs for all training rows; None to run the teacher in every step.
    :param layers: those that the student is made of; none for a student that begins as a checkpoint.
    :param compared_layers: those whose hidden states are compared with the student's.
    """

    def __init__(
        self,
        predictor: Predictor,
        outputs: TeacherOutputs | None = None,
        *,
        layers: Sequence[int] = (),
        compared_layers: Sequence[int] = (),
    ) -> None:
        self.task = predictor.task
        self.classes = predictor.classes
        learner = predictor.automm._learner
        self.head = copy.deepcopy(learner._model.head).cpu().float().requires_grad_(False)
        self.label_scaler = predictor.label_scaler
        self.layers, self.compared_layers = tuple(layers), tuple(compared_layers)
        self._weights = _weights_of_layers(learner._model.model, layers) if layers else {}
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
        return OnlineTeacherTargets(self._online, self._online._rows(frame), self.compared_layers)

    def give_layers(self, student: Any, mapping: LogitMapping) -> None:
        """Make a student of AutoGluon's (models/hf_text.py), which has as many layers, of the teacher's."""
        student.model.load_state_dict(self._weights)
        weight, bias = mapping.head(self.head.weight.detach(), self.head.bias.detach())
        student.head.load_state_dict({"weight": weight, "bias": bias})

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """As :meth:`Predictor.predict`, of training rows; from the outputs that are kept, if they are."""
        if self._online is not None:
            return self._online.predict(frame)
        kept = self.targets_for(frame).batch(range(len(frame)))
        return predictions(kept[LOGITS].numpy(), self.label_scaler, self.classes)

    def covers(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows it can predict: all, a mask of shape (rows,)."""
        return np.ones(len(frame), dtype=bool)

    def given_outputs(self, frame: pd.DataFrame) -> np.ndarray:
        """What :class:`~automm_distill.given_outputs.GivenOutputs` would hold of these training rows."""
        if self._online is not None:
            logits = self._online.outputs(frame)[0]
        else:
            logits = self.targets_for(frame).batch(range(len(frame)))[LOGITS].numpy()
        logits = logits.astype(np.float64)
        if self.classes is None:
            return np.asarray(logits * self.label_scaler.scale_ + self.label_scaler.mean_)
        return np.asarray(logits[:, np.argsort(self.classes)])

    def logit_mapping(self, classes: list[Any] | None, label_scaler: Any) -> LogitMapping:
        """From the teacher's outputs to those of a student with these classes, or with this label scaler.

        AutoGluon compares the number of classes only (utils/distillation.py:43): with another order of the classes,
        the student would learn the wrong ones.

        :param classes: the student's, in the order of its logits; None for a regression.
        :raises UserError: when the classes differ.
        """
        if self.classes is None:
            return scale_mapping(self.label_scaler.scale_, self.label_scaler.mean_, label_scaler)
        assert classes is not None
        return class_mapping(self.classes, classes)


def class_mapping(teacher: list[Any], student: list[Any]) -> LogitMapping:
    """From the order of the teacher's classes to the student's.

    :raises UserError: when the classes differ.
    """
    if sorted(teacher) != sorted(student):
        raise UserError(f"the teacher's classes {teacher} are not the student's classes {student}")
    return LogitMapping(columns=[teacher.index(label) for label in student])


def scale_mapping(scale: np.ndarray, mean: np.ndarray, student: Any) -> LogitMapping:
    """From a regression's outputs, of which ``scale`` times output plus ``mean`` is the value, to the student's scale.

    :param scale: and ``mean``: shape (1,).
    :param student: its label scaler.
    """
    (factor,), (shift,) = scale / student.scale_, (mean - student.mean_) / student.scale_
    return LogitMapping(factor=float(factor), shift=float(shift))


def _weights_of_layers(network: Any, layers: Sequence[int]) -> dict[str, torch.Tensor]:
    """Copies of all weights but those of other layers, by the names that they have where there are no others."""
    listed, _ = find_layers(network)
    places = {str(layer): place for place, layer in enumerate(layers)}
    weights = {}
    for name, weight in network.state_dict().items():
        if name.startswith(f"{listed}."):
            layer, _, rest = name.removeprefix(f"{listed}.").partition(".")
            if layer not in places:
                continue
            name = f"{listed}.{places[layer]}.{rest}"
        weights[name] = weight.detach().cpu().clone()
    return weights
