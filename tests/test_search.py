"""Searches: which points they try, what they leave behind, what they do not do twice, and what ends them."""

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from automm_distill import logs
from automm_distill.errors import UserError
from automm_distill.report.command import run_report
from automm_distill.results import RESULTS, STOPPED, append_row, read_rows
from automm_distill.sweep import command, grid, progress, search
from automm_distill.sweep.checks import CheckedTrial
from automm_distill.sweep.grid import Trial
from automm_distill.sweep.processes import Command
from automm_distill.sweep.ray_runner import Resources

from .test_sweep import process_of_trial, refusal, sweep

SEEDS = (7, 8, 9)
ROOT = Path(__file__).parent.parent
# In place of a run, whose score is its temperature: it writes down its validations, and then its row, as a run does.
# One that waits has come to its first rung, and would never end.
RUN = """
import json, sys, time
from pathlib import Path
from automm_distill.results import append_row
log, row, score, epochs, waits = Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:])
log.parent.mkdir(parents=True, exist_ok=True)
for epoch in range(1, epochs + 1):
    line = dict(epoch=float(epoch), step=epoch, metric="accuracy", score=score, larger_is_better=True)
    with log.open("a") as file:
        file.write(json.dumps(line) + "\\n")
    time.sleep(600 * waits)
append_row(Path(row["settings"]["output_folder"]), row)
"""


def plan(folder: Path, *flags: str, seeds: Sequence[int] = SEEDS, **values: list[str]) -> list[Trial]:
    values = values or {"temperature": ["1", "2", "3", "4", "5"]}
    return grid.plan("glue", values, seeds, ["--glue_task", "rte", "--output_folder", str(folder), *flags])


def checked(trial: Trial) -> CheckedTrial:
    identity = f"{trial.settings.temperature:g}-{trial.settings.seed}"
    return CheckedTrial(trial, identity, "32", 0, 0, {"identity": identity, "settings": vars(trial.settings)})


def row_of(trial: CheckedTrial, score: float | None) -> dict[str, Any]:
    return {
        **trial.row,
        "format": 2,
        "validation": {"accuracy": {"student": score}},
        "device": {"precision": "32", "num_gpus": 0},
    }


def temperatures(trials: Sequence[Trial]) -> list[float]:
    return list(dict.fromkeys(trial.settings.temperature for trial in trials))


# --- which points


def test_points_come_in_random_order_with_all_their_seeds(tmp_path):
    trials = plan(tmp_path, temperature=[str(number) for number in range(1, 21)])
    chosen = search.choose_points(trials, ["temperature"], None)
    assert sorted(chosen, key=trials.index) == trials
    assert temperatures(chosen) != temperatures(trials)
    assert [trial.settings.seed for trial in chosen] == [*SEEDS] * 20
    assert search.choose_points(trials, ["temperature"], None) == chosen, "the same command, the same order"


def test_more_points_later_begin_with_the_same_ones(tmp_path):
    trials = plan(tmp_path)
    three, four = (temperatures(search.choose_points(trials, ["temperature"], count)) for count in (3, 4))
    assert (len(three), four[:3]) == (3, three)


def test_more_trials_than_points_take_all_with_a_warning(tmp_path, caplog):
    trials = plan(tmp_path)
    assert len(search.choose_points(trials, ["temperature"], 6)) == len(trials)
    assert "--trials 6: the grid has 5 points, all are taken" in caplog.text


