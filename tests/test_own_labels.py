"""Labels as people have them: what kind of task they make, and which class or value each is."""

import logging

import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows import own_labels

WHERE = "--train_path rows.csv"


def names_of(*labels):
    return own_labels.class_names(pd.Series(labels), WHERE)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["spam", "ham"], ["spam", "ham"]),
        (["spam ", "Spam", " 1"], ["spam ", "Spam", " 1"]),
        (["a", "", "  ", None, float("nan"), pd.NA], ["a", None, None, None, None, None]),
        ([1, 2], ["1", "2"]),
        ([1.0, np.nan, 2.0], ["1", None, "2"]),
        ([1.5, 2.0], ["1.5", "2"]),
        ([True, False], ["True", "False"]),
        (["NA", "none"], ["NA", "none"]),
        ([True, 1, False, 0], ["True", "1", "False", "0"]),
        (["1.0", 2.0, "2", "v1.0"], ["1", "2", "2", "v1.0"]),
    ],
)
def test_a_label_keeps_its_spelling_and_only_nothing_is_missing(labels, expected):
    assert names_of(*labels).tolist() == expected


def test_lists_are_no_labels():
    with pytest.raises(UserError, match=r"^--train_path rows.csv: label \['a'\] is neither a word nor a number$"):
        names_of(["a"], "b")


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["yes", "no"], "classification"),
        (["1", "2", "many"], "classification"),
        ([True, False], "classification"),
        ([0, 1], "classification"),
        ([*map(str, range(20))], "classification"),
        ([*map(str, range(21))], "regression"),
        (["1.0", "2.0", "3.0"], "classification"),
        (["1.5", "2.0"], "regression"),
        ([-3.25, 1e6], "regression"),
        (["1_000", "2_000"], "classification"),
        (["nan", "inf"], "classification"),
    ],
)
def test_kind_of_labels(labels, kind):
    assert own_labels.problem_type(names_of(*labels)) == kind


def test_decimal_commas_are_refused_and_not_taken_for_classes():
    with pytest.raises(UserError, match="label '1,5' has a decimal comma; write it with a point"):
        own_labels.problem_type(names_of("1,5", "2", "3,25"))
    assert own_labels.problem_type(names_of("1,5", "many")) == "classification"


def test_values_of_a_regression():
    assert own_labels.values(names_of("-3.25", "1e6", " 7 ", 2), WHERE).tolist() == [-3.25, 1e6, 7.0, 2.0]
    with pytest.raises(UserError, match=r"label 'high' is no number; first in row 1 \(counted from 0\)"):
        own_labels.values(names_of("1", "high", "low", "high"), WHERE)


def test_classes_are_in_the_order_of_numbers_or_of_the_alphabet():
    assert own_labels.find_classes(names_of("10", "9", "10"), WHERE) == ("9", "10")
    assert own_labels.find_classes(names_of("b", "a", "10"), WHERE) == ("10", "a", "b")
    assert own_labels.find_classes(names_of(True, False), WHERE) == ("False", "True")


def test_spellings_of_one_word_are_different_classes_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "automm_distill"):
        classes = own_labels.find_classes(names_of("Spam", "spam", "spam", "ham", "spam "), WHERE)
    assert classes == ("Spam", "ham", "spam", "spam ")
    assert caplog.messages == [
        f"{WHERE}: 'spam' (2 rows) and 'Spam' (1 rows) and 'spam ' (1 rows) differ in case or blanks only, and are "
        "taken for different classes"
    ]


def test_a_word_for_nothing_is_a_class_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "automm_distill"):
        assert own_labels.find_classes(names_of("none", "some"), WHERE) == ("none", "some")
    assert caplog.messages == [f"{WHERE}: 'none' is taken for a class (1 rows); leave the field empty if it means none"]


def test_labels_that_make_no_classes_are_refused():
    with pytest.raises(UserError, match="all 3 labels are 'a'; needs two classes or more"):
        own_labels.find_classes(names_of("a", "a", "a"), WHERE)
    assert len(own_labels.find_classes(names_of(*(f"c{n}" for n in range(1000))), WHERE)) == 1000
    with pytest.raises(UserError, match=r"1,001 different labels in 1,001 rows \('c0', 'c1', 'c2' and 998 more\)"):
        own_labels.find_classes(names_of(*(f"c{n}" for n in range(1001))), WHERE)


def test_a_class_that_training_rows_lack_has_a_number_of_its_own():
    assert own_labels.class_numbers(names_of("b", "x", "a"), ("a", "b")).tolist() == [1, 2, 0]
