"""The only door to AutoGluon: fit, load, predict, and single forward passes of ``MultiModalPredictor``.

Written against autogluon.multimodal 1.6.3. Each use of something private says which file it lives in and why it is
needed; tests/test_automm.py fails when one of them moves.
"""

import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.data.utils import turn_on_off_feature_column_info
from autogluon.multimodal.learners.base import BaseLearner
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.optim.lit_distiller import DistillerLitModule
from autogluon.multimodal.optim.lit_module import LitModule
from autogluon.multimodal.optim.lr import get_lr_scheduler
from autogluon.multimodal.utils.precision import get_precision_context

from .data import Fold
from .devices import Device
from .errors import TrainingFailed, UserError
from .losses import TERMS, DistillationLoss, Recipe, Translation
from .settings import CLASS_LOSSES, FEATURE_LOSSES, WEIGHTS, Settings
from .tasks import Task

LABEL = "label"
SHARE_EVERY = 10  # batches
_AUTOGLUON_VERBOSITY = {"quiet": 1, "normal": 1, "verbose": 3}


class Predictor:
    """A fitted ``MultiModalPredictor`` with the few things that an experiment asks of it.

    Predictions depend on nothing but the fitted model, the rows, and the device and precision it was fitted with.
    """

    def __init__(self, automm: Any, task: Task, verbosity: str):
        self.automm = automm
        self.task = task
        # learners/base.py:280: load() offers no way to say that no progress bar is wanted.
        automm._learner._enable_progress_bar = verbosity != "quiet"

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.automm._learner._model.parameters())

    @property
    def bytes(self) -> int:
        """Size of the weights on disk."""
        return (Path(self.automm.path) / "model.ckpt").stat().st_size

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Class probabilities of shape (rows, classes) in the order of the task's labels; for a regression (rows,)."""
        texts = frame[list(self.task.model_columns)]
        if self.task.is_regression:
            return np.asarray(self.automm.predict(texts, as_pandas=False), dtype=np.float64)
        return np.asarray(self.automm.predict_proba(texts, as_pandas=False), dtype=np.float64)

    @property
    def predict_batch_size(self) -> int:
        """Rows per batch in :meth:`predict`."""
        environment = self.automm._learner._config.env
        return environment.per_gpu_batch_size * environment.inference_batch_size_ratio

    def token_counts(self, frame: pd.DataFrame) -> np.ndarray:
        """Tokens of each row, special ones included, shape (rows,)."""
        (processor,) = self.automm._learner._data_processors["text"]
        return self._batch(frame)[processor.text_valid_length_key].numpy()

    def forward_passes(self, frame: pd.DataFrame, batch_size: int) -> Callable[[], None]:
        """A function that runs the network once over ``frame``, tokenised and collated beforehand, on its device.

        Rows are taken in the frame's order, ``batch_size`` at a time, each batch padded to its longest row.
        """
        # process_batch (utils/inference.py:312) and run_model (models/utils.py:803) are what predict(realtime=True) is
        # made of; there is no public way to a forward pass without tokenisation.
        learner = self.automm._learner
        device = torch.device("cuda" if learner._config.env.num_gpus else "cpu")
        batches = [
            {key: value.to(device) for key, value in self._batch(frame.iloc[start : start + batch_size]).items()}
            for start in range(0, len(frame), batch_size)
        ]
        model = learner._model.to(device).eval()

        def run() -> None:
            context = get_precision_context(precision=learner._config.env.precision, device_type=device.type)
            with context, torch.inference_mode():
                for batch in batches:
                    run_model(model, batch)

        return run

    def _batch(self, frame: pd.DataFrame) -> dict[str, torch.Tensor]:
        learner = self.automm._learner
        return learner.process_batch(
            data=frame[list(self.task.model_columns)],
            df_preprocessor=learner._df_preprocessor,
            data_processors={kind: made for kind, made in learner._data_processors.items() if kind != LABEL},
        )

    def hide_progress(self) -> None:
        """No progress bars from now on."""
        self.automm._learner._enable_progress_bar = False


