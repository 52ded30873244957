"""Rows of results.jsonl that older code wrote: read under today's names, or left out and counted.

``tests/rows/<commit>.jsonl`` are real rows of ``--demo`` runs with the code of that commit (of 183c47f also PAWS-X and
a regression), one file for each form that rows have had; only their folders were renamed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from automm_distill.errors import UserError
from automm_distill.report import markdown
from automm_distill.report.command import run_report
from automm_distill.report.runs import TaskRuns, load_runs
from automm_distill.results import read_rows
from automm_distill.settings import Settings

from .conftest import make_settings
from .runs import leave_run

ROWS = Path(__file__).parent / "rows"
NEWEST, WITH_VALIDATION = ROWS / "183c47f.jsonl", ROWS / "46e36b0.jsonl"
INCOMPLETE = [ROWS / f"{commit}.jsonl" for commit in ("d351034", "eb66233", "1a79772", "e4b6d4f")]
NEW_IN_FORMAT_2 = {"format", "version", "training_format", "identity", "checkpoints", "student_layers", "classes"}


def tasks_of(*places: Path) -> dict[str, TaskRuns]:
    return {task_runs.task: task_runs for task_runs in load_runs(places).tasks}


def recorded_settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row as they were before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()}


def names_in(value: Any) -> Iterator[str]:
    """The keys of all dictionaries in ``value``."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from names_in(part)


def test_old_rows_are_grouped_like_those_of_today():
    tasks = tasks_of(NEWEST)
    seeds = {task: [[run.seed for run in group.runs] for group in runs.groups] for task, runs in tasks.items()}
    assert seeds == {"demo": [[123, 124]], "pawsx en+de -> en+de": [[123]], "stsb": [[123]]}
    assert tasks["stsb"].groups[0].config["soft_label_loss_type"] == "mean_square_error", "it was the default"


@pytest.mark.filterwarnings("error::FutureWarning")
def test_old_rows_make_a_whole_report(tmp_path, capsys):
    assert run_report([str(NEWEST), "--output_folder", str(tmp_path)]) == 0
    rows, _ = read_rows(NEWEST)
    text = (tmp_path / "report.md").read_text()
    for row in rows[1:]:
        test_set, metrics = next(iter(row["scores"].items()))
        metric, scores = next(iter(metrics.items()))
        assert f"### {test_set}: {metric}" in text
        if row["task"] != "demo":
            assert f"{scores['student']:.4f}" in text
    first, second = (row["scores"]["test"]["accuracy"]["student"] for row in rows if row["task"] == "demo")
    assert f"{(first + second) / 2:.4f} ± " in text
    assert "demo: 1 configuration without all predictions" in " ".join(capsys.readouterr().out.split())


def test_rows_of_the_first_form_with_validation_scores_are_reported_too():
    (result,) = markdown.evaluate(load_runs([WITH_VALIDATION]))
    assert result.decisions[0].validation.mean is not None


@pytest.mark.parametrize("path", INCOMPLETE, ids=lambda path: path.stem)
def test_rows_that_lack_a_part_are_left_out(path):
    with pytest.raises(UserError, match=r"no row to report \(0 broken, 1 of an older version\)"):
        load_runs([path])


def test_what_is_left_out_is_counted():
    loaded = load_runs([NEWEST, *INCOMPLETE])
    assert loaded.left_out == (f"{len(INCOMPLETE)} rows of an older version, which lack what a report needs",)


@pytest.mark.parametrize("number", range(4))
def test_old_rows_have_the_names_of_today(tmp_path, number):
    row = read_rows(NEWEST)[0][number]
    today = leave_run(tmp_path, make_settings(), "run")
    assert set(row) == set(today) - NEW_IN_FORMAT_2
    assert not {"uncertainty", "lead", "tune", "content", "terms"} & set(names_in(row))
    estimate, estimate_today = (next(iter(next(iter(r["bootstrap"].values())).values())) for r in (row, today))
    assert set(estimate) == set(estimate_today) - {"not_judged"}, "which only the run itself reads"
    assert set(row["device"]) == set(today["device"]) - {"prediction_precision"}, "which was that of training"
    assert row["rows"]["student"].keys() == today["rows"]["student"].keys()
    assert {"weights_hash", "seconds"} <= set(row["training"]["teacher"])
    assert "loss_terms" in row["training"]["student"]
    roles = [name.partition("-")[0] for name in row["cache_entries"]]
    assert roles == ["teacher", "baseline"], "the student is not in the cache"


@pytest.mark.parametrize("number", range(4))
def test_old_settings_are_in_their_canonical_form(number):
    recorded = recorded_settings(read_rows(NEWEST)[0][number])
    assert recorded["validations_per_epoch"] == 2, "AutoGluon's, before there was a flag"
    today = asdict(Settings(**recorded))
    assert {name: today[name] for name in recorded} == recorded
    since = {"no_timing", "validation_log", "student_layers", "preset", "hidden_states_loss_weight"}
    since |= {"hidden_states_layers", "unlabelled_path", "unlabelled_rows", "match_steps"}
    since |= {"export", "export_margin", "trim_vocabulary"}
    since |= {"teacher_predictor", "teacher_predictions", "save_teacher_predictions"}
    since |= {"train_path", "test_path", "validation_path", "text_columns", "label_column"}
    since |= {"problem_type", "metric", "max_text_length"}
    assert today.keys() - recorded.keys() == since, "flags that there were not"


def test_old_and_new_runs_are_never_averaged(tmp_path):
    """The old code trained by another schedule, which no row says but by its lack of a training format."""
    (old,) = tasks_of(NEWEST)["stsb"].groups
    row = old.runs[0].row
    same = ("task", "problem_type", "rows", "device", "versions", "scores", "validation")
    settings = Settings(**(recorded_settings(row) | {"seed": 7}))
    leave_run(tmp_path, settings, "new", **{part: row[part] for part in same})
    task_runs = tasks_of(NEWEST, tmp_path)["stsb"]
    assert [[run.seed for run in group.runs] for group in task_runs.groups] == [[123], [7]]
    assert "training format" in task_runs.columns
