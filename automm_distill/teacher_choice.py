"""Which kind of teacher the flags name, what it is called, and which losses it can serve.

A teacher is a checkpoint that is fine-tuned here (``--teacher_model``), a model that is finished
(``--teacher_predictor``), or a file of its predictions (``--teacher_predictions``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automm_distill.errors import UserError

MODEL, PREDICTOR, PREDICTIONS = FLAGS = ("teacher_model", "teacher_predictor", "teacher_predictions")
# The flags that a teacher's fit reads, and nothing else does.
FIT_FLAGS = ("teacher_max_epochs", "teacher_learning_rate", "teacher_weight_decay", "pawsx_teacher_tasks")
# The losses that compare more than outputs, by their weights' flags.
FEATURE_LOSSES = (
    "softmax_regression_weight",
    "output_feature_loss_weight",
    "rkd_distance_loss_weight",
    "rkd_angle_loss_weight",
    "hidden_states_loss_weight",
)
SAVED_PREDICTOR = "assets.json"  # written by MultiModalPredictor.save


def chosen_flag(values: Mapping[str, Any]) -> str | None:
    """The one of :data:`FLAGS` that the teacher is given by; None if none is.

    :param values: settings by name; older ones know :data:`MODEL` alone.
    :raises UserError: when there are several.
    """
    given = [name for name in FLAGS if values.get(name) is not None]
    if len(given) > 1:
        flags = " and ".join(f"--{name} {values[name]}" for name in given)
        raise UserError(f"{flags}: a run has one teacher; give one of them")
    return given[0] if given else None


def teacher_name(values: Mapping[str, Any]) -> str:
    """The teacher for people: the name of its checkpoint, folder or file."""
    name = chosen_flag(values)
    return str(values[name]) if name is not None else "teacher"


def is_finished(values: Mapping[str, Any]) -> bool:
    """Whether the teacher is used as it is, and never trained."""
    return chosen_flag(values) in (PREDICTOR, PREDICTIONS)


def is_saved_predictor(folder: str) -> bool:
    """Whether it is a folder that AutoGluon saved a predictor in."""
    return (Path(folder).expanduser() / SAVED_PREDICTOR).is_file()


def outputs_alone(values: Mapping[str, Any]) -> bool:
    """Whether nothing is known of the teacher but its outputs: no features, no head, no layers."""
    predictor = values.get(PREDICTOR)
    return values.get(PREDICTIONS) is not None or (predictor is not None and not is_saved_predictor(predictor))


def losses_off(usual: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, float]:
    """``{flag: weight}`` of losses that are on by default, or by a preset, and that such a teacher cannot serve.

    :param usual: the values of the flags with any other teacher.
    :param given: the flags that were given.
    """
    if not outputs_alone(given):
        return {}
    return {name: usual[name] for name in FEATURE_LOSSES if usual[name] and name not in given}


def require_outputs_suffice(values: Mapping[str, Any]) -> None:
    """Refuse what needs more of a teacher than its outputs, for one of which nothing else is known.

    :raises UserError: naming the flag and what would work.
    """
    if not outputs_alone(values):
        return
    known = f"and of --{chosen_flag(values)} {teacher_name(values)} only the outputs are known"
    for name in FEATURE_LOSSES:
        if values[name]:
            raise UserError(
                f"--{name} {values[name]:g}: needs the teacher's features or layers, {known}; use 0, or "
                "--soft_label_weight"
            )
    if values["student_model"] is None:
        raise UserError(
            f"--student_layers {values['student_layers']}: takes layers of the teacher, {known}; give --student_model "
            "too"
        )
    if values["teacher_outputs"] == "online":
        raise UserError(f"--teacher_outputs online: runs the teacher in every step, {known}; use cached")
