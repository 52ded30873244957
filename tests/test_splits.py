"""Rows: read from every kind of file, cleaned, cut and split alike for all models."""

import shutil

import datasets
import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.cleaning import NO_TRANSLATION, clean
from automm_distill.inputs.raw_rows import read_splits
from automm_distill.inputs.splits import TrainValidation, cut, hold_out, load_splits
from automm_distill.tasks import GLUE_TASKS, pawsx_task

from .conftest import make_settings, write_splits

RTE, STSB, MNLI, QNLI, SST2 = (GLUE_TASKS[name] for name in ("rte", "stsb", "mnli", "qnli", "sst2"))
PAIRS = pd.DataFrame(
    {
        "sentence1": ["a b", 'he said "no"', "ü, 你好"],
        "sentence2": ["c", "d", "e"],
        "label": [0, 1, 1],
        "idx": [4, 5, 6],
    }
)


def save(frame, path):
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path, index=False)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".tsv":  # as GLUE writes it: no quoting
            lines = ["\t".join(map(str, row)) for row in [frame.columns, *frame.to_numpy()]]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl"])
def test_every_file_format_gives_the_same_rows(tmp_path, suffix):
    (tmp_path / "rte").mkdir()
    for split in RTE.splits:
        save(PAIRS, tmp_path / "rte" / f"{split}.{suffix}")
    frame = clean(read_splits(tmp_path, RTE, RTE.splits)["train"], RTE, "rte/train")
    assert frame.to_dict("list") == {
        "id": ["4", "5", "6"],
        "sentence1": ["a b", 'he said "no"', "ü, 你好"],
        "sentence2": ["c", "d", "e"],
        "label": [0, 1, 1],
    }


@pytest.mark.parametrize("nested", [True, False])
def test_save_to_disk_folder_is_read(tmp_path, nested):
    folder = tmp_path / "rte" if nested else tmp_path
    rows = datasets.Dataset.from_pandas(PAIRS)
    if not nested:
        rows.info.config_name = "rte"  # as load_dataset("nyu-mll/glue", "rte") sets it
    datasets.DatasetDict(dict.fromkeys(RTE.splits, rows)).save_to_disk(folder)
    assert read_splits(tmp_path, RTE, RTE.splits)["validation"]["idx"].tolist() == [4, 5, 6]


def test_save_to_disk_folder_of_another_configuration_is_refused(tmp_path):
    rows = datasets.Dataset.from_pandas(PAIRS)
    rows.info.config_name = "rte"
    datasets.DatasetDict(dict.fromkeys(RTE.splits, rows)).save_to_disk(tmp_path)
    with pytest.raises(UserError, match="holds the configuration 'rte', not 'mrpc'"):
        read_splits(tmp_path, GLUE_TASKS["mrpc"], ("train",))


@pytest.mark.parametrize(
    ("task", "frame", "line"),
    [
        (RTE, PAIRS.drop(columns="sentence2"), r"x: column 'sentence2' is missing; found sentence1, label, idx"),
        (RTE, PAIRS.drop(columns="label"), r"x: column 'label' is missing"),
        (RTE, PAIRS.assign(label=[0, 1, 2]), r"x: label 2 is not one of 0 \(entailment\), 1 \(not_entailment\)"),
        (RTE, PAIRS.assign(label=["0", "1", "maybe"]), r"x: label 'maybe' is not one of 0"),
        (RTE, PAIRS.assign(label=-1), r"x: no row is left with a text and a label \(of 3\)"),
        (STSB, PAIRS.assign(label=[0.0, 5.0, 5.5]), r"x: label 5\.5 is not a number from 0 to 5"),
    ],
)
def test_bad_rows_are_refused_in_one_line(task, frame, line):
    with pytest.raises(UserError, match=line):
        clean(frame, task, "x")


def test_label_that_is_a_list_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"x: label \[1\] is not one of 0 \(entailment\)"):
        clean(PAIRS.assign(label=[[1], [0], [1]]), RTE, "x")


