"""Whole runs through the real MultiModalPredictor on tiny checkpoints: what a user types, what a user gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from automm_distill import __version__, automm, cache, experiment, speed, teacher_diagnosis, training
from automm_distill.cli import run_script
from automm_distill.devices import choose_device
from automm_distill.evaluation import scores
from automm_distill.run_summary import verdict
from automm_distill.versions import TRAINING_FORMAT

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
    by_role = row["scores"]["test"]["accuracy"]
    assert set(by_role) == {"teacher", "baseline", "student"}
    for text in (*(f"{score:.4f}" for score in by_role.values()), "gain (95 % CI)", "ratio", "speed-up"):
        assert text in out
    assert len(out.splitlines()) <= 14
    assert verdict(row) in " ".join(out.split())
    run_folder = Path(row["paths"]["student"]).parent
    assert str(run_folder / "student") in out
    summary = (run_folder / "summary.md").read_text()
    for text in ("## Loss terms", "McNemar's test", "one row at a time", "Training time", row["paths"]["predictions"]):
        assert text in summary
    for noise in ("Tip", "Seed set", "GPU available", "saving model", "Warning", "AutoMM", "Load pretrained"):
        assert noise not in out + captured.err

    frame = pd.read_parquet(row["paths"]["predictions"])
    assert len(frame) == 60
    for role, score in by_role.items():
        assert (frame[role] == frame["label"]).mean() == pytest.approx(score)
    ratio = row["distillation_ratio"]["test"]["accuracy"]
    if ratio["value"] is None:
        assert by_role["teacher"] <= by_role["baseline"]
        assert ratio["reason"] in summary
    else:
        expected = (by_role["student"] - by_role["baseline"]) / (by_role["teacher"] - by_role["baseline"])
        assert ratio["value"] == pytest.approx(expected)

    assert set(row["validation"]["accuracy"]) == {"teacher", "baseline", "student"}
    diagnosis = row["teacher_diagnosis"]
    assert diagnosis["rows"] == {"training": row["rows"]["teacher"]["train"], "validation": 24}
    assert diagnosis["score"]["validation"] == row["validation"]["accuracy"]["teacher"]
    said = teacher_diagnosis.sentence(diagnosis)
    assert said in captured.err.partition("distilling the student")[0], "before its time is spent"
    assert f"## Teacher\n\n{said}\n" in summary
    assert row["settings"]["glue_task"] == "rte"
    assert (row["version"], row["training_format"]) == (__version__, TRAINING_FORMAT)
    assert set(row["cache_entries"]) == {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert row["device"]["precision"] == choose_device(0, "auto").precision
    assert row["device"]["prediction_precision"] == "32"
    assert set(row["speed_up"]) == {"forward", "latency", "end_to_end"}
    assert row["speed_up"]["forward"]["repeats"] >= speed.FEWEST_REPEATS
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


def test_resume_trains_only_the_student_and_a_new_seed_trains_everything(flags, tmp_path, capfd, monkeypatch):
    predicted = []
    predict = automm.Predictor.predict
    monkeypatch.setattr(
        automm.Predictor,
        "predict",
        lambda self, frame: predicted.append(Path(self.automm.path).name) or predict(self, frame),
    )
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
    every = ["teacher", "baseline", "student"]
    assert [name.partition("-")[0] for name in predicted] == [*every, "student", *every], "kept with the cache entry"
    kept, made = (pd.read_parquet(row["paths"]["predictions"]) for row in (resumed, first))
    for role in ("teacher", "baseline"):
        assert np.array_equal(*(np.stack(frame[f"{role}_probabilities"]) for frame in (kept, made)))
    assert resumed["paths"]["student"] != first["paths"]["student"]
    entries = sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir() if path.is_dir())
    kinds = ["baseline", "outputs", "predictions", "predictions", "teacher"]
    assert entries == sorted(2 * kinds)
    for folder in (tmp_path / "cache").glob("outputs-*"):
        assert len(list(folder.glob("part-*"))) == 1, "read once"


def test_online_teacher_makes_the_same_student(flags, tmp_path):
    assert glue("--glue_task", "rte", *flags) == 0
    assert glue("--glue_task", "rte", *flags, "--resume", "--teacher_outputs", "online") == 0
    cached, online = (pd.read_parquet(row["paths"]["predictions"]) for row in rows(tmp_path))
    assert np.stack(cached["student_probabilities"]) == pytest.approx(
        np.stack(online["student_probabilities"]), abs=1e-5
    )
    for number in ("score", "entropy", "entropy_at_temperature"):
        of_cached, of_online = (row["teacher_diagnosis"][number] for row in rows(tmp_path))
        assert of_cached == pytest.approx(of_online, abs=0.02), "bf16, where the CPU has it, and single precision"


def test_regression_reports_both_correlations(flags, tmp_path):
    assert glue("--glue_task", "stsb", *flags) == 0
    (row,) = rows(tmp_path)
    assert list(row["scores"]["test"]) == ["pearson", "spearman"]
    assert list(row["teacher_diagnosis"]["score"]) == ["training", "validation"]
    frame = pd.read_parquet(row["paths"]["predictions"])
    assert frame["student"].corr(frame["label"]) == pytest.approx(row["scores"]["test"]["pearson"]["student"])


def test_mnli_reports_both_test_sets_and_runs_without_a_baseline(flags, tmp_path, capfd):
    assert glue("--glue_task", "mnli", "--train_nodistill", "false", *flags) == 0
    (row,) = rows(tmp_path)
    assert list(row["scores"]) == ["matched", "mismatched"]
    assert set(row["scores"]["matched"]["accuracy"]) == {"teacher", "student"}
    assert row["distillation_ratio"]["matched"]["accuracy"] == {"value": None, "reason": "no baseline score"}
    assert "No baseline was trained" in capfd.readouterr().out
    summary = (Path(row["paths"]["student"]).parent / "summary.md").read_text()
    assert "n/a on matched (accuracy): no baseline score" in summary
    assert row["rows"]["test"] == {"matched": 40, "mismatched": 60}


def test_pawsx_compares_on_the_students_languages(flags, tmp_path):
    assert pawsx("--pawsx_teacher_tasks", "en", "de", "--pawsx_student_tasks", "de", *flags) == 0
    assert (
        pawsx("--pawsx_teacher_tasks", "en", "--pawsx_student_tasks", "en", "de", *flags, "--max_test_rows", "30") == 0
    )
    one, two = rows(tmp_path)
    assert list(one["scores"]) == ["de"]
    assert one["rows"]["teacher"]["train"] == 2 * one["rows"]["student"]["train"]
    assert one["teacher_diagnosis"]["rows"]["training"] == one["rows"]["student"]["train"], "those with outputs"
    assert [row["teacher_diagnosis"]["training_rows_of"] for row in (one, two)] == ["teacher", "teacher"]
    assert list(two["scores"]) == ["all", "en", "de"]
    frame = pd.read_parquet(two["paths"]["predictions"])
    assert set(frame["test_set"]) == {"en", "de"}
    assert (frame["student"] == frame["label"]).mean() == pytest.approx(two["scores"]["all"]["accuracy"]["student"])


def test_single_sentence_task_with_matthews_correlation(flags, tmp_path):
    assert glue("--glue_task", "cola", *flags) == 0
    (row,) = rows(tmp_path)
    assert row["text_columns"] == ["sentence"]
    assert row["run"][:8] == row["finished"][:10].replace("-", ""), "folder and row tell the same time, UTC"
    frame = pd.read_parquet(row["paths"]["predictions"])
    with np.errstate(invalid="ignore"):  # a student that always gives the same answer has no correlation
        correlation = np.nan_to_num(np.corrcoef(frame["student"], frame["label"])[0, 1])
    assert row["scores"]["test"]["matthews"]["student"] == pytest.approx(correlation)


@pytest.mark.parametrize(("script", "sets"), [(glue, ["test"]), (pawsx, ["all", "en", "de"])])
def test_demo_runs_everything(script, sets, tmp_path, capfd):
    folders = ["--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")]
    assert script("--demo", *QUICK, *folders, "--max_train_rows", "200", "--max_test_rows", "150") == 0
    (row,) = rows(tmp_path)
    assert set(row["speed_up"]) == {"forward", "latency", "end_to_end"}
    assert list(row["scores"]) == sets
    assert row["demonstration"] is True
    assert "Demonstration on generated sentences" in capfd.readouterr().out


@pytest.mark.slow
def test_demo_gains_in_nine_of_ten_seeds(tmp_path):
    """Digits differ between kinds of CPU, and with them single seeds."""
    folders = ["--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")]
    for seed in range(1, 11):
        assert glue("--demo", "--seed", str(seed), "--quiet", "--no_timing", *folders) == 0
    scores = [row["scores"]["test"]["accuracy"] for row in rows(tmp_path)]
    gains = [of_run["student"] - of_run["baseline"] for of_run in scores]
    assert sum(gain > 0 for gain in gains) >= 9, gains
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("match", ["true", "false"])
def test_baseline_takes_the_steps_of_a_student_that_learns_from_unlabelled_rows(tmp_path, capfd, match):
    folders = ["--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")]
    short = ["--max_train_rows", "200", "--max_test_rows", "100", "--no_timing", "--preset", "strong"]
    short += ["--hidden_states_loss_weight", "1"]
    few = ["--unlabelled_path", "rest", "--unlabelled_rows", "300", "--match_steps", match]
    assert glue("--demo", *QUICK, *folders, *short, *few) == 0
    captured = capfd.readouterr()
    assert "distilling the student: teacher[0], 160 rows and 300 unlabelled" in captured.err
    assert "hidden states 1; T 2 squared" in captured.out
    (row,) = rows(tmp_path)
    steps = {role: row["training"][role]["optimizer_steps"] for role in ("baseline", "student")}
    rows_of_an_epoch = {"student": 460, "baseline": 460 if match == "true" else 160}
    size, epochs = row["settings"]["batch_size"], row["settings"]["max_epochs"]
    assert steps == {role: epochs * -(-count // size) for role, count in rows_of_an_epoch.items()}
    assert row["rows"]["student"] == {"train": 160, "validation": 40, "unlabelled": 300}
    assert row["unlabelled_left_out"] == {}
    assert row["teacher_diagnosis"]["unlabelled_rows"] == 300


def test_student_of_the_teachers_layers(tmp_path, capfd):
    folders = ["--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")]
    short = ["--max_train_rows", "200", "--max_test_rows", "100", "--no_timing"]
    assert glue("--demo", "--student_layers", "1", *QUICK, *folders, *short) == 0
    captured = capfd.readouterr()
    assert "training the baseline: demo-teacher[0], 160 rows" in captured.err
    assert "distilling the student: teacher[0], 160 rows" in captured.err
    assert captured.out.startswith("demo, seed 123: demo-teacher -> teacher[0]\n")
    (row,) = rows(tmp_path)
    assert row["student_layers"] == [0]
    assert (row["settings"]["student_model"], row["settings"]["student_layers"]) == (None, "1")
    assert row["size"]["teacher"]["parameters"] > row["size"]["student"]["parameters"]
    (entry,) = (tmp_path / "cache").glob("layers-*")
    assert entry.name in row["cache_entries"]


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


def out_of_gpu_memory(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


def test_result_survives_a_timing_that_runs_out_of_memory(flags, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(speed, "measure", out_of_gpu_memory)
    assert glue("--glue_task", "rte", *flags) == 0
    (row,) = rows(tmp_path)
    assert set(row["scores"]["test"]["accuracy"]) == {"teacher", "baseline", "student"}
    assert row["speed_up"]["reason"].startswith("out of memory on the GPU")
    out = capfd.readouterr().out
    assert "Speed-up n/a: out of memory on the GPU" in out


def test_result_survives_ctrl_c_during_the_timing(flags, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(speed, "measure", interrupted)
    assert glue("--glue_task", "rte", *flags) == 130
    captured = capfd.readouterr()
    assert "interrupted" in captured.err
    assert "Speed-up n/a: the run ended before it was measured" in captured.out
    (row,) = rows(tmp_path)
    assert f"{row['scores']['test']['accuracy']['student']:.4f}" in captured.out
    assert "gain (95 % CI)" in (Path(row["paths"]["student"]).parent / "summary.md").read_text()
    assert set(row["scores"]["test"]["accuracy"]) == {"teacher", "baseline", "student"}
    assert row["speed_up"] == {"reason": "the run ended before it was measured"}


def test_result_survives_ctrl_c_during_the_bootstrap(flags, tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "intervals", interrupted)
    assert glue("--glue_task", "rte", *flags) == 130
    (row,) = rows(tmp_path)
    assert set(row["scores"]["test"]["accuracy"]) == {"teacher", "baseline", "student"}
    assert len(pd.read_parquet(row["paths"]["predictions"])) == 60


@pytest.mark.parametrize("trouble", ["gone", "replaced"])
def test_timing_neither_trains_nor_waits_for_a_teacher(flags, tmp_path, capfd, monkeypatch, trouble):
    fits = []
    distill = training.distill
    teacher_lock = []

    def distill_while_the_teacher_goes(targets, run_folder, context):
        student = distill(targets, run_folder, context)
        (teacher,) = (tmp_path / "cache").glob("teacher-*")
        if trouble == "gone":
            shutil.rmtree(teacher)
        else:
            teacher_lock.append(hold_lock(teacher))
        fits.append("student")
        return student

    monkeypatch.setattr(experiment, "distill", distill_while_the_teacher_goes)
    assert glue("--glue_task", "rte", *flags) == 0
    for process in teacher_lock:
        process.kill()
        process.wait()
    (row,) = rows(tmp_path)
    assert fits == ["student"]
    reason = "is gone" if trouble == "gone" else "another run is replacing"
    assert reason in row["speed_up"]["reason"]
    assert "Speed-up n/a: the teacher could not be loaded" in capfd.readouterr().out


HOLD = """
import sys
from pathlib import Path
from automm_distill import cache
path = Path(sys.argv[1])
with cache.locked(path), cache.staged(path) as partial:
    partial.mkdir()
    print("held", flush=True)
    sys.stdin.read()
