"""What AutoGluon is told: our settings under its names."""

from importlib.metadata import version
from typing import Any

from ..devices import Device
from ..losses import TERMS, Recipe
from ..settings import CLASS_LOSSES, FEATURE_LOSSES, WEIGHTS, Settings
from ..tasks import Task

LABEL = "label"
VERBOSITY = {"quiet": 1, "normal": 1, "verbose": 3}


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


def versions() -> dict[str, str]:
    """Versions of the libraries that a fitted model depends on."""
    return {
        name: version(name) for name in ("autogluon.multimodal", "torch", "transformers", "lightning", "tokenizers")
    }
