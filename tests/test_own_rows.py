"""The user's rows: where they may lie, which columns are read, and the task and splits that they make."""

import logging
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows import hub_rows, own_task
from automm_distill.inputs.rows.own_sources import hub_id, moved, task_name
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.settings import Settings
from automm_distill.tasks import Task
from automm_distill.teachers.prediction_file import open_file

from .conftest import SENTENCES, make_settings

WORDS = {0: "other", 1: "same"}
PAIRS = SENTENCES.assign(label=SENTENCES["label"].map(WORDS)).rename(
    columns={"sentence1": "first", "sentence2": "second"}
)


def own(path: Path, **changes) -> Settings:
    changes.setdefault("text_columns", ("first", "second"))
    return make_settings("own", train_path=str(path), **changes)


def loaded(path: Path, **changes):
    settings = own(path, **changes)
    return load_splits(settings, path.parent / "hub")


def write(folder: Path, frame: pd.DataFrame, name: str = "pairs.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if name.endswith(".csv"):
        frame.to_csv(folder / name, index=False)
    elif name.endswith(".jsonl"):
        frame.to_json(folder / name, orient="records", lines=True)
    else:
        frame.to_parquet(folder / name, index=False)
    return folder / name


def excel(path: Path, frame: pd.DataFrame) -> Path:
    """As Excel writes CSV in much of Europe: semicolons, a mark in front, CRLF, line breaks within quotation marks."""
    lines = [";".join(frame.columns)]
    for row in frame.itertuples(index=False):
        lines.append(";".join('"' + str(value).replace('"', '""') + '"' for value in row))
    path.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    return path


def test_one_file_makes_a_task_with_splits(tmp_path, caplog):
    caplog.set_level(logging.INFO, "automm_distill")
    splits = loaded(write(tmp_path, PAIRS))
    assert splits.task == Task(
        name="pairs",
        hub_id="",
        config="pairs",
        text_columns=("first", "second"),
        classes=("other", "same"),
        metrics=("accuracy", "f1_macro"),
        test_splits=(("test", "test"),),
        texts_may_be_empty=True,
    )
    sizes = len(splits.student.train), len(splits.student.validation), len(splits.tests["test"])
    assert sum(sizes) == 400
    assert sizes[2] == pytest.approx(80, abs=2)
    assert splits.teacher is splits.student
    rows = pd.concat([splits.student.train, splits.student.validation, splits.tests["test"]])
    assert rows.columns.tolist() == ["id", "sentence1", "sentence2", "label"]
    assert not rows["id"].duplicated().any()
    assert any("are test rows, since no --test_path is given" in message for message in caplog.messages)
    assert any("training rows of first + second; label has 2 classes (other" in message for message in caplog.messages)


def test_test_rows_are_the_same_for_all_seeds_and_share_no_text_with_others(tmp_path):
    path = write(tmp_path, pd.concat([PAIRS, PAIRS[:100]]).drop(columns="idx"))
    one, other = (loaded(path, seed=seed) for seed in (1, 2))
    assert one.tests["test"].equals(other.tests["test"])
    assert not one.student.train.equals(other.student.train)
    assert one.fingerprint == other.fingerprint
    texts = [
        set(frame["sentence1"] + frame["sentence2"])
        for frame in (one.tests["test"], pd.concat([one.student.train, one.student.validation]))
    ]
    assert not texts[0] & texts[1]


@pytest.mark.parametrize("form", ["semicolons", "jsonl", "parquet", "folder of files", "folder of splits", "saved"])
def test_all_forms_give_the_same_rows(tmp_path, form):
    train, test = PAIRS[:300].reset_index(drop=True), PAIRS[300:].reset_index(drop=True)
    expected = loaded(write(tmp_path, train), test_path=str(write(tmp_path, test, "test.csv")))
    folder = tmp_path / "other"
    test_path = write(folder / "t", test, "rows.jsonl")
    match form:
        case "semicolons":
            path = excel(folder / "train.csv", train)
        case "jsonl" | "parquet":
            path = write(folder, train, f"train.{form}")
        case "folder of files":
            write(folder / "rows", train[:100], "a.csv")
            path = write(folder / "rows", train[100:], "b.csv").parent
        case "folder of splits":
            write(folder / "rows", train, "train.csv")
            path = write(folder / "rows", test, "test.csv").parent
            test_path = None
        case "saved":
            rows = datasets.DatasetDict(
                {name: datasets.Dataset.from_pandas(frame) for name, frame in (("train", train), ("test", test))}
            )
            path, test_path = folder / "rows", None
            rows.save_to_disk(path)
    found = loaded(path, test_path=None if test_path is None else str(test_path))
    assert found.student.train.equals(expected.student.train)
    assert found.tests["test"].equals(expected.tests["test"])


def test_line_breaks_and_quotation_marks_in_fields_stay(tmp_path):
    train = PAIRS[:100].assign(first=[f'he said "{n}"\nand; left' for n in range(100)])
    (tmp_path / "x").mkdir()
    splits = loaded(excel(tmp_path / "x" / "pairs.csv", train))
    rows = pd.concat([splits.student.train, splits.student.validation, splits.tests["test"]])
    assert set(rows["sentence1"]) == set(train["first"])


def test_validation_rows_that_are_given_are_the_hold_out(tmp_path):
    path = write(tmp_path, PAIRS[:200])
    given = write(tmp_path, PAIRS[200:260], "dev.csv")
    splits = loaded(path, validation_path=str(given), test_path=str(write(tmp_path, PAIRS[300:], "test.csv")))
    assert (len(splits.student.train), len(splits.student.validation)) == (200, 60)
    assert splits.task.tuning_split == "validation"


def test_only_column_of_texts_is_found(tmp_path, caplog):
    caplog.set_level(logging.INFO, "automm_distill")
    path = write(tmp_path, PAIRS[["idx", "first", "label"]].assign(stars="3", price=2.5))
    assert loaded(path, text_columns=()).task.text_columns == ("first",)
    assert any("of first (the only column of texts)" in message for message in caplog.messages)
    with pytest.raises(UserError, match=r"several columns hold texts \(first, second\); name those to read, in their"):
        loaded(write(tmp_path, PAIRS), text_columns=())
    with pytest.raises(UserError, match="no column holds texts; found idx, label; name those"):
        loaded(write(tmp_path, PAIRS[["idx", "label"]]), text_columns=())


def test_columns_keep_the_order_that_is_asked_for_and_three_are_two_texts(tmp_path):
    path = write(tmp_path, PAIRS.assign(third=["" if n % 2 else f"note {n}" for n in range(400)]))
    splits = loaded(path, text_columns=("third", "second", "first"))
    row = splits.student.train.iloc[0]
    (raw,) = PAIRS[PAIRS["idx"].astype(str) == row["id"]].itertuples()
    assert row["sentence2"] == f"{raw.second}\n{raw.first}"
    assert row["sentence1"] in ("", f"note {row['id']}")
    both = loaded(path, text_columns=("second", "first", "third")).student.train
    assert not both["sentence2"].str.endswith("\n").any(), "an empty text adds no line"


def test_missing_labels_are_dropped_or_unlabelled_rows(tmp_path, caplog):
    caplog.set_level(logging.INFO, "automm_distill")
    labels = PAIRS["label"].mask(PAIRS["idx"] % 4 == 0)
    path = write(tmp_path, PAIRS.assign(label=labels))
    test = str(write(tmp_path, PAIRS[:50], "test.csv"))
    splits = loaded(path, test_path=test)
    assert len(splits.student.train) + len(splits.student.validation) == 300
    assert splits.unlabelled is None
    assert any("dropped 100 of 400 rows without a label; --unlabelled_path rest" in line for line in caplog.messages)
    asked = loaded(path, test_path=test, unlabelled_path=("rest",))
    unlabelled = PAIRS[labels.isna() & (PAIRS["idx"] >= 50)].drop_duplicates(["first", "second"])
    assert len(asked.unlabelled) == pytest.approx(len(unlabelled), abs=10), "but for repeats of labelled rows"
    cut = loaded(path, test_path=test, unlabelled_path=("rest",), max_train_rows=100)
    assert len(cut.unlabelled) > len(asked.unlabelled) + 100
    with pytest.raises(UserError, match="rest: every training row has a label; give --max_train_rows, or a file"):
        loaded(write(tmp_path, PAIRS), test_path=test, unlabelled_path=("rest",))


def test_rare_classes_are_trained_on_and_a_class_of_test_rows_alone_counts_as_wrong(tmp_path, caplog):
    caplog.set_level(logging.INFO, "automm_distill")
    train = PAIRS[:100].copy()
    train.loc[3, "label"] = "rare"
    test = PAIRS[200:240].copy()
    test.loc[test.index[:4], "label"] = "unheard of"
    splits = loaded(write(tmp_path, train), test_path=str(write(tmp_path, test, "test.csv")))
    assert splits.task.classes == ("other", "rare", "same")
    assert (splits.student.train["label"] == 1).sum() == 1
    assert (splits.student.validation["label"] == 1).sum() == 0
    assert (splits.tests["test"]["label"] == 3).sum() == 4
    assert "4 of 40 rows are of classes that no training row has ('unheard of'): no model can be right" in caplog.text
    assert "1 of 3 classes have too few rows to be in the hold-out" in caplog.text


def test_a_thousand_classes(tmp_path):
    rows = pd.concat([PAIRS] * 8, ignore_index=True).drop(columns="idx")
    rows["first"] += [f" {n}" for n in range(len(rows))]
    rows["label"] = [f"intent {n % 1000}" for n in range(len(rows))]
    splits = loaded(write(tmp_path, rows), test_path=str(write(tmp_path, rows[:200], "test.csv")))
    assert len(splits.task.classes) == 1000
    assert splits.student.train["label"].nunique() == 1000, "a model learns every class"
    assert len(splits.student.validation) > 300


@pytest.mark.parametrize(("low", "high"), [(-1e6, 1e6), (0.001, 0.002)])
def test_regression_of_any_range(tmp_path, low, high):
    values = [low + (high - low) * n / 399 for n in range(400)]
    splits = loaded(write(tmp_path, PAIRS.assign(label=values)))
    assert splits.task.is_regression
    assert splits.task.metrics == ("rmse", "pearson")
    assert splits.student.train["label"].between(low, high).all()
    assert not own(tmp_path, problem_type="classification").is_regression


def test_what_the_rows_say_completes_the_settings(tmp_path):
    path = write(tmp_path, PAIRS.assign(label=PAIRS["idx"] / 7))
    settings = own(path, text_columns=("second",))
    assert settings.is_regression is None
    assert settings.soft_label_loss_type is None
    found = own_task.resolved(settings, load_splits(settings, tmp_path).task)
    assert (found.problem_type, found.metric, found.text_columns) == ("regression", "rmse", ("second",))
    assert found.soft_label_loss_type == "mean_square_error"
    with pytest.raises(UserError, match="--soft_label_loss_type cross_entropy: a regression has no classes"):
        own_task.resolved(own(path, soft_label_loss_type="cross_entropy"), load_splits(settings, tmp_path).task)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_column": "lable"}, "--train_path .*pairs.csv: column 'lable' is missing; .*; rename 'label'?"),
        ({"text_columns": ("first", "thrid")}, "--train_path .*pairs.csv: column 'thrid' is missing; found idx, first"),
        ({"text_columns": ("label",)}, r"--text_columns label: is the column with the label \(--label_column\)"),
        ({"test_path": "none.csv"}, "--test_path: none.csv: is neither a file nor a folder"),
        ({"metric": "f1:x"}, "--metric f1:x: no training row is of class 'x'; found other, same"),
        ({"metric": "rmse"}, "--metric rmse: is not for classification; needs one of accuracy, f1_macro"),
        (
            {"metric": "auc"},
            "--metric auc: needs one of accuracy, f1_macro, f1_micro, matthews, roc_auc, f1:CLASS, rmse",
        ),
        ({"problem_type": "regression"}, "label 'other' is no number|label 'same' is no number"),
        (
            {"problem_type": "regression", "metric": "f1_macro"},
            "f1_macro: is not for regression; needs one of rmse",
        ),
        ({"unlabelled_path": ("test",)}, "--unlabelled_path test: models are scored on the test rows; name a file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, changes, message):
    path = write(tmp_path, PAIRS)
    with pytest.raises(UserError, match=message) as refused:
        loaded(path, **changes)
    assert "\n" not in str(refused.value)


def test_rows_that_make_no_task_are_one_line(tmp_path):
    with pytest.raises(UserError, match="roc_auc: needs two classes, the labels have 3; use f1_macro"):
        loaded(write(tmp_path, PAIRS.assign(label=PAIRS["idx"] % 3)), metric="roc_auc")
    with pytest.raises(UserError, match="none of the 400 rows has a label in column 'label'"):
        loaded(write(tmp_path, PAIRS.assign(label=None)))
    with pytest.raises(UserError, match="no row is left with a text"):
        loaded(write(tmp_path, PAIRS.assign(first="", second=" ")))
    with pytest.raises(UserError, match="3 rows are too few to take test rows off them; name some with --test_path"):
        loaded(write(tmp_path, PAIRS[:3]))

    many = PAIRS.assign(label=[f"label {row}" for row in range(len(PAIRS))])
    with pytest.raises(UserError, match="too few to take test rows off them by class, of which there are 400; name"):
        loaded(write(tmp_path, many))
    with pytest.raises(UserError, match="pairs/train: all 320 labels are 3; a regression needs different ones"):
        loaded(write(tmp_path, PAIRS.assign(label=3)), problem_type="regression")
    with pytest.raises(UserError, match="--text_columns first first: names a column twice"):
        loaded(write(tmp_path, PAIRS), text_columns=("first", "first"))
    with pytest.raises(UserError, match="--label_column '': is empty"):
        own(tmp_path / "pairs.csv", label_column="")


def test_a_text_under_two_labels_stays_on_one_side(tmp_path):
    twice = pd.concat([PAIRS, PAIRS.assign(label="other"), PAIRS.assign(label="same")], ignore_index=True)
    splits = loaded(write(tmp_path, twice.drop(columns="idx")))
    texts = [
        set(zip(*(part[column] for column in splits.task.model_columns), strict=True))
        for part in (splits.tests["test"], pd.concat([splits.student.train, splits.student.validation]))
    ]
    assert all(texts)
    assert not set.intersection(*texts)


def test_rows_without_ids_are_told_by_their_numbers(tmp_path):
    ids = loaded(write(tmp_path, PAIRS.drop(columns="idx"))).student.train["id"]
    assert ids.str.fullmatch(r"row \d+").all()
    assert not loaded(write(tmp_path, PAIRS)).student.train["id"].str.startswith("row").any()


def test_another_spelling_of_a_class_is_named(tmp_path, caplog):
    test = write(tmp_path, PAIRS[:40].assign(label=PAIRS["label"].str.upper()).assign(idx=range(1000, 1040)), "t.csv")
    test.write_text(test.read_text().replace("OTHER", "other"))
    loaded(write(tmp_path, PAIRS), test_path=str(test))
    assert "'SAME' is spelled 'same' in the training rows, and is another class" in caplog.text


def test_a_teacher_file_by_ids_covers_test_rows_that_were_training_rows(tmp_path):
    splits = loaded(write(tmp_path, PAIRS))
    file = write(tmp_path, pd.DataFrame({"idx": PAIRS["idx"], "label": PAIRS["label"]}), "answers.csv")
    found, _ = open_file(file, splits.task, splits)
    assert all(covered == rows for covered, rows in found.coverage.values())
    assert found.coverage["test"][0] == len(splits.tests["test"])


def test_rest_has_no_test_rows_in_it(tmp_path, caplog):
    caplog.set_level(logging.INFO, "automm_distill")
    frame = PAIRS.assign(label=PAIRS["label"].where(PAIRS.index % 4 > 0))
    splits = loaded(write(tmp_path, frame), unlabelled_path=("rest",))
    assert splits.unlabelled_count == 100
    assert not splits.left_out.get("that are test rows")
    with pytest.raises(UserError, match="every training row has a label; give --max_train_rows, or a file"):
        loaded(write(tmp_path, PAIRS), unlabelled_path=("rest",))


def test_task_is_called_as_its_rows(tmp_path):
    (tmp_path / "reviews").mkdir()
    assert task_name(str(write(tmp_path / "reviews", PAIRS, "train.csv"))) == "reviews"
    assert task_name(str(write(tmp_path, PAIRS, "my reviews (1).jsonl"))) == "my_reviews_1_"
    assert task_name(str(tmp_path / "reviews")) == "reviews"
    assert task_name("owner/emotions:split") == "emotions-split"


def test_names_of_the_hub_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_id("owner/emotions:split") == hub_id("owner/emotions") == "owner/emotions"
    assert hub_id("data/reviews.csv") is None, "a file that is not there"
    assert hub_id("./reviews") is hub_id("../data/reviews") is hub_id("reviews") is None
    (tmp_path / "owner" / "emotions").mkdir(parents=True)
    assert hub_id("owner/emotions") is None


@pytest.mark.parametrize("config", [None, "third"])
def test_configurations_that_a_data_set_has_are_named(tmp_path, config):
    """By what datasets itself says of a repository with two."""
    parts = "".join(f"- config_name: {name}\n  data_files: {name}.csv\n" for name in ("first", "second"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{parts}---\n")
    for name in ("first", "second"):
        write(tmp_path, PAIRS[:5], f"{name}.csv")
    with pytest.raises(ValueError, match="onfig") as raised:
        datasets.load_dataset(str(tmp_path), config)
    assert hub_rows._explain(raised.value) == "its configurations are first, second"


def test_test_rows_beside_that_have_no_labels_are_not_scored(tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    folder = tmp_path / "rows"
    path = write(folder, PAIRS[:100], "train.csv").parent
    write(folder, PAIRS[100:150].assign(label=np.nan), "test.csv")
    assert set(loaded(path).tests["test"]["sentence1"]) <= set(PAIRS["first"][:100]), "some of the training rows"
    assert "(test): its rows have no labels and are not scored" in caplog.text
    with pytest.raises(UserError, match="none of the 50 rows has a label"):
        loaded(path, test_path=str(folder / "test.csv"))


def test_files_that_were_moved_are_found_under_their_names(tmp_path):
    write(tmp_path, PAIRS, "train.csv")
    settings = {"train_path": "elsewhere/train.csv", "test_path": "elsewhere/test.csv", "validation_path": None}
    assert moved(settings, tmp_path) == {"train_path": str(tmp_path / "train.csv")}
