"""Which trials a search stops, and where: by hand, since the rule is one line of a paper."""

import json

import pytest

from automm_distill.sweep.halving import Halving, Stop, Validation, read_validations, rungs


def scores(*values: float | None, every: float = 1.0, larger_is_better: bool = True) -> list[Validation]:
    """A validation each ``every`` epochs."""
    return [
        Validation((number + 1) * every, number + 1, "accuracy", value, larger_is_better)
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("max_epochs", "expected"), [(1, []), (2, [1]), (3, [1]), (4, [1, 3]), (9, [1, 3]), (10, [1, 3, 9])]
)
def test_rungs_are_powers_of_three_and_before_the_end(max_epochs, expected):
    assert rungs(max_epochs) == expected


def test_trial_goes_on_while_it_is_in_the_best_third():
    """At two thirds of the scores of those before: of 0.5, 0.6 and 0.7 that is 0.6333."""
    halving = Halving(8)
    for name, score in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        assert halving.judge(name, 8, scores(score)) is None, "the first has nobody to be compared with"
    assert halving.judge("d", 8, scores(0.634)) is None
    lagging = scores(0.633)
    assert halving.judge("e", 8, lagging) == Stop(1, 1.0, lagging[0], 5)


def test_trial_is_judged_once_at_each_rung():
    halving = Halving(8)
    assert halving.judge("a", 8, scores(0.9)) is None
    slow = scores(0.95, 0.1, 0.1, 0.1)
    assert halving.judge("b", 8, slow[:1]) is None
    assert halving.judge("b", 8, slow[:2]) is None, "there is no rung at two epochs"
    assert halving.judge("b", 8, slow[:3]) is None, "the first at that rung"
    assert halving.judge("a", 8, scores(0.9, 0.9, 0.9)).rung == 3, "the best of b so far is 0.95"


def test_score_at_a_rung_is_the_best_so_far():
    halving = Halving(4)
    halving.judge("a", 4, scores(0.7, every=1.0))
    assert halving.judge("b", 4, scores(0.8, 0.1, every=0.5)) is None, "the checkpoint of 0.8 is kept"
    stop = halving.judge("c", 4, scores(0.1, 0.6, 0.9, every=0.5))
    assert (stop.best.score, stop.epoch) == (0.6, 1.0), "0.9 came after the rung"


def test_nobody_is_judged_by_validations_before_a_rung():
    halving = Halving(4)
    halving.judge("a", 4, scores(0.9))
    assert halving.judge("b", 4, scores(0.1, every=0.5)) is None
    assert halving.judge("b", 4, []) is None


def test_validation_a_batch_before_the_whole_epoch_is_at_the_rung():
    """Of 79 batches AutoGluon validates after 39 and 78."""
    halving = Halving(4)
    halving.judge("a", 4, scores(0.9))
    assert halving.judge("b", 4, scores(0.1, 0.1, every=39 / 79)).epoch == pytest.approx(78 / 79)


def test_smaller_scores_of_an_error_are_better():
    halving = Halving(4)
    for name, score in (("a", 0.5), ("b", 0.4)):
        assert halving.judge(name, 4, scores(score, larger_is_better=False)) is None
    assert halving.judge("c", 4, scores(0.45, larger_is_better=False)).best.score == 0.45


def test_undefined_score_is_the_worst():
    halving = Halving(4)
    halving.judge("a", 4, scores(None))
    assert halving.judge("b", 4, scores(-0.9)) is None
    assert halving.judge("c", 4, scores(None)).best.score is None


def test_trials_of_an_earlier_search_are_compared_with():
    halving = Halving(8)
    halving.remember("done", 8, scores(0.7, 0.7, 0.8, 0.8))
    halving.remember("stopped", 8, scores(0.1))
    assert halving.judge("a", 8, scores(0.4)).trials == 3
    assert halving.judge("b", 8, scores(0.75, 0.75, 0.75)).rung == 3


def test_trials_of_fewer_epochs_have_fewer_rungs():
    halving = Halving(8)
    halving.judge("a", 8, scores(0.9, 0.9, 0.9))
    assert halving.judge("b", 3, scores(0.95, 0.5, 0.5)) is None


def test_log_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "validations.jsonl"
    assert read_validations(path) == []
    line = {"epoch": 0.5, "step": 3, "metric": "accuracy", "score": None, "larger_is_better": True}
    path.write_text(f'{json.dumps(line)}\n{{"epoch": 1.0, "st')
    assert read_validations(path) == [Validation(**line)]


def test_search_takes_less_than_half_of_the_epochs_and_keeps_the_best():
    """27 points whose quality shows from the first epoch on, in any order: the best is never stopped."""
    halving, epochs = Halving(9), {}
    order = [number * 10 % 27 for number in range(27)]
    for number in order:
        log = scores(*[0.5 + number / 100 + epoch / 1000 for epoch in range(9)])
        epochs[number] = next((n for n in range(1, 9) if halving.judge(str(number), 9, log[:n])), 9)
    assert epochs[26] == 9
    assert sum(epochs.values()) < 27 * 9 / 2
