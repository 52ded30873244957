"""Whole runs through the real MultiModalPredictor on tiny checkpoints: what a user types, what a user gets."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automm_distill.cli import run_script

ROOT = Path(__file__).parent.parent
QUICK = ["--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32", "--num_workers", "0", "--num_gpu", "0"]


@pytest.fixture
def flags(checkpoints, datasets_folder, tmp_path):
    """The flags of a quick run on tiny checkpoints, with folders of its own."""
    return [
        *("--dataset_path", str(datasets_folder)),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *QUICK,
    ]


def glue(*argv):
    return run_script("glue", argv)


def pawsx(*argv):
    return run_script("pawsx", argv)


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "results" / "results.jsonl").read_text().splitlines()]


def start(*argv):
    """The GLUE script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "automm_distillation_glue.py"), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_glue_run_ends_in_a_table_a_row_and_a_student_that_a_new_process_loads(flags, tmp_path, capfd):
    assert glue("--glue_task", "rte", *flags) == 0
    captured = capfd.readouterr()
    out = captured.out
    (row,) = rows(tmp_path)
    scores = row["scores"]["test"]["accuracy"]
    assert set(scores) == {"teacher", "baseline", "student"}
    for wanted in (*(f"{score:.5f}" for score in scores.values()), "Distillation", "Speed-up", row["paths"]["student"]):
        assert wanted in out
    gain = row["uncertainty"]["test"]["accuracy"]["gain"]
    closing = " ".join(out.rstrip().splitlines()[-2:])
    assert f"{abs(100 * gain['value']):.1f} points" in closing
    assert "on these 60 test rows" in closing
    for noise in ("Tip", "Seed set", "GPU available", "saving model", "Warning", "AutoMM", "Load pretrained"):
        assert noise not in out + captured.err

    frame = pd.read_parquet(row["paths"]["predictions"])
    assert len(frame) == 60
    for role, score in scores.items():
        assert (frame[role] == frame["label"]).mean() == pytest.approx(score)
    ratio = row["distillation_ratio"]["test"]["accuracy"]
    if ratio["value"] is None:
        assert scores["teacher"] <= scores["baseline"]
        assert ratio["reason"] in out.replace("\n", " ")
    else:
        expected = (scores["student"] - scores["baseline"]) / (scores["teacher"] - scores["baseline"])
        assert ratio["value"] == pytest.approx(expected)

    assert set(row["validation"]["accuracy"]) == {"teacher", "baseline", "student"}
    assert row["settings"]["glue_task"] == "rte"
    assert row["device"]["precision"] == "32"
    assert set(row["speed_up"]) == {"forward", "latency", "end_to_end"}
    assert row["speed_up"]["forward"]["repeats"] >= 10
    assert row["size"]["teacher"]["parameters"] > row["size"]["student"]["parameters"]
    assert row["size"]["student"]["bytes"] > 4 * row["size"]["student"]["parameters"]
    assert row["training"]["student"]["optimizer_steps"] == 3
    assert row["versions"]["autogluon.multimodal"] == "1.6.3"
    assert row["rows"]["test"] == {"test": 60}

    code = (
        "import sys, pandas as pd; from autogluon.multimodal import MultiModalPredictor;"
        "p = MultiModalPredictor.load(sys.argv[1]); d = pd.read_parquet(sys.argv[2]);"
        "p.predict_proba(d[['sentence1', 'sentence2']]).to_parquet(sys.argv[3])"
    )
    test_rows = flags[1] + "/rte/validation.parquet"
    arguments = [row["paths"]["student"], test_rows, str(tmp_path / "again.parquet")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, cwd=tmp_path)
    again = pd.read_parquet(tmp_path / "again.parquet").to_numpy()
    assert np.stack(frame["student_probabilities"]) == pytest.approx(again, abs=1e-6)


def test_resume_trains_only_the_student_and_a_new_seed_trains_everything(flags, tmp_path, capfd):
    run = ("--glue_task", "rte", *flags)
    assert glue(*run) == 0
    assert glue(*run, "--resume", "--output_feature_loss_weight", "0.5") == 0
    assert glue(*run, "--resume", "--seed", "7") == 0
    first, resumed, other_seed = rows(tmp_path)
    assert [first["training"][role]["from_cache"] for role in ("teacher", "baseline")] == [False, False]
    assert [resumed["training"][role]["from_cache"] for role in ("teacher", "baseline")] == [True, True]
    assert [other_seed["training"][role]["from_cache"] for role in ("teacher", "baseline")] == [False, False]
    for role in ("teacher", "baseline"):
        assert resumed["scores"]["test"]["accuracy"][role] == first["scores"]["test"]["accuracy"][role]
    assert resumed["paths"]["student"] != first["paths"]["student"]
    entries = sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir() if path.is_dir())
    assert entries == ["baseline", "baseline", "outputs", "outputs", "teacher", "teacher"]
    for folder in (tmp_path / "cache").glob("outputs-*"):
        assert len(list(folder.glob("part-*"))) == 1, "read once"


def test_online_teacher_makes_the_same_student(flags, tmp_path):
    assert glue("--glue_task", "rte", *flags) == 0
    assert glue("--glue_task", "rte", *flags, "--resume", "--teacher_outputs", "online") == 0
    cached, online = (pd.read_parquet(row["paths"]["predictions"]) for row in rows(tmp_path))
    assert np.stack(cached["student_probabilities"]) == pytest.approx(
        np.stack(online["student_probabilities"]), abs=1e-5
    )


