"""Everything a run can be told, checked once before anything heavy is imported."""

import math
from dataclasses import dataclass, fields

from .errors import UserError
from .tasks import DEMO_LANGUAGES, DEMO_TASK, GLUE_TASKS, Task, pawsx_task

TEMPERATURE_SCALINGS = ("none", "squared")
PRECISIONS = ("auto", "16", "16-mixed", "bf16", "bf16-mixed", "32")
TEACHER_OUTPUTS = ("cached", "online")
TEACHER_OUTPUTS_PRECISIONS = ("32", "16")
CLASS_LOSSES = {"cross_entropy": "cross_entropy", "mean_square_error": "mse", "mse": "mse"}
FEATURE_LOSSES = {"mean_square_error": "mse", "mse": "mse", "cosine_distance": "cosine", "cosine": "cosine"}

WEIGHTS = (
    "hard_label_weight",
    "soft_label_weight",
    "softmax_regression_weight",
    "output_feature_loss_weight",
    "rkd_distance_loss_weight",
    "rkd_angle_loss_weight",
)

# What does not change a run's outcome, or only where it is kept.
INCIDENTAL = ("resume", "verbosity", "num_workers", "output_folder", "finetuned_model_cache_folder")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per command-line flag, under the flag's name; see ``cli`` for what each one means.

    :raises UserError: when a value, or a combination of values, cannot be run; the message names the flag.
    """

    benchmark: str
    glue_task: str | None = None
    pawsx_teacher_tasks: tuple[str, ...] = ()
    pawsx_student_tasks: tuple[str, ...] = ()
    dataset_path: str | None
    demo: bool = False
    max_train_rows: int | None = None
    max_test_rows: int | None = None

    teacher_model: str
    student_model: str
    teacher_max_epochs: int
    max_epochs: int
    teacher_learning_rate: float
    teacher_weight_decay: float
    student_learning_rate: float
    student_weight_decay: float
    batch_size: int
    per_gpu_batch_size: int
    aug_scale: float
    time_limit: int | None
    train_nodistill: bool
    seed: int

    temperature: float
    temperature_scaling: str
    hard_label_weight: float
    soft_label_weight: float
    softmax_regression_weight: float
    output_feature_loss_weight: float
    rkd_distance_loss_weight: float
    rkd_angle_loss_weight: float
    soft_label_loss_type: str | None
    softmax_regression_loss_type: str
    output_feature_loss_type: str

    num_gpu: int
    precision: str
    num_workers: int
    length_grouping: bool
    compile: bool
    teacher_outputs: str
    teacher_outputs_precision: str

    finetuned_model_cache_folder: str
    resume: bool
    output_folder: str
    verbosity: str = "normal"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"--{field.name} {value}: needs a finite number")
        for name in ("max_epochs", "teacher_max_epochs", "batch_size", "per_gpu_batch_size"):
            self._at_least(name, 1)
        for name in ("time_limit", "max_train_rows", "max_test_rows"):
            self._at_least(name, 1, "or leave it out")
        if self.seed >= 2**32:
            raise UserError(f"--seed {self.seed}: needs less than 2**32")
        for name in ("seed", "num_workers", "teacher_weight_decay", "student_weight_decay", *WEIGHTS):
            self._at_least(name, 0)
        self._at_least("num_gpu", -1, "-1 = all, 0 = CPU")
        for name in ("temperature", "teacher_learning_rate", "student_learning_rate"):
            if getattr(self, name) <= 0:
                raise UserError(f"--{name} {getattr(self, name)}: needs a number above 0")
        if not 0 <= self.aug_scale <= 1:
            raise UserError(f"--aug_scale {self.aug_scale}: needs a share of words from 0 (off) to 1")
        if not any(getattr(self, name) for name in WEIGHTS):
            raise UserError("all loss weights are 0: set at least one of " + ", ".join(f"--{name}" for name in WEIGHTS))
        self._check_losses()
        if self.demo and self.dataset_path is not None:
            raise UserError(f"--dataset_path {self.dataset_path}: --demo brings its own rows; leave one of the two out")
        foreign = sorted({*self.pawsx_teacher_tasks, *self.pawsx_student_tasks} - {*DEMO_LANGUAGES})
        if self.demo and foreign:
            raise UserError(f"{', '.join(foreign)}: --demo speaks {', '.join(DEMO_LANGUAGES)} only")
        if self.demo and self.glue_task is not None:
            raise UserError(f"--glue_task {self.glue_task}: --demo brings its own task; leave one of the two out")

    def _at_least(self, name: str, minimum: int, hint: str = "") -> None:
        value = getattr(self, name)
        if value is not None and value < minimum:
            raise UserError(f"--{name} {value}: needs {minimum} or more{f' ({hint})' if hint else ''}")

    def _check_losses(self) -> None:
        for name in ("soft_label_loss_type", "softmax_regression_loss_type"):
            if self.tasks[0].is_regression and getattr(self, name) == "cross_entropy":
                raise UserError(f"--{name} cross_entropy: there are no classes in a regression; use mse")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks whose rows are read: one for GLUE and the demo, one per language for PAWS-X."""
        if self.benchmark == "pawsx":
            languages = dict.fromkeys((*self.pawsx_teacher_tasks, *self.pawsx_student_tasks))
            return tuple(pawsx_task(language) for language in languages)
        return (DEMO_TASK,) if self.demo else (GLUE_TASKS[self.glue_task or "qnli"],)
