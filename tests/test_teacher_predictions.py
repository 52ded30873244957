"""A teacher that is a file: what its columns say, which rows it is of, and what is refused."""

import gzip
import json
import logging

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax

from automm_distill.errors import UserError
from automm_distill.evaluation.scores import VALIDATION
from automm_distill.given_outputs import covered
from automm_distill.inputs.rows.splits import Splits, TrainValidation
from automm_distill.tasks import GLUE_TASKS, own_task, pawsx_task
from automm_distill.teachers import saving
from automm_distill.teachers.prediction_columns import SMALLEST, read_predictions
from automm_distill.teachers.prediction_file import open_file
from automm_distill.teachers.row_index import columns_about_rows

RTE, STSB, MNLI = GLUE_TASKS["rte"], GLUE_TASKS["stsb"], GLUE_TASKS["mnli"]
TEXTS = {"sentence1": ["a", "b", "c"], "sentence2": ["x", "y", "z"]}
P = np.array([[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])


def read(task=RTE, **columns):
    raw = pd.DataFrame(columns)
    return read_predictions(raw, task, columns_about_rows(raw, task), "file")


@pytest.mark.parametrize(
    "columns",
    [
        {"entailment": P[:, 0], "not_entailment": P[:, 1]},
        {"Not entailment": P[:, 1], " ENTAILMENT": P[:, 0]},
        {"entailment": ["0.9", "0.25", "0.5"], "not-entailment": ["0.1", "0.75", "0.5"]},
        {"entailment": [0.9, 0.252, 0.499], "not_entailment": [0.1, 0.756, 0.499]},
        {"probabilities": P.tolist()},
        {"probabilities": list(P)},
        {"probabilities": [json.dumps(row) for row in P.tolist()]},
    ],
)
def test_probabilities_become_their_logarithms_whatever_the_form(columns):
    found = read(id=["0", "1", "2"], **columns)
    assert found.form == "probabilities"
    np.testing.assert_allclose(found.outputs, np.log(P), atol=1e-12)


def test_logits_stay_as_they_are_and_are_told_from_probabilities():
    logits = [[2.0, -1.0], [0.5, 0.5], [3.0, 9.0]]
    by_class = read(id=["0", "1", "2"], entailment=[2.0, 0.5, 3.0], not_entailment=[-1.0, 0.5, 9.0])
    assert by_class.form == "logits"
    np.testing.assert_array_equal(by_class.outputs, logits)
    as_list = read(id=["0", "1", "2"], logits=P.tolist())  # called so, even though they sum to 1
    assert as_list.form == "logits"
    np.testing.assert_array_equal(as_list.outputs, P)


@pytest.mark.parametrize("labels", [["entailment", "Not Entailment", "not_entailment"], ["0", "1", "1.0"], [0, 1, 1]])
def test_labels_are_one_hot_and_finite(labels):
    found = read(id=["0", "1", "2"], label=labels)
    assert found.form == "labels"
    np.testing.assert_allclose(np.exp(found.outputs), [[1, SMALLEST], [SMALLEST, 1], [SMALLEST, 1]])


def test_a_class_without_probability_gets_the_smallest_one():
    found = read(id=["0"], probabilities=[[1.0, 0.0]])
    np.testing.assert_allclose(found.outputs, [[0.0, np.log(SMALLEST)]])
    assert softmax(found.outputs / 5)[0, 1] == pytest.approx(SMALLEST**0.2, rel=0.01)


def test_a_regression_has_values():
    assert read(STSB, id=["0", "1"], prediction=["2.5", "5.25"]).outputs.tolist() == [[2.5], [5.25]]
    assert read(STSB, id=["0", "1"], label=[0.0, 1e-3]).form == "values"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"entailment": [0.9, 0.3], "not_entailment": [0.1, 0.3]}, r"row 1 .* sums to 0.6, .*1 of 2 rows do"),
        ({"entailment": [0.9] * 3 + [-0.1], "not_entailment": [0.1] * 3 + [1.1]}, "row 3 .* has a negative number"),
        ({"probabilities": [[0.9, 0.1], [2.0, -1.0]]}, "row 1 .* has a negative number"),
        ({"probabilities": [[0.9, 0.1], [1.0]]}, "row 1 .* needs a list of 2 finite numbers"),
        ({"probabilities": [[0.9, 0.1], "0.9 0.1"]}, "row 1 .*'0.9 0.1'.* needs a list"),
        ({"entailment": [0.9, np.nan], "not_entailment": [0.1, 0.5]}, "row 1 .* has nan in column 'entailment'"),
        ({"entailment": ["0.9", "0,5"], "not_entailment": ["0.1", "0,5"]}, "row 1 .* has '0,5'"),
        ({"entailment": [90.0, 40], "not_entailment": [10.0, 60]}, "percentages; divide them by 100"),
        ({"entailment": [0.9, 0.3], "not_entailment": [0.4, 0.2]}, "all numbers are from 0 to 1, and no row sums to 1"),
        ({"entailment": [0.9, 0.5]}, "no column for not_entailment"),
        ({"entailment": [1, 0], "Entailment": [1, 0], "not_entailment": [0, 1]}, "two columns for one class"),
        ({"entailment": [1, 0], "not_entailment": [0, 1], "neutral": [0, 0]}, "column 'neutral' is neither"),
        ({"not_entailmet": [1, 0], "entailment": [0, 1]}, "'not_entailmet' .* rename it not_entailment"),
        ({"label": ["entailment", "neutral"]}, "label 'neutral' is not one of 0 \\(entailment\\)"),
        ({"label": ["entailment", ""]}, "row 1 .* has no label"),
        ({"label": [0, 1], "logits": [[1, 2], [2, 1]]}, "predictions in logits and label; keep one"),
        ({}, "has no predictions; needs a column for each of entailment, not_entailment"),
    ],
)
def test_what_is_no_prediction_is_refused_in_one_line(columns, message):
    with pytest.raises(UserError, match=message) as refused:
        read(id=[str(row) for row in range(len(next(iter(columns.values()), [0])))], **columns)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("values", [["2.5", "NaN"], [1.0, np.inf], ["high", "1"]])
