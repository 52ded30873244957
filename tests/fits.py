"""What the tests that fit tiny models share: rows of three tasks, options of each role, teachers with their outputs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from automm_distill import automm, hidden_layers, teacher_outputs
from automm_distill.automm import FitOptions, Predictor, Teacher
from automm_distill.devices import Device
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.tasks import GLUE_TASKS

from .conftest import SENTENCES, STUDENT_LAYERS, TEACHER_LAYERS, make_settings

CPU = Device(num_gpus=0, precision="32", name="CPU", threads=2)
FRAME = SENTENCES.rename(columns={"idx": "id"}).astype({"id": str})
RTE = GLUE_TASKS["rte"]
# Labels of a binary, a three-class and a regression task for the same sentences.
LABELS = {"rte": FRAME["label"], "mnli": FRAME.index % 3, "stsb": FRAME["label"] * 3.0 + FRAME.index % 5 * 0.5}


def rows_of(task: str) -> TrainValidation:
    """64 training and 32 validation rows."""
    frame = FRAME.assign(label=LABELS[task])
    return TrainValidation(frame[:64], frame[64:96])


def make_options(
    checkpoints: Path,
    role: str,
    *,
    device: Device = CPU,
    hyperparameters: dict[str, Any] | None = None,
    **settings: Any,
) -> FitOptions:
    """Options of one short fit of RTE (or of ``glue_task``).

    :param hyperparameters: AutoGluon's, in place of those that follow from the settings.
    """
    short = {"glue_task": "rte", "max_epochs": 1, "teacher_max_epochs": 1, "batch_size": 32, "seed": 1}
    settings_of_fit = make_settings(**(short | {"verbosity": "quiet"} | settings))
    pairs = hidden_layers.resolve(settings_of_fit.hidden_states_layers, STUDENT_LAYERS, TEACHER_LAYERS)
    losses = automm.distillation_spec(settings_of_fit, settings_of_fit.tasks[0], pairs) if role == "student" else None
    checkpoint = checkpoints / ("teacher" if role == "teacher" else "student")
    options = automm.fit_options(settings_of_fit, device, str(checkpoint), role, losses)
    return replace(options, hyperparameters={**options.hyperparameters, **(hyperparameters or {})})


def fit_teacher(checkpoints: Path, folder: Path, task: str) -> None:
    """Fine-tune the teacher's checkpoint on a task of ``LABELS`` for an epoch."""
    automm.fit(folder, rows_of(task), GLUE_TASKS[task], make_options(checkpoints, "teacher", glue_task=task))


def cached(predictor: Predictor, rows: TrainValidation, folder: Path) -> Teacher:
    """The teacher as a student learns from it by default: with its outputs on disk."""
    layers = list(range(TEACHER_LAYERS))[-STUDENT_LAYERS:]
    recipe = {"columns": predictor.task.model_columns, "precision": "32", "layers": layers}
    outputs = teacher_outputs.get_or_compute(
        folder / "outputs", recipe, rows.train, lambda frame: predictor.outputs(frame, layers=layers)
    )
    return Teacher(predictor, outputs, compared_layers=layers)


def distill(predictor: Predictor, checkpoints: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """A student of the RTE teacher, in ``folder / "student"``."""
    options = make_options(checkpoints, "student", **settings)
    rows = rows_of("rte")
    return automm.fit(folder / "student", rows, RTE, options, cached(predictor, rows, folder))


def load(folder: Path, task: str = "rte") -> Predictor:
    """The predictor in ``folder``."""
    return automm.load(folder, GLUE_TASKS[task], verbosity="quiet")
