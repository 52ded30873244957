"""The learner behind ``MultiModalPredictor``, as AutoGluon has it, but training with our own modules."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autogluon.multimodal.learners.base import BaseLearner

from ..losses import DistillationLoss, Recipe, Translation
from .modules import Distilling, FineTuning


class Learner(BaseLearner):
    """Trains with our modules, and remembers how far it came. A saved one loads as a BaseLearner.

    ``recipe`` and ``teacher_columns`` (see ``Translation``) have to be set before a fit with a teacher.
    """

    progress: Mapping[str, Any] = MappingProxyType({"optimizer_steps": 0, "epochs": 0})
    recipe: Recipe
    teacher_columns: list[int] | None

    def get_datamodule_per_run(self, df_preprocessor: Any, *args: Any, **kwargs: Any) -> Any:
        """learners/base.py:864 is where the student's label scale can be seen before training."""
        self._own_preprocessor = df_preprocessor
        return super().get_datamodule_per_run(df_preprocessor, *args, **kwargs)

    def get_litmodule_per_run(
        self,
        model: Any = None,
        model_postprocess_fn: Any = None,
        peft_param_names: Any = None,
        optim_kwargs: Mapping[str, Any] = MappingProxyType({}),
        distillation_kwargs: Mapping[str, Any] = MappingProxyType({}),
        is_train: bool = True,
    ) -> Any:
        """As in learners/base.py:930, with our classes for training."""
        if not is_train:
            return super().get_litmodule_per_run(optim_kwargs=optim_kwargs, is_train=False)
        if self._teacher_learner is not None:
            teacher = self._teacher_learner._model
            module = Distilling(student_model=model, teacher_model=teacher, **optim_kwargs, **distillation_kwargs)
            module.loss = DistillationLoss(
                self.recipe, module.output_feature_adaptor, teacher.head, self._translation()
            )
        else:
            module = FineTuning(
                model=model,
                model_postprocess_fn=model_postprocess_fn,
                trainable_param_names=peft_param_names,
                **optim_kwargs,
            )
        module.progress_file = Path(self._save_path) / "progress.json"
        return module

    def run_trainer(self, trainer: Any, litmodule: Any, *args: Any, **kwargs: Any) -> Any:
        """learners/base.py:1194, and then the note that the training module left."""
        outcome = super().run_trainer(trainer, litmodule, *args, **kwargs)
        if kwargs.get("is_train", True):
            self.progress = json.loads(litmodule.progress_file.read_text())
            litmodule.progress_file.unlink()
            self._enable_progress_bar = False  # the soup's evaluations (learners/base.py:1448) need none
        return outcome

    def _translation(self) -> Translation:
        """From the teacher's outputs to the student's classes, or to its label scale."""
        if self.teacher_columns is not None:
            return Translation(columns=self.teacher_columns)
        # data/preprocess_dataframe.py:82: each predictor standardises the labels that it was trained on.
        own, taught = self._own_preprocessor._label_scaler, self._teacher_learner._df_preprocessor._label_scaler
        (factor,), (shift,) = taught.scale_ / own.scale_, (taught.mean_ - own.mean_) / own.scale_
        return Translation(factor=float(factor), shift=float(shift))