def test_values_of_a_regression_are_finite(values):
    with pytest.raises(UserError, match="needs a finite number"):
        read(STSB, id=["0", "1"], prediction=values)


def frame(texts, first=0, label=0):
    rows = pd.DataFrame({"id": [str(first + row) for row in range(len(texts))], "sentence1": texts})
    return rows.assign(sentence2="x", label=label)


def splits_of(unlabelled=None):
    train = frame(["a", "b", "c", "d"])
    data = TrainValidation(train, frame(["h", "i"], first=4))
    return Splits(RTE, data, data, {"test": frame(["t", "u"])}, "rows", unlabelled)


def write(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_rows_are_found_by_texts_whatever_their_order_and_blanks(tmp_path, caplog):
    texts = ["t", " b", "a", "u", "d", "h"]
    path = write(tmp_path / "p.csv", sentence1=texts, sentence2=["x "] * 6, label=[0, 1, 0, 1, 1, 0])
    with caplog.at_level(logging.INFO, "automm_distill"):
        teacher, _ = open_file(path, RTE, splits_of())
    assert "rows found by their texts; it covers 3 of 4 training, 1 of 2 hold-out, 2 of 2 test rows" in caplog.text
    assert "labels, each taken for a probability of 1" in caplog.text
    assert covered(teacher.outputs.distillation).tolist() == [True, True, False, True]
    assert teacher.outputs.distillation[[0, 1, 3]].argmax(axis=1).tolist() == [0, 1, 1]
    assert list(teacher.outputs.whole_sets) == ["test"]
    assert teacher.coverage == {"training": (3, 4), "hold-out": (1, 2), "test": (2, 2)}


def test_texts_of_other_blanks_are_themselves_first(tmp_path):
    """Some networks tell them apart; the texts of a file that its run wrote are found as they were."""
    train = frame(["a b", "a  b", "a   b", "c  d"])
    data = TrainValidation(train, frame(["h"]))
    path, learnt = tmp_path / "p.csv", np.array([[0.0, -1.0], [2.0, 0.0], [np.nan, np.nan], [0.0, 3.0]])
    saving.save_predictions(path, RTE, [("train", train.assign(sentence1=["a b", "a  b", "x", "c d"]), learnt)])
    teacher, _ = open_file(path, RTE, Splits(RTE, data, data, {}, ""))
    found = teacher.outputs.distillation  # of "a   b" the file says two things
    np.testing.assert_array_equal(found, learnt)


def test_rows_are_found_by_ids_of_the_training_rows_unless_a_split_is_named(tmp_path):
    by_id, _ = open_file(write(tmp_path / "p.csv", idx=[4, 0, 1], label=[1, 1, 0]), RTE, splits_of())
    assert covered(by_id.outputs.distillation).tolist() == [True, True, False, False]
    assert covered(by_id.outputs.eval_sets[VALIDATION]).tolist() == [True, False]  # held out of the training rows
    assert not covered(by_id.outputs.eval_sets["test"]).any()
    path = write(tmp_path / "q.csv", id=["0", "0", "1.0"], split=["train", "test", "test"], label=[1, 0, 0])
    both, _ = open_file(path, RTE, splits_of())
    assert both.outputs.distillation[0].argmax() == 1
    assert both.outputs.eval_sets["test"].argmax(axis=1).tolist() == [0, 0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".json.gz"])
