"""Scores, weighted scores and ratios against other libraries, published rows and formulas written out by hand."""

import math
import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from automm_distill.errors import UserError
from automm_distill.evaluation.metrics import (
    OF_CLASSES,
    OF_VALUES,
    distillation_ratio,
    named,
    of_task,
    predicted_labels,
    scores_by_role,
)
from automm_distill.tasks import GLUE_TASKS, Task

# AutoGluon's published tables: teacher, baseline, student, ratio as printed, digits printed.
PUBLISHED = [
    (0.91726, 0.89401, 0.89713, 0.13, 2),
    (0.91726, 0.89401, 0.90298, 0.39, 2),
    (0.91726, 0.89401, 0.89365, -0.02, 2),
    (0.91293, 0.88493, 0.88857, 0.1301, None),
    (0.91293, 0.88493, 0.88550, 0.02041, None),
    (0.91293, 0.88493, 0.89093, 0.21429, None),
    (0.91293, 0.88493, 0.89264, 0.27551, None),
    (0.91293, 0.88493, 0.89100, 0.21684, None),
    (0.91293, 0.88493, 0.88971, 0.17092, None),
]
TWO, FOUR = ("no", "yes"), ("a", "b", "c", "d")
ACCURACY, RMSE = named("accuracy"), named("rmse")


@pytest.mark.parametrize(("teacher", "baseline", "student", "printed", "digits"), PUBLISHED)
def test_ratio_is_the_published_one(teacher, baseline, student, printed, digits):
    ratio = distillation_ratio(ACCURACY, teacher, baseline, student).value
    if digits is None:  # the scores were rounded to five digits before they were printed, the ratios were not
        assert ratio == pytest.approx(printed, abs=4e-4)
    else:
        assert round(ratio, digits) == printed


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "reason"),
    [
        (0.8, 0.8, 0.9, "not better than the baseline"),
        (0.7, 0.8, 0.9, "not better than the baseline"),
        (0.8, None, 0.9, "no baseline score"),
        (None, 0.5, 0.9, "no teacher score"),
        (0.8, 0.5, None, "no student score"),
    ],
)
def test_ratio_is_absent_with_a_reason(teacher, baseline, student, reason):
    ratio = distillation_ratio(ACCURACY, teacher, baseline, student)
    assert ratio.value is None
    assert reason in ratio.reason


def test_ratio_of_an_error_is_the_share_of_the_gap_too():
    assert distillation_ratio(RMSE, 2.0, 4.0, 3.0).value == pytest.approx(0.5)
    assert distillation_ratio(RMSE, 2.0, 4.0, 5.0).value == pytest.approx(-0.5)
    reason = distillation_ratio(RMSE, 4.0, 2.0, 3.0).reason
    assert reason == "the teacher (4.00000) is not better than the baseline (2.00000)"


def test_metrics_agree_with_their_formulas():
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    predicted = np.array([1, 0, 1, 0, 1, 0, 0, 1])
    tp, fp, fn, tn = 3, 1, 1, 3
    assert ACCURACY.score(truth, predicted) == pytest.approx((tp + tn) / 8)
    assert named("f1").score(truth, predicted) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert named("matthews").score(truth, predicted) == pytest.approx(expected)


def test_correlations_and_errors_agree_with_their_formulas():
    truth, predicted = np.array([0.0, 1.0, 2.0, 5.0, 4.0]), np.array([0.1, 0.9, 3.0, 3.5, 9.0])
    centred = [values - values.mean() for values in (truth, predicted)]
    pearson = (centred[0] @ centred[1]) / math.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1]))
    assert named("pearson").score(truth, predicted) == pytest.approx(pearson)
    differences = np.array([1, 2, 3, 5, 4]) - np.array([1, 2, 3, 4, 5])
    assert named("spearman").score(truth, predicted) == pytest.approx(1 - 6 * (differences**2).sum() / (5 * 24))
    assert RMSE.score(truth, predicted) == pytest.approx(math.sqrt((0.01 + 0.01 + 1 + 2.25 + 25) / 5))


