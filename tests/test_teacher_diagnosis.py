"""What is said of a teacher before its student is trained. That runs do say it is in test_end_to_end.py."""

import json
import logging
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from automm_distill.evaluation.scores import VALIDATION
from automm_distill.inputs.rows.splits import Splits, TrainValidation
from automm_distill.tasks import GLUE_TASKS, Task
from automm_distill.teacher_diagnosis import (
    NEAR_ONE_HOT,
    TRAINING,
    diagnosis_of,
    remark,
    sentence,
    soft_label_temperature,
    tell,
    training_rows,
)

from .conftest import make_settings

RTE, STSB = GLUE_TASKS["rte"], GLUE_TASKS["stsb"]
LABELS = {TRAINING: np.tile([0, 1], 50), VALIDATION: np.tile([0, 1], 10)}


def teacher(
    confidence: float,
    temperature: float | None,
    *,
    on_others: float = 0.8,
    task: Task = RTE,
    whose: str = "teacher",
    unlabelled: int = 0,
) -> dict[str, Any]:
    """Of a teacher that gives the label of every training row this probability.

    Of the hold-out it is sure to ``on_others``, and wrong about every fifth row.
    """
    right = [confidence, *[(1 - confidence) / (len(task.classes) - 1)] * (len(task.classes) - 1)]
    answers = np.where(np.arange(20) % 5 == 0, 1 - LABELS[VALIDATION], LABELS[VALIDATION])
    outputs = {
        TRAINING: np.stack([np.roll(right, label) for label in LABELS[TRAINING]]),
        VALIDATION: np.stack([[on_others, 1 - on_others][:: 1 - 2 * answer] for answer in answers]),
    }
    return {
        "training_rows_of": whose,
        "unlabelled_rows": unlabelled,
        **diagnosis_of(task, LABELS, outputs, temperature),
    }


def entropy(p: float) -> float:
    """Of (p, 1 - p), in nats."""
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def softened(p: float, temperature: float) -> float:
    """The probability of logits whose difference is divided by T."""
    return 1 / (1 + math.exp(-math.log(p / (1 - p)) / temperature))


def test_numbers_of_a_classifier():
    found = teacher(0.97, 5.0)
    assert found["metric"] == "accuracy"
    assert found["rows"] == {TRAINING: 100, VALIDATION: 20}
    assert found["score"] == {TRAINING: 1.0, VALIDATION: 0.8}
    assert found["entropy"] == pytest.approx({TRAINING: entropy(0.97), VALIDATION: entropy(0.8)})
    at_5 = {kind: entropy(softened(p, 5)) for kind, p in ((TRAINING, 0.97), (VALIDATION, 0.8))}
    assert found["entropy_at_temperature"] == pytest.approx(at_5)
    assert found["entropy_limit"] == pytest.approx(math.log(2))
    assert found["calibration_error"] == pytest.approx(0), "sure to .8 and right about .8"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_regression_has_scores_only_and_an_undefined_one_is_none():
    values = {kind: labels.astype(float) for kind, labels in LABELS.items()}
    outputs = {TRAINING: 2 * values[TRAINING] + 1, VALIDATION: np.zeros(20)}
    found = {"training_rows_of": "teacher", **diagnosis_of(STSB, values, outputs, None)}
    assert set(found) == {"training_rows_of", "metric", "rows", "score"}
    assert found["score"] == {TRAINING: pytest.approx(1), VALIDATION: None}
    assert sentence(found) == "teacher: pearson 1.000 on its training rows, n/a on the hold-out"
    assert remark(found) is None


@pytest.mark.parametrize(
    ("temperature", "entropies"),
    [
        (1.0, "0.13 / 0.50 nats (at most 0.69)"),
        (None, "0.13 / 0.50 nats (at most 0.69)"),
        (5.0, "0.13 / 0.50 nats, 0.64 / 0.68 at T 5 (at most 0.69)"),
    ],
)
def test_sentence_shows_the_runs_temperature_where_it_has_another(temperature, entropies):
    assert sentence(teacher(0.97, temperature)) == (
        "teacher: accuracy 1.000 on its training rows, 0.800 on the hold-out; "
        f"entropy of its soft labels {entropies}; calibration error 0.00"
    )


def test_rows_new_to_the_teacher_are_not_called_its_own():
    found = teacher(0.999, 1.0, whose="student")
    assert "accuracy 1.000 on the student's training rows," in sentence(found)
    said = str(remark(found))
    assert "the teacher's soft labels of the student's training rows are near one-hot" in said
    assert "new to it" not in said, "they are that already"


