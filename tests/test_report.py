"""Reports on made-up runs: what is averaged, what is left out, what is said, and what the numbers are."""

import csv
import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from torch.utils.tensorboard import SummaryWriter

from automm_distill.errors import UserError
from automm_distill.evaluation.bootstrap import bootstrap_run
from automm_distill.evaluation.metrics import named
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.report import markdown, score_by_cost, tables
from automm_distill.report.command import run_report
from automm_distill.report.runs import load_runs
from automm_distill.report.seeds import holm, over_seeds
from automm_distill.report.summary import choose, decide, direction, summarize
from automm_distill.results import RESULTS, STOPPED, append_row
from automm_distill.text_table import as_markdown

from .conftest import make_settings
from .runs import leave_run

FLAG = "output_feature_loss_weight"
ROOT = Path(__file__).parents[1]


def leave_sweep(folder, weights=(0.0, 0.1), seeds=(1, 2, 3), skill=0.8, **more):
    """A run of each weight and seed; the heavier the loss, the better the student."""
    for weight in weights:
        for seed in seeds:
            settings = make_settings(seed=seed, **{FLAG: weight})
            leave_run(folder, settings, f"{weight}-{seed}", skills={"student": skill + weight}, **more)


def only_task(*places):
    (task_runs,) = load_runs(places).tasks
    return task_runs


def numbers(task_runs):
    test_set, metric = task_runs.primary
    summaries = [summary for group in task_runs.groups for summary in summarize(group, task_runs)]
    return [each for each in summaries if (each.test_set, each.metric.name) == (test_set, metric)]


def test_mean_and_interval_over_seeds_by_hand():
    """Gains of 1, 2 and 6 points: mean 3, standard deviation sqrt(7), t(2) = 4.3027."""
    spread = over_seeds([1.0, 2.0, 6.0])
    assert (spread.n, spread.mean, spread.sd) == (3, 3, pytest.approx(7**0.5))
    half = 4.3027 * 7**0.5 / 3**0.5
    assert (spread.low, spread.high) == (pytest.approx(3 - half, abs=1e-3), pytest.approx(3 + half, abs=1e-3))
    assert spread.p == pytest.approx(stats.ttest_rel([5, 4, 9], [4, 2, 3]).pvalue)


def test_interval_over_seeds_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        spread = over_seeds(random.normal(2.0, 3.0, size=3).tolist())
        covered += spread.low <= 2.0 <= spread.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


def test_one_seed_or_equal_seeds_have_no_interval():
    assert over_seeds([2.0]).low is over_seeds([2.0]).sd is over_seeds([2.0]).p is None
    spread = over_seeds([2.0, 2.0, 2.0])
    assert (spread.mean, spread.sd, spread.low, spread.p) == (2.0, 0.0, None, None)
    assert over_seeds([1.0, None]).mean is None