"""


def hold_lock(path):
    """Another process that builds the cache entry anew."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_training_that_runs_out_of_memory_is_one_line(flags, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(automm, "fit", out_of_gpu_memory)
    assert glue("--glue_task", "rte", *flags) == 1
    error = capfd.readouterr().err
    assert "out of memory on the GPU; try a smaller --per_gpu_batch_size" in error
    assert "Traceback" not in error
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_disk_that_fills_up_during_a_fit_is_one_line_and_loses_nothing(flags, tmp_path):
    """A limit on the size of files stands for the full disk: AutoGluon's checkpoint does not fit."""
    limited = f'ulimit -f 40; exec {sys.executable} {ROOT / "automm_distillation_glue.py"} "$@"'
    process = subprocess.run(
        ["bash", "-c", limited, "bash", "--glue_task", "rte", *flags], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 1, process.stderr
    assert "the disk is full" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_quiet_prints_the_result_only_and_verbose_the_whole_summary(flags, tmp_path, capfd):
    assert glue("--glue_task", "rte", *flags, "--quiet", "--temperature_scaling", "squared") == 0
    captured = capfd.readouterr()
    assert "training the teacher" not in captured.err
    assert "T 5 squared" in captured.out
    assert "## Loss terms" not in captured.out
    assert glue("--glue_task", "rte", *flags, "--resume", "--verbose") == 0
    assert "## Loss terms" in capfd.readouterr().out


def test_time_limit_ends_each_fit(flags, tmp_path):
    long = [*flags, "--max_epochs", "1000", "--teacher_max_epochs", "1000"]
    assert glue("--glue_task", "rte", *long, "--time_limit", "5") == 0
    (row,) = rows(tmp_path)
    assert all(fit["epochs"] < 1000 and fit["seconds"] < 60 for fit in row["training"].values())


def test_result_is_pruned_by_nobody_while_the_run_goes_on(flags, tmp_path, monkeypatch):
    """The cache command must not remove a teacher between its training and its timing."""
    distill, removed = training.distill, []

    def distill_while_somebody_prunes(targets, run_folder, context):
        removed.extend(cache.remove(path) for path in (tmp_path / "cache").iterdir() if path.is_dir())
        return distill(targets, run_folder, context)

    monkeypatch.setattr(experiment, "distill", distill_while_somebody_prunes)
    assert glue("--glue_task", "rte", *flags) == 0
    assert removed == [False] * 5
    assert "forward" in rows(tmp_path)[0]["speed_up"]
    assert all(cache.remove(path) for path in (tmp_path / "cache").iterdir() if path.is_dir())