def rows_of(name: str, classes: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels and answers of 60 rows, with ties, some labels of a class that no training row has."""
    if name in OF_VALUES:
        truth = random.normal(size=60).round(1)
        return truth, (truth + random.normal(size=60)).round(1)
    truth = random.integers(0, classes + (classes > 2), 60)
    if name == "roc_auc":
        return truth, random.uniform(size=60).round(1)
    return truth, np.where(random.uniform(size=60) < 0.5, truth, random.integers(0, classes, 60)) % classes


def sklearns(name: str, truth: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """By the library's own function, called as a user would."""
    present = [label for label in np.union1d(truth, answers) if label < classes]
    return {
        "accuracy": lambda: sklearn_metrics.accuracy_score(truth, answers),
        "f1": lambda: sklearn_metrics.f1_score(truth, answers),
        "f1:c": lambda: sklearn_metrics.f1_score(truth, answers, labels=[2], average=None)[0],
        "f1_macro": lambda: sklearn_metrics.f1_score(truth, answers, labels=present, average="macro"),
        "f1_micro": lambda: sklearn_metrics.f1_score(truth, answers, average="micro"),
        "matthews": lambda: sklearn_metrics.matthews_corrcoef(truth, answers),
        "roc_auc": lambda: sklearn_metrics.roc_auc_score(truth, answers),
        "pearson": lambda: stats.pearsonr(truth, answers)[0],
        "spearman": lambda: stats.spearmanr(truth, answers)[0],
        "rmse": lambda: sklearn_metrics.root_mean_squared_error(truth, answers),
    }[name]()


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *((name, TWO) for name in OF_CLASSES),
        *((name, FOUR) for name in ("accuracy", "f1_macro", "f1_micro", "matthews", "f1:c")),
        *((name, ()) for name in OF_VALUES),
    ],
)
def test_both_forms_are_the_librarys_on_resampled_rows(name, classes):
    random = np.random.default_rng(0)
    metric = named(name, classes)
    truth, answers = rows_of(name, len(classes), random)
    weights = np.stack([np.bincount(random.integers(60, size=60), minlength=60) for _ in range(20)])
    drawn = [(np.repeat(truth, weight), np.repeat(answers, weight)) for weight in weights]
    expected = [sklearns(name, *rows, len(classes)) for rows in drawn]
    assert [metric.score(*rows) for rows in drawn] == pytest.approx(expected)
    assert metric.weighted(truth, answers, weights.astype(float)) == pytest.approx(expected)


def test_a_class_that_no_training_row_has_is_always_wrong_and_none_of_the_average():
    truth, answers = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 0])  # 2 is the number of classes
    assert named("accuracy", TWO).score(truth, answers) == 0.5
    assert named("f1_macro", TWO).score(truth, answers) == pytest.approx(2 / 3), "F1 of both is 2 / 3"
    assert named("f1:yes", TWO).score(truth, answers) == pytest.approx(2 / 3)
    assert named("roc_auc", TWO).score(truth, np.array([0.2, 0.7, 0.1, 0.9])) == 1.0


def test_a_thousand_classes_are_resampled_in_seconds():
    random = np.random.default_rng(0)
    truth = random.integers(0, 1000, 5000)
    answers = np.where(random.uniform(size=5000) < 0.7, truth, random.integers(0, 1000, 5000))
    weights = np.stack([np.bincount(pick, minlength=5000) for pick in random.integers(5000, size=(200, 5000))])
    start = time.perf_counter()
    for name in ("f1_macro", "matthews"):
        named(name, [str(number) for number in range(1000)]).weighted(truth, answers, weights.astype(float))
    assert time.perf_counter() - start < 5, "2,000 resamples of three models are thirty times one metric of these"


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlation_with_a_constant_is_undefined(metric):
    assert named(metric).score(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) is None
    assert RMSE.score(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) == pytest.approx(math.sqrt(2 / 3))


def test_constant_score_is_the_best_that_one_answer_reaches():
    truth = np.array([1, 1, 1, 0])
    assert ACCURACY.constant_score(truth, 2) == 0.75
    assert named("matthews").constant_score(truth, 2) == 0
    assert named("f1").constant_score(truth, 2) == pytest.approx(6 / 7)
    assert named("f1:no", TWO).constant_score(truth, 2) == pytest.approx(2 / 5)
    assert named("f1_macro", TWO).constant_score(truth, 2) == pytest.approx(3 / 7), "the class never said counts as 0"
    assert named("roc_auc").constant_score(truth, 2) == 0.5
    assert named("pearson").constant_score(np.array([1.0, 2.0]), 0) == 0
    assert RMSE.constant_score(np.array([1.0, 2.0, 6.0]), 0) == pytest.approx(np.std([1, 2, 6]))
    foreign = np.array([2, 2, 2, 0])
    assert ACCURACY.constant_score(foreign, 2) == 0.25, "no model can answer the class that no training row has"


