"""Raw rows become texts, labels and ids; what cannot be used is counted, what makes no sense refused in one line."""

import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows.cleaning import NO_TRANSLATION, clean, warn_if_names_meet_numbers
from automm_distill.tasks import GLUE_TASKS, pawsx_task

RTE, STSB, MNLI, QNLI, SST2, QQP = (GLUE_TASKS[name] for name in ("rte", "stsb", "mnli", "qnli", "sst2", "qqp"))
PAIRS = pd.DataFrame(
    {
        "sentence1": ["a b", 'he said "no"', "ü, 你好"],
        "sentence2": ["c", "d", "e"],
        "label": [0, 1, 1],
        "idx": [4, 5, 6],
    }
)


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


@pytest.mark.parametrize(
    "labels",
    [
        ["1", "0", "1"],
        ["1.0", " 0 ", "1"],
        [1.0, 0.0, 1.0],
        [True, False, True],
        ["True", "False", "True"],
        ["duplicate", "not_duplicate", "duplicate"],
        ["Duplicate", "NOT DUPLICATE", "duplicate\r"],
        ["duplicate", "not-duplicate", 1],
        pd.Categorical(["duplicate", "not_duplicate", "duplicate"]),
        pd.array([1, 0, 1], dtype="Int64"),
    ],
)
def test_label_may_be_a_name_or_a_number_of_any_type(labels):
    rows = pd.DataFrame({"question1": list("abc"), "question2": list("def"), "label": labels})
    assert clean(rows, QQP, "x")["label"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("unknown", ["", "-", " - ", "-1", -1, -1.0, None, np.nan, "nan", pd.NA])
@pytest.mark.parametrize(("task", "known"), [(RTE, 1), (STSB, "3.800")])
def test_unknown_labels_are_dropped_and_counted(caplog, task, known, unknown):
    caplog.set_level("INFO", logger="automm_distill")
    frame = clean(PAIRS.assign(label=[known, unknown, known]), task, "x")
    assert frame["id"].tolist() == ["4", "6"]
    assert frame["label"].tolist() == [np.float32(known).item()] * 2
    assert "x: dropped 1 of 3 rows without a label" in caplog.text


@pytest.mark.parametrize(
    ("task", "labels", "line"),
    [
        (
            RTE,
            ["entailment", "contradiction", "neutral"],
            r"label 'contradiction' is not one of .*; found 'entailment', 'contradiction', 'neutral'",
        ),
        (RTE, [0, 0.5, 1], r"label 0\.5 is not one of"),
        (RTE, [{"label": 1}] * 3, r"label \{'label': 1\} is not one of"),
        (RTE, [np.array([1])] * 3, r"label array\(\[1\]\) is not one of"),
        (RTE, [pd.Timestamp(0)] * 3, r"label Timestamp\(.*\) is not one of"),
        (MNLI, [True, False, True], r"label True is not one of 0 \(entailment\), 1 \(neutral\), 2 \(contradiction\)"),
        (STSB, [True, False, True], r"label True is not a number from 0 to 5"),
        (STSB, ["3.8", "4,2", "1"], r"label '4,2' is not a number from 0 to 5; found '3\.8', '4,2', '1'"),
        (STSB, ["inf", "1", "2"], r"label 'inf' is not a number from 0 to 5"),
    ],
)
def test_labels_that_the_task_lacks_are_refused_with_what_was_found(task, labels, line):
    rows = PAIRS.rename(columns=dict(zip(("sentence1", "sentence2"), task.text_columns, strict=True)))
    with pytest.raises(UserError, match=f"^x: {line}"):
        clean(rows.assign(label=labels), task, "x")


def test_message_about_labels_stays_short():
    with pytest.raises(UserError, match=r"found 'l0', .*'l7' and 92 more; first in row 0"):
        clean(pd.DataFrame({"sentence": "a", "label": [f"l{n}" for n in range(100)]}), SST2, "x")


def test_missing_column_names_one_that_is_spelt_alike():
    with pytest.raises(UserError, match=r"x: column 'sentence2' is missing; found .*; rename 'Sentence_2'\?"):
        clean(PAIRS.rename(columns={"sentence2": "Sentence_2"}), RTE, "x")
    wide = pd.DataFrame(0, index=[0], columns=range(1000))
    with pytest.raises(
        UserError, match=r"x: column 'sentence1' is missing; found 0, 1, 2, 3, 4, 5, 6, 7 and 992 more$"
    ):
        clean(wide, RTE, "x")


def test_column_that_is_there_twice_is_refused():
    with pytest.raises(UserError, match="x: column 'label' is there 2 times"):
        clean(pd.concat([PAIRS, PAIRS["label"]], axis=1), RTE, "x")


@pytest.mark.parametrize("value", [["a", "b"], {"en": "a"}, b"a"])
def test_text_that_is_none_is_refused(value):
    with pytest.raises(
        UserError, match=r"x: column 'sentence2' is not text: row 1 \(counted from 0\) is a (list|dict|bytes)"
    ):
        clean(PAIRS.assign(sentence2=["c", value, "e"]), RTE, "x")


def test_numbers_and_categories_are_text():
    rows = PAIRS.assign(sentence1=pd.Series([1990, 2.5, None], dtype=object), sentence2=pd.Categorical(["c", "d", "c"]))
    assert clean(rows, RTE, "x")["sentence1"].tolist() == ["1990", "2.5"]


def test_hubs_name_of_a_column_comes_before_the_archives():
    rows = pd.DataFrame({"premise": "p", "hypothesis": "h", "sentence1": "x", "label": [2], "gold_label": "neutral"})
    assert clean(rows, MNLI, "x").to_dict("records") == [{"id": "0", "sentence1": "p", "sentence2": "h", "label": 2}]


@pytest.mark.parametrize("text", ["a\0b", "half of \ud83d a pair"])
def test_text_that_no_tokenizer_reads_is_refused_where_it_is_read(text):
    rows = pd.DataFrame({"sentence1": ["a", text], "sentence2": "b", "label": [0, 1]})
    with pytest.raises(UserError, match=r"x: column 'sentence1' row 1 \(counted from 0\) has a NUL or half of"):
        clean(rows, RTE, "x")
    assert len(clean(rows.rename(columns={"sentence1": "note"}).assign(sentence1="c"), RTE, "x")) == 2


def test_true_is_not_an_entailment_that_it_would_be_read_as_the_opposite_of():
    rows = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": "b", "label": [True, False]})
    with pytest.raises(UserError, match=r"label True is not one of 0 .entailment., 1 .not_entailment."):
        clean(rows, RTE, "x")
    mrpc = clean(rows, GLUE_TASKS["mrpc"], "x")
    assert mrpc["label"].tolist() == [1, 0]


@pytest.mark.parametrize("mark", ["NA", "null", "None", "N/A"])
def test_words_for_a_missing_label_are_none(mark):
    rows = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": "b", "label": ["1", mark]})
    assert clean(rows, RTE, "x")["label"].tolist() == [1]


def test_number_with_an_underscore_is_none():
    rows = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": "b", "label": ["1", "0_1"]})
    with pytest.raises(UserError, match=r"label '0_1' is not one of .*; first in row 1"):
        clean(rows, RTE, "x")


@pytest.mark.parametrize(
    ("train", "validation", "warned"),
    [(["not_entailment", "entailment"], [0, 1], True), ([0, 1], [1.0, None], False), (["Entailment"], ["-"], False)],
)
def test_names_in_one_file_and_numbers_in_another_are_said(caplog, train, validation, warned):
    splits = {"train": pd.DataFrame({"label": train}), "validation": pd.DataFrame({"label": validation})}
    warn_if_names_meet_numbers(splits, RTE)
    said = "rte: labels are names in train and numbers in validation; the numbers are taken for 0 (entailment), 1"
    assert (said in caplog.text) == warned