def test_all_formats_of_rows_are_read_and_have_one_fingerprint(tmp_path, suffix):
    rows = pd.DataFrame({**TEXTS, "entailment": P[:, 0], "not_entailment": P[:, 1]})
    path = tmp_path / f"p{suffix}"
    match suffix:
        case ".parquet":
            rows.to_parquet(path, index=False)
        case ".csv" | ".tsv":
            rows[::-1].to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
        case ".jsonl":
            rows.to_json(path, orient="records", lines=True)
        case _:
            with gzip.open(path, "wt") as file:
                file.write(rows.to_json(orient="records"))
    train = pd.DataFrame({"id": ["0", "1", "2"], **TEXTS, "label": 0})
    data = TrainValidation(train, train)
    teacher, _ = open_file(path, RTE, Splits(RTE, data, data, {"test": train}, ""))
    np.testing.assert_allclose(teacher.outputs.distillation, np.log(P), atol=1e-12)
    again = write(tmp_path / "again.csv", **TEXTS, probabilities=[json.dumps(row) for row in P.tolist()])
    assert open_file(again, RTE, Splits(RTE, data, data, {}, ""))[0].fingerprint == teacher.fingerprint
    other = write(tmp_path / "other.csv", **TEXTS, label=[0, 1, 1])
    assert open_file(other, RTE, Splits(RTE, data, data, {}, ""))[0].fingerprint != teacher.fingerprint


def test_unlabelled_rows_that_it_lacks_are_dropped_and_counted(tmp_path, caplog):
    unlabelled = frame(["v", "w", "z"]).drop(columns="label")
    path = write(tmp_path / "p.csv", sentence1=["a", "w"], sentence2=["x", "x"], label=[0, 1])
    with caplog.at_level(logging.INFO, "automm_distill"):
        teacher, splits = open_file(path, RTE, splits_of(unlabelled))
    assert splits.unlabelled["sentence1"].tolist() == ["w"]
    assert splits.left_out == {"without a prediction": 2}
    assert "2 of 3 unlabelled rows are dropped" in caplog.text
    assert len(teacher.outputs.distillation) == 5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sentence1": ["a", "b", "a"], "sentence2": ["x"] * 3, "label": [0, 1, 1]}, "rows 0 and 2 .* the same texts"),
        ({"id": [7, 1, 7], "label": [0, 1, 1]}, "rows 0 and 2 .* the same id '7' and different predictions"),
        ({"label": [0, 1]}, "says of no row which it is; needs a column idx or id, or the texts"),
        ({"sentence1": ["a"], "label": [0]}, "says of no row which it is"),
        ({"sentence1": ["q"], "sentence2": ["q"], "label": [0]}, "none of the 4 rows .* by their texts"),
        ({"id": ["99"], "label": [0]}, "none of the 4 rows .* by their ids"),
        (
            {"id": [0], "split": ["validation"], "label": [0]},
            "has 'validation'; needs one of train, unlabelled",
        ),
    ],
)
def test_rows_that_cannot_be_told_are_refused_in_one_line(tmp_path, columns, message):
    with pytest.raises(UserError, match=f"^--teacher_predictions .*{message}") as refused:
        open_file(write(tmp_path / "p.csv", **columns), RTE, splits_of())
    assert "\n" not in str(refused.value)


