"""What ``benchmarks.student_scores`` trains: rows of its table, and the ways of making a student that it compares.

Each unit is one command of a script: a row of the table, a way, and a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from automm_distill.flag import Benchmark


@dataclass(frozen=True)
class TableRow:
    """A task with so many labelled and unlabelled rows.

    :param data: flags that say which rows.
    :param teacher: flags of the teacher's fit; ``student`` those of baseline and student.
    :param layers: of the teacher, that the student has.
    :param short: the row without unlabelled rows whose baseline is trained for fewer steps; gains count against
        whichever of the two does better on the hold-out.
    """

    script: Benchmark
    checkpoint: str
    data: tuple[str, ...]
    teacher: tuple[str, ...]
    student: tuple[str, ...]
    layers: str = "3"
    short: str | None = None


@dataclass(frozen=True)
class Unit:
    """One run."""

    row: str
    way: str
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.row}-{self.way}-{self.seed}"


EPOCHS = (2, 4, 8, 16)
DEPTHS = ("first:6", "first:8", "first:9", "6", "8", "9")


def _teacher(epochs: int) -> tuple[str, ...]:
    return "--teacher_learning_rate", "1e-4", "--teacher_max_epochs", str(epochs)


def _student(epochs: int) -> tuple[str, ...]:
    return "--student_learning_rate", "2e-4", "--max_epochs", str(epochs)


def _qnli_2000(unlabelled: int | None) -> TableRow:
    """With so many of the other rows unlabelled; None for none."""
    data: tuple[str, ...] = (*_QNLI, "--max_train_rows", "2000")
    if unlabelled is not None:
        data += ("--unlabelled_path", "rest", "--unlabelled_rows", str(unlabelled))
    epochs = {None: 12, 2000: 6}.get(unlabelled, 4)
    short = None if unlabelled is None else "qnli-2000"
    return TableRow("glue", "english", data, _teacher(6), _student(epochs), short=short)


_QNLI, _STSB = ("--glue_task", "qnli"), ("--glue_task", "stsb")
_LANGUAGES = ("en", "de", "zh", "ja")


def _pawsx(layers: str, epochs: int, *flags: str) -> TableRow:
    data = ("--pawsx_teacher_tasks", *_LANGUAGES, "--pawsx_student_tasks", *_LANGUAGES, *flags)
    student = ("--student_learning_rate", "1e-4", "--max_epochs", str(epochs))
    return TableRow("pawsx", "multilingual", data, _teacher(4), student, layers)


TABLE: Mapping[str, TableRow] = {
    "qnli": TableRow("glue", "english", _QNLI, _teacher(3), _student(4)),
    "qnli-2000": _qnli_2000(None),
    "qnli-2000+2000": _qnli_2000(2000),
    "qnli-2000+8475": _qnli_2000(8475),
    "mnli": TableRow("glue", "english", ("--glue_task", "mnli"), _teacher(4), _student(6)),
    "stsb": TableRow("glue", "english", _STSB, _teacher(4), _student(6)),
    "stsb-1500": TableRow("glue", "english", (*_STSB, "--max_train_rows", "1500"), _teacher(8), _student(12)),
    "stsb-1500+4249": TableRow(
        "glue",
        "english",
        (*_STSB, "--max_train_rows", "1500", "--unlabelled_path", "rest"),
        _teacher(8),
        _student(6),
        short="stsb-1500",
    ),
    # The setting in which students were worse than their baselines, and how long its two fits were.
    **{
        f"stsb-1500-{teacher}-{student}-epochs": TableRow(
            "glue", "english", (*_STSB, "--max_train_rows", "1500"), _teacher(teacher), _student(student)
        )
        for teacher, student in ((2, 4), (8, 4), (2, 12))
    },
    # Does training for longer pay?
    **{f"stsb-{epochs}-epochs": TableRow("glue", "english", _STSB, _teacher(4), _student(epochs)) for epochs in EPOCHS},
    **{f"qnli-{epochs}-epochs": TableRow("glue", "english", _QNLI, _teacher(3), _student(epochs)) for epochs in EPOCHS},
    "pawsx": _pawsx("first:8", 6),
    # Which depth learns: by the hold-out, without baselines.
    **{f"pawsx-{layers.replace(':', '')}": _pawsx(layers, 4, "--train_nodistill", "false") for layers in DEPTHS},
    # Too few layers to learn it: for size and speed, which do not depend on it.
    "pawsx-3": _pawsx("3", 1, "--train_nodistill", "false"),
}

# Those of the README's table; the others answer questions of docs/students.md.
ROWS = (
    *("qnli", "qnli-2000", "qnli-2000+2000", "qnli-2000+8475"),
    *("mnli", "stsb", "stsb-1500", "stsb-1500+4249", "pawsx"),
)

# The settings of AutoGluon's two published tables: weights of the output feature loss; of softmax regression, RKD
# distance and RKD angle.
FEATURE_WAYS: dict[str, tuple[str, ...]] = {
    f"feature-{weight}": ("--output_feature_loss_weight", weight) for weight in ("0", "0.01", "0.1")
}
PAWSX_WEIGHTS: dict[str, tuple[str, ...]] = {
    f"weights-{'-'.join(weights)}": (
        *("--softmax_regression_weight", weights[0], "--rkd_distance_loss_weight", weights[1]),
        *("--rkd_angle_loss_weight", weights[2]),
    )
    for weights in (
        *(("0", "0", "0"), ("0.01", "0", "0"), ("0.1", "0", "0")),
        *(("0.1", "0.1", "0.2"), ("0.1", "1", "2"), ("0.1", "10", "20")),
    )
}

# A student of the teacher's layers, or of its pretrained checkpoint's, and the losses.
OF_TEACHER, OF_CHECKPOINT = "teacher", "checkpoint"
_HINTON = ("--temperature", "2", "--temperature_scaling", "squared", "--output_feature_loss_weight", "0")
WAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "published": (OF_CHECKPOINT, ()),
    "hinton": (OF_CHECKPOINT, _HINTON),
    "layers-published": (OF_TEACHER, ()),
    "layers": (OF_TEACHER, _HINTON),
    "layers-hard": (OF_TEACHER, (*_HINTON, "--soft_label_weight", "0", "--hard_label_weight", "1")),
    "layers-half": (OF_TEACHER, (*_HINTON, "--soft_label_weight", "0.5", "--hard_label_weight", "0.5")),
    "layers-states": (OF_TEACHER, (*_HINTON, "--hidden_states_loss_weight", "1")),
    "layers-states-10": (OF_TEACHER, (*_HINTON, "--hidden_states_loss_weight", "10")),
    "layers-t5": (OF_TEACHER, (*_HINTON, "--temperature", "5")),
    "strong": (OF_TEACHER, ("--preset", "strong")),
    **{name: (OF_CHECKPOINT, flags) for name, flags in (FEATURE_WAYS | PAWSX_WEIGHTS).items()},
}


def arguments(
    unit: Unit, dataset_path: Mapping[str, str], checkpoints: Mapping[str, str], num_gpu: int = 0
) -> Sequence[str]:
    """The flags of a unit's command, without those that say where its results go."""
    row, (start, losses) = TABLE[unit.row], WAYS[unit.way]
    checkpoint = checkpoints[row.checkpoint]
    of_checkpoint = ("--student_model", checkpoint) if start == OF_CHECKPOINT else ()
    return [
        *("--dataset_path", dataset_path[row.script], *row.data, "--teacher_model", checkpoint, *row.teacher),
        *("--student_layers", row.layers, *of_checkpoint, *row.student, "--batch_size", "32", *losses),
        *("--seed", str(unit.seed), "--resume", "--num_gpu", str(num_gpu)),
        *(() if unit.way in (*FEATURE_WAYS, *PAWSX_WEIGHTS) else ("--no_timing",)),  # published tables have a speed-up
    ]