def hyperparameters(settings: Settings, device: Device, checkpoint: str, *, role: str) -> dict[str, Any]:
    """AutoGluon's hyperparameters for one model; teacher, baseline and student differ in nothing else but the values.

    :param role: "teacher", "baseline" or "student"; the last two get the same.
    """
    is_teacher = role == "teacher"
    return {
        "model.names": ["hf_text"],
        "model.hf_text.checkpoint_name": checkpoint,
        "model.hf_text.text_trivial_aug_maxscale": settings.aug_scale,
        "optim.max_epochs": settings.teacher_max_epochs if is_teacher else settings.max_epochs,
        "optim.lr": settings.teacher_learning_rate if is_teacher else settings.student_learning_rate,
        "optim.log_every_n_steps": 1,
        "optim.weight_decay": settings.teacher_weight_decay if is_teacher else settings.student_weight_decay,
        "env.batch_size": settings.batch_size,
        "env.per_gpu_batch_size": settings.per_gpu_batch_size,
        "env.num_workers": settings.num_workers,
        "env.num_workers_inference": settings.num_workers,
        "env.num_gpus": device.num_gpus,
        "env.accelerator": device.accelerator,
        "env.precision": device.precision,
    }


def loss_recipe(settings: Settings, task: Task) -> Recipe:
    """The losses that the student is trained by."""
    return Recipe(
        weights={term: getattr(settings, flag) for term, flag in zip(TERMS, WEIGHTS, strict=True)},
        temperature=settings.temperature,
        squared_temperature=settings.temperature_scaling == "squared",
        soft_label=CLASS_LOSSES[settings.soft_label_loss_type or "cross_entropy"],
        softmax_regression=CLASS_LOSSES[settings.softmax_regression_loss_type],
        output_feature=FEATURE_LOSSES[settings.output_feature_loss_type],
        is_regression=task.is_regression,
    )


def distiller_hyperparameters(settings: Settings) -> dict[str, Any]:
    """The same as AutoGluon's hyperparameters, for its checks and for the configuration saved with the student."""
    soft_label_loss = settings.soft_label_loss_type
    return {
        "distiller.temperature": settings.temperature,
        "distiller.hard_label_weight": settings.hard_label_weight,
        "distiller.soft_label_weight": settings.soft_label_weight,
        "distiller.softmax_regression_weight": settings.softmax_regression_weight,
        "distiller.output_feature_loss_weight": settings.output_feature_loss_weight,
        "distiller.rkd_distance_loss_weight": settings.rkd_distance_loss_weight,
        "distiller.rkd_angle_loss_weight": settings.rkd_angle_loss_weight,
        # An empty name lets AutoGluon choose by problem type (utils/distillation.py:54).
        "distiller.soft_label_loss_type": CLASS_LOSSES[soft_label_loss] if soft_label_loss else "",
        "distiller.softmax_regression_loss_type": CLASS_LOSSES[settings.softmax_regression_loss_type],
        "distiller.output_feature_loss_type": FEATURE_LOSSES[settings.output_feature_loss_type],
    }


def fit(
    folder: Path,
    fold: Fold,
    task: Task,
    parameters: Mapping[str, Any],
    *,
    seed: int,
    time_limit: int | None,
    teacher: Predictor | None = None,
    recipe: Recipe | None = None,
    verbosity: str = "normal",
) -> dict[str, Any]:
    """Fine-tune a checkpoint and leave the finished predictor in ``folder``.

    :param parameters: AutoGluon's hyperparameters; with ``distiller.*`` among them if there is a ``teacher``.
    :param teacher: distil from this predictor, which predicts as before afterwards.
    :param recipe: the losses to distil by.
    :return: ``optimizer_steps`` and ``epochs`` that the fit took, None where several GPUs hide them; with a teacher,
        also ``terms``, see :func:`_Distilling.term_table`.
    :raises TrainingFailed: when it ended before the first optimizer step or with weights that are not finite.
    :raises UserError: when the teacher's classes are not the student's.
    """
    columns = [*task.model_columns, LABEL]
    if teacher is not None:
        columns_of_classes = _teacher_columns(teacher, fold.train[LABEL])
        _show_clean_text(teacher)
    predictor = MultiModalPredictor(
        label=LABEL,
        problem_type=task.problem_type,
        eval_metric=task.selection_metric,
        path=str(folder),
        verbosity=_AUTOGLUON_VERBOSITY[verbosity],
        enable_progress_bar=verbosity != "quiet",
    )
    predictor._learner.__class__ = _Learner  # predictor.py:217 offers no way to choose the learner
    if teacher is not None:
        predictor._learner.recipe = recipe
        predictor._learner.teacher_columns = columns_of_classes
    predictor.fit(
        train_data=fold.train[columns],
        tuning_data=fold.tune[columns],
        hyperparameters=dict(parameters),
        column_types=dict.fromkeys(task.model_columns, "text"),
        teacher_predictor=teacher.automm if teacher is not None else None,
        time_limit=time_limit,
        seed=seed,
    )
    progress = dict(predictor._learner.progress)
    if progress["optimizer_steps"] == 0:
        raise TrainingFailed(
            f"--time_limit {time_limit}: over before the first optimizer step; give it more seconds or leave it out"
        )
    if not all(torch.isfinite(weight).all() for weight in predictor._learner._model.parameters()):
        raise TrainingFailed(
            "training diverged: the weights are not finite; try a lower learning rate or --precision bf16 or 32"
        )
    if teacher is not None:
        # AutoGluon leaves per-column features switched on in both predictors, where they cost time in every later
        # forward pass (utils/distillation.py:107), and has already saved the student that way.
        for automm in (predictor, teacher.automm):
            turn_on_off_feature_column_info(automm._learner._data_processors, False)
        predictor.save(predictor.path)
    return progress


