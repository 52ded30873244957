"""Scores per test set, pooled languages, and the warning about a teacher that has learnt nothing."""

import numpy as np
import pandas as pd
import pytest

from automm_distill.evaluation.scores import (
    compare,
    intervals,
    pooled,
    ratios,
    score_all,
    warn_if_no_better_than_constant,
)
from automm_distill.tasks import GLUE_TASKS, pawsx_task


def one_hot(*answers):
    return np.eye(2)[list(answers)]


def frame(*labels, ids=None):
    return pd.DataFrame({"id": ids or [str(number) for number in range(len(labels))], "label": labels})


def test_comparison_takes_sentence_ids_as_units_for_all_languages_together():
    """On four pairs in five languages the student alone is right: 20 rows, but four coins: p = 2 / 2^4."""
    languages = [f"l{number}" for number in range(5)]
    eval_sets = {language: frame(0, 0, 0, 0) for language in languages} | {"validation": frame(0, 1)}
    right, wrong = one_hot(0, 0, 0, 0), one_hot(1, 1, 1, 1)
    predictions = {
        role: {**dict.fromkeys(languages, outputs), "validation": one_hot(0, 0)}
        for role, outputs in {"teacher": right, "baseline": wrong, "student": right}.items()
    }
    comparison = compare(pawsx_task("en"), eval_sets, predictions, pool=True)
    bootstrap = intervals(pawsx_task("en"), eval_sets, predictions, pool=True)
    assert bootstrap["all"]["accuracy"]["mcnemar"] == pytest.approx(2 / 2**4)
    assert list(comparison["scores"]) == ["all", *languages]
    assert comparison["validation"] == {"accuracy": dict.fromkeys(predictions, 0.5)}
    assert "validation" in predictions["teacher"], "the caller's predictions are left alone"


def test_several_languages_are_pooled_row_by_row():
    labels = pooled({"en": np.array([0, 1, 1]), "de": np.array([0])})
    outputs = {"student": pooled({"en": one_hot(0, 1, 0), "de": one_hot(1)})}
    scores = score_all(pawsx_task("en"), labels, outputs)
    assert list(scores) == ["all", "en", "de"]
    assert [scores[name]["accuracy"]["student"] for name in scores] == [2 / 4, 2 / 3, 0]


def test_one_language_is_not_pooled():
    assert list(pooled({"de": np.array([0])})) == ["de"]


def test_ratios_per_test_set_and_metric():
    scores = {
        "test": {"accuracy": {"teacher": 0.9, "baseline": 0.8, "student": 0.85}, "f1": {"teacher": 0.9, "student": 1}}
    }
    made = ratios(GLUE_TASKS["mrpc"], scores)["test"]
    assert made["accuracy"]["value"] == pytest.approx(0.5)
    assert made["f1"] == {"value": None, "reason": "no baseline score"}


@pytest.mark.parametrize(
    ("answers", "useless"), [((0, 0, 0, 0), True), ((1, 1, 1, 1), True), ((0, 0, 0, 1), False), ((1, 1, 0, 0), True)]
)
def test_teacher_no_better_than_a_constant_is_called_out(caplog, answers, useless):
    caplog.set_level("INFO", logger="automm_distill")
    tests = {"en": frame(0, 0), "de": frame(0, 1)}
    predictions = {"en": one_hot(*answers[:2]), "de": one_hot(*answers[2:])}
    warn_if_no_better_than_constant(pawsx_task("en"), tests, predictions, trained=True)
    assert ("LEARNT NOTHING" in caplog.text) is useless
    assert "the teacher's accuracy is" in caplog.text


def test_teacher_of_a_regression_that_always_says_the_same_is_called_out(caplog):
    tests = {"test": frame(0.0, 1.0, 2.0)}
    warn_if_no_better_than_constant(GLUE_TASKS["stsb"], tests, {"test": np.ones(3)}, trained=True)
    assert "LEARNT NOTHING: its pearson of n/a" in caplog.text


@pytest.mark.parametrize(("trained", "advice"), [(True, "More epochs"), (False, "Are its classes and its rows those")])
def test_only_a_teacher_of_this_run_is_told_to_train_for_longer(caplog, trained, advice):
    warn_if_no_better_than_constant(GLUE_TASKS["rte"], {"test": frame(0, 1)}, {"test": one_hot(0, 0)}, trained=trained)
    assert f"its outputs are noise. {advice}" in caplog.text


@pytest.mark.parametrize("task", ["rte", "cola"])
def test_teacher_is_not_blamed_for_test_rows_of_one_class(caplog, task):
    """Nothing can be better than always giving the one right answer."""
    caplog.set_level("INFO", logger="automm_distill")
    warn_if_no_better_than_constant(GLUE_TASKS[task], {"test": frame(1, 1)}, {"test": one_hot(1, 0)}, trained=True)
    assert "LEARNT NOTHING" not in caplog.text
    assert "the teacher's" in caplog.text