def test_regression_reports_both_correlations(flags, tmp_path):
    assert glue("--glue_task", "stsb", *flags) == 0
    (row,) = rows(tmp_path)
    assert list(row["scores"]["test"]) == ["pearson", "spearman"]
    frame = pd.read_parquet(row["paths"]["predictions"])
    assert frame["student"].corr(frame["label"]) == pytest.approx(row["scores"]["test"]["pearson"]["student"])


def test_mnli_reports_both_test_sets_and_runs_without_a_baseline(flags, tmp_path, capfd):
    assert glue("--glue_task", "mnli", "--train_nodistill", "false", *flags) == 0
    (row,) = rows(tmp_path)
    assert list(row["scores"]) == ["matched", "mismatched"]
    assert set(row["scores"]["matched"]["accuracy"]) == {"teacher", "student"}
    assert row["distillation_ratio"]["matched"]["accuracy"] == {"value": None, "reason": "no baseline score"}
    assert "n/a on matched (accuracy): no baseline score" in capfd.readouterr().out
    assert row["rows"]["test"] == {"matched": 40, "mismatched": 60}


def test_pawsx_compares_on_the_students_languages(flags, tmp_path):
    assert pawsx("--pawsx_teacher_tasks", "en", "de", "--pawsx_student_tasks", "de", *flags) == 0
    assert (
        pawsx("--pawsx_teacher_tasks", "en", "--pawsx_student_tasks", "en", "de", *flags, "--max_test_rows", "30") == 0
    )
    one, two = rows(tmp_path)
    assert list(one["scores"]) == ["de"]
    assert one["rows"]["teacher"]["train"] == 2 * one["rows"]["student"]["train"]
    assert list(two["scores"]) == ["all", "en", "de"]
    frame = pd.read_parquet(two["paths"]["predictions"])
    assert set(frame["test_set"]) == {"en", "de"}
    assert (frame["student"] == frame["label"]).mean() == pytest.approx(two["scores"]["all"]["accuracy"]["student"])


def test_single_sentence_task_with_matthews_correlation(flags, tmp_path):
    assert glue("--glue_task", "cola", *flags) == 0
    (row,) = rows(tmp_path)
    assert row["text_columns"] == ["sentence"]
    frame = pd.read_parquet(row["paths"]["predictions"])
    assert row["scores"]["test"]["matthews"]["student"] == pytest.approx(
        np.nan_to_num(np.corrcoef(frame["student"], frame["label"])[0, 1])
    )


@pytest.mark.parametrize(("script", "sets"), [(glue, ["test"]), (pawsx, ["all", "en", "de"])])
def test_demo_runs_the_whole_flow(script, sets, tmp_path, capfd):
    folders = ["--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")]
    assert script("--demo", *QUICK, *folders, "--max_train_rows", "200", "--max_test_rows", "50") == 0
    (row,) = rows(tmp_path)
    assert list(row["scores"]) == sets
    assert row["demonstration"] is True
    assert "This was a demonstration" in capfd.readouterr().out


def test_two_parallel_runs_train_one_teacher_and_lose_no_row(flags, tmp_path):
    run = ["--glue_task", "rte", *flags]
    processes = [start(*run), start(*run, "--temperature", "2")]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trained = [[row["training"][role]["from_cache"] for row in rows(tmp_path)] for role in ("teacher", "baseline")]
    assert [sorted(cached) for cached in trained] == [[False, True], [False, True]]
    assert any("waiting for it" in output for output in outputs)
    assert {row["settings"]["temperature"] for row in rows(tmp_path)} == {2, 5}


def test_kill_in_the_middle_of_the_teachers_fit_and_restart(flags, tmp_path):
    run = ["--glue_task", "rte", *flags, "--resume", "--teacher_max_epochs", "20"]
    process = start(*run)
    cache = tmp_path / "cache"
    deadline = time.monotonic() + 120
    while not list(cache.glob(".partial-teacher-*/*.ckpt")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (partial,) = cache.glob(".partial-teacher-*")
    assert not list(cache.glob("teacher-*"))
    assert glue(*run) == 0
    assert not list(cache.glob(".partial-*"))
    (row,) = rows(tmp_path)
    assert Path(row["training"]["teacher"]["path"]).name == partial.name.removeprefix(".partial-")
    assert row["training"]["teacher"]["from_cache"] is False
    assert row["training"]["teacher"]["optimizer_steps"] > 3, "trained from the start, not taken half-trained"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--batch_size", "40", "--per_gpu_batch_size", "32"], "--batch_size 40: needs a multiple of 32"),
        (["--num_gpu", "99"], "--num_gpu 99: this machine has "),
        (["--teacher_model", "/no/such/folder"], "--teacher_model /no/such/folder: there is no such folder"),
        (["--output_folder", "/dev/null/results"], "--output_folder /dev/null/results: cannot be written to"),
    ],
)
def test_mistakes_end_before_training_in_one_line(flags, tmp_path, capfd, argv, line):
    assert glue("--glue_task", "rte", *flags, *argv) == 2
    error = capfd.readouterr().err
    (message,) = (text for text in error.splitlines() if "error:" in text)
    assert line in message
    assert "Traceback" not in error
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]
