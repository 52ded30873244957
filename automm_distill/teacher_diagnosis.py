"""What the teacher knows of rows that it was trained on and of others, and how much its soft labels say.

A teacher that has its training rows by heart is certain of them. Its soft labels are then the labels once more, and a
student learns nothing from them that the labels do not tell. That is known before the student is trained.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automm_distill.cache.keyed_parts import row_keys
from automm_distill.divergence import explained
from automm_distill.evaluation import metrics
from automm_distill.evaluation.calibration import at_temperature, expected_calibration_error, mean_entropy
from automm_distill.evaluation.scores import VALIDATION
from automm_distill.inputs.rows.row_checks import sample
from automm_distill.inputs.rows.splits import Splits
from automm_distill.run_context import RunContext
from automm_distill.settings import Settings
from automm_distill.tasks import Task

if TYPE_CHECKING:
    from automm_distill.automm import OutputsTeacher, Teacher

TRAINING = "training"
# Soft labels of a lower mean entropy, as a share of ln(classes), the entropy of knowing nothing, count as one-hot. It
# is that of rows at .994 for the label of two classes, .991 of three: to the student's gradient, softmax(student) minus
# the soft label, it makes a difference of less than a hundredth whether it learns from the teacher or from the label.
NEAR_ONE_HOT = 0.05
CERTAIN = 1e-6  # nats; no network that was trained is so sure of all rows, only a file of answers

Diagnosis = Mapping[str, Any]

log = logging.getLogger(__name__)


def diagnose(targets: "Teacher | OutputsTeacher", validation: np.ndarray | None, context: RunContext) -> dict[str, Any]:
    """The diagnosis of a run's teacher, see :func:`diagnosis_of`, and say what it is.

    :param targets: the teacher as the student will learn from it.
    :param validation: its predictions for the hold-out, as ``Predictor.predict`` gives them; None if it has not all.
    """
    task = context.task
    rows, whose = training_rows(context.splits, task, seen="teacher" in context.trained_roles)
    rows = rows[targets.covers(rows)]
    outputs = {} if validation is None else {VALIDATION: validation}
    with explained("teacher", context.settings, context.device.precision):
        if len(rows):
            outputs = {TRAINING: targets.predict(rows), **outputs}
    labels = {TRAINING: rows["label"].to_numpy(), VALIDATION: context.eval_sets[VALIDATION]["label"].to_numpy()}
    found = {
        "training_rows_of": whose,
        "unlabelled_rows": context.splits.unlabelled_count,
        **diagnosis_of(task, labels, outputs, soft_label_temperature(context.settings)),
    }
    tell(found, task.classes)
    return found


def diagnosis_of(
    task: Task, labels: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], temperature: float | None
) -> dict[str, Any]:
    """The headline score on both kinds of rows; of a classifier also how sure it is of them.

    :param labels: the true labels of ``training`` rows and of the hold-out, ``validation``, shape (rows,) each.
    :param outputs: the teacher's for the same rows, as ``Predictor.predict`` gives them; a kind of rows may be missing,
        and has no score and no entropy then.
    :param temperature: see :func:`soft_label_temperature`.
    :return: ``metric``, and per kind of rows their number in ``rows`` and the ``score`` (None where it is undefined).
        Of a classifier, per kind of rows ``entropy``, the mean in nats of the probabilities' entropies, and
        ``entropy_at_temperature``; ``entropy_limit``, ln(classes); ``calibration_error`` on the hold-out.
    """
    metric = metrics.of_task(task)[0]
    found: dict[str, Any] = {
        "metric": metric.name,
        "rows": {kind: len(truth) for kind, truth in labels.items()},
        "score": {
            kind: metric.score(truth, metric.answers(outputs[kind])) if kind in outputs else None
            for kind, truth in labels.items()
        },
    }
    if task.is_regression:
        return found
    found |= {
        "entropy": {kind: mean_entropy(output) for kind, output in outputs.items()},
        "entropy_limit": math.log(len(task.classes)),
    }
    if VALIDATION in outputs:
        found["calibration_error"] = expected_calibration_error(outputs[VALIDATION], labels[VALIDATION])
    if temperature is not None:
        softened = {kind: mean_entropy(at_temperature(output, temperature)) for kind, output in outputs.items()}
        found |= {"temperature": temperature, "entropy_at_temperature": softened}
    return found


def soft_label_temperature(settings: Settings) -> float | None:
    """What divides the teacher's logits before they become soft labels; None where no loss compares probabilities."""
    if settings.soft_label_weight == 0 or settings.soft_label_loss_type != "cross_entropy":
        return None
    return settings.temperature