def load(folder: Path, task: Task, *, verbosity: str = "normal") -> Predictor:
    """The finished predictor in ``folder``."""
    automm = MultiModalPredictor.load(str(folder), verbosity=_AUTOGLUON_VERBOSITY[verbosity])
    return Predictor(automm, task, verbosity)


def versions() -> dict[str, str]:
    """Versions of the libraries that a fitted model depends on."""
    return {
        name: version(name) for name in ("autogluon.multimodal", "torch", "transformers", "lightning", "tokenizers")
    }


def _teacher_columns(teacher: Predictor, labels: pd.Series) -> list[int] | None:
    """Which of the teacher's outputs belongs to each of the student's classes; None for a regression.

    AutoGluon compares the number of classes only (utils/distillation.py:43); another order would invert the lesson.

    :raises UserError: when the classes differ.
    """
    if teacher.task.is_regression:
        return None
    taught, learned = np.asarray(teacher.automm.class_labels).tolist(), sorted(labels.unique().tolist())
    if sorted(taught) != learned:
        raise UserError(f"the teacher's classes {taught} are not the student's classes {learned}")
    return [taught.index(label) for label in learned]


def _show_clean_text(teacher: Predictor) -> None:
    """Let the teacher judge the original text; its own, independent augmentation would make it judge another row.

    The processor remembers how it was trained (data/process_text.py:463) and augments whenever a fit runs it.
    """
    for processor in teacher.automm._learner._data_processors["text"]:
        processor.text_trivial_aug_maxscale = 0.0
        processor.train_augmenter = None


