"""Intervals against simulations with a known truth, and against cases worked by hand or by other libraries."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from automm_distill.evaluation.bootstrap import (
    RunPredictions,
    _draws,
    _members,
    _sign_flip_p_value,
    bootstrap_mean,
    bootstrap_run,
    mcnemar,
)
from automm_distill.evaluation.metrics import named

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


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The true accuracies are known; 500 test sets of 200 rows. 95 % within 2."""
    skills = {"teacher": 0.9, "baseline": 0.7, "student": 0.75}
    covered = {"score": 0, "gain": 0, "ratio": 0}
    repeats = 500
    for repeat in range(repeats):
        truth, answers = simulated(200, np.random.default_rng(repeat), skills)
        result = bootstrap_run(named("accuracy"), truth, answers, resamples=400, seed=repeat)
        covered["score"] += result.scores["student"].low <= 0.75 <= result.scores["student"].high
        covered["gain"] += result.gain.low <= 0.05 + 1e-12 and result.gain.high >= 0.05 - 1e-12
        assert result.ratio is not None
        covered["ratio"] += result.ratio.low <= 0.25 <= result.ratio.high
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
    result = bootstrap_run(named(metric), truth, answers)
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
    assert (result.gain.low, result.gain.high) == pytest.approx(tuple(expected), abs=0.03)


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
    once = bootstrap_run(named("accuracy"), truth, answers)
    copies = {role: np.tile(labels, 7) for role, labels in answers.items()}
    grouped = bootstrap_run(named("accuracy"), np.tile(truth, 7), copies, np.tile(np.arange(100), 7))
    blind = bootstrap_run(named("accuracy"), np.tile(truth, 7), copies)
    # One is a bootstrap over pairs, the other a formula for pairs.
    assert (grouped.gain.low, grouped.gain.high) == pytest.approx((once.gain.low, once.gain.high), abs=0.005)
    assert blind.gain.high - blind.gain.low == pytest.approx((once.gain.high - once.gain.low) / 7**0.5, rel=0.2)


def test_mcnemar_by_hand():
    """Of six rows on which only one is right, the baseline has one: 2 * (1 + 6) / 64."""
    truth = np.zeros(10, dtype=int)
    baseline = np.array([0, 1, 1, 1, 1, 1, 0, 0, 1, 1])
    student = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert mcnemar(truth, baseline, student) == pytest.approx(2 * 7 / 64)
    assert mcnemar(truth, baseline, baseline) == 1.0


def test_mcnemar_of_groups_of_one_row_is_mcnemars_test():
    for seed in range(20):
        truth, answers = simulated(60, np.random.default_rng(seed), {"baseline": 0.6, "student": 0.7})
        differences = (answers["student"] == truth).astype(int) - (answers["baseline"] == truth)
        expected = mcnemar(truth, answers["baseline"], answers["student"], np.arange(60))
        assert _sign_flip_p_value(differences) == pytest.approx(expected)


def test_mcnemar_of_groups_agrees_with_all_sign_flips():
    """Every one of the 2^8 sign assignments of eight groups of up to seven rows."""
    differences = np.array([3, -1, 7, 2, 0, -2, 5, 1])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()))
    assert _sign_flip_p_value(differences) == pytest.approx(expected)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_mcnemar_over_languages_raises_its_share_of_false_alarms_and_no_more(correlation):
    """The p-value printed for PAWS-X's "all": 300 sentence pairs in seven languages, two models that are alike.

    A latent normal variable per model and pair is shared by the languages to this degree (1: identical copies).
    """
    pairs, languages, repeats = 300, 7, 1000
    random = np.random.default_rng(11)
    ids = np.tile(np.arange(pairs), languages)
    alarms = 0
    for _ in range(repeats):
        right = []
        for _model in range(2):
            shared, own = random.normal(size=pairs), random.normal(size=(languages, pairs))
            latent = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
            right.append((latent < stats.norm.ppf(0.8)).ravel())
        truth = np.zeros(pairs * languages, dtype=int)
        baseline, student = (np.where(correct, 0, 1) for correct in right)
        alarms += mcnemar(truth, baseline, student, ids) < 0.05
    assert alarms / repeats == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(("skill", "rows"), [(0.98, 277), (0.75, 200), (0.95, 277)])
def test_interval_of_an_accuracy_covers_also_near_one(skill, rows):
    """RTE's 277 rows and a model that is right on 98 %: percentiles of the bootstrap cover 90.5 %."""
    random = np.random.default_rng(4)
    truth = np.zeros(rows, dtype=int)
    covered = 0
    for _ in range(400):
        right = (random.uniform(size=rows) >= skill).astype(int)
        interval = bootstrap_run(named("accuracy"), truth, {"teacher": right, "student": right}, resamples=10).scores[
            "student"
        ]
        covered += interval.low <= skill <= interval.high
    assert covered / 400 >= 0.93


def test_interval_of_perfect_languages_does_not_collapse():
    truth = np.zeros(700, dtype=int)
    ids = np.tile(np.arange(100), 7)
    interval = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "student": truth}, ids).scores["teacher"]
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(100, 100, method="wilson"))


