"""Class names as people write them, against the classes that there are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automm_distill.inputs.rows.class_names import class_of, class_of_number
from automm_distill.inputs.rows.cleaning import label_numbers
from automm_distill.tasks import GLUE_TASKS
from automm_distill.teachers.classifier import _classes
from automm_distill.teachers.prediction_columns import read_predictions


def task_of(*classes):
    return replace(GLUE_TASKS["rte"], classes=classes)


@pytest.mark.parametrize(
    ("name", "classes", "number"),
    [
        ("Not entailment", ("entailment", "not_entailment"), 1),
        ("Spam", ("spam", "Spam", "ham"), 1),
        ("spam", ("spam", "Spam", "ham"), 0),
        ("SPAM", ("spam", "Spam", "ham"), None),  # two could be meant
        ("HAM", ("spam", "Spam", "ham"), 2),
        ("eggs", ("spam", "ham"), None),
        (2, ("1", "2", "3"), 1),
    ],
)
def test_class_is_the_one_that_is_spelled_so_or_else_the_only_one_that_is_meant(name, classes, number):
    assert class_of(name, classes) == number


@pytest.mark.parametrize(
    ("value", "classes", "number"),
    [
        (1.0, ("entailment", "not_entailment"), 1),
        (2.0, ("entailment", "not_entailment"), None),
        (0.5, ("entailment", "not_entailment"), None),
        (1.0, ("1", "2", "3"), 0),  # stars, not places
        (0.0, ("1", "2", "3"), None),
        (1.0, ("one", "2"), None),
    ],
)
def test_number_is_a_class_of_that_name_before_it_is_a_place(value, classes, number):
    assert class_of_number(value, classes) == number


def test_a_class_may_be_called_as_a_missing_label_is():
    task = task_of("none", "some")
    assert label_numbers(pd.Series(["none", "some"]), task, "rows").tolist() == [0, 1]
    assert np.isnan(label_numbers(pd.Series(["NA"]), task, "rows")[0])
    assert np.isnan(label_numbers(pd.Series(["none"]), GLUE_TASKS["rte"], "rows")[0])


def test_a_teachers_classes_may_differ_in_their_case_only(tmp_path):
    """Here of the columns of a file, its labels, and a classifier's names."""
    task = task_of("Spam", "ham", "spam")
    raw = pd.DataFrame({"spam": [0.2, 0.1], "Spam": [0.7, 0.1], "HAM": [0.1, 0.8]})
    np.testing.assert_allclose(
        np.exp(read_predictions(raw, task, (), "file").outputs), [[0.7, 0.1, 0.2], [0.1, 0.8, 0.1]]
    )
    labels = read_predictions(pd.DataFrame({"label": ["spam", "Ham", "Spam"]}), task, (), "file").outputs
    assert labels.argmax(axis=1).tolist() == [2, 1, 0]
    assert _classes("model", ["ham", "spam", "Spam"], task) == (1, 2, 0)