def test_holm_by_hand():
    """Holm 1979: the smallest times 4, the next times 3, ..., never smaller than the one before."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]
    assert holm([None]) == [None]


def test_holm_counts_what_was_given_up_before_it_was_tested():
    """As if two more p-values were 1: the smallest times 5, the next times 4."""
    assert holm([0.01, 0.2, None, 0.02], untested=2) == [
        pytest.approx(0.05),
        pytest.approx(0.6),
        None,
        pytest.approx(0.08),
    ]
    assert holm([None], untested=2) == [None]


def leave_stopped(folder, settings, rung, score, **parts):
    """A line of stopped.jsonl of a trial that would have become the run that ``leave_run`` leaves of these settings."""
    row = leave_run(folder / "elsewhere", settings, f"{settings.temperature}-{score}-{settings.seed}")
    keys = ("format", "training_format", "task", "problem_type", "demonstration", "settings", "checkpoints", "versions")
    best = {"epoch": rung, "step": 10, "metric": "accuracy", "score": score, "larger_is_better": True}
    row = {key: row[key] for key in keys} | {"rows": {"fingerprint": row["rows"]["fingerprint"]}}
    stop = {"rung": rung, "epoch": rung, "best_validation": best, "stopped": "2026-11-25T12:00:00+00:00"}
    identity = f"{settings.temperature}-{settings.seed}"
    append_row(folder, row | stop | {"identity": identity} | parts, STOPPED)


def test_configurations_that_were_stopped_count_in_the_correction(tmp_path):
    leave_sweep(tmp_path)
    before = decide(only_task(tmp_path), numbers(only_task(tmp_path)))
    for temperature, rung, seed in ((1.0, 1, 1), (2.0, 3, 1), (2.0, 1, 2), (3.0, 1, 1)):
        leave_stopped(tmp_path, make_settings(seed=seed, temperature=temperature, **{FLAG: 0.0}), rung, 0.6)
    (result,) = markdown.evaluate(load_runs([tmp_path, tmp_path / RESULTS]))  # named twice, counted once
    assert len(result.task_runs.stopped) == 3, "two seeds of one configuration"
    assert sum(len(each.rows) for each in result.task_runs.stopped) == 4
    for old, new in zip(before, result.decisions, strict=True):
        smallest = new is min(result.decisions, key=lambda decision: decision.p_rows)
        factor = 5 / 2 if smallest else 4 / 1
        assert new.p_rows == pytest.approx(min(1, old.p_rows * factor), rel=0.01)
    said = " ".join(markdown.sentences(result))
    assert (
        "A search stopped 3 more configurations early, by validation scores alone (2 at epoch 1, 1 at epoch 3)" in said
    )
    assert "2 configurations were compared on the same test rows, of 5 that were tried." in said
    assert "5 independent tests would still find a difference in one or more of them 23% of the time" in said
    assert "Chosen by the validation score among those that were not stopped" in said
    assert "after correction for 5 configurations" in said


def test_stopped_configurations_are_in_the_csv_file_and_in_no_table(tmp_path):
    leave_sweep(tmp_path)
    leave_stopped(tmp_path, make_settings(seed=1, temperature=2.0, **{FLAG: 0.0}), 3, 0.6)
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    assert result.task_runs.columns == ("temperature", FLAG), "it was searched, though all that came to the end agree"
    assert result.task_runs.varied_flags == (FLAG,)
    for table in (*tables.scores(result.task_runs, result.summaries), tables.verdicts(*verdict_parts(result))):
        assert [row[:2] for row in table.rows] == [["5", "0"], ["5", "0.1"]]
    line = tables.csv_lines(result.task_runs, result.summaries, result.decisions)[-1]
    assert line == {
        "task": "rte",
        "metric": "accuracy",
        "temperature": "2",
        FLAG: "0",
        "seeds": "1",
        "validation": 0.6,
        "verdict": "stopped at epoch 3",
    }


def verdict_parts(result):
    return result.task_runs, result.decisions, result.chosen


def test_configuration_that_was_run_after_all_is_not_a_stopped_one(tmp_path):
    leave_sweep(tmp_path, seeds=(1, 2))
    leave_stopped(tmp_path, make_settings(seed=3, **{FLAG: 0.1}), 1, 0.6)
    assert only_task(tmp_path).stopped == ()
    other = make_settings(seed=3, **{FLAG: 0.1})
    leave_stopped(tmp_path, other, 1, 0.5, rows={"fingerprint": "of other rows"})
    assert len(only_task(tmp_path).stopped) == 1


def test_only_one_configuration_that_came_to_the_end_is_corrected_too(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    leave_stopped(tmp_path, make_settings(seed=1, **{FLAG: 0.0}), 1, 0.6)
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    said = " ".join(markdown.sentences(result))
    assert "A search stopped 1 more configuration early" in said
    assert "1 configuration was compared on the same test rows, of 2 that were tried." in said
    assert "after correction for 2 configurations" in said


def test_runs_that_differ_in_their_seed_are_averaged_and_nothing_else_is(tmp_path):
    leave_sweep(tmp_path)
    gpu = {"name": "H200", "num_gpus": 1}
    leave_run(tmp_path, make_settings(seed=4, output_feature_loss_weight=0.1), "gpu", device=gpu)
    task_runs = only_task(tmp_path)
    assert task_runs.varied_flags == (FLAG,)
    assert {"device name", "device num_gpus"} <= set(task_runs.varied_environment)
    assert task_runs.columns == (FLAG, "device name"), "one column is enough to tell them apart"
    seeds = {tuple(run.seed for run in group.runs) for group in task_runs.groups}
    assert seeds == {(1, 2, 3), (4,)}
    summary = numbers(task_runs)[0]
    scores = [
        json.loads(line)["scores"]["test"]["accuracy"] for line in (tmp_path / "results.jsonl").read_text().splitlines()
    ][:3]
    for role in ("teacher", "baseline", "student"):
        assert summary.scores[role].mean == pytest.approx(np.mean([by_role[role] for by_role in scores]))
        assert summary.scores[role].sd == pytest.approx(np.std([by_role[role] for by_role in scores], ddof=1))
    gains = [by_role["student"] - by_role["baseline"] for by_role in scores]
    assert (summary.gain.low, summary.gain.high) == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(gains), stats.sem(gains))
    )


def merged(*rows_of):
    """The seeds of each group after these runs: [[1, 2]] if they are one group."""
    return [[run.seed for run in group.runs] for group in only_task(*rows_of).groups]


@pytest.mark.parametrize(
    "changes",
    [
        dict(output_folder="elsewhere", resume=True, finetuned_model_cache_folder="kept", verbosity="quiet"),
        dict(dataset_path="a/copy/of/the/rows"),
        dict(num_gpu=0),
        dict(precision="32"),
        dict(num_workers=2),
        dict(softmax_regression_loss_type="mean_square_error"),
        dict(rkd_angle_loss_weight=0),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_result_makes_no_other_group(tmp_path, changes):
    """The last two: the loss's weight is 0, and 0 is 0.0."""
    leave_run(tmp_path / "a", make_settings(seed=1, softmax_regression_loss_type="cross_entropy"), "run-1")
    leave_run(tmp_path / "b", make_settings(seed=2, **changes), "run-2")
    assert merged(tmp_path / "a", tmp_path / "b" / "results.jsonl") == [[1, 2]]


