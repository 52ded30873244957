"""Intervals against simulations with a known truth, and against cases worked by hand or by other libraries."""

import time

import numpy as np
import pytest
from scipy import stats

from automm_distill.evaluation.bootstrap import (
    RunPredictions,
    _draws,
    _members,
    _score,
    bootstrap_mean,
    bootstrap_run,
    mcnemar,
)
from automm_distill.evaluation.metrics import METRICS

RANDOM = np.random.default_rng(0)


def simulated(rows, random, skills):
    """Binary labels, and answers of models that are right with these probabilities and share half of their luck."""
    truth = random.integers(0, 2, rows)
    shared = random.uniform(size=rows)
    answers = {}
    for role, skill in skills.items():
        luck = np.where(random.uniform(size=rows) < 0.5, shared, random.uniform(size=rows))
        answers[role] = np.where(luck < skill, truth, 1 - truth)
    return truth, answers


@pytest.mark.parametrize("metric", METRICS)
def test_weighted_score_is_the_metric_of_the_repeated_rows(metric):
    truth, predicted = RANDOM.integers(0, 2, (2, 60))
    if metric in ("pearson", "spearman"):
        truth, predicted = RANDOM.normal(size=60).round(1), RANDOM.normal(size=60).round(1)
    weights = np.stack([np.bincount(RANDOM.integers(60, size=60), minlength=60) for _ in range(20)])
    expected = [METRICS[metric](np.repeat(truth, weight), np.repeat(predicted, weight)) for weight in weights]
    assert _score(metric, truth, predicted, weights.astype(float)) == pytest.approx(expected)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The true accuracies are known; 500 test sets of 200 rows. 95 % within 2."""
    skills = {"teacher": 0.9, "baseline": 0.7, "student": 0.75}
    covered = {"score": 0, "gain": 0, "ratio": 0}
    repeats = 500
    for repeat in range(repeats):
        truth, answers = simulated(200, np.random.default_rng(repeat), skills)
        made = bootstrap_run("accuracy", truth, answers, resamples=400, seed=repeat)
        covered["score"] += made.scores["student"].low <= 0.75 <= made.scores["student"].high
        covered["gain"] += made.gain.low <= 0.05 + 1e-12 and made.gain.high >= 0.05 - 1e-12
        assert made.ratio is not None
        covered["ratio"] += made.ratio.low <= 0.25 <= made.ratio.high
    for name, count in covered.items():
        assert count / repeats == pytest.approx(0.95, abs=0.02), name


FORMULAS = {
    "f1": lambda truth, answers: 2 * (truth & answers).sum() / (truth.sum() + answers.sum()),
    "matthews": lambda truth, answers: np.corrcoef(truth, answers)[0, 1],  # Pearson's phi
    "pearson": lambda truth, answers: np.corrcoef(truth, answers)[0, 1],
    "spearman": lambda truth, answers: np.corrcoef(stats.rankdata(truth), stats.rankdata(answers))[0, 1],
}


@pytest.mark.parametrize("metric", FORMULAS)
def test_gain_of_other_metrics_agrees_with_scipys_bootstrap(metric):
    if metric in ("f1", "matthews"):
        truth, answers = simulated(200, np.random.default_rng(1), {"teacher": 0.9, "baseline": 0.6, "student": 0.8})
    else:
        truth = np.random.default_rng(1).normal(size=200)
        noise = np.random.default_rng(2).normal(size=(3, 200))
        sizes = {"teacher": 0.3, "baseline": 2.0, "student": 1.0}
        answers = {role: truth + size * part for (role, size), part in zip(sizes.items(), noise, strict=True)}
    made = bootstrap_run(metric, truth, answers)
    formula = FORMULAS[metric]
    expected = stats.bootstrap(
        (truth, answers["baseline"], answers["student"]),
        lambda truth, baseline, student: formula(truth, student) - formula(truth, baseline),
        paired=True,
        vectorized=False,
        n_resamples=500 if metric == "spearman" else 2000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (made.gain.low, made.gain.high) == pytest.approx(tuple(expected), abs=0.03)


def test_rows_of_one_group_are_drawn_together():
    groups = np.array(["b", "a", "b", "c"])
    names, (member,) = _members([groups])
    drawn = np.concatenate(list(_draws(len(names), 500, seed=0)))[:, member]
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert ((drawn[:, 0] + drawn[:, 1] + drawn[:, 3]) == 3).all()
    assert drawn.mean(axis=0) == pytest.approx([1, 1, 1, 1], abs=0.15)


def test_translations_of_the_same_pairs_add_no_certainty():
    """Worked by hand: seven identical copies of 100 pairs know as much as 100 pairs."""
    truth, answers = simulated(100, np.random.default_rng(5), {"teacher": 0.9, "baseline": 0.6, "student": 0.7})
    once = bootstrap_run("accuracy", truth, answers)
    copies = {role: np.tile(labels, 7) for role, labels in answers.items()}
    grouped = bootstrap_run("accuracy", np.tile(truth, 7), copies, np.tile(np.arange(100), 7))
    blind = bootstrap_run("accuracy", np.tile(truth, 7), copies)
    assert (grouped.gain.low, grouped.gain.high) == pytest.approx((once.gain.low, once.gain.high))
    assert blind.gain.high - blind.gain.low == pytest.approx((once.gain.high - once.gain.low) / 7**0.5, rel=0.2)


def test_mcnemar_by_hand():
    """Of six rows on which only one is right, the baseline has one: 2 * (1 + 6) / 64."""
    truth = np.zeros(10, dtype=int)
    baseline = np.array([0, 1, 1, 1, 1, 1, 0, 0, 1, 1])
    student = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert mcnemar(truth, baseline, student) == pytest.approx(2 * 7 / 64)
    assert mcnemar(truth, baseline, baseline) == 1.0


def test_ratio_is_undefined_unless_the_teacher_clearly_leads():
    truth, answers = simulated(200, np.random.default_rng(3), {"teacher": 0.72, "baseline": 0.7, "student": 0.71})
    made = bootstrap_run("accuracy", truth, answers)
    assert made.teacher_gap.low < 0 < made.teacher_gap.high
    assert made.ratio is None
    answers["teacher"] = truth
    made = bootstrap_run("accuracy", truth, answers)
    assert made.ratio.value == pytest.approx(
        (made.scores["student"].value - made.scores["baseline"].value) / (1 - made.scores["baseline"].value)
    )
    assert made.ratio.low < made.ratio.value < made.ratio.high


def test_constant_predictions_have_no_correlation_and_no_interval():
    truth = np.arange(20.0)
    made = bootstrap_run("pearson", truth, {"teacher": truth, "baseline": np.ones(20), "student": truth})
    assert made.scores["baseline"].value is made.scores["baseline"].low is made.gain.value is made.ratio is None


def test_mean_over_seeds_is_judged_on_the_same_rows():
    """Worked by hand: the mean of two runs is one run whose rows are right by halves."""
    truth = np.zeros(60, dtype=int)
    groups = np.arange(60)
    runs = [
        RunPredictions(truth, {role: RANDOM.integers(0, 2, 60) for role in ("teacher", "baseline", "student")}, groups)
        for _ in range(2)
    ]
    made = bootstrap_mean("accuracy", runs)
    halves = sum((run.predicted["student"] == 0).astype(float) for run in runs) / 2
    by_scipy = stats.bootstrap((halves,), np.mean, n_resamples=2000, method="percentile", rng=1).confidence_interval
    assert made.scores["student"].value == pytest.approx(halves.mean())
    assert made.scores["student"].low == pytest.approx(by_scipy.low, abs=0.02)
    assert made.scores["student"].high == pytest.approx(by_scipy.high, abs=0.02)
    assert made.mcnemar is None, "it is a test of one run"


def test_runs_on_other_test_rows_are_drawn_by_id():
    """A run that saw the rows in another order, or some of them only, is resampled with the others."""
    truth, answers = simulated(50, np.random.default_rng(7), {"teacher": 0.9, "baseline": 0.6, "student": 0.7})
    ids = np.array([f"row {number}" for number in range(50)])
    order = np.random.default_rng(1).permutation(50)
    turned = RunPredictions(truth[order], {role: labels[order] for role, labels in answers.items()}, ids[order])
    alone = bootstrap_mean("accuracy", [RunPredictions(truth, answers, ids)])
    assert bootstrap_mean("accuracy", [RunPredictions(truth, answers, ids), turned]) == alone
    first = RunPredictions(truth[:25], {role: labels[:25] for role, labels in answers.items()}, ids[:25])
    rest = RunPredictions(truth[25:], {role: labels[25:] for role, labels in answers.items()}, ids[25:])
    made = bootstrap_mean("accuracy", [first, rest])
    assert made.gain.value == pytest.approx(alone.gain.value)
    assert made.gain.high - made.gain.low == pytest.approx(alone.gain.high - alone.gain.low, rel=0.1)


@pytest.mark.parametrize("right", [(30, 20), (40, 20), (25, 25)])
def test_p_value_agrees_with_the_interval_and_roughly_with_mcnemar(right):
    """Rows on which only one of two models is right, out of 200."""
    only_student, only_baseline = right
    truth = np.zeros(200, dtype=int)
    student, baseline = truth.copy(), truth.copy()
    baseline[:only_student] = 1
    student[only_student : only_student + only_baseline] = 1
    made = bootstrap_run("accuracy", truth, {"teacher": truth, "baseline": baseline, "student": student})
    assert (made.p < 0.05) == (made.gain.low > 0)
    assert made.p == pytest.approx(made.mcnemar, abs=0.08)


def test_p_value_is_uniform_where_nothing_was_gained():
    skills = {"teacher": 0.9, "baseline": 0.7, "student": 0.7}
    below = 0
    for repeat in range(400):
        truth, answers = simulated(200, np.random.default_rng(repeat), skills)
        below += bootstrap_run("accuracy", truth, answers, resamples=400).p < 0.05
    assert below / 400 == pytest.approx(0.05, abs=0.02)


def test_without_a_baseline_only_the_scores_are_judged():
    truth = RANDOM.integers(0, 2, 50)
    made = bootstrap_run("accuracy", truth, {"teacher": truth, "student": truth})
    assert (made.gain, made.ratio, made.mcnemar) == (None, None, None)
    assert (made.scores["teacher"].low, made.scores["teacher"].high) == (1, 1)


def test_qnlis_rows_take_seconds():
    truth, answers = simulated(5463, np.random.default_rng(3), {"teacher": 0.92, "baseline": 0.89, "student": 0.9})
    start = time.perf_counter()
    bootstrap_run("accuracy", truth, answers)
    assert time.perf_counter() - start < 5