class _OneSchedule:
    """Warm up and decay over the true number of optimizer steps, for teacher, baseline and student alike.

    AutoGluon's own count is too long for a student on several GPUs (optim/lit_distiller.py:499), and too short where an
    epoch has fewer batches than a step takes: the learning rate then rises again at the end.
    """

    def configure_optimizers(self) -> tuple[list[Any], list[dict[str, Any]]]:
        (optimizer,), _ = super().configure_optimizers()  # type: ignore[misc]
        for group in optimizer.param_groups:  # AutoGluon's schedule has already set them to its first step's rate
            group["lr"] = group.pop("initial_lr")
        hparams, steps = self.hparams, self.trainer.estimated_stepping_batches  # type: ignore[attr-defined]
        schedule = get_lr_scheduler(
            optimizer=optimizer,
            num_max_steps=steps,
            num_warmup_steps=int(steps * hparams.warmup_steps),
            lr_schedule=hparams.lr_schedule,
            end_lr=hparams.end_lr,
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _FineTuning(_OneSchedule, LitModule):
    """Trains teacher and baseline."""


class _Distilling(_OneSchedule, DistillerLitModule):
    """Trains the student by :mod:`losses`, and keeps an account of each term.

    Once in :data:`SHARE_EVERY` batches it measures the size of each weighted term's gradient at the student's pooled
    feature, through which all of them (those on the logits too) reach the network.
    """

    loss: DistillationLoss

    def setup(self, stage: str) -> None:
        """Called by Lightning before the first batch."""
        self.teacher_model.requires_grad_(False)  # AutoGluon leaves it trainable, which several GPUs would sum up
        self._batches = 0
        self._epochs: dict[int, dict[str, list[torch.Tensor]]] = {}  # per epoch and term: sum and number of batches
        self._gradients = dict.fromkeys((name for name, weight in self.loss.recipe.weights.items() if weight > 0), 0.0)

    def _compute_loss(self, student_output: dict, teacher_output: dict, label: torch.Tensor) -> torch.Tensor:
        """In place of optim/lit_distiller.py:293."""
        student, teacher = student_output[self.student_model.prefix], teacher_output[self.teacher_model.prefix]
        terms = self.loss.terms(student[LOGITS], student[FEATURES], teacher[LOGITS], teacher[FEATURES], label)
        if self.training and torch.is_grad_enabled():
            self._account(terms, student[FEATURES])
        return self.loss.total(terms)

    def _account(self, terms: Mapping[str, torch.Tensor], feature: torch.Tensor) -> None:
        """Half precision overflows now and then; such a batch trains nothing, and is not counted either."""
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        sums = self._epochs.setdefault(self.current_epoch, {})
        for name, term in terms.items():
            finite = torch.isfinite(term.detach())
            counted = sums.setdefault(name, [torch.zeros_like(term.detach()), torch.zeros_like(term.detach())])
            counted[0] += torch.where(finite, term.detach(), 0.0)
            counted[1] += finite
        self._batches += 1
        if self._batches % SHARE_EVERY != 1:
            return
        sizes = {}
        for name, term in terms.items():
            weighted = self.loss.recipe.weights[name] * term
            (gradient,) = torch.autograd.grad(weighted, feature, retain_graph=True, allow_unused=True)
            sizes[name] = 0.0 if gradient is None else float(gradient.float().norm())
        whole = sum(sizes.values())
        if not math.isfinite(whole):
            return
        for name, size in sizes.items():
            self._gradients[name] += size
            self.log(f"gradient_share/{name}", size / whole if whole else 0.0)

    def term_table(self) -> dict[str, dict[str, float | None]]:
        """``{term: {"weight", "first_epoch", "last_epoch", "gradient_share"}}``, for the terms with a weight.

        The epochs' numbers are means of the unweighted term, None if it was never finite; the share is that of the sum
        of the measured sizes.
        """
        whole = sum(self._gradients.values())
        first, last = self._epochs[min(self._epochs)], self._epochs[max(self._epochs)]
        return {
            name: {
                "weight": self.loss.recipe.weights[name],
                "first_epoch": _mean(*first[name]),
                "last_epoch": _mean(*last[name]),
                "gradient_share": size / whole if whole else 0.0,
            }
            for name, size in self._gradients.items()
        }


def _mean(total: torch.Tensor, count: torch.Tensor) -> float | None:
    return float(total / count) if count else None


class _Learner(BaseLearner):
    """Trains with the modules above, and remembers how far it came. A saved one loads as a BaseLearner."""

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
        """As in learners/base.py:930, with this module's classes for training."""
        if not is_train:
            return super().get_litmodule_per_run(optim_kwargs=optim_kwargs, is_train=False)
        if self._teacher_learner is not None:
            teacher = self._teacher_learner._model
            module = _Distilling(student_model=model, teacher_model=teacher, **optim_kwargs, **distillation_kwargs)
            module.loss = DistillationLoss(
                self.recipe, module.output_feature_adaptor, teacher.head, self._translation()
            )
            return module
        return _FineTuning(
            model=model,
            model_postprocess_fn=model_postprocess_fn,
            trainable_param_names=peft_param_names,
            **optim_kwargs,
        )

    def run_trainer(self, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        """learners/base.py:1194 is where the trainer, which counts, can be seen."""
        outcome = super().run_trainer(trainer, *args, **kwargs)
        if kwargs.get("is_train", True):
            # Processes spawned for several GPUs keep these counts to themselves.
            alone = trainer.num_devices == 1
            self.progress = {
                "optimizer_steps": trainer.global_step if alone else None,
                "epochs": trainer.current_epoch if alone else None,
            }
            litmodule = kwargs.get("litmodule", args[0] if args else None)
            if alone and isinstance(litmodule, _Distilling):
                self.progress["terms"] = litmodule.term_table()
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
