"""The benchmark runs through, and what it measures is comparable."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from automm_distill.inputs import demo
from benchmarks.distillation_speed import VARIANTS, main
from tests.conftest import write_splits

ROOT = Path(__file__).parent.parent
ROWS, EPOCHS = 48, 2


def write_qnli(folder: Path) -> None:
    """100 training and 40 test rows below ``folder``, in QNLI's columns."""
    pairs = demo.make_pairs(demo.LANGUAGES["en"], 200, seed=11)
    qnli = pairs.rename(columns={"sentence1": "question", "sentence2": "sentence"})
    write_splits(folder / "qnli", {"train": qnli[:100], "validation": qnli[100:140]})


def test_benchmark_without_models_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--dataset_path", "data/glue", "--teacher_model", "teacher"])
    assert end.value.code == 2
    assert "error: --teacher_model and --student_model, or --wide, are needed" in capsys.readouterr().err


def test_benchmark_with_too_few_rows_is_refused_in_one_line(tmp_path, capsys):
    write_qnli(tmp_path)
    argv = ["--dataset_path", tmp_path, "--wide", "--rows", 90, "--growth", 1, 2, "--json", tmp_path / "report.json"]
    assert main([*map(str, argv)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("error: --rows 90 --growth 2: only 100 rows there")


@pytest.mark.slow
def test_benchmark_times_every_variant_on_the_same_tokens(checkpoints, tmp_path):
    write_qnli(tmp_path / "glue")
    report_path = tmp_path / "report.json"
    measured = [variant for variant in VARIANTS if variant != "plain_compile"]  # which takes a compiler, and minutes
    argv = [
        *("--dataset_path", tmp_path / "glue", "--scratch", tmp_path, "--json", report_path),
        *("--teacher_model", checkpoints / "teacher", "--student_model", checkpoints / "student"),
        *("--rows", ROWS, "--validation_rows", 16, "--epochs", EPOCHS, "--rounds", 1, "--per_gpu_batch_size", 16),
        *("--scores", "--all_losses", "--variants", *measured),
    ]
    command = [sys.executable, "-m", "benchmarks.distillation_speed", *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(report_path.read_text())
    assert str(tmp_path) not in report_path.read_text()
    runs = {run["variant"]: run for run in report["runs"]}
    assert list(runs) == measured
    assert len({run["tokens"] for run in runs.values()}) == 1  # all have read the same rows, equally often
    (summary,) = report["summary"]
    for name, run in runs.items():
        assert run["seconds"] > run["pass_seconds"] >= 0
        assert run["padding"] >= 1
        if name == "bare":
            continue
        assert run["checkpoint_bytes"] > 0
        assert run["step_seconds"] < run["seconds"]
        assert sum(run["phases"].values()) == pytest.approx(run["seconds"] - run["pass_seconds"], abs=0.5)
        assert {"forward", "backward", "optimizer", "validation", "averaging checkpoints"} <= run["phases"].keys()
        assert len(summary["scores"]["by_seed"][name]) == 1
    assert runs["plain"]["phases"]["validation"] > runs["plain_once"]["phases"]["validation"]
    assert summary["ratios"]["stock/warm"]["median"] == runs["stock"]["seconds"] / runs["warm"]["seconds"]
    assert runs["cold"]["pass_seconds"] > runs["warm"]["pass_seconds"]  # the teacher has read the rows in it
    assert runs["warm"]["phases"]["loss log"] > 0
    assert "loss log" not in runs["plain"]["phases"]
    assert "where the seconds go" in done.stdout
    assert not list(tmp_path.glob("distillation-speed-*"))
