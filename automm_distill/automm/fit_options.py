"""What AutoGluon is told, and what our learner adds to it: one frozen object for each fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automm_distill.devices import Device
from automm_distill.losses import DistillationSpec
from automm_distill.settings import LOSS_WEIGHTS, Settings
from automm_distill.tasks import Task

LABEL = "label"
VERBOSITY = {"quiet": 1, "normal": 1, "verbose": 3}
# Our precisions and losses under AutoGluon's and Lightning's names.
PRECISION_NAMES = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32"}
LOSS_NAMES = {"cross_entropy": "cross_entropy", "mean_square_error": "mse", "cosine_distance": "cosine"}


@dataclass(frozen=True)
class FitOptions:
    """How to fit one model.

    :param hyperparameters: AutoGluon's, flat (``optim.lr``, ``env.batch_size``, ...).
    :param length_grouping: make batches of rows of about the same length.
    :param compile: train through torch.compile.
    :param losses: what the student is distilled by; None to fine-tune.
    """

    hyperparameters: Mapping[str, Any]
    seed: int
    time_limit: int | None = None
    length_grouping: bool = True
    compile: bool = False
    verbosity: str = "normal"
    losses: DistillationSpec | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the fit runs on GPUs."""
        return self.hyperparameters["env.num_gpus"] > 0

    @property
    def training_key(self) -> dict[str, Any]:
        """All of it that shapes the fitted model, as plain values.

        Where the checkpoint lies does not (its content does), nor do processes that load rows, unless each of them
        augments by random numbers of its own, nor what is printed.
        """
        incidental = {"model.hf_text.checkpoint_name", "env.num_workers_inference"}
        if not self.hyperparameters["model.hf_text.text_trivial_aug_maxscale"]:
            incidental.add("env.num_workers")
        return {
            "hyperparameters": {k: value for k, value in self.hyperparameters.items() if k not in incidental},
            "seed": self.seed,
            "time_limit": self.time_limit,
            "length_grouping": self.length_grouping,
            "compile": self.compile,
        }


def fit_options(
    settings: Settings, device: Device, checkpoint: str, role: str, losses: DistillationSpec | None = None
) -> FitOptions:
    """The options of one model; teacher, baseline and student differ in nothing but their values.

    :param role: "teacher", "baseline" or "student"; the last two get the same, but for ``losses``.
    """
    prefix = "teacher" if role == "teacher" else "student"
    hyperparameters = {
        "model.names": ["hf_text"],
        "model.hf_text.checkpoint_name": checkpoint,
        "model.hf_text.text_trivial_aug_maxscale": settings.aug_scale,
        "optim.max_epochs": settings.teacher_max_epochs if role == "teacher" else settings.max_epochs,
        "optim.lr": getattr(settings, f"{prefix}_learning_rate"),
        "optim.weight_decay": getattr(settings, f"{prefix}_weight_decay"),
        "optim.log_every_n_steps": 1,
        "env.batch_size": settings.batch_size,
        "env.per_gpu_batch_size": settings.per_gpu_batch_size,
        "env.num_workers": settings.num_workers,
        "env.num_workers_inference": settings.num_workers,
        "env.num_gpus": device.num_gpus,
        "env.accelerator": device.accelerator,
        "env.precision": PRECISION_NAMES[device.precision],
    }
    return FitOptions(
        hyperparameters=hyperparameters | (_distiller_hyperparameters(losses) if losses else {}),
        seed=settings.seed,
        time_limit=settings.time_limit,
        length_grouping=settings.length_grouping,
        compile=settings.compile,
        verbosity=settings.verbosity,
        losses=losses,
    )


def distillation_spec(settings: Settings, task: Task) -> DistillationSpec:
    """The losses that the student minimises."""
    assert settings.soft_label_loss_type is not None  # Settings has chosen by the kind of task
    return DistillationSpec(
        weights=settings.loss_weights,
        temperature=settings.temperature,
        squared_temperature=settings.temperature_scaling == "squared",
        soft_label=settings.soft_label_loss_type,
        softmax_regression=settings.softmax_regression_loss_type,
        output_feature=settings.output_feature_loss_type,
        is_regression=task.is_regression,
    )


def _distiller_hyperparameters(losses: DistillationSpec) -> dict[str, Any]:
    """The losses in AutoGluon's words: for the configuration that is saved with the student. Nothing trains by them."""
    return {
        **{f"distiller.{name}": losses.weights[term] for name, term in LOSS_WEIGHTS.items()},
        "distiller.temperature": losses.temperature,
        "distiller.soft_label_loss_type": LOSS_NAMES[losses.soft_label],
        "distiller.softmax_regression_loss_type": LOSS_NAMES[losses.softmax_regression],
        "distiller.output_feature_loss_type": LOSS_NAMES[losses.output_feature],
    }