@pytest.mark.parametrize(
    "changes",
    [dict(temperature=2.0), dict(softmax_regression_weight=0.1), dict(train_nodistill=False), dict(max_epochs=3)],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_a_result_makes_another_group(tmp_path, changes):
    leave_run(tmp_path, make_settings(seed=1), "run-1")
    leave_run(tmp_path, make_settings(seed=2, **changes), "run-2")
    assert sorted(merged(tmp_path)) == [[1], [2]]


def test_a_checkpoint_is_its_content_and_not_its_name(tmp_path):
    same = {"teacher": "1a", "student": "2b"}
    leave_run(tmp_path, make_settings(seed=1, teacher_model="hub/bert"), "run-1", checkpoints=same)
    leave_run(tmp_path, make_settings(seed=2, teacher_model="copies/bert"), "run-2", checkpoints=same)
    assert merged(tmp_path) == [[1, 2]]
    overwritten = {"teacher": "1c", "student": "2b"}
    leave_run(tmp_path, make_settings(seed=3, teacher_model="hub/bert"), "run-3", checkpoints=overwritten)
    assert merged(tmp_path) == [[1, 2], [3]]
    assert only_task(tmp_path).columns == ("checkpoints teacher",), "their names do not tell them apart"


def test_student_of_layers_is_called_by_them(tmp_path):
    """However the flag spelled them; of the fine-tuned teacher it is another student than of the same checkpoint."""
    same = {"teacher": "1a", "student": "2b"}
    for seed, (model, spelling) in enumerate(((None, "2"), (None, "0,2"), ("hub/bert", "2"), ("copies/bert", "0,2"))):
        settings = make_settings(seed=seed, teacher_model="hub/bert", student_model=model, student_layers=spelling)
        leave_run(tmp_path, settings, f"run-{seed}", checkpoints=same, student_layers=[0, 2])
    task_runs = only_task(tmp_path)
    assert [(group.config["student_model"], len(group.runs)) for group in task_runs.groups] == [
        ("hub/bert[0,2]", 2),
        ("teacher[0,2]", 2),
    ]
    assert task_runs.columns == ("student_model",)
    assert run_report([str(tmp_path), "--output_folder", str(tmp_path / "report")]) == 0
    assert "teacher[0,2]" in (tmp_path / "report" / "report.md").read_text()


def test_other_rows_make_another_group(tmp_path):
    row = leave_run(tmp_path, make_settings(seed=1), "run-1")
    leave_run(tmp_path, make_settings(seed=2), "run-2")
    assert merged(tmp_path) == [[1, 2]]
    other = row["rows"] | {"fingerprint": "of other rows, as many of them"}
    append_row(tmp_path, row | {"run": "run-3", "settings": row["settings"] | {"seed": 3}, "rows": other})
    assert sorted(merged(tmp_path)) == [[1, 2], [3]]


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_rows_have_the_same_fingerprint_for_every_seed(datasets_folder, task):
    """Though each seed has a hold-out of its own, and takes other rows of --max_train_rows."""
    settings = [make_settings(glue_task=task, seed=seed, max_train_rows=limit) for seed, limit in ((1, None), (2, 100))]
    one, other = (load_splits(chosen, datasets_folder) for chosen in settings)
    assert one.student.fingerprint != other.student.fingerprint
    assert one.fingerprint == other.fingerprint


def test_fingerprint_is_of_the_rows_themselves(datasets_folder, tmp_path):
    for split in ("train", "validation"):
        rows = pd.read_parquet(datasets_folder / "rte" / f"{split}.parquet")
        if split == "validation":
            rows.loc[0, "sentence1"] += " indeed"
        (tmp_path / "rte").mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / "rte" / f"{split}.parquet")
    one, other = (load_splits(make_settings(glue_task="rte"), folder) for folder in (datasets_folder, tmp_path))
    assert one.fingerprint != other.fingerprint


def test_training_format_separates_groups_and_version_alone_does_not(tmp_path):
    for seed, (version, training_format) in enumerate((("0.2.0", 2), ("0.2.1", 2), ("0.3.0", 3))):
        own = {"version": version, "training_format": training_format}
        leave_run(tmp_path, make_settings(seed=seed), f"run-{seed}", **own)
    assert merged(tmp_path) == [[0, 1], [2]]
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    assert result.task_runs.columns == ("training format",)
    said = " ".join(markdown.sentences(result))
    assert (
        "The runs come from several versions of this package (and of its training format): 0.2.0 (2), 0.2.1 (2)" in said
    )


