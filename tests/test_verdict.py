"""Words for a gain: worked by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from automm_distill.evaluation.bootstrap import RunPredictions
from automm_distill.evaluation.verdict import judge_gain, warn_about_test_sets, why_not_judged
from automm_distill.tasks import GLUE_TASKS, pawsx_task


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 2.0, "better"),
        (-3.0, -0.2, "worse"),
        (-0.4, 0.5, "equal within half a point"),
        (-0.5, 0.5, "equal within half a point"),
        (-0.6, 0.3, "no clear difference"),
        (-2.0, 3.0, "no clear difference"),
        (0.0, 0.0, "equal within half a point"),
        (0.0, 2.0, "no clear difference"),
    ],
)
def test_words(low: float, high: float, words: str) -> None:
    assert judge_gain(low, high).words == words


def test_a_test_that_finds_nothing_overrules_an_interval_that_barely_leaves_0_out() -> None:
    assert judge_gain(0.1, 2.0, p=0.0625).words == "no clear difference"
    assert judge_gain(-2.0, -0.1, p=0.0625).words == "no clear difference"
    assert judge_gain(0.1, 2.0, p=0.04).words == "better"


def test_so_many_more_rows_show_a_gain_of_one_point_in_four_tests_of_five() -> None:
    """1,000 rows, an interval of +-2.5 points; simulated with as many rows as it asks for."""
    more = judge_gain(-2.0, 3.0).more
    assert more is not None
    standard_error = 2.5 / stats.norm.ppf(0.975) / more**0.5  # in points, with so many more rows
    gains = np.random.default_rng(0).normal(1.0, standard_error, 20_000)
    assert (gains - stats.norm.ppf(0.975) * standard_error > 0).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("low", "high"), [(0.1, 2.0), (-0.3, 0.3), (-0.6, 0.4)])
def test_nothing_more_is_asked_for_where_it_is_clear_or_rows_suffice(low: float, high: float) -> None:
    assert judge_gain(low, high).more is None


def run(
    truth: list[float], baseline: list[float], student: list[float], ids: list[str] | None = None
) -> RunPredictions:
    groups = np.arange(len(truth)) if ids is None else np.array(ids)
    return RunPredictions(np.array(truth), {"baseline": np.array(baseline), "student": np.array(student)}, groups)


ALTERNATING = [0, 1] * 20
SAME = "Student and baseline gave the same answer on all 40 rows."


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (run(ALTERNATING, [0] * 40, [0] * 40), SAME),
        (run([0.5] * 40, [0.25] * 40, [0.25 + 1e-9] * 40), SAME),
        (
            run([0, 1] * 14, [0] * 28, [0, 1] * 14),
            "No verdict: 30 rows or more are needed to judge a gain; here are 28.",
        ),
        (
            run(ALTERNATING, [0] * 40, ALTERNATING, ["a"] * 20 + ["b"] * 20),
            "No verdict: 30 rows or more are needed to judge a gain; here are 2, "
            "since rows with the same id count once.",
        ),
        (run([1] * 40, ALTERNATING, [1] * 40), "No verdict: all 40 test rows have the same label."),
    ],
)
def test_what_cannot_be_judged_says_why(made: RunPredictions, sentence: str) -> None:
    obstacle = why_not_judged([made])
    assert obstacle is not None
    assert obstacle.sentence == sentence


def test_thirty_rows_of_two_classes_on_which_models_differ_are_judged() -> None:
    assert why_not_judged([run([0, 1] * 15, [0] * 30, [0, 1] * 15)]) is None


def test_models_that_differ_with_one_seed_do_not_answer_alike() -> None:
    same, other = run(ALTERNATING, [0] * 40, [0] * 40), run(ALTERNATING, [0] * 40, [0] * 39 + [1])
    assert why_not_judged([same, same]) is not None
    assert why_not_judged([same, other]) is None


@pytest.mark.parametrize(
    ("task", "test_set", "labels", "lines"),
    [
        ("rte", "test", [0, 1] * 15, []),
        ("rte", "test", [0, 1] * 14, ["rte has 28 test row(s): 30 or more are needed to judge a gain"]),
        (
            "mrpc",
            "test",
            [1] * 40,
            [
                "mrpc: all 40 test rows have the label equivalent: no gain can be judged on them; f1 will be undefined",
            ],
        ),
        (
            "stsb",
            "test",
            [2.5] * 40,
            [
                "stsb: all 40 test rows have the label 2.5: no gain can be judged on them; "
                "pearson and spearman will be undefined",
            ],
        ),
        (
            "pawsx",
            "de",
            [0],
            [
                "pawsx de has 1 test row(s): 30 or more are needed to judge a gain",
                "pawsx de: all 1 test rows have the label different: no gain can be judged on them",
            ],
        ),
    ],
)
def test_test_sets_that_judge_nothing_are_named_before_training(caplog, task, test_set, labels, lines) -> None:
    of_task = pawsx_task("de") if task == "pawsx" else GLUE_TASKS[task]
    warn_about_test_sets(of_task, {test_set: pd.DataFrame({"label": labels})})
    assert [record.getMessage() for record in caplog.records] == lines