def training_rows(splits: Splits, task: Task, *, seen: bool = True) -> tuple[pd.DataFrame, str]:
    """Rows, at most 2,000 and always the same ones, that the teacher was trained on; and whose they are, "teacher".

    They are among those that the student trains on, whose outputs are at hand. Where two lists of languages share none,
    they are the "student"'s, new to the teacher.

    :param seen: the run trained the teacher; of one that was finished before, nobody knows what it has seen.
    """
    if not seen:
        return sample(splits.student.train), "student"
    own, students = splits.teacher.train, splits.student.train
    if splits.teacher is not splits.student:
        own = own[np.isin(row_keys(own, task.model_columns), row_keys(students, task.model_columns))]
    return (sample(students), "student") if own.empty else (sample(own), "teacher")


def tell(diagnosis: Diagnosis, classes: Sequence[str] = ()) -> None:
    """Log the diagnosis; as a warning, if the student would learn nothing from the soft labels.

    :param classes: the task's.
    """
    log.info("%s", sentence(diagnosis, classes))
    said = remark(diagnosis)
    if said is not None:
        useless = _near_one_hot(diagnosis, "entropy_at_temperature") and not diagnosis["unlabelled_rows"]
        log.log(logging.WARNING if useless else logging.INFO, "%s", said)


def sentence(diagnosis: Diagnosis, classes: Sequence[str] = ()) -> str:
    """All of it in one line.

    :param classes: the task's.
    """
    metric = metrics.named(diagnosis["metric"], classes)
    training, validation = (metric.score_text(diagnosis["score"][kind], 3) for kind in (TRAINING, VALIDATION))
    parts = [
        f"teacher: {diagnosis['metric']} {training} on {_whose(diagnosis)} training rows, {validation} on the hold-out"
    ]
    if "entropy" in diagnosis:
        entropies = f"{_pair(diagnosis['entropy'])} nats"
        if diagnosis.get("temperature", 1.0) != 1.0:
            entropies += f", {_pair(diagnosis['entropy_at_temperature'])} at T {diagnosis['temperature']:g}"
        parts.append(f"entropy of its soft labels {entropies} (at most {diagnosis['entropy_limit']:.2f})")
        if "calibration_error" in diagnosis:
            parts.append(f"calibration error {diagnosis['calibration_error']:.2f}")
    return "; ".join(parts)


def remark(diagnosis: Diagnosis) -> str | None:
    """What it means that soft labels of training rows are near one-hot, and what to do; None if they are not."""
    if "temperature" not in diagnosis:
        return None
    if _certain(diagnosis):
        new = "" if diagnosis["unlabelled_rows"] else "; it helps with rows that have none (--unlabelled_path)"
        return (
            f"the teacher gives each of {_whose(diagnosis)} training rows one class without a doubt, which at no "
            f"--temperature says more than a label{new}"
        )
    temperature = f"{diagnosis['temperature']:g}"
    said = f"the teacher's soft labels of {_whose(diagnosis)} training rows"
    if _near_one_hot(diagnosis, "entropy_at_temperature"):
        entropy = "entropy_at_temperature"
        said += (
            f" are near one-hot at T {temperature} and say little more than the labels; try a higher --temperature "
            "with --temperature_scaling squared"
        )
    elif _near_one_hot(diagnosis, "entropy"):
        entropy = "entropy"
        said += f" would be near one-hot at T 1: do not go far below --temperature {temperature}"
    else:
        return None
    seen = diagnosis["training_rows_of"] == "teacher"
    if seen and not _near_one_hot(diagnosis, entropy, VALIDATION):  # certain of what it has seen, not of everything
        new = "" if diagnosis["unlabelled_rows"] else "of rows new to it (--unlabelled_path), or "
        said += f"; those {new}after fewer --teacher_max_epochs would say more"
    return said


def _certain(diagnosis: Diagnosis) -> bool:
    return bool(diagnosis["entropy"].get(TRAINING, 1.0) < CERTAIN)


def _near_one_hot(diagnosis: Diagnosis, entropy: str, kind: str = TRAINING) -> bool:
    found = diagnosis[entropy].get(kind)  # of rows that the teacher says nothing of there is none
    return found is not None and bool(found < NEAR_ONE_HOT * diagnosis["entropy_limit"])


def _whose(diagnosis: Diagnosis) -> str:
    return "its" if diagnosis["training_rows_of"] == "teacher" else "the student's"


def _pair(entropies: Mapping[str, float]) -> str:
    return " / ".join(_shown(entropies.get(kind), ".2f") for kind in (TRAINING, VALIDATION))


def _shown(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)