def test_the_same_prediction_twice_is_no_contradiction(tmp_path):
    path = write(tmp_path / "p.csv", id=[0, 0, 1], label=[1, 1, 0])
    assert covered(open_file(path, RTE, splits_of())[0].outputs.distillation).sum() == 2


def test_ids_that_several_languages_share_are_refused(tmp_path):
    path = write(tmp_path / "p.csv", id=[0, 1], label=[1, 0])
    with pytest.raises(UserError, match="rows in several languages share their ids; needs the texts"):
        open_file(path, pawsx_task("en"), splits_of(), languages=2)


def test_no_such_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"--teacher_predictions .*p\.csv: no such file"):
        open_file(tmp_path / "p.csv", RTE, splits_of())


@pytest.mark.parametrize("suffix", saving.SUFFIXES)
@pytest.mark.parametrize("name", ["mnli", "stsb"])
def test_what_is_written_is_read_again_digit_by_digit(tmp_path, suffix, name):
    task = GLUE_TASKS[name]
    random = np.random.default_rng(3)
    columns = max(1, len(task.classes))
    train, validation, tests = frame(["a", 'b, "c"\n', "a"]), frame(["h"]), frame(["a", "t"])
    learnt = random.normal(size=(3, columns)).astype(np.float32).astype(np.float64)
    noisy = learnt[:1] + 1e-4  # a test row of the same texts: the same network, in another batch
    path = tmp_path / f"p{suffix}"
    parts = [("train", train, learnt), ("hold-out", validation, random.normal(size=(1, columns)))]
    parts.append((next(iter(dict(task.test_splits))), tests, np.concatenate([noisy, np.full((1, columns), np.nan)])))
    assert saving.save_predictions(path, task, parts) == 5
    saving.require_place(path, task)  # one of ours may be replaced
    data = TrainValidation(train, validation)
    test_set = next(iter(dict(task.test_splits)))
    teacher, _ = open_file(path, task, Splits(task, data, data, {test_set: tests}, ""))
    expected = learnt[[0, 1, 0]]
    np.testing.assert_array_equal(teacher.outputs.distillation, expected)
    np.testing.assert_array_equal(teacher.outputs.eval_sets[test_set][0], learnt[0])
    assert teacher.outputs.whole_sets.keys() == {VALIDATION}


@pytest.mark.parametrize("suffix", saving.SUFFIXES)
def test_classes_may_be_called_like_columns_of_the_file(tmp_path, suffix):
    task = own_task("fields", ["sentence1", "sentence2"], ("id", "split", "label"), None, has_validation=False)
    rows, logits = frame(["a", "b"]), np.array([[1.0, 2.0, 3.0], [0.1, 0.2, -1 / 3]])
    path = tmp_path / f"p{suffix}"
    assert saving.save_predictions(path, task, [("train", rows, logits)]) == 2
    saving.require_place(path, task)
    data = TrainValidation(rows, rows[:0])
    teacher, _ = open_file(path, task, Splits(task, data, data, {}, ""))
    np.testing.assert_array_equal(teacher.outputs.distillation, logits)


def test_a_file_that_is_not_ours_is_not_replaced(tmp_path):
    path = write(tmp_path / "mine.csv", id=[0], label=[1])
    with pytest.raises(UserError, match=r"--save_teacher_predictions .*mine.csv: is there, and holds no predictions"):
        saving.require_place(path, RTE)
    with pytest.raises(UserError, match=r"needs a name that ends in \.parquet, \.csv, \.jsonl"):
        saving.require_place(tmp_path / "p.txt", RTE)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "p.jsonl"
    saving.save_predictions(path, RTE, [("train", frame(["a"]), np.array([[1.0, 2.0]]))])
    before = path.read_bytes()
    rows = frame(["a"]).assign(id=[object()])
    with pytest.raises(TypeError):
        saving.save_predictions(path, RTE, [("train", rows, np.array([[3.0, 4.0]]))])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.jsonl"]


def test_probabilities_of_scored_rows_give_the_same_probabilities_again():
    from automm_distill.given_outputs import as_outputs

    p = softmax(np.random.default_rng(0).normal(size=(5, 3)), axis=1)
    np.testing.assert_allclose(log_softmax(as_outputs(p), axis=1), np.log(p))