def test_scores_come_from_what_each_metric_reads():
    outputs = {"teacher": np.array([[0.9, 0.1], [0.2, 0.8]]), "student": np.array([[0.4, 0.6], [0.3, 0.7]])}
    metrics = (ACCURACY, named("roc_auc"))
    assert scores_by_role(metrics, np.array([0, 1]), outputs) == {
        "accuracy": {"teacher": 1.0, "student": 0.5},
        "roc_auc": {"teacher": 1.0, "student": 1.0},
    }
    assert predicted_labels(outputs["student"]).tolist() == [1, 1]


@pytest.mark.parametrize("metric", ["f1", "matthews", "f1_macro"])
@pytest.mark.parametrize("label", [0, 1])
def test_scores_that_weigh_two_classes_need_both(metric, label):
    of_two = named(metric, TWO)
    assert of_two.score(np.full(4, label), np.array([0, 1, 1, 1])) is None
    assert np.isnan(of_two.weighted(np.full(4, label), np.array([0, 1, 1, 1]), np.ones((1, 4)))).all()
    assert of_two.score(np.array([0, 1, 1, 1]), np.full(4, label)) is not None, "always the same answer has one"


def test_more_is_better_of_a_score_and_worse_of_an_error():
    assert ACCURACY.gain(0.8, 0.7) == pytest.approx(0.1)
    assert RMSE.gain(1.5, 2.0) == 0.5
    assert max([3.0, None, 1.0], key=RMSE.merit) == 1.0
    assert max([0.3, None, 0.1], key=ACCURACY.merit) == 0.3


def test_scores_show_points_and_errors_show_the_labels_unit():
    assert ACCURACY.gain_text(0.0123, 1) == "+1.2"
    assert [RMSE.gain_text(gain, 1) for gain in (0.012345, -12.345, 1234.5)] == ["+0.0123", "-12.3", "+1,234"]
    assert [RMSE.score_text(score) for score in (0.123456, 98765.4, 0.0, None)] == [
        "0.12346",
        "98,765",
        "0.0000",
        "n/a",
    ]
    assert ACCURACY.score_text(0.5) == "0.5000"
    assert RMSE.gain_sentence(0.25, 1) == "the student's rmse is 0.250 lower"
    assert RMSE.gain_sentence(-0.25, 1) == "the student's rmse is 0.250 higher"
    assert ACCURACY.gain_sentence(0.25, 1) == "student - baseline is +25.0 points accuracy"


def test_errors_are_judged_in_percent_of_the_other_model():
    assert RMSE.judged(0.5, reference=2.0) == 25
    assert ACCURACY.judged(0.5, reference=0.7) == 50
    assert RMSE.judged(-0.5, reference=0.0) == -math.inf, "no error is infinitely better than some"


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("acuracy", TWO, "--metric acuracy: no such metric; needs one of accuracy, f1, .*f1:<class>, pearson"),
        ("f1:maybe", TWO, "--metric f1:maybe: no such class; needs one of no, yes"),
        ("f1", FOUR, "--metric f1: defined for two classes, and here are 4; use f1_macro, f1_micro or f1:<class>"),
        ("roc_auc", FOUR, "--metric roc_auc: defined for two classes"),
        ("rmse", TWO, "--metric rmse: not for labels that are classes; use accuracy, "),
        ("accuracy", (), "--metric accuracy: not for labels that are numbers; use pearson, spearman, rmse"),
    ],
)
def test_metrics_that_the_labels_do_not_allow_are_refused(name, classes, message):
    with pytest.raises(UserError, match=message):
        of_task(Task("own", "", "own", ("text",), classes=classes, metrics=(name,)))


@pytest.mark.parametrize("task", GLUE_TASKS.values(), ids=GLUE_TASKS)
def test_every_task_has_its_metrics(task):
    assert [metric.name for metric in of_task(task)] == list(task.metrics)
