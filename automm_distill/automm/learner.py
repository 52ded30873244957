"""AutoGluon's learner, which does the work of ``MultiModalPredictor``, with our rows, batches and losses."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from autogluon.multimodal.constants import BEST_K_MODELS_FILE, LOGITS
from autogluon.multimodal.learners.base import BaseLearner
from lightning.pytorch.callbacks import ModelCheckpoint

from automm_distill.automm.batches import TrainRows
from automm_distill.automm.fit_options import FitOptions
from automm_distill.automm.forward import forward
from automm_distill.automm.lightning_modules import DistillModule, FineTuneModule
from automm_distill.automm.outputs_teacher import OutputsTeacher
from automm_distill.automm.progress import FitProgress
from automm_distill.automm.selection import validation_metric
from automm_distill.automm.targets import TargetSource
from automm_distill.automm.teacher import Teacher
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.evaluation.metrics import Metric
from automm_distill.losses import LogitMapping


class Learner(BaseLearner):
    """The learner of one fit; what it saves loads as a plain BaseLearner.

    AutoGluon offers no way to choose the learner (predictor.py:217), so
    :func:`automm_distill.automm.fitting.fit` turns the predictor's learner into this class and sets ``options``,
    ``unlabelled`` and ``headline``, the metric that selects checkpoints.
    ``progress`` is what the training module reported: all zeros when the fit ended before it could.
    """

    options: FitOptions
    unlabelled: pd.DataFrame | None
    headline: Metric
    progress: Mapping[str, Any] = MappingProxyType({"optimizer_steps": 0, "epochs": 0})

    # Set by BaseLearner.fit (learners/base.py:382 to 593) before it calls the methods below.
    _teacher_learner: Teacher | OutputsTeacher | None
    _train_data: pd.DataFrame
    _tuning_data: pd.DataFrame
    _label_column: str
    _save_path: str

    # Set by get_datamodule_per_run for the methods that are called after it.
    _student_preprocessor: Any
    _targets: TargetSource | None
    _validation_rows: Rows

    _module: FineTuneModule  # set by get_litmodule_per_run
    _best_score: float | None  # of the best checkpoint, until evaluate is asked for it

    def setup_distillation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """In place of utils/distillation.py:16, which renames the teacher and makes it give features per column."""
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
        self._student_preprocessor = df_preprocessor
        (label_processor,) = data_processors["label"]
        key, kept = label_processor.label_key, self.options.token_cache
        train = Rows(
            processor,
            df_preprocessor,
            self._train_data,
            label_key=key,
            unlabelled=self.unlabelled,
            augmented=True,
            token_cache=kept,
        )
        self._validation_rows = Rows(processor, df_preprocessor, self._tuning_data, label_key=key, token_cache=kept)
        self._validation_rows.reorder(np.argsort(-self._validation_rows.lengths, kind="stable"))
        teacher = self._teacher_learner
        columns = [column for column in self._train_data if column != self._label_column]
        read = [frame[columns] for frame in (self._train_data, self.unlabelled) if frame is not None]
        self._targets = teacher.targets_for(pd.concat(read, ignore_index=True)) if teacher is not None else None
        return TrainRows(
            train,
            self._validation_rows,
            batch_size=per_gpu_batch_size,
            workers=num_workers,
            seed=self.options.seed,
            grouped=self.options.length_grouping,
            on_gpu=self.options.on_gpu,
            rows_per_epoch=self.options.rows_per_epoch,
            targets=self._targets,
        )

    def get_model_per_run(self, model: Any, config: Any, df_preprocessor: Any) -> Any:
        """As in learners/base.py:757; a student that is made of the fine-tuned teacher's layers begins as they are."""
        model = super().get_model_per_run(model=model, config=config, df_preprocessor=df_preprocessor)
        teacher = self._teacher_learner
        if isinstance(teacher, Teacher) and teacher.layers:
            teacher.give_layers(model, self._logit_mapping(teacher, df_preprocessor))
        return model

    def get_litmodule_per_run(
        self,
        model: Any = None,
        model_postprocess_fn: Any = None,
        peft_param_names: Any = None,
        optim_kwargs: Mapping[str, Any] = MappingProxyType({}),
        distillation_kwargs: Mapping[str, Any] = MappingProxyType({}),
        is_train: bool = True,
    ) -> Any:
        """In place of learners/base.py:930, with our modules."""
        arguments = {
            "options": self.options,
            "progress_file": Path(self._save_path) / "progress.json",
            "model": model,
            "model_postprocess_fn": model_postprocess_fn,
            "trainable_param_names": peft_param_names,
            **optim_kwargs,
        }
        ours = validation_metric(self.headline)
        if ours is not None:
            arguments |= {"validation_metric": ours, "custom_metric_func": None}
        teacher, targets = self._teacher_learner, self._targets
        if teacher is None or targets is None:
            self._module = FineTuneModule(**arguments)
            return self._module
        mapping = self._logit_mapping(teacher, self._student_preprocessor)
        self._module = DistillModule(targets, teacher.head, mapping, **arguments)
        return self._module

    def _logit_mapping(self, teacher: Teacher | OutputsTeacher, preprocessor: Any) -> LogitMapping:
        # data/preprocess_dataframe.py:82: the scale of a regression's labels, fitted on this student's training rows.
        classes = sorted(self._train_data[self._label_column].unique().tolist()) if teacher.classes else None
        return teacher.logit_mapping(classes, preprocessor._label_scaler)

    def get_callbacks_per_run(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As in learners/base.py:971, with our progress bar.

        Checkpoints hold weights only: an interrupted fit is never resumed.
        """
        callbacks = super().get_callbacks_per_run(*args, **kwargs)
        metric, larger_is_better = kwargs["litmodule"].validation_metric_name, self._minmax_mode == "max"
        # data/preprocess_dataframe.py:82: the scale of a regression's labels, and so that of an error in them.
        unit = float(self._student_preprocessor._label_scaler.scale_[0]) if self.headline.lower_is_better else 1.0
        name = self.headline.name
        callbacks.append(FitProgress(self.options, metric, name, larger_is_better=larger_is_better, unit=unit))
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback.save_weights_only = True
        return callbacks

    def init_trainer_per_run(self, *args: Any, **kwargs: Any) -> Any:
        """As in learners/base.py:1118, in the precision of the options, and without validation before the first step.

        AutoGluon forces 32 on a CPU (utils/precision.py:68), whose bf16 autocast it does not know. The configuration
        that is saved keeps AutoGluon's choice: it is how the finished model predicts.
        """
        trainer = super().init_trainer_per_run(*args, **kwargs | {"precision": self._precision})
        trainer.num_sanity_val_steps = 0
        return trainer

    def run_trainer(self, trainer: Any, litmodule: Any, *args: Any, **kwargs: Any) -> Any:
        """As in learners/base.py:1194, then read the progress file that the training module left."""
        outcome = super().run_trainer(trainer, litmodule, *args, **kwargs)
        self.progress = json.loads(litmodule.progress_file.read_text())
        litmodule.progress_file.unlink()
        return outcome

    def top_k_average(self, save_path: str, *args: Any, **kwargs: Any) -> Any:
        """As in learners/base.py:1391, without the teacher: AutoGluon renames the weights of a distilled student."""
        self._teacher_learner = None
        saved = Path(save_path) / BEST_K_MODELS_FILE
        scores = list(yaml.safe_load(saved.read_text()).values()) if saved.exists() else []
        if self.options.hyperparameters["env.num_gpus"] > 1:  # Lightning fills up the last device's rows with others
            scores = []
        self._best_score = max(scores, default=None) if self._minmax_mode == "max" else min(scores, default=None)
        return super().top_k_average(save_path, *args, **kwargs)

    def evaluate(self, data: pd.DataFrame, *args: Any, **kwargs: Any) -> dict[str, float]:
        """In place of learners/base.py:1823, which ``top_k_average`` calls with the validation rows.

        First for the best checkpoint (learners/base.py:1448), whose score is known since it was saved, then for each
        average. All are computed as during the fit: by the same metric, in the same precision, on the same device.
        """
        assert data is self._tuning_data
        score, self._best_score = self._best_score, None
        return {self._eval_metric_name: self._validation_score() if score is None else score}

    @property
    def _precision(self) -> str:
        precision: str = self.options.hyperparameters["env.precision"]
        return precision

    def _validation_score(self) -> float:
        """Of the current weights."""
        module, rows, size = self._module, self._validation_rows, self._config.env.per_gpu_batch_size
        device = torch.device("cuda" if self.options.on_gpu else "cpu")
        model, metric = self._model.to(device).eval(), module.validation_metric.to(device)
        metric.reset()
        for start in range(0, len(rows), size):
            batch = rows.batch(range(start, min(start + size, len(rows))))
            logits = forward(model, batch, device, self._precision)[LOGITS]
            # optim/lit_module.py:255, the part of a validation step that knows the metrics' arguments.
            module._compute_metric_score(metric, module.custom_metric_func, logits, batch[model.label_key].to(device))
        model.to("cpu")
        return float(metric.compute())
