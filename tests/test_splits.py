"""Rows: cut and split alike for all models."""

import shutil

import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows.cleaning import clean
from automm_distill.inputs.rows.splits import TrainValidation, hold_out, load_splits
from automm_distill.inputs.rows.subsets import cut
from automm_distill.tasks import GLUE_TASKS

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


def test_regression_whose_labels_are_all_the_same_is_refused_as_that(tmp_path):
    write_splits(tmp_path / "stsb", dict.fromkeys(STSB.splits, pd.concat([PAIRS.assign(label=3.0)] * 20)))
    with pytest.raises(UserError, match=r"stsb/train: all 60 labels are 3; a regression needs different ones"):
        load_splits(make_settings(glue_task="stsb"), tmp_path)


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


@pytest.mark.parametrize("labels", [[0, 2] * 30 + [4] * 39 + [5], [n % 5 for n in range(1079)] + [5], [0, 1, 2] * 3])
def test_regression_hold_out_takes_labels_that_are_hardly_different(labels):
    """A single row with the highest label, which would be alone in its decile."""
    fold = hold_out(pd.DataFrame({"id": "0", "label": np.array(labels, dtype=float)}), STSB, seed=0)
    assert len(fold.train) + len(fold.validation) == len(labels)
    assert fold.validation["label"].min() < fold.validation["label"].max()


@pytest.mark.parametrize(
    ("task", "labels", "line"),
    [
        (RTE, [0, 1, 0], r"rte/train: 1 of 3 rows is of class not_entailment; it takes 2"),
        (RTE, [0] * 30 + [1], r"rte/train: 1 of 31 rows is of class not_entailment; it takes 2"),
        (RTE, [0, 1, 0, 1], r"4 training rows are too few to split off a hold-out with every class in it"),
        (STSB, [1.0], r"1 training rows are too few"),
        (STSB, [1.0, 2.0, 3.0], r"stsb/hold-out: all 1 labels are \d; a regression needs different ones"),
        (STSB, [5.0] * 50 + [1.0], r"stsb/hold-out: all 10 labels are 5; a regression needs different ones"),
    ],
)
def test_too_few_rows_for_a_hold_out_are_one_line(task, labels, line):
    with pytest.raises(UserError, match=line):
        hold_out(pd.DataFrame({"id": "0", "label": labels}), task, seed=0)


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


def test_training_rows_of_one_class_are_refused(tmp_path):
    write_splits(tmp_path / "rte", {"train": PAIRS.assign(label=1), "validation": PAIRS})
    with pytest.raises(UserError, match=r"rte/train: none of the 3 rows is of class entailment"):
        load_splits(make_settings(glue_task="rte"), tmp_path)


def test_language_that_only_the_teacher_learns_needs_no_test_split(tmp_path, datasets_folder):
    shutil.copytree(datasets_folder, tmp_path / "data")
    (tmp_path / "data" / "en" / "test.parquet").unlink()
    settings = make_settings(benchmark="pawsx", pawsx_teacher_tasks=("en", "de"), pawsx_student_tasks=("de",))
    assert list(load_splits(settings, tmp_path / "data").tests) == ["de"]
