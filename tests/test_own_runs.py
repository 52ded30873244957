"""Whole runs on the user's own rows, from the file to what is left and shown."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from automm_distill.cli import parse_settings, run_script
from automm_distill.evaluation import metrics
from automm_distill.export.command import run_export
from automm_distill.export.past_run import find_run, opened
from automm_distill.results import RESULTS, read_rows
from automm_distill.sweep.halving import read_validations

from .test_end_to_end import QUICK
from .test_own_rows import PAIRS, excel, write


@pytest.fixture
def flags(checkpoints, tmp_path):
    return [
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *(*QUICK, "--no_timing"),
    ]


def own(*argv):
    return run_script("own", argv)


def row_in(tmp_path):
    (row,) = read_rows(tmp_path / "results" / RESULTS)[0]
    return row


def test_file_from_excel_becomes_an_exported_student_in_one_command(flags, tmp_path, capsys):
    rows = PAIRS[:160].assign(label=["spam", "Not spam", "other one"] * 53 + ["spam"])
    rows.loc[3, "first"] = 'He said "no";\nand left'
    path = excel(tmp_path / "mails.csv", rows)
    export = ("--export", "onnx-int8", "--metric", "f1:Not spam")
    assert own("--train_path", str(path), "--text_columns", "first", "second", *export, *flags) == 0
    out, row = capsys.readouterr().out, row_in(tmp_path)
    assert out.startswith("mails, seed 123: teacher -> student\n")
    assert "f1:Not spam" in out
    assert row["classes"] == ["Not spam", "other one", "spam"]
    assert list(row["scores"]["test"]) == ["f1:Not spam", "accuracy"]
    settings = row["settings"]
    assert (settings["problem_type"], settings["text_columns"]) == ("classification", ["first", "second"])
    folder = Path(row["paths"]["student"]).parent
    form = folder / "export" / "onnx-int8"
    about = onnxruntime.InferenceSession(form / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["Not spam", "other one", "spam"]
    card = (form / "README.md").read_text()
    assert "python automm_distillation.py --train_path mails.csv --text_columns first second" in card
    assert "language:" not in card
    kept = pd.read_parquet(folder / "predictions.parquet")
    assert set(kept["label_class"]) == set(row["classes"])
    assert kept["student_class"].tolist() == [row["classes"][number] for number in kept["student"]]
    metric = metrics.named("f1:Not spam", row["classes"])
    outputs = np.stack(kept["student_probabilities"])
    score = metric.score(kept["label"].to_numpy(), metric.answers(outputs))
    assert row["scores"]["test"]["f1:Not spam"]["student"] == pytest.approx(score)

    path.rename(tmp_path / "data.csv")  # the run is found where its rows lie now
    (tmp_path / "moved").mkdir()
    (tmp_path / "data.csv").rename(tmp_path / "moved" / "mails.csv")
    argv = [str(folder), "--format", "onnx", "--dataset_path", str(tmp_path / "moved"), "--no_timing"]
    assert run_export(argv) == 0
    with opened(find_run(folder, str(tmp_path / "moved")), "student", with_teacher=False) as source:
        assert source.task.classes == tuple(row["classes"])


def test_regression_is_scored_by_its_error_where_less_is_better(flags, tmp_path, capsys):
    values = 1000 + 50 * PAIRS["idx"].map(lambda number: (number * 37) % 100)
    log = ("--validation_log", str(tmp_path / "validations"))
    path = write(tmp_path, PAIRS.assign(price=values)[["first", "price"]], "prices.jsonl")
    assert own("--train_path", str(path), "--label_column", "price", "--max_train_rows", "120", *log, *flags) == 0
    out, row = capsys.readouterr().out, row_in(tmp_path)
    assert row["problem_type"] == "regression"
    assert list(row["scores"]["test"]) == ["rmse", "pearson"]
    validated = [each.score for each in read_validations(tmp_path / "validations")]
    assert min(validated) == pytest.approx(row["validation"]["rmse"]["student"], rel=0.02), "in the labels' unit"
    by_role = row["scores"]["test"]["rmse"]
    assert all(500 < error < 5000 for error in by_role.values()), "in the labels' unit"
    gain = row["bootstrap"]["test"]["rmse"]["gain"]["value"]
    assert gain == pytest.approx(by_role["baseline"] - by_role["student"])
    assert "points rmse" not in out


def test_many_classes_some_with_a_single_row(flags, tmp_path):
    rows = PAIRS.assign(label=[f"intent {number % 150}" for number in range(400)])
    rows.loc[399, "label"] = "seen once"
    test = write(tmp_path, rows[:50], "test.csv")
    path = write(tmp_path, rows, "train.csv")
    where = ("--train_path", str(path), "--test_path", str(test), "--text_columns", "first", "second")
    assert own(*where, "--metric", "f1_macro", *flags) == 0
    row = row_in(tmp_path)
    assert len(row["classes"]) == 151
    kept = pd.read_parquet(row["paths"]["predictions"])
    assert len(kept["student_probabilities"].iloc[0]) == 151


def test_without_rows_of_ones_own_it_is_the_script_of_glue():
    seed = "--teacher_model a --student_model b --seed 123 --max_epoch 8 --hard_label_weight 0.5 --soft_label_weight 5"
    assert parse_settings("own", seed.split()) == parse_settings("glue", seed.split())
    assert parse_settings("own", ["--glue_task", "rte"]).glue_task == "rte"


def test_flags_of_own_rows_need_rows_to_train_on(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_settings("own", ["--test_path", "test.csv"])
    assert ended.value.code == 2
    assert "error: --train_path: needs the rows to train on" in capsys.readouterr().err