def test_duplicates_old_rows_and_half_lines_are_left_out_and_counted(tmp_path):
    leave_sweep(tmp_path / "a", weights=(0.1,), seeds=(3, 1))
    again = leave_run(tmp_path / "a", make_settings(seed=1, output_feature_loss_weight=0.1), "again", finished="2027")
    (tmp_path / "b").mkdir()
    append_row(tmp_path / "b", again)
    append_row(tmp_path / "b", {key: value for key, value in again.items() if key != "validation"})
    with (tmp_path / "b" / "results.jsonl").open("a") as file:
        file.write('{"run": "half a l')
    loaded = load_runs([tmp_path / "b", tmp_path / "a"])
    ((group,),) = (task_runs.groups for task_runs in loaded.tasks)
    assert [run.row["run"] for run in group.runs] == ["again", "0.1-3"], "in order of their seeds, the latest of each"
    assert group.runs[0].predictions.exists(), "of two copies the one that has its files counts"
    assert loaded.left_out == (
        "1 incomplete lines of interrupted runs",
        "1 rows of an older version, which lack what a report needs",
        "1 copies of a row",
        "1 runs that were repeated later with the same configuration and seed",
    )


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(UserError, match=r"absent: no results\.jsonl there"):
        load_runs([tmp_path / "absent"])
    append_row(tmp_path, {"run": 1, "settings": {}})
    with pytest.raises(UserError, match=r"no row to report \(0 broken, 1 of an older version\)"):
        load_runs([tmp_path])


def test_test_rows_judge_the_mean_of_the_runs(tmp_path):
    """With one seed it is the verdict of the run itself."""
    row = leave_run(tmp_path, make_settings(), "one")
    (summary,) = numbers(only_task(tmp_path))
    recorded = row["bootstrap"]["test"]["accuracy"]
    assert summary.rows.gain.value == pytest.approx(recorded["gain"]["value"])
    assert (summary.rows.gain.low, summary.rows.gain.high) == pytest.approx(
        (recorded["gain"]["low"], recorded["gain"]["high"]), abs=0.01
    )


def test_languages_of_one_sentence_are_drawn_together(tmp_path):
    settings = make_settings(benchmark="pawsx", pawsx_student_tasks=("en", "de"), pawsx_teacher_tasks=("en", "de"))
    leave_run(tmp_path, settings, "run", languages=["en", "de"])
    task_runs = only_task(tmp_path)
    assert task_runs.metrics == dict.fromkeys(("all", "en", "de"), ("accuracy",))
    (summary,) = numbers(task_runs)
    frame = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    predicted = {role: frame[role].to_numpy() for role in ("teacher", "baseline", "student")}
    expected = bootstrap_run(named("accuracy"), frame["label"].to_numpy(), predicted, frame["id"].to_numpy())
    assert summary.rows.gain == expected.gain