@pytest.mark.parametrize(("rows", "discordant"), [(277, 0.02), (277, 0.08), (60, 0.05), (1000, 0.2)])
def test_interval_of_a_gain_covers_also_where_few_rows_tell_the_models_apart(rows, discordant):
    """Models of the same accuracy that answer differently on this share of the rows, as RTE's 277 rows may show."""
    random = np.random.default_rng(8)
    truth = np.zeros(rows, dtype=int)
    covered = 0
    for _ in range(400):
        answers = random.choice(3, size=rows, p=[1 - discordant, discordant / 2, discordant / 2])
        predicted = {"teacher": truth, "baseline": (answers == 1).astype(int), "student": (answers == 2).astype(int)}
        gain = bootstrap_run(named("accuracy"), truth, predicted, resamples=10).gain
        covered += gain.low <= 0 <= gain.high
    assert covered / 400 >= 0.93


def test_interval_of_a_gain_by_hand():
    """Four of 277 rows are the student's alone: (4.5 - 0.5) / 279, and half a row in each cell of the table."""
    truth = np.zeros(277, dtype=int)
    baseline = truth.copy()
    baseline[:4] = 1
    gain = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "baseline": baseline, "student": truth}).gain
    center, error = 4 / 279, (5 - 16 / 279) ** 0.5 / 279
    assert gain.value == pytest.approx(4 / 277)
    assert (gain.low, gain.high) == pytest.approx((center - 1.959964 * error, center + 1.959964 * error))


@pytest.mark.parametrize("copies", [1, 7])
def test_models_that_answer_alike_on_few_rows_are_not_known_to_be_equal(copies):
    truth, ids = np.zeros(20 * copies, dtype=int), np.tile(np.arange(20), copies)
    gain = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "baseline": truth, "student": truth}, ids).gain
    assert gain.low < -0.05
    assert gain.high > 0.05


def test_ratio_is_undefined_unless_the_teacher_clearly_leads():
    truth, answers = simulated(200, np.random.default_rng(3), {"teacher": 0.72, "baseline": 0.7, "student": 0.71})
    result = bootstrap_run(named("accuracy"), truth, answers)
    assert result.teacher_gap.low < 0 < result.teacher_gap.high
    assert result.ratio is None
    answers["teacher"] = truth
    result = bootstrap_run(named("accuracy"), truth, answers)
    assert result.ratio.value == pytest.approx(
        (result.scores["student"].value - result.scores["baseline"].value) / (1 - result.scores["baseline"].value)
    )
    assert result.ratio.low < result.ratio.value < result.ratio.high


def test_constant_predictions_have_no_correlation_and_no_interval():
    truth = np.arange(20.0)
    result = bootstrap_run(named("pearson"), truth, {"teacher": truth, "baseline": np.ones(20), "student": truth})
    assert result.scores["baseline"].value is result.scores["baseline"].low is result.gain.value is result.ratio is None


def test_mean_over_seeds_is_judged_on_the_same_rows():
    """Worked by hand: the mean of two runs is one run whose rows are right by halves."""
    truth = np.zeros(60, dtype=int)
    groups = np.arange(60)
    runs = [
        RunPredictions(truth, {role: RANDOM.integers(0, 2, 60) for role in ("teacher", "baseline", "student")}, groups)
        for _ in range(2)
    ]
    result = bootstrap_mean(named("accuracy"), runs)
    halves = sum((run.predicted["student"] == 0).astype(float) for run in runs) / 2
    by_scipy = stats.bootstrap((halves,), np.mean, n_resamples=2000, method="percentile", rng=1).confidence_interval
    assert result.scores["student"].value == pytest.approx(halves.mean())
    assert result.scores["student"].low == pytest.approx(by_scipy.low, abs=0.02)
    assert result.scores["student"].high == pytest.approx(by_scipy.high, abs=0.02)
    assert result.mcnemar is None, "it is a test of one run"


def test_runs_on_other_test_rows_are_drawn_by_id():
    """A run that saw the rows in another order, or some of them only, is resampled with the others."""
    truth, answers = simulated(50, np.random.default_rng(7), {"teacher": 0.9, "baseline": 0.6, "student": 0.7})
    ids = np.array([f"row {number}" for number in range(50)])
    order = np.random.default_rng(1).permutation(50)
    turned = RunPredictions(truth[order], {role: labels[order] for role, labels in answers.items()}, ids[order])
    alone = bootstrap_mean(named("accuracy"), [RunPredictions(truth, answers, ids)])
    assert bootstrap_mean(named("accuracy"), [RunPredictions(truth, answers, ids), turned]) == alone
    first = RunPredictions(truth[:25], {role: labels[:25] for role, labels in answers.items()}, ids[:25])
    rest = RunPredictions(truth[25:], {role: labels[25:] for role, labels in answers.items()}, ids[25:])
    result = bootstrap_mean(named("accuracy"), [first, rest])
    assert result.gain.value == pytest.approx(alone.gain.value)
    assert result.gain.high - result.gain.low == pytest.approx(alone.gain.high - alone.gain.low, rel=0.1)