@pytest.mark.parametrize(
    ("confidence", "temperature", "words", "level"),
    [
        (0.999, 1.0, "are near one-hot at T 1 and say little more than the labels; try a higher", logging.WARNING),
        (0.97, 0.5, "are near one-hot at T 0.5 and say", logging.WARNING),
        (0.999, 5.0, "would be near one-hot at T 1: do not go far below --temperature 5", logging.INFO),
    ],
)
def test_near_one_hot_labels_are_a_warning_only_where_the_student_would_learn_nothing(
    caplog, confidence, temperature, words, level
):
    caplog.set_level("INFO", logger="automm_distill")
    found = teacher(confidence, temperature)
    tell(found)
    assert [record.levelno for record in caplog.records] == [logging.INFO, level]
    assert caplog.messages == [sentence(found), remark(found)]
    assert words in caplog.messages[1]
    new_rows = "; those of rows new to it (--unlabelled_path), or after fewer --teacher_max_epochs would say more"
    assert caplog.messages[1].endswith(new_rows)
    certain_of_all = remark(teacher(confidence, temperature, on_others=0.999))
    assert certain_of_all == caplog.messages[1].removesuffix(new_rows), "new rows would say no more"


@pytest.mark.parametrize(
    ("unlabelled", "end", "level"),
    [
        (0, "; it helps with rows that have none (--unlabelled_path)", logging.WARNING),
        (500, "says more than a label", logging.INFO),
    ],
)
def test_no_temperature_is_advised_for_answers_without_a_doubt(caplog, unlabelled, end, level):
    """Those of a file with one label per row."""
    caplog.set_level("INFO", logger="automm_distill")
    tell(teacher(1.0, 5.0, whose="student", unlabelled=unlabelled))
    assert caplog.messages[1].startswith("the teacher gives each of the student's training rows one class without")
    assert caplog.messages[1].endswith(end)
    assert "higher" not in caplog.messages[1]
    assert caplog.records[1].levelno == level


def test_unlabelled_rows_that_are_there_already_are_not_asked_for(caplog):
    caplog.set_level("INFO", logger="automm_distill")
    tell(teacher(0.999, 1.0, unlabelled=500))
    assert {record.levelno for record in caplog.records} == {logging.INFO}, "the student learns from the other rows"
    assert caplog.messages[1].endswith("; those after fewer --teacher_max_epochs would say more")


@pytest.mark.parametrize(
    ("confidence", "temperature"),
    [(0.97, 1.0), (0.97, 5.0), (0.999, None)],  # the last: soft labels are off, or logits that no softmax flattens
)
def test_nothing_is_remarked_of_labels_that_say_something(caplog, confidence, temperature):
    caplog.set_level("INFO", logger="automm_distill")
    tell(teacher(confidence, temperature))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(("name", "confidence"), [("rte", 0.994), ("mnli", 0.991)])
def test_near_one_hot_is_what_its_comment_says(name, confidence):
    task = GLUE_TASKS[name]
    shares = [teacher(p, 1.0, task=task)["entropy"][TRAINING] / math.log(len(task.classes)) for p in (0.99, confidence)]
    assert shares[0] > shares[1] == pytest.approx(NEAR_ONE_HOT, rel=0.06)


def test_temperature_is_the_soft_labels():
    assert soft_label_temperature(make_settings(temperature=3)) == 3
    assert soft_label_temperature(make_settings(soft_label_loss_type="mse")) is None
    assert soft_label_temperature(make_settings(soft_label_weight=0)) is None
    assert soft_label_temperature(make_settings(glue_task="stsb")) is None


def rows(*texts: str) -> TrainValidation:
    frame = pd.DataFrame({"id": list(texts), "sentence1": list(texts), "sentence2": "", "label": 0})
    return TrainValidation(frame, frame[:0])


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "chosen", "whose"),
    [
        ("abc", "cdbe", "bc", "teacher"),
        ("abc", "bca", "abc", "teacher"),
        ("abc", "de", "de", "student"),
    ],
)
def test_training_rows_are_the_teachers_among_the_students(of_teacher, of_student, chosen, whose):
    found, of = training_rows(Splits(RTE, rows(*of_teacher), rows(*of_student), {}, ""), RTE)
    assert ("".join(sorted(found["sentence1"])), of) == (chosen, whose)


def test_training_rows_are_a_sample_that_is_always_the_same():
    fold = rows(*map(str, range(5000)))
    found, again = (training_rows(Splits(RTE, fold, fold, {}, ""), RTE)[0] for _ in range(2))
    assert found["sentence1"].nunique() == 2000
    assert found.equals(again)
