"""The learner behind ``MultiModalPredictor``, as AutoGluon has it, but with our own rows, batches and losses."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from autogluon.multimodal.learners.base import BaseLearner
from lightning.pytorch.callbacks import ModelCheckpoint

from automm_distill.automm.batches import PredictRows, TrainRows
from automm_distill.automm.fit_options import FitOptions
from automm_distill.automm.lightning_modules import DistillModule, FineTuneModule
from automm_distill.automm.teacher import Teacher
from automm_distill.automm.tokenized_rows import Rows


class Learner(BaseLearner):
    """One fit. A saved one loads as a BaseLearner.

    :func:`automm_distill.automm.fitting.fit` sets ``options`` before the fit.
    """

    progress: Mapping[str, Any] = MappingProxyType({"optimizer_steps": 0, "epochs": 0})
    options: FitOptions
    _teacher_learner: Teacher | None
    _tuning_data: pd.DataFrame
    _validation_rows: Rows

    def setup_distillation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """In place of utils/distillation.py:16, which would rename the teacher and switch on features per column."""
        return {}

    def get_datamodule_per_run(
        self,
        df_preprocessor: Any,
        data_processors: Mapping[str, Any],
        per_gpu_batch_size: int,
        num_workers: int,
        predict_data: pd.DataFrame | None = None,
        is_train: bool = True,
    ) -> Any:
        """In place of learners/base.py:864: rows tokenised once, in batches of about the same length."""
        (processor,) = data_processors["text"]
        if not is_train:  # the soup's evaluations of the validation rows
            same = predict_data is self._tuning_data
            rows = self._validation_rows if same else Rows(processor, df_preprocessor, predict_data)
            return PredictRows(rows, batch_size=per_gpu_batch_size, on_gpu=self.options.on_gpu)
        self._student_preprocessor = df_preprocessor
        (label_processor,) = data_processors["label"]
        key = label_processor.label_key
        train = Rows(processor, df_preprocessor, self._train_data, label_key=key, augmented=True)
        self._validation_rows = Rows(processor, df_preprocessor, self._tuning_data, label_key=key)
        longest_first = np.argsort(-self._validation_rows.lengths, kind="stable")
        self._validation_rows.reorder(longest_first)
        self._tuning_data = self._tuning_data.iloc[longest_first]
        teacher = self._teacher_learner
        self._targets = teacher.targets_for(self._train_data) if teacher is not None else None
        return TrainRows(
            train,
            self._validation_rows,
            batch_size=per_gpu_batch_size,
            workers=num_workers,
            seed=self.options.seed,
            grouped=self.options.length_grouping,
            on_gpu=self.options.on_gpu,
            targets=self._targets,
        )

    def get_litmodule_per_run(
        self,
        model: Any = None,
        model_postprocess_fn: Any = None,
        peft_param_names: Any = None,
        optim_kwargs: Mapping[str, Any] = MappingProxyType({}),
        distillation_kwargs: Mapping[str, Any] = MappingProxyType({}),
        is_train: bool = True,
    ) -> Any:
        """As in learners/base.py:930, with our modules for training."""
        if not is_train:
            return super().get_litmodule_per_run(optim_kwargs=optim_kwargs, is_train=False)
        teacher = self._teacher_learner
        module = (FineTuneModule if teacher is None else DistillModule)(
            model=model,
            model_postprocess_fn=model_postprocess_fn,
            trainable_param_names=peft_param_names,
            **optim_kwargs,
        )
        if teacher is not None:
            classes = (
                None if teacher.classes is None else sorted(self._train_data[self._label_column].unique().tolist())
            )
            mapping = teacher.logit_mapping(classes, self._student_preprocessor._label_scaler)
            module.prepare(self._targets, teacher.head, self.options.losses, mapping)
        module.compiled = self.options.compile
        module.progress_file = Path(self._save_path) / "progress.json"
        return module

    def get_callbacks_per_run(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As in learners/base.py:971, but checkpoints hold the weights alone: a fit is never taken up again."""
        callbacks = super().get_callbacks_per_run(*args, **kwargs)
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback.save_weights_only = True
        return callbacks

    def run_trainer(self, trainer: Any, litmodule: Any, *args: Any, **kwargs: Any) -> Any:
        """learners/base.py:1194, and then the note that the training module left."""
        outcome = super().run_trainer(trainer, litmodule, *args, **kwargs)
        if kwargs.get("is_train", True):
            self.progress = json.loads(litmodule.progress_file.read_text())
            litmodule.progress_file.unlink()
            self._enable_progress_bar = False  # the soup's evaluations (learners/base.py:1448) need none
        return outcome

    def top_k_average(self, *args: Any, **kwargs: Any) -> Any:
        """learners/base.py:1391 takes a learner with a teacher for one whose checkpoints hold a distiller's names."""
        self._teacher_learner = None
        return super().top_k_average(*args, **kwargs)