@pytest.mark.parametrize("right", [(30, 20), (40, 20), (25, 25)])
def test_p_value_agrees_with_the_interval_and_roughly_with_mcnemar(right):
    """Rows on which only one of two models is right, out of 200."""
    only_student, only_baseline = right
    truth = np.zeros(200, dtype=int)
    student, baseline = truth.copy(), truth.copy()
    baseline[:only_student] = 1
    student[only_student : only_student + only_baseline] = 1
    result = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "baseline": baseline, "student": student})
    assert (result.p < 0.05) == (result.gain.low > 0)
    assert result.p == pytest.approx(result.mcnemar, abs=0.08)


def test_p_value_is_uniform_where_nothing_was_gained():
    skills = {"teacher": 0.9, "baseline": 0.7, "student": 0.7}
    below = 0
    for repeat in range(400):
        truth, answers = simulated(200, np.random.default_rng(repeat), skills)
        below += bootstrap_run(named("accuracy"), truth, answers, resamples=400).p < 0.05
    assert below / 400 == pytest.approx(0.05, abs=0.02)


def test_without_a_baseline_only_the_scores_are_judged():
    truth = RANDOM.integers(0, 2, 50)
    result = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "student": truth})
    assert (result.gain, result.ratio, result.mcnemar) == (None, None, None)
    wilson = proportion_confint(50, 50, method="wilson")
    assert (result.scores["teacher"].low, result.scores["teacher"].high) == pytest.approx(wilson)


def test_interval_of_a_perfect_f1_is_that_of_a_proportion():
    """Worked by hand: all 20 positives are found and nothing else: of 20 rows that count, 20 hits."""
    truth = np.array([1] * 20 + [0] * 30)
    result = bootstrap_run(named("f1"), truth, {"teacher": truth, "baseline": truth, "student": truth})
    low, high = proportion_confint(20, 20, method="wilson")
    score = result.scores["student"]
    assert (score.value, score.low, score.high) == pytest.approx((1, 2 * low / (1 + low), 2 * high / (1 + high)))
    assert (result.gain.value, result.gain.low, result.gain.high) == (0, None, None)


def test_interval_of_an_f1_near_one_covers():
    """A model that errs on 2 % of 60 rows: on 3 samples of 10 it is perfect, and percentiles collapse."""
    random = np.random.default_rng(6)
    truth = np.arange(60) % 2
    true_f1 = 0.98  # errors fall on both classes alike: 2 * 0.98 / (2 * 0.98 + 0.02 + 0.02)
    covered = 0
    for _ in range(300):
        answers = np.where(random.uniform(size=60) < 0.98, truth, 1 - truth)
        score = bootstrap_run(named("f1"), truth, {"teacher": truth, "student": answers}, resamples=300).scores[
            "student"
        ]
        covered += score.low <= true_f1 <= score.high
    assert covered / 300 >= 0.85


@pytest.mark.parametrize("metric", ["matthews", "pearson", "spearman"])
def test_resamples_that_all_agree_are_no_interval(metric):
    truth = np.arange(40) % 2
    result = bootstrap_run(named(metric), truth, dict.fromkeys(("teacher", "baseline", "student"), truth))
    score = result.scores["student"]
    assert (score.value, score.low, score.high) == (pytest.approx(1), None, None)


@pytest.mark.parametrize("metric", ["f1", "matthews", "pearson", "spearman"])
def test_a_single_class_has_no_score_but_an_accuracy(metric):
    truth, answers = np.ones(40, dtype=int), np.arange(40) % 2
    result = bootstrap_run(named(metric), truth, {"teacher": truth, "baseline": answers, "student": truth})
    assert {score.value for score in result.scores.values()} == {None}
    assert (result.gain.value, result.p) == (None, None)


@pytest.mark.parametrize("runs", [1, 2])
def test_rows_that_share_one_id_leave_a_gain_open(runs):
    """One group, drawn again and again, always gives the same gain: nothing says how sure that is."""
    truth, one_id = np.zeros(200, dtype=int), np.array(["nan"] * 200)
    student = (np.arange(200) < 50).astype(int)
    baseline = (np.arange(200) < 52).astype(int)
    predicted = {"teacher": truth, "baseline": baseline, "student": student}
    if runs == 2:
        result = bootstrap_mean(named("accuracy"), [RunPredictions(truth, predicted, one_id)] * 2)
        assert (result.gain.low, result.gain.high, result.p) == (None, None, None)
    else:
        result = bootstrap_run(named("accuracy"), truth, predicted, one_id)
        assert result.gain.low < -0.5 < 0.5 < result.gain.high
        assert result.p == result.mcnemar == 1
    assert result.gain.value == pytest.approx(0.01)


def test_where_all_resamples_find_the_same_gain_the_exact_test_gives_its_p():
    truth = np.zeros(40, dtype=int)
    result = bootstrap_run(named("accuracy"), truth, {"teacher": truth, "baseline": truth + 1, "student": truth})
    assert result.p == result.mcnemar == pytest.approx(2 / 2**40)
    assert result.gain.low < result.gain.high