def test_regression_whose_labels_are_all_the_same_is_refused_as_that(tmp_path):
    write_splits(tmp_path / "stsb", dict.fromkeys(STSB.splits, pd.concat([PAIRS.assign(label=3.0)] * 20)))
    with pytest.raises(UserError, match=r"stsb/train: all 60 labels are 3; a regression needs different ones"):
        load_splits(make_settings(glue_task="stsb"), tmp_path)


def test_ids_have_one_spelling_in_all_languages(tmp_path, caplog):
    """A column with a missing entry is read as 1.0, 2.0: the same sentences as 1, 2 in another language."""
    whole = pd.DataFrame(
        {"id": [1, 2, 3, 4], "sentence1": list("abcd"), "sentence2": list("efgh"), "label": [0, 1] * 2}
    )
    write_splits(tmp_path / "en", dict.fromkeys(("train", "validation", "test"), whole))
    write_splits(tmp_path / "de", dict.fromkeys(("train", "validation", "test"), whole.astype({"id": float})))
    settings = make_settings("pawsx", pawsx_teacher_tasks=("en", "de"), pawsx_student_tasks=("en", "de"))
    tests = load_splits(settings, tmp_path).tests
    assert tests["en"]["id"].tolist() == tests["de"]["id"].tolist() == ["1", "2", "3", "4"]
    assert "share no ids" not in caplog.text
    write_splits(tmp_path / "de", {"test": whole.assign(id=[11, 12, 13, 14])})
    load_splits(settings, tmp_path)
    assert "the test sets of en, de share no ids: their rows are taken as independent" in caplog.text


