"""All options of one fit, for AutoGluon and for our learner, in one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm_distill.devices import Device
from automm_distill.inputs.checkpoints.finding import AUTOGLUON_MAX_TOKENS
from automm_distill.losses import (
    HARD_LABEL,
    OUTPUT_FEATURE,
    RKD_ANGLE,
    RKD_DISTANCE,
    SOFT_LABEL,
    SOFTMAX_REGRESSION,
    DistillationSpec,
)
from automm_distill.settings import LOSS_WEIGHTS, Settings
from automm_distill.tasks import Task

LABEL = "label"
VERBOSITY = {"quiet": 1, "normal": 1, "verbose": 3}
# Our precisions and losses under AutoGluon's and Lightning's names.
PRECISION_NAMES = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32"}
# The weights that it has a name for.
AUTOGLUON_LOSSES = {HARD_LABEL, SOFT_LABEL, SOFTMAX_REGRESSION, OUTPUT_FEATURE, RKD_DISTANCE, RKD_ANGLE}
LOSS_NAMES = {"cross_entropy": "cross_entropy", "mean_square_error": "mse", "cosine_distance": "cosine"}


@dataclass(frozen=True)
class FitOptions:
    """How to fit one model.

    :param role: "teacher", "baseline" or "student", for people.
    :param hyperparameters: AutoGluon's, with dotted names (``optim.lr``, ``env.batch_size``, ...).
    :param time_limit: seconds after which training stops; None for no limit.
    :param length_grouping: make batches of rows of about the same length.
    :param rows_per_epoch: rows of an epoch, where there are to be more than there are; None for each row once.
    :param compile: train through torch.compile.
    :param verbosity: "quiet", "normal" or "verbose".
    :param losses: what the student minimises; None to fine-tune.
    :param validation_log: file that each validation adds a JSON line to.
    :param token_cache: the cache folder, where the tokens of many rows are kept; None to keep none.
    """

    role: str
    hyperparameters: Mapping[str, Any]
    seed: int
    time_limit: float | None = None
    length_grouping: bool = True
    rows_per_epoch: int | None = None
    compile: bool = False
    verbosity: str = "normal"
    losses: DistillationSpec | None = None
    validation_log: str | None = None
    token_cache: Path | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the fit runs on GPUs."""
        return bool(self.hyperparameters["env.num_gpus"] > 0)

    @property
    def epochs(self) -> int:
        """The most epochs of the fit."""
        return int(self.hyperparameters["optim.max_epochs"])

    @property
    def training_key(self) -> dict[str, Any]:
        """The options that can change a fine-tuned model, as plain values: part of its key in the cache.

        The path of the checkpoint cannot (its content is a part of the key by itself), nor can verbosity, nor the
        number of processes that load rows.
        """
        longer_epoch = {"rows_per_epoch": self.rows_per_epoch} if self.rows_per_epoch is not None else {}
        without_effect = {"model.hf_text.checkpoint_name", "env.num_workers", "env.num_workers_inference"}
        return {
            "hyperparameters": {
                name: value for name, value in self.hyperparameters.items() if name not in without_effect
            },
            "seed": self.seed,
            "time_limit": self.time_limit,
            "length_grouping": self.length_grouping,
            "compile": self.compile,
            **longer_epoch,
        }


def fit_options(
    settings: Settings,
    device: Device,
    checkpoint: str,
    role: str,
    losses: DistillationSpec | None = None,
    *,
    max_tokens: int = AUTOGLUON_MAX_TOKENS,
    rows_per_epoch: int | None = None,
    token_cache: Path | None = None,
) -> FitOptions:
    """The options of one of the three models. All get the same kinds of options; only values differ.

    :param checkpoint: folder of the pretrained model.
    :param role: "teacher", "baseline" or "student"; the last two differ in ``losses`` alone.
    :param max_tokens: longer rows are cut to so many tokens. AutoGluon's own limit is not said again: a model that was
        cached before there was this parameter is the same one.
    :param rows_per_epoch: and ``token_cache``: as in :class:`FitOptions`.
    """
    prefix = "teacher" if role == "teacher" else "student"
    hyperparameters: dict[str, Any] = {
        "model.names": ["hf_text"],
        "model.hf_text.checkpoint_name": checkpoint,
        "model.hf_text.text_trivial_aug_maxscale": settings.aug_scale,
        "optim.max_epochs": settings.teacher_max_epochs if role == "teacher" else settings.max_epochs,
        "optim.lr": getattr(settings, f"{prefix}_learning_rate"),
        "optim.weight_decay": getattr(settings, f"{prefix}_weight_decay"),
        "optim.log_every_n_steps": 1,
        "optim.val_check_interval": 1 / settings.validations_per_epoch,
        "env.batch_size": settings.batch_size,
        "env.per_gpu_batch_size": settings.per_gpu_batch_size,
        "env.num_workers": settings.num_workers,
        "env.num_workers_inference": settings.num_workers,
        "env.num_gpus": device.num_gpus,
        "env.accelerator": device.accelerator,
        "env.precision": PRECISION_NAMES[device.precision],
    }
    if max_tokens != AUTOGLUON_MAX_TOKENS:
        hyperparameters["model.hf_text.max_text_len"] = max_tokens
    return FitOptions(
        role=role,
        hyperparameters=hyperparameters | (_distiller_hyperparameters(losses) if losses else {}),
        seed=settings.seed,
        time_limit=settings.time_limit,
        length_grouping=settings.length_grouping,
        rows_per_epoch=rows_per_epoch,
        compile=settings.compile and device.num_gpus > 0,  # on a CPU they train slower (docs/performance.md)
        verbosity=settings.verbosity,
        losses=losses,
        validation_log=settings.validation_log if role == "student" else None,
        token_cache=token_cache,
    )


def distillation_spec(
    settings: Settings, task: Task, hidden_layers: tuple[tuple[int, int], ...] = ()
) -> DistillationSpec:
    """The losses that the student minimises.

    :param hidden_layers: as in :class:`DistillationSpec`.
    """
    assert settings.soft_label_loss_type is not None  # Settings has chosen by the kind of task
    return DistillationSpec(
        weights=settings.loss_weights,
        temperature=settings.temperature,
        squared_temperature=settings.temperature_scaling == "squared",
        soft_label=settings.soft_label_loss_type,
        softmax_regression=settings.softmax_regression_loss_type,
        output_feature=settings.output_feature_loss_type,
        is_regression=task.is_regression,
        hidden_layers=hidden_layers,
    )


def _distiller_hyperparameters(losses: DistillationSpec) -> dict[str, Any]:
    """The losses under AutoGluon's names. They document the student in its saved configuration; nothing reads them."""
    return {
        **{
            f"distiller.{name}": losses.weights[term] for name, term in LOSS_WEIGHTS.items() if term in AUTOGLUON_LOSSES
        },
        "distiller.temperature": losses.temperature,
        "distiller.soft_label_loss_type": LOSS_NAMES[losses.soft_label],
        "distiller.softmax_regression_loss_type": LOSS_NAMES[losses.softmax_regression],
        "distiller.output_feature_loss_type": LOSS_NAMES[losses.output_feature],
    }