def test_without_predictions_seeds_alone_judge(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    (tmp_path / "0.1-2" / "predictions.parquet").unlink()
    task_runs = only_task(tmp_path)
    (summary,) = numbers(task_runs)
    assert summary.rows is None
    assert summary.ratio.value is None, "without predictions it is unknown whether the teacher leads clearly"
    (decision,) = decide(task_runs, [summary])
    assert decision.p_rows is None
    assert decision.p_seeds == pytest.approx(summary.gain.p)


def test_without_a_baseline_there_is_no_gain(tmp_path):
    leave_run(tmp_path, make_settings(train_nodistill=False), "run", skills={"baseline": None})
    task_runs = only_task(tmp_path)
    (summary,) = numbers(task_runs)
    assert summary.gain is None
    (decision,) = decide(task_runs, [summary])
    assert decision.verdict == "no baseline"
    (table,) = tables.scores(task_runs, [summary])
    assert table.rows[0][2] == table.rows[0][4] == "n/a"


PUBLISHED = {0.0: 0.89713, 0.01: 0.90298, 0.1: 0.89365}


def test_table_has_the_published_form_and_ratios(tmp_path):
    """QNLI's rows of the document that the project implements; models that are right on so many of its 5,463 rows."""
    for weight, student in PUBLISHED.items():
        skills = {"teacher": 0.91726, "baseline": 0.89401, "student": student}
        settings = make_settings(**{FLAG: weight})
        speed_up = {"forward": {"ratio": 3.52}}
        leave_run(tmp_path, settings, f"{weight}", skills=skills, test_rows=5463, exactly=True, speed_up=speed_up)
    task_runs = only_task(tmp_path)
    (table,) = tables.scores(task_runs, numbers(task_runs))
    lines = as_markdown(table).splitlines()
    assert lines[0] == (
        f"| {FLAG} | seeds | teacher | baseline | student | gain | gain, 95 % over test rows | "
        "gain, 95 % over seeds | distillation ratio | ratio, 95 % over test rows | speed-up | size |"
    )
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    expected = [
        ("0", "0.8971", "+0.31", "0.13"),
        ("0.01", "0.9030", "+0.90", "0.39"),
        ("0.1", "0.8936", "-0.04", "-0.02"),
    ]
    for line, (weight, student, gain, ratio) in zip(lines[2:], expected, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:6] == [weight, "1", "0.9173", "0.8940", student, gain]
        assert cells[7:9] == ["n/a", ratio], "one seed has no interval"
        assert cells[10:] == ["3.52x", "25%"]


def test_ratio_is_undefined_unless_the_teacher_clearly_leads(tmp_path):
    leave_run(tmp_path, make_settings(), "run", skills={"teacher": 0.751, "baseline": 0.75})
    task_runs = only_task(tmp_path)
    (summary,) = numbers(task_runs)
    assert summary.ratio.value is None
    (table,) = tables.scores(task_runs, [summary])
    assert table.rows[0][7:9] == ["undefined", "n/a"]


def test_choice_is_by_validation_and_shows_its_test_score(tmp_path):
    for weight, skill, validation in ((0.0, 0.95, 0.6), (0.1, 0.8, 0.7), (1.0, 0.99, None)):
        for seed in (1, 2):
            settings = make_settings(seed=seed, **{FLAG: weight})
            leave_run(tmp_path, settings, f"{weight}-{seed}", skills={"student": skill}, validation_score=validation)
    leave_run(tmp_path, make_settings(seed=1, **{FLAG: 10.0}), "lucky", validation_score=0.9)
    task_runs = only_task(tmp_path)
    summaries = numbers(task_runs)
    decisions = decide(task_runs, summaries)
    chosen = choose(decisions)
    assert chosen.summary.group.config[FLAG] == 0.1, "0.9 is of one seed only, None is no score"
    result = markdown.StudyResult(task_runs, summaries, decisions, chosen)
    warning, fewer, choice = markdown.sentences(result)
    assert fewer == "1 configuration with fewer seeds took no part in the choice."
    assert warning.startswith("4 configurations were compared on the same test rows")
    assert "4 independent tests would still find a difference in one or more of them 19% of the time" in warning
    assert "up to" not in warning, "1 - 0.95 ** 4 is no bound for tests that share their rows"
    assert choice.startswith(f"Chosen by the validation score: {FLAG} 0.1 (validation accuracy 0.7")
    assert "its test score is reported and never used for selection" in choice
    assert f"The student's accuracy on test is {summaries[1].scores['student'].mean:.4f}" in choice


def test_one_setting_leaves_no_choice(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    task_runs = only_task(tmp_path)
    decisions = decide(task_runs, numbers(task_runs))
    assert choose(decisions) is None
    (sentence,) = markdown.sentences(markdown.StudyResult(task_runs, [], decisions, None))
    assert re.fullmatch(
        r"The student's accuracy on test is 0\.\d{4}, \d+\.\d\d points better than the baseline's "
        r"\(95 % over test rows: "
        r"[+-]\d+\.\d\d to [+-]\d+\.\d\d; over seeds: [+-]\d+\.\d\d to [+-]\d+\.\d\d\); the difference is .*\.",
        sentence,
    )


def verdict_of(folder, gains, rows, baseline=0.5):
    """Of runs whose students are better than their baselines by ``gains``, on so many test rows, all of them known."""
    for seed, gain in enumerate(gains):
        settings = make_settings(seed=seed)
        leave_run(
            folder, settings, f"run-{seed}", skills={"baseline": baseline, "student": baseline + gain}, test_rows=rows
        )
    task_runs = only_task(folder)
    (decision,) = decide(task_runs, numbers(task_runs))
    return decision.verdict


@pytest.mark.parametrize(
    ("gains", "rows", "verdict"),
    [
        ([0.3, 0.3, 0.3, 0.3], 1000, "better"),
        ([-0.3, -0.3, -0.3, -0.3], 1000, "worse"),
        ([0.1, 0.5, 0.0], 1000, "better (these seeds only)"),
        ([0.4], 1000, "better (this seed only)"),
        ([0.0, 0.0, 0.0], 1000, "no clear difference"),
    ],
)
def test_verdict_needs_rows_and_seeds(tmp_path, gains, rows, verdict):
    assert verdict_of(tmp_path, gains, rows) == verdict


def test_report_has_tables_numbers_and_plots_that_name_what_they_show(tmp_path):
    leave_sweep(tmp_path / "results", weights=(0.0, 0.01, 0.1), validation_score=0.7)
    for run in (tmp_path / "results").glob("*-*"):
        with SummaryWriter(str(run / "student")) as writer:
            for step in range(5):
                writer.add_scalar("loss/soft_label", 1 / (step + 1), step)
                writer.add_scalar("lr", 1.0, step)
    loaded = load_runs([tmp_path / "results"])
    folder = tmp_path / "report"
    results = markdown.evaluate(loaded)
    markdown.write(results, loaded.left_out, folder)
    pictures = {
        f"rte-score-by-{FLAG}": [
            "teacher",
            "baseline (no distillation)",
            "95 % over test rows",
            "0.01",
            "mean over seeds",
        ],
        "rte-score-by-speed-up-and-size": ["speed-up over the teacher", "size on disk (MB)", "chosen by validation"],
        "rte-losses-during-training": ["soft label", "optimizer step", f"{FLAG} 0.1"],
        "rte-classes-taken-for-others": ["predicted", "true (rows)", "share of the true class"],
    }
    assert {path.name for path in folder.iterdir()} == {
        "report.md",
        "settings.csv",
        *(f"{name}.{kind}" for name in pictures for kind in ("png", "svg")),
    }
    text = (folder / "report.md").read_text()
    for name, shown in pictures.items():
        assert f"({name}.png)" in text
        assert len(np.unique(matplotlib.image.imread(folder / f"{name}.png").reshape(-1, 4), axis=0)) > 10
        svg = (folder / f"{name}.svg").read_text()
        for words in shown:
            assert words in svg, f"{name} says {words}"
    with (folder / "settings.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line[FLAG] for line in lines] == ["0", "0.01", "0.1"]
    for line, summary in zip(lines, numbers(loaded.tasks[0]), strict=True):
        assert float(line["student"]) == pytest.approx(summary.scores["student"].mean)
        assert float(line["gain_rows_low"]) == pytest.approx(summary.rows.gain.low)
        assert float(line["gain_seeds_high"]) == pytest.approx(summary.gain.high)
        assert line["seeds"] == "1 2 3"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    markdown.write(results, loaded.left_out, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "the same rows, the same report"


def test_other_tasks_and_undefined_scores_are_reported_too(tmp_path):
    """MNLI has two test sets, STS-B two metrics and no classes; a constant student has no correlation."""
    accuracy = {"accuracy": {"teacher": 0.8, "baseline": 0.7, "student": 0.75}}
    leave_run(tmp_path, make_settings(), "mnli", task="mnli", scores={"matched": accuracy, "mismatched": accuracy})
    undefined = {"teacher": 0.8, "baseline": 0.7, "student": None}
    leave_run(
        tmp_path,
        make_settings(glue_task="stsb", soft_label_loss_type="mse"),
        "stsb",
        task="stsb",
        problem_type="regression",
        scores={"test": {"pearson": undefined, "spearman": undefined}},
        validation={"pearson": dict.fromkeys(undefined)},
    )
    for name in ("mnli", "stsb"):
        (tmp_path / name / "predictions.parquet").write_bytes(b"PAR1 and no more")
    loaded = load_runs([tmp_path])
    results = {result.task_runs.task: result for result in markdown.evaluate(loaded)}
    mnli = results["mnli"]
    assert [table.title for table in tables.scores(mnli.task_runs, mnli.summaries)] == [
        "matched: accuracy",
        "mismatched: accuracy",
    ]
    assert markdown.sentences(results["stsb"])[-1] == "The student's pearson on test is undefined."
    assert "chance cannot be ruled out" in markdown.sentences(results["mnli"])[-1]
    markdown.write(list(results.values()), (), tmp_path / "report")


def test_demonstrations_are_kept_apart(tmp_path):
    leave_run(tmp_path, make_settings(demo=True, dataset_path=None), "demo", demonstration=True)
    leave_run(tmp_path, make_settings(), "real")
    loaded = load_runs([tmp_path])
    markdown.write(markdown.evaluate(loaded), (), tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").glob("*.png")}
    plots = ("score-by-speed-up-and-size", "classes-taken-for-others")
    assert names == {f"{task}-{plot}.png" for task in ("rte", "rte-demonstration") for plot in plots}
    assert "generated sentences" in (tmp_path / "report" / "report.md").read_text()


def test_runs_without_a_speed_up_are_reported_and_stay_out_of_its_plot(tmp_path):
    """A run that ended after its scores were known, or whose teacher could not be loaded again, says why instead."""
    reason = {"reason": "the run ended before it was measured"}
    for seed, speed_up in ((1, {"forward": {"ratio": 3.0}}), (2, reason)):
        leave_run(tmp_path, make_settings(seed=seed), f"timed-{seed}", speed_up=speed_up)
    for seed in (1, 2):
        leave_run(tmp_path, make_settings(seed=seed, temperature=2.0), f"untimed-{seed}", speed_up=reason)
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    (table,) = tables.scores(result.task_runs, result.summaries)
    assert [row[-2] for row in table.rows] == ["n/a", "3.00x"], "of the runs that were timed"
    lines = tables.csv_lines(result.task_runs, result.summaries, result.decisions)
    assert [line["speed_up"] for line in lines] == [None, 3.0]
    assert "1 configuration without a measured speed-up: not in the plot of the speed-up." in markdown.sentences(result)
    by_speed, by_size = score_by_cost.draw(result.task_runs, result.summaries, result.chosen).axes
    assert drawn_at(by_speed) == {1.0, 3.0}
    assert drawn_at(by_size) == {4.0, 16.0}, "megabytes"


def test_report_without_any_speed_up_says_so(tmp_path):
    leave_run(tmp_path, make_settings(), "run", speed_up={"reason": "the teacher could not be loaded"})
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    markdown.write([result], (), tmp_path / "report")
    assert "not measured" in (tmp_path / "report" / "rte-score-by-speed-up-and-size.svg").read_text()
    assert "| n/a | 25% |" in (tmp_path / "report" / "report.md").read_text()


def exported(teacher=None, **forms):
    """The part of a row: a form is its megabytes, its rows per second (None: not timed) and its score."""

    def timed(throughput):
        return {} if throughput is None else {"latency": 1 / throughput, "throughput": throughput}

    return {
        "role": "student",
        "models": {"teacher": {"bytes": 16_000_000, **timed(teacher)}},
        "forms": {
            form.replace("_", "-"): {
                "path": f"elsewhere/export/{form}",
                "bytes": int(megabytes * 1e6),
                "recommended": score is None or score > 0.5,
                "scores": {"test": {"accuracy": score}},
                **timed(throughput),
            }
            for form, (megabytes, throughput, score) in forms.items()
        },
    }


def points_of(axes, marker):
    """Where there are such markers, as (x, y)."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(x, pytest.approx(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def test_exported_forms_are_points_of_their_own(tmp_path):
    """Means over the exported runs; on the panel of the speed, over those that were timed beside the teacher."""
    exports = (
        exported(teacher=100.0, onnx=(4.0, 300.0, 0.8), onnx_int8=(1.0, 900.0, 0.7)),
        exported(teacher=200.0, onnx=(6.0, 1000.0, 0.6)),
        exported(onnx=(5.0, 1.0, 0.1)),
        exported(teacher=100.0, onnx=(5.0, None, 0.5), hf=(4.0, 100.0, None)),
        {"reason": "no room"},
    )
    for seed, export in enumerate(exports):
        leave_run(tmp_path, make_settings(seed=seed), f"run-{seed}", export=export)
    leave_run(tmp_path, make_settings(seed=5), "not-exported")
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    figure = score_by_cost.draw(result.task_runs, result.summaries, result.chosen)
    by_speed, by_size = figure.axes
    onnx, int8, hf = (score_by_cost.FORM_MARKERS[form] for form in ("onnx", "onnx-int8", "hf"))
    assert points_of(by_speed, onnx) == [(4.0, 0.7)]
    assert points_of(by_size, onnx) == [(5.0, 0.5)]
    assert points_of(by_speed, int8) == [(9.0, 0.7)]
    assert points_of(by_size, int8) == [(1.0, 0.7)]
    assert points_of(by_size, hf) == [], "its score is undefined"
    assert by_speed.get_xlim()[1] > 9
    assert by_speed.get_xlabel().endswith("(exported: on the CPU)")
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert [text for text in shown if text.startswith("exported")] == ["exported: onnx", "exported: onnx-int8"]


def test_command_that_exports_is_of_the_best_run_of_the_chosen_setting(tmp_path, capsys, monkeypatch):
    """By validation; of equals the first."""
    monkeypatch.chdir(tmp_path)
    for weight, scores in ((0.0, (0.5, 0.9, 0.5, 0.5)), (0.1, (0.6, 0.7, 0.7, 0.6))):
        for seed, score in enumerate(scores):
            settings = make_settings(seed=seed, **{FLAG: weight})
            leave_run(Path("my runs"), settings, f"{weight}-{seed}", validation_score=score)
    (result,) = markdown.evaluate(load_runs([Path("my runs")]))
    assert markdown.shipping(result) is None, "there is no student any more"
    Path("my runs/0.1-1/student").mkdir()
    assert run_report(["my runs", "--output_folder", "report"]) == 0
    command = "python automm_distillation_export.py 'my runs/0.1-1'"
    assert capsys.readouterr().out.endswith(
        f"\nrte: The chosen setting: to export its student with the best validation score (seed 1):\n{command}\n"
    )
    assert f"(seed 1): `{command}`\n" in Path("report/report.md").read_text()


def test_report_says_where_the_exported_forms_of_the_chosen_setting_are(tmp_path):
    leave_sweep(tmp_path, seeds=(1,), export=exported(onnx=(4.0, None, 0.8), onnx_int8=(1.0, None, 0.4)))
    for folder in ("student", "export"):
        (tmp_path / "0.0-1" / folder).mkdir()
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    said, where = markdown.shipping(result)
    assert said.endswith(
        "its student with the best validation score (seed 1) is exported as onnx, onnx-int8 (not recommended)"
    )
    assert where == str(tmp_path / "0.0-1" / "export")
    (tmp_path / "0.0-1" / "export").rmdir()
    assert markdown.shipping(result)[1].startswith("python automm_distillation_export.py"), "they are gone"


def drawn_at(axes):
    """Where on the x axis there is a point."""
    return {float(x) for line in axes.lines for x in line.get_xdata()}


def test_a_gain_of_zero_is_neither_better_nor_worse(tmp_path):
    skills = {"baseline": 0.8, "student": 0.8}
    leave_run(tmp_path, make_settings(), "run", skills=skills, exactly=True)
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    assert result.summaries[0].gain.mean == 0
    assert result.decisions[0].verdict == "same answers"
    (answer,) = markdown.sentences(result)
    assert answer.endswith(
        "is 0.8000, equal to the baseline's. Student and baseline gave the same answer on all 400 rows."
    )
    assert "better" not in answer
    assert "worse" not in answer
    assert direction(0.1 + 0.2 - 0.3) == "equal", "but for rounding"


def test_explanation_says_which_resamples_the_ratio_leaves_out(tmp_path):
    leave_run(tmp_path, make_settings(), "run")
    markdown.write(markdown.evaluate(load_runs([tmp_path])), (), tmp_path / "report")
    text = " ".join((tmp_path / "report" / "report.md").read_text().split())
    assert "its interval leaves out the resamples in which the teacher has no lead, at most 2.5 % of them" in text


def test_predictions_are_not_kept_in_memory(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    loaded = load_runs([tmp_path])

    def frames_in_memory():
        gc.collect()
        return sum(isinstance(thing, pd.DataFrame) for thing in gc.get_objects())

    before = frames_in_memory()
    results = markdown.evaluate(loaded)
    assert results[0].summaries[0].rows is not None, "the files were read"
    assert frames_in_memory() == before


def test_a_flag_that_some_groups_do_not_use_varies_only_among_the_others(tmp_path):
    """Without its weight the form of a loss means nothing: no column, no plot."""
    for weight in (0.0, 0.1):
        leave_run(tmp_path, make_settings(**{FLAG: weight}), f"{weight}")
    assert only_task(tmp_path).columns == (FLAG,)
    leave_run(tmp_path, make_settings(**{FLAG: 0.1}, output_feature_loss_type="cosine"), "cosine")
    assert only_task(tmp_path).columns == (FLAG, "output_feature_loss_type")


def test_equals_are_said_and_circumstances_are_named(tmp_path):
    for weight in (0.0, 0.1):
        leave_run(tmp_path, make_settings(**{FLAG: weight}), f"{weight}", validation_score=0.7)
    leave_run(tmp_path, make_settings(), "elsewhere", validation_score=0.6, device={"name": "H200", "precision": "32"})
    loaded = load_runs([tmp_path])
    (result,) = markdown.evaluate(loaded)
    said = markdown.sentences(result)
    assert re.fullmatch(r"The runs also differ in .*device name.*; only runs that agree in all of that .*", said[0])
    assert "the first of 2 that tie" in said[-1]
    assert result.task_runs.varied_flags == (FLAG,)


def test_clear_gains_stay_clear_among_many_settings(tmp_path):
    """The p-value of 2,000 resamples must not end at 1 in 2,000."""
    for number in range(60):
        settings = make_settings(temperature=number + 1.0)
        leave_run(tmp_path, settings, f"run-{number}", skills={"baseline": 0.2}, test_rows=200)
    task_runs = only_task(tmp_path)
    assert {decision.verdict for decision in decide(task_runs, numbers(task_runs))} == {"better (this seed only)"}


def test_many_lines_have_colours_of_their_own(tmp_path):
    for number in range(9):
        leave_run(tmp_path, make_settings(temperature=number + 1.0), f"run-{number}", test_rows=50)
    loaded = load_runs([tmp_path])
    markdown.write(markdown.evaluate(loaded), (), tmp_path / "report")
    assert len(loaded.tasks[0].groups) == 9
    assert (tmp_path / "report" / "rte-score-by-temperature.png").exists()


def test_script_ends_with_the_choice(tmp_path, capsys):
    leave_sweep(tmp_path, validation_score=0.6)
    assert run_report([str(tmp_path), "--output_folder", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "report" / "report.md") in out.replace("\n", "")
    closing = " ".join(out[out.rindex("rte: Chosen by the validation score") :].split())
    assert "than the baseline's (95 % over test rows:" in closing
    assert out.rstrip().endswith(".")


def test_help_needs_nothing_heavy():
    code = "import sys, automm_distillation_report as script; sys.argv[1:] = ['--help']; script.main()"
    code = f"try:\n    {code}\nfinally:\n    print(sorted({{'pandas', 'torch', 'matplotlib'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "its\ntest score is reported and never used for selection" in done.stdout
    assert done.stdout.endswith("[]\n"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent: no results.jsonl there"),
        ([], "the following arguments are required: RESULTS"),
        ([".", "--output_folder", "/proc/report"], "--output_folder /proc/report: cannot be written to"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, arguments, message):
    leave_run(tmp_path, make_settings(), "run")
    script = ROOT / "automm_distillation_report.py"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_few_test_rows_are_no_verdict_however_clear_over_seeds(tmp_path):
    for seed in (1, 2, 3):
        skills = {"baseline": 0.2 + seed / 100, "student": 0.9}
        leave_run(tmp_path, make_settings(seed=seed), f"run{seed}", skills=skills, test_rows=28, exactly=True)
    (result,) = markdown.evaluate(load_runs([tmp_path]))
    assert result.decisions[0].verdict == "too few rows"
    (answer,) = markdown.sentences(result)
    assert answer.endswith("No verdict: 30 rows or more are needed to judge a gain; here are 28.")


def test_narrow_terminal_gets_blocks_instead_of_a_box(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    results = tmp_path / "runs[v2]"
    leave_run(results, make_settings(glue_task="rte", seed=1), "a")
    assert run_report([str(results), "--output_folder", str(tmp_path / "report[v2]")]) == 0
    printed = capsys.readouterr().out
    assert "\n  p over test rows*: " in printed
    assert "│" not in printed
    assert f"report       {tmp_path / 'report[v2]' / 'report.md'}\n" in printed