@pytest.mark.parametrize("damage", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow", "cut off"])
def test_broken_save_to_disk_folder_is_one_line(tmp_path, damage):
    datasets.DatasetDict(dict.fromkeys(RTE.splits, datasets.Dataset.from_pandas(PAIRS))).save_to_disk(tmp_path / "rte")
    if damage == "cut off":
        path = tmp_path / "rte" / "train" / "data-00000-of-00001.arrow"
        path.write_bytes(path.read_bytes()[:100])
    else:
        (tmp_path / "rte" / "train" / damage).unlink()
    with pytest.raises(UserError, match=r"--dataset_path: .*rte.*; save it again"):
        read_splits(tmp_path, RTE, RTE.splits)


def test_rows_without_label_or_text_are_dropped_and_counted(caplog):
    frame = pd.DataFrame(
        {
            "id": range(6),
            "sentence1": ["a", "b", NO_TRANSLATION, "d", None, "f"],
            "sentence2": ["a", " ", "c", "d", "e", "f"],
            "label": [0, 1, 1, -1, 0, None],
        }
    )
    caplog.set_level("INFO", logger="automm_distill")
    assert clean(frame, pawsx_task("de"), "de/train")["id"].tolist() == ["0"]
    assert "de/train: dropped 2 of 6 rows without a label" in caplog.text
    assert "de/train: dropped 3 of 6 rows without text" in caplog.text


def test_class_names_are_as_good_as_numbers():
    frame = clean(PAIRS.assign(label=["not_entailment", "entailment", "1"]), RTE, "x")
    assert frame["label"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(("task", "first", "second"), [(MNLI, "premise", "hypothesis"), (QNLI, "question", "sentence")])
def test_columns_sort_in_reading_order_whatever_their_names(task, first, second):
    frame = clean(pd.DataFrame({second: ["later"], first: ["earlier"], "label": [0]}), task, "x")
    assert [frame[column][0] for column in sorted(task.model_columns)] == ["earlier", "later"]


def test_single_sentence_task_has_one_text_column():
    assert SST2.model_columns == ("sentence",)


def test_hold_out_is_stratified_seeded_and_disjoint():
    frame = clean(
        pd.DataFrame({"sentence1": map(str, range(1000)), "sentence2": "b", "label": [0, 0, 0, 1] * 250}), RTE, "x"
    )
    fold = hold_out(frame, RTE, seed=1)
    assert (len(fold.train), len(fold.validation)) == (800, 200)
    assert fold.validation["label"].mean() == 0.25
    assert not set(fold.train["sentence1"]) & set(fold.validation["sentence1"])
    assert hold_out(frame, RTE, seed=1).fingerprint == fold.fingerprint
    assert hold_out(frame, RTE, seed=2).fingerprint != fold.fingerprint


@pytest.mark.parametrize(("rows", "held_out"), [(2490, 498), (3668, 500), (8551, 855), (67349, 2500), (392702, 3927)])
def test_hold_out_is_as_large_as_autogluons(rows, held_out):
    frame = pd.DataFrame({"id": "0", "label": np.arange(rows) % 2})
    assert len(hold_out(frame, RTE, seed=0).validation) == held_out


def test_regression_hold_out_spans_the_label_range():
    labels = np.linspace(0, 5, 500)
    fold = hold_out(pd.DataFrame({"id": "0", "label": labels}), STSB, seed=0)
    deciles = np.histogram(fold.validation["label"], bins=10, range=(0, 5))[0]
    assert deciles.tolist() == [10] * 10


def test_cut_chooses_the_same_ids_in_every_language():
    english = pd.DataFrame({"id": [str(n) for n in range(100)], "text": "en"})
    german = english.drop(index=[3, 50]).assign(text="de")
    kept = [set(cut(frame, 20, seed=7)["id"]) for frame in (english, german)]
    assert len(kept[0]) == len(kept[1]) == 20
    assert len(kept[0] & kept[1]) >= 18
    assert cut(english, 20, seed=7)["id"].astype(int).is_monotonic_increasing
    assert set(cut(english, 20, seed=8)["id"]) != kept[0]
    assert cut(english, 100, seed=7) is english


def test_fingerprint_sees_texts_labels_and_order_but_not_ids():
    frame = pd.DataFrame({"id": ["1", "2"], "sentence": ["a", "b"], "label": [0, 1]})
    same = TrainValidation(frame, frame).fingerprint
    assert TrainValidation(frame.assign(id=["3", "4"]), frame).fingerprint == same
    for changed in (frame.assign(sentence=["a", "c"]), frame.assign(label=[1, 0]), frame[::-1]):
        assert TrainValidation(changed, frame).fingerprint != same


def test_glue_shares_one_fold_and_mnli_has_two_test_sets(datasets_folder):
    splits = load_splits(make_settings(glue_task="mnli"), datasets_folder)
    assert splits.teacher is splits.student
    assert {name: len(frame) for name, frame in splits.tests.items()} == {"matched": 40, "mismatched": 60}
    assert splits.tests["matched"]["id"].iloc[0] == "120", "matched rows must come from validation_matched"
    only = load_splits(make_settings(glue_task="mnlimm"), datasets_folder)
    assert list(only.tests) == ["mismatched"]


def test_pawsx_teacher_and_student_languages_may_differ(datasets_folder):
    settings = make_settings(benchmark="pawsx", pawsx_teacher_tasks=("en", "de"), pawsx_student_tasks=("de",))
    splits = load_splits(settings, datasets_folder)
    assert len(splits.teacher.train) == 240
    assert len(splits.student.train) == 120
    assert list(splits.tests) == ["de"]
    assert len(splits.tests["de"]) == 59, "the row without translation is dropped"


def test_missing_split_is_named(tmp_path):
    write_splits(tmp_path / "rte", {"train": PAIRS})
    with pytest.raises(UserError, match=r"split 'validation' is missing in .*; found train\.parquet"):
        read_splits(tmp_path, RTE, RTE.splits)


def test_training_rows_of_one_class_are_refused(tmp_path):
    write_splits(tmp_path / "rte", {"train": PAIRS.assign(label=1), "validation": PAIRS})
    with pytest.raises(UserError, match=r"rte/train: none of the 3 rows is of class entailment"):
        load_splits(make_settings(glue_task="rte"), tmp_path)


def test_language_that_only_the_teacher_learns_needs_no_test_split(tmp_path, datasets_folder):
    shutil.copytree(datasets_folder, tmp_path / "data")
    (tmp_path / "data" / "en" / "test.parquet").unlink()
    settings = make_settings(benchmark="pawsx", pawsx_teacher_tasks=("en", "de"), pawsx_student_tasks=("de",))
    assert list(load_splits(settings, tmp_path / "data").tests) == ["de"]