@pytest.mark.parametrize(
    ("flags", "values", "complaint"),
    [
        (["--max_epochs", "1"], {"temperature": ["1", "2"]}, "--max_epochs 1: --search asha stops no trial within its"),
        ([], {"temperature": ["1"]}, "one point has nothing to be compared with; give --grid two values or more"),
        ([], {"max_train_rows": ["100", "200"]}, "--grid max_train_rows: --search asha compares trials by"),
    ],
)
def test_search_with_nothing_to_stop_or_to_compare_is_refused(tmp_path, flags, values, complaint):
    with pytest.raises(UserError, match=complaint):
        search.choose_points(plan(tmp_path, *flags, **values), values, None)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--search", "asha", "--trials", "0"], "--trials 0: needs 2 or more, which can be compared"),
        (["--search", "asha", "--trials", "1"], "--trials 1: needs 2 or more"),
        (["--search", "asha", "--max_hours", "0"], "--max_hours 0: needs a number above 0"),
        (["--search", "asha", "--max_hours", "nan"], "--max_hours nan: needs a number above 0"),
        (["--search", "asha", "--max_epochs", "1"], "--max_epochs 1: --search asha stops no trial"),
        (["--search", "asha"], "--search asha: one point has nothing to be compared with"),
        (["--trials", "5"], "--trials 5: a grid runs all of its trials; needs --search asha"),
        (["--max_hours", "0.5", "--search", "grid"], "--max_hours 0.5: a grid runs all of its trials"),
        (["--search", "random"], "argument --search: invalid choice: 'random'"),
        (["--validation_log", "log"], "--validation_log log: all trials would write to that file; leave it out"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2_before_anything_runs(argv, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complaint in refusal(capsys, *argv)
    assert not list(tmp_path.iterdir())


def test_grid_is_the_default():
    assert command.make_parser(None).parse_args(["glue"]).search == "grid"


# --- which points go on


@pytest.mark.parametrize(("finished", "kept"), [(0, 0), (1, 1), (2, 2), (5, 2), (7, 3)])
def test_best_third_of_those_that_finished_goes_on_and_two_at_least(tmp_path, finished, kept):
    values = [str(number) for number in range(1, 9)]
    trials = [checked(trial) for trial in plan(tmp_path, seeds=[1], temperature=values)]
    for number, trial in enumerate(trials[:finished]):
        append_row(tmp_path, row_of(trial, number / 10 if number else None))
    best = search._best(trials)
    assert [trial.trial.settings.temperature for trial in best] == [*range(finished, finished - kept, -1)]


# --- what runs, what is stopped, what is left


@dataclass
class Searched:
    """A search that has ended: what came of it, which trials it began, and what it left and said."""

    outcome: search.Outcome
    begun: list[str]
    finished: list[tuple[float, int]]
    stopped: list[dict[str, Any]]
    said: str


def run_search(folder: Path, *, waits: set[float], is_over: Callable[[], bool] = lambda: False) -> Searched:
    """Of five points, with short processes in place of runs: one at a time, in the order 5, 1, 4, 2, 3.

    :param waits: the temperatures of trials that come to their first rung and would stay there for ever.
    :param is_over: whether the time is.
    """
    begun: list[str] = []
    trials = search.choose_points(plan(folder, "--max_epochs", "3"), ["temperature"], None)
    assert temperatures(trials) == [5, 1, 4, 2, 3]

    def as_process(trial: Trial, benchmark: str) -> Command:
        begun.append(trial.name)
        (log,) = (flag.partition("=")[2] for flag in trial.argv if flag.startswith("--validation_log="))
        score, seed = trial.settings.temperature, trial.settings.seed
        row = json.dumps(row_of(checked(trial), score))
        argv = (sys.executable, "-c", RUN, log, row, str(score), "3", str(int(score in waits and seed == SEEDS[0])))
        return Command(trial.name, argv, ROOT, folder / "logs" / f"{trial.name}.log")

    said = io.StringIO()
    one_at_a_time = Resources(cpus=os.cpu_count() or 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "trial_command", as_process)
        patch.setattr(logs, "message_console", lambda: Console(file=said, width=200))
        patch.setattr(search, "time", SimpleNamespace(monotonic=lambda: float(is_over())))
        trials = [checked(trial) for trial in trials]
        outcome = search.run(trials, "glue", address=None, resources=one_at_a_time, deadline=1.0)
    finished, stopped = (read_rows(folder / name)[0] for name in (RESULTS, STOPPED))
    return Searched(outcome, begun, points_and_seeds(finished), stopped, said.getvalue())


def points_and_seeds(rows: Sequence[dict[str, Any]]) -> list[tuple[float, int]]:
    return sorted((row["settings"]["temperature"], row["settings"]["seed"]) for row in rows)


@pytest.fixture(scope="module")
def searches(tmp_path_factory) -> tuple[Searched, Searched, Searched]:
    """The same search three times: out of time after its second trial, to its end, and once more."""
    folder = tmp_path_factory.mktemp("search")
    for trial in plan(folder, "--max_epochs", "3"):
        killed = search.validation_log(checked(trial))
        killed.parent.mkdir(exist_ok=True)
        line = {"epoch": 1.0, "step": 1, "metric": "accuracy", "score": 99.0, "larger_is_better": True}
        killed.write_text(json.dumps(line) + "\n")
    return (
        run_search(folder, waits={1.0, 2.0, 3.0, 4.0}, is_over=(folder / STOPPED).exists),
        run_search(folder, waits={1.0, 2.0, 3.0}),
        run_search(folder, waits=set()),
    )


def test_time_that_is_over_ends_what_runs_and_starts_nothing(searches):
    over, _, _ = searches
    assert over.outcome == search.Outcome(failed=0, unfinished=3)
    assert over.finished == [(5.0, 7)], "what has ended stays"
    assert points_and_seeds(over.stopped) == [(1.0, 7)], "what the time ends was not stopped"
    assert over.said.count("not done: the time is over") == 3


def test_search_goes_on_where_it_was(searches):
    _, again, _ = searches
    assert again.outcome == search.Outcome(failed=0, unfinished=0)
    assert "5 points with seed 7 first, 2 of them done or stopped before" in again.said
    assert len(again.begun) == 7, "three points, and two with two more seeds"


def test_bad_points_are_stopped_and_the_best_get_more_seeds(searches):
    _, again, _ = searches
    assert again.finished == [(4.0, 7), (4.0, 8), (4.0, 9), (5.0, 7), (5.0, 8), (5.0, 9)]
    assert points_and_seeds(again.stopped) == [(1.0, 7), (2.0, 7), (3.0, 7)]
    assert [row["trials_at_rung"] for row in again.stopped] == [2, 4, 5]
    assert {(row["rung"], row["epoch"]) for row in again.stopped} == {(1, 1.0)}
    said = "stopped at epoch 1.0 of 3: accuracy 3.0000 is behind the best third of 5 trials"
    assert said in again.said


def test_log_of_a_killed_run_stops_nobody(searches):
    _, again, _ = searches
    assert {row["best_validation"]["score"] for row in again.stopped} == {1.0, 2.0, 3.0}


def test_time_that_is_over_before_the_other_seeds_begin_starts_none(tmp_path):
    follower = search._Timed([checked(trial) for trial in plan(tmp_path)], deadline=0.0)
    search._run(follower, "glue", Resources())  # without Ray, which it would need
    assert (follower.failed, follower.unfinished) == (0, 15)


def test_nothing_runs_twice(searches):
    _, again, once_more = searches
    assert once_more.begun == []
    assert (once_more.finished, once_more.stopped) == (again.finished, again.stopped)


@pytest.mark.slow
def test_search_among_real_runs(tmp_path):
    """Six points and two seeds, half of which learn nothing; what is stopped leaves neither processes nor folders."""
    argv = [
        *("--demo", "--no_timing", "--max_epochs", "4", "--teacher_max_epochs", "2", "--max_train_rows", "600"),
        *("--grid", "student_learning_rate=1e-7,2e-3", "--grid", "temperature=1,3,5", "--seeds", "1", "2"),
        *("--search", "asha", "--gpus_per_trial", "0"),
    ]
    ended = sweep(tmp_path, *argv)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "results" / "demo"
    rows, stopped = (read_rows(folder / name)[0] for name in (RESULTS, STOPPED))
    assert stopped, ended.stderr
    first = [row for row in rows if row["settings"]["seed"] == 1]
    assert len(first) + len(stopped) == 6
    assert len(rows) - len(first) == min(2, len(first)), "the other seed of the best"
    assert process_of_trial(folder) is None
    assert {path.name for path in folder.glob("20*")} == {row["run"] for row in rows}
    assert not list(folder.glob(".partial-*"))
    assert not list(folder.glob(".20*"))
    again = sweep(tmp_path, *argv)
    assert again.returncode == 0, again.stderr
    assert "6 points with seed 1 first, 6 of them done or stopped before" in again.stderr
    assert len(read_rows(folder / RESULTS)[0]) == len(rows)
    assert run_report([str(folder), "--output_folder", str(tmp_path / "report")]) == 0
    assert f"A search stopped {len(stopped)} more configuration" in (tmp_path / "report" / "report.md").read_text()
