"""Students that leave as files: with --export, and by the command for a run that is over."""

import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import transformers

from automm_distill import export_table as table
from automm_distill.cli import run_script
from automm_distill.errors import TrainingError
from automm_distill.export import card, checking, requirements
from automm_distill.export.command import run_export
from automm_distill.export_formats import FORMATS
from automm_distill.predictions import PREDICTIONS
from automm_distill.results import RESULTS, append_row, read_rows
from automm_distill.tasks import GLUE_TASKS
from automm_distill.text_table import as_text

from .test_end_to_end import QUICK, ROOT


@pytest.fixture(scope="module")
def flags(checkpoints, datasets_folder, tmp_path_factory):
    """Of quick runs that share a folder of results."""
    folder = tmp_path_factory.mktemp("export")
    return [
        *("--dataset_path", str(datasets_folder)),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(folder / "cache"), "--output_folder", str(folder / "results")),
        *QUICK,
    ]


def row_of(flags, task):
    rows, _ = read_rows(Path(flags[flags.index("--output_folder") + 1]) / RESULTS)
    return next(row for row in rows if row["task"].startswith(task))


def folder_of(row):
    return Path(row["paths"]["student"]).parent


@pytest.fixture(scope="module")
def exported(flags):
    """The row of a run with all forms, timed, and how it ended on the screen."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "automm_distillation_glue.py"), "--glue_task", "rte", "--export", *FORMATS, *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    return row_of(flags, "rte"), done.stdout


@pytest.fixture(scope="module")
def finished(flags):
    """The folder of a run on PAWS-X that exported nothing."""
    languages = ["--pawsx_teacher_tasks", "en", "de", "--pawsx_student_tasks", "en", "de"]
    assert run_script("pawsx", [*languages, *flags, "--no_timing"]) == 0
    return folder_of(row_of(flags, "pawsx"))


def test_run_leaves_checked_forms_with_their_cards(exported):
    row, out = exported
    folder, export = folder_of(row), row["export"]
    assert sorted(path.name for path in (folder / "export").iterdir()) == sorted(FORMATS)
    assert not list(folder.glob(".export-*")), "nothing is left of the work"
    assert list(export["forms"]) == list(FORMATS)
    assert list(export["models"]) == ["teacher", "student"]
    for form, found in export["forms"].items():
        assert found["path"] == str(folder / "export" / form)
        assert found["rows"] == row["rows"]["test"]["test"] == 60
        assert found["other_tokens"] == 0
        gain = found["gains"]["test"]["value"]
        assert found["recommended"] == (100 * gain >= -1), "of 60 rows, one is more than a point"
        assert found["latency"] > 0
        assert found["throughput"] > 0
        if form != "onnx-int8":
            assert found["agreement"] == 1
            assert found["largest_difference"] < 1e-4
            assert found["scores"]["test"]["accuracy"] == row["scores"]["test"]["accuracy"]["student"]
            assert gain == 0
    assert len(out.splitlines()) <= 14 + 8
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(FORMATS)] == list(FORMATS)
    assert any(line.startswith("teacher ") and " -> student " in line and line.endswith("x") for line in lines)
    assert max(map(len, lines[: lines.index(next(line for line in lines if line.startswith("export ")))])) <= 80
    summary = (folder / "summary.md").read_text()
    assert "## Export" in summary
    assert str(folder / "export" / "onnx") in summary


def test_pipeline_gives_the_kept_predictions(exported):
    row, _ = exported
    folder = folder_of(row)
    kept = pd.read_parquet(folder / PREDICTIONS)[:10]
    rows = pd.read_parquet(Path(row["settings"]["dataset_path"]) / "rte" / "validation.parquet").set_index("idx")
    texts = rows.loc[kept["id"].astype(int), ["sentence1", "sentence2"]].to_numpy()
    classify = transformers.pipeline("text-classification", str(folder / "export" / "hf"), truncation=True, top_k=None)
    for text, probabilities in zip(texts, kept["student_probabilities"], strict=True):
        (answer,) = classify([{"text": text[0], "text_pair": text[1]}])
        by_name = {each["label"]: each["score"] for each in answer}
        assert by_name["entailment"] == pytest.approx(probabilities[0], abs=1e-5)
        assert by_name["not_entailment"] == pytest.approx(probabilities[1], abs=1e-5)


@pytest.mark.parametrize("form", FORMATS)
def test_card_is_one_that_the_hub_reads_and_its_code_runs(exported, form, tmp_path):
    row, _ = exported
    folder = folder_of(row) / "export" / form
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license is None, "left to the user"
    (result,) = card.data.eval_results
    assert result.metric_value == round(row["export"]["forms"][form]["scores"]["test"]["accuracy"], 4)
    for part in ("60 test rows", "Limits", "autogluon.multimodal 1.6.3", "--glue_task rte"):
        assert part in card.text
    (code,) = (part.removeprefix("python\n") for part in card.text.split("```") if part.startswith("python\n"))
    done = subprocess.run(
        [sys.executable, "-c", code.replace("FOLDER", str(folder))], capture_output=True, text=True, check=True
    )
    assert "entailment" in done.stdout


def test_check_runs_without_autogluon(exported):
    row, _ = exported
    code = (
        "import sys, runpy\n"
        "runpy.run_module('automm_distill.export.exported', run_name='__main__', alter_sys=True)\n"
        "sys.exit(any(name.startswith('autogluon') for name in sys.modules))"
    )
    folder = folder_of(row)
    rows = folder / "rows.parquet"
    pd.DataFrame({"one": ["a"], "other": ["b"]}).to_parquet(rows)
    for form in FORMATS:
        command = [
            sys.executable,
            "-c",
            code,
            str(rows),
            str(folder / "logits.npy"),
            form,
            str(folder / "export" / form),
        ]
        subprocess.run(command, check=True, cwd=ROOT)
        assert np.load(folder / "logits.npy").shape == (1, 2)
    rows.unlink()
    (folder / "logits.npy").unlink()


def test_command_exports_a_run_that_is_over(finished, capfd):
    assert run_export([str(finished), "--format", "onnx", "--no_timing"]) == 0
    out = capfd.readouterr().out
    assert len(out.splitlines()) <= 8
    assert out.splitlines()[-1] == f"export   {finished / 'export'}"
    rows, _ = read_rows(finished.parent / RESULTS)
    row = next(row for row in rows if row["run"] == finished.name)
    found = row["export"]["forms"]["onnx"]
    assert found["agreement"] == 1
    assert list(found["scores"]) == ["all", "en", "de"]
    assert found["scores"]["all"]["accuracy"] == row["scores"]["all"]["accuracy"]["student"]
    assert run_export([str(finished), "--format", "hf", "--no_timing", "--trim_vocabulary", "0"]) == 0
    rows, _ = read_rows(finished.parent / RESULTS)
    forms = next(row for row in rows if row["run"] == finished.name)["export"]["forms"]
    assert list(forms) == ["hf"], "what was measured together"
    assert (finished / "export" / "onnx" / "model.onnx").exists(), "what was there stays"
    assert forms["hf"]["other_tokens"] == 0
    vocabulary = forms["hf"]["vocabulary"]
    assert vocabulary["after"] < vocabulary["before"]
    assert forms["hf"]["bytes"] < found["bytes"]
    assert forms["hf"]["largest_difference"] < 1e-4, "test rows have no words of their own here"


def test_teacher_and_baseline_get_folders_of_their_own(finished, capfd):
    before = (finished.parent / RESULTS).read_bytes()
    for role in ("teacher", "baseline"):
        assert run_export([str(finished), "--model", role, "--format", "onnx", "--no_timing"]) == 0
        assert (finished / "export" / f"{role}-onnx" / "model.onnx").exists()
        assert f"{role} (PyTorch)" in capfd.readouterr().out
    assert (finished.parent / RESULTS).read_bytes() == before, "the row is about the student"


def test_regression_is_exported_in_its_own_units(flags):
    assert run_script("glue", ["--glue_task", "stsb", "--export", "hf", "onnx", "--no_timing", *flags]) == 0
    row = row_of(flags, "stsb")
    for found in row["export"]["forms"].values():
        assert found["agreement"] is None
        assert found["largest_difference"] < 1e-4
        for metric, value in found["scores"]["test"].items():
            assert value == pytest.approx(row["scores"]["test"][metric]["student"], abs=1e-4)
    kept = pd.read_parquet(folder_of(row) / PREDICTIONS)
    assert kept["student"].between(-5, 10).all()


def test_worse_form_is_kept_and_not_recommended(exported):
    row, _ = exported
    worse = deepcopy(row)
    found = worse["export"]["forms"]["onnx-int8"]
    found["gains"] = {"test": {"value": -0.0185, "low": -0.0302, "high": -0.0026}}
    rte = GLUE_TASKS["rte"]
    assert not checking.is_recommended(found, rte, margin=1.0)
    assert checking.is_recommended(found, rte, margin=1.9)
    undefined = {"gains": {"test": {"value": None}}, "scores": {"test": {"accuracy": None}}}
    assert checking.is_recommended(undefined, rte, margin=1.0), "an undefined score says nothing"
    languages = {"all": {"value": 0.0}, "zh": {"value": -0.02}}
    of_languages = {"gains": languages, "scores": {name: {"accuracy": 0.8} for name in languages}}
    assert not checking.is_recommended(of_languages, rte, margin=1.0), "one language counts as all do"
    found["recommended"] = False
    for model in worse["export"]["models"].values():
        model |= {"bf16": {"latency": 0.1234, "throughput": 1234.5}, "latency": 0.1234, "throughput": 1234.5}
    shown = as_text(table.table(worse), 80).splitlines()
    assert len(shown) == 6, "one line each, at the widest"
    assert shown[-1].startswith("onnx-int8 * ")
    assert "-1.85 (-3.02, -0.26)" in shown[-1]
    assert table.warning(worse) == ("* not recommended: 1.85 points worse on test, more than --export_margin 1")
    assert "**Not recommended**: it is worse than the PyTorch model by more than 1 point." in card.card(
        "onnx-int8", worse
    )
    assert "Not recommended" not in card.card("hf", worse)
    assert "int8" not in table.sentence(worse["export"])
    assert table.warning(row) == ""


def test_disk_that_fills_up_leaves_the_forms_that_were_there(finished):
    code = (
        "import resource, sys; from automm_distill.export.command import run_export\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.exit(run_export(sys.argv[1:]))"
    )
    before = sorted(path.relative_to(finished) for path in finished.rglob("*"))
    command = [sys.executable, "-c", code, str(finished), "--model", "teacher", "--format", "hf", "--no_timing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert sorted(path.relative_to(finished) for path in finished.rglob("*")) == before


def test_run_whose_export_fails_has_its_result(flags, tmp_path, monkeypatch, capfd):
    def fail(*args, **kwargs):
        raise TrainingError("export onnx: the exported files cannot be used: for a test")

    monkeypatch.setattr(checking, "logits_of", fail)
    own = [*flags, "--output_folder", str(tmp_path / "results"), "--resume", "--no_timing"]
    assert run_script("glue", ["--glue_task", "rte", "--export", "onnx", *own]) == 0
    ((row,), _) = read_rows(tmp_path / "results" / RESULTS)
    assert row["export"] == {"reason": "export onnx: the exported files cannot be used: for a test"}
    assert "Not exported: export onnx: the exported files cannot be used" in capfd.readouterr().out
    assert not (folder_of(row) / "export").exists()


def test_missing_libraries_are_said_before_training(flags, finished, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "onnxruntime" else name)
    own = [*flags, "--output_folder", str(tmp_path / "results")]
    assert run_script("glue", ["--glue_task", "rte", "--export", "hf", "onnx-int8", *own]) == 2
    assert not (tmp_path / "results" / RESULTS).exists()
    assert run_export([str(finished), "--format", "onnx", "--no_timing"]) == 2
    script, command = (line for line in capfd.readouterr().err.splitlines() if "error: " in line)
    assert "--export onnx-int8: needs onnxruntime, not installed here; pip install onnxruntime" in script
    assert "--format onnx: needs onnxruntime, not installed here; pip install onnxruntime" in command


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["missing"], "missing: no such folder; needs that of a run"),
        (["{results}"], "has no run of that name; needs the folder of a run"),
        (["{run}", "--format", "tflite"], "invalid choice: 'tflite'"),
        (["{run}", "--export_margin", "-1"], "--export_margin -1.0: needs 0 or more"),
        (["{run}", "--export_margin", "nan"], "--export_margin nan: needs a finite number"),
        (["{run}", "--trim_vocabulary", "-1"], "--trim_vocabulary -1: needs 0 or more"),
    ],
)
def test_mistakes_are_one_line(finished, capfd, argv, line):
    places = {"run": finished, "results": finished.parent}
    try:
        status = run_export([each.format(**places) for each in argv])
    except SystemExit as end:  # of the parser
        status = end.code
    assert status == 2
    assert line in capfd.readouterr().err.splitlines()[-1]


def test_past_runs_that_cannot_be_exported_are_one_line(finished, tmp_path, capfd):
    rows, _ = read_rows(finished.parent / RESULTS)
    row = next(row for row in rows if row["run"] == finished.name)
    (tmp_path / "empty").mkdir()
    append_row(tmp_path, row | {"run": "empty"})
    (tmp_path / "old").mkdir()
    append_row(tmp_path, row | {"run": "old", "version": "0.2", "rows": {}})
    assert run_export([str(tmp_path / "empty"), "--no_timing"]) == 2
    assert run_export([str(tmp_path / "old"), "--no_timing"]) == 2
    empty, old = (line for line in capfd.readouterr().err.splitlines() if "error: " in line)
    assert "its student is not available (no model.ckpt in" in empty
    assert "made by version 0.2 of this program" in old


def test_other_rows_than_the_runs_are_refused(finished, datasets_folder, tmp_path, capfd):
    for language in ("en", "de"):
        shutil.copytree(datasets_folder / language, tmp_path / language)
    file = tmp_path / "en" / "test.parquet"
    pd.read_parquet(file)[:-1].to_parquet(file)
    assert run_export([str(finished), "--dataset_path", str(tmp_path)]) == 2
    assert f"--dataset_path {tmp_path}: its rows are not those of the run" in capfd.readouterr().err
