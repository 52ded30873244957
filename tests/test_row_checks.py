"""What rows say before anything is trained: trained on too, repeated, longer than a model reads."""

import numpy as np
import pandas as pd
import pytest

from automm_distill import automm
from automm_distill.inputs import demo
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.checkpoints.opening import check_checkpoint, load_tokenizer
from automm_distill.inputs.rows import row_checks
from automm_distill.inputs.rows.row_texts import text_hashes
from automm_distill.inputs.rows.splits import Splits, TrainValidation
from automm_distill.tasks import GLUE_TASKS, pawsx_task

from .conftest import SENTENCES
from .fits import RTE, load, make_options, rows_of


def pairs(*texts: tuple[str, str], labels: list[float] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(texts, columns=["sentence1", "sentence2"])
    return frame.assign(id=[str(row) for row in frame.index], label=labels or [0] * len(frame))


def numbered(count: int, what: str = "row") -> list[tuple[str, str]]:
    return [(f"{what} {number}", "same") for number in range(count)]


def splits(train: pd.DataFrame, validation: pd.DataFrame, **tests: pd.DataFrame) -> Splits:
    data = TrainValidation(train, validation)
    return Splits(RTE, data, data, tests, "")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_test_rows_that_were_trained_on_or_held_out_are_counted_whatever_label_and_blanks(caplog):
    train, held_out = pairs(("a b", "c"), ("d", "e"), ("f", "g")), pairs(("h", "i"))
    test = pairs(("a b", "c"), ("a  b ", "c"), ("h", "i"), ("e", "d"), ("a", "b c"), ("new", "c"), labels=[1] * 6)
    row_checks.warn_about_rows(splits(train, held_out, test=test), RTE)
    assert said(caplog) == ["3 of 6 test rows of rte are training rows too: scores on them say little"]
    assert caplog.records[0].levelname == "WARNING"


def test_rows_of_another_validation_split_are_not_called_training_rows(caplog):
    rows = splits(pairs(("a", "b")), pairs(("c", "d")), en=pairs(("c", "d")), de=pairs(("a", "b"), ("c", "d")))
    row_checks.warn_about_rows(rows, pawsx_task("en"))
    assert said(caplog) == ["1 of 2 test rows of pawsx de are training rows too: scores on them say little"]


def test_rows_that_the_teacher_alone_was_trained_on_count_too(caplog):
    teacher, student = (TrainValidation(pairs(*rows), pairs(("v", "w"))) for rows in ([("a", "b")], [("c", "d")]))
    row_checks.warn_about_rows(
        Splits(pawsx_task("en"), teacher, student, {"en": pairs(("a", "b"))}, ""), pawsx_task("en")
    )
    assert said(caplog) == ["1 of 1 test rows of pawsx en are training rows too: scores on them say little"]


@pytest.mark.parametrize(
    ("task", "labels", "line"),
    [
        ("rte", [0, 0], "1 of 21 training rows repeat the texts of another"),
        (
            "rte",
            [0, 1],
            "1 of 21 training rows repeat the texts of another; 2 share their texts with a row of another class",
        ),
        ("stsb", [1.0, 1.5], "1 of 21 training rows repeat the texts of another"),
    ],
)
def test_repeats_and_their_contradictions_are_counted(caplog, task, labels, line):
    caplog.set_level("INFO", logger="automm_distill")
    train = pairs(("a", "b"), ("a", "b"), *numbered(19), labels=[*labels, *[0] * 19])
    row_checks.warn_about_rows(splits(train, pairs(("c", "d")), test=pairs(("e", "f"))), GLUE_TASKS[task])
    assert said(caplog) == [line]


def test_a_few_repeats_among_many_rows_are_nothing_to_say(caplog):
    caplog.set_level("INFO", logger="automm_distill")
    train = pairs(("a", "b"), ("a", "b"), *numbered(199))
    row_checks.warn_about_rows(splits(train, pairs(("c", "d")), test=pairs(("e", "f"))), RTE)
    assert said(caplog) == []


@pytest.fixture(scope="module")
def of_16_tokens(tmp_path_factory) -> Checkpoint:
    """A checkpoint that reads 16 tokens, and knows "word"."""
    folder = tmp_path_factory.mktemp("short") / "model"
    demo.make_checkpoint(folder, ["word row same"], demo.Shape(layers=1, width=16, heads=2, longest=16), seed=1)
    return Checkpoint(folder, "", 1, max_tokens=16)


def test_rows_longer_than_a_model_reads_are_said_for_each_model(caplog, of_16_tokens, checkpoints):
    """[CLS] 11 words [SEP] 1 word [SEP] are 15 tokens; with two words more they are 17."""
    caplog.set_level("INFO", logger="automm_distill")
    fits, long = ("word " * 11, "word"), ("word " * 13, "word")
    rows = splits(pairs(fits, fits, fits, long), pairs(fits), test=pairs(fits, long))
    both = {"teacher": Checkpoint(checkpoints / "teacher", "", 1, max_tokens=64), "student": of_16_tokens}
    row_checks.tell_of_cut_rows(rows, RTE, both)
    assert said(caplog) == [
        "25 % of the training rows and 50 % of the test rows are longer than the 16 tokens that the student reads, "
        "and are cut"
    ]


def test_of_many_rows_a_sample_is_counted_and_the_share_called_about(caplog, of_16_tokens):
    caplog.set_level("INFO", logger="automm_distill")
    fits, long = ("word", "word"), ("word " * 20, "word")
    rows = splits(pairs(*[fits, long] * 2000), pairs(fits), test=pairs(fits))
    row_checks.tell_of_cut_rows(rows, RTE, {"teacher": of_16_tokens})
    (line,) = said(caplog)
    share = float(line.removeprefix("about ").partition(" ")[0])
    assert share == pytest.approx(50, abs=4)
    assert "test rows" not in line


def test_all_rows_are_a_hundred_percent(caplog, of_16_tokens):
    caplog.set_level("INFO", logger="automm_distill")
    long = pairs(("word " * 20, "word"))
    row_checks.tell_of_cut_rows(splits(long, long, test=long), RTE, {"student": of_16_tokens})
    assert said(caplog)[0].startswith("100 % of the training rows and 100 % of the test rows are longer")


def test_tokens_are_counted_as_autogluon_makes_them(checkpoints, tmp_path):
    """Of a predictor that AutoGluon has made of the same checkpoint, on rows shorter and longer than it reads."""
    rows = rows_of("rte")
    automm.fit(tmp_path / "model", rows, RTE, make_options(checkpoints, "teacher"))
    frame = SENTENCES[:20].rename(columns={"idx": "id"})
    frame.loc[frame.index[-1], "sentence1"] = "the pilot " * 400
    tokenizer = load_tokenizer(checkpoints / "teacher")
    counted = row_checks.token_counts(tokenizer, frame[list(RTE.model_columns)])
    longest = check_checkpoint("--teacher_model", "teacher", checkpoints / "teacher", tuple(frame["sentence1"]))
    assert counted.max() > longest
    assert np.minimum(counted, longest).tolist() == load(tmp_path / "model").token_counts(frame).tolist()


def test_every_blank_that_python_knows_counts_as_one_between_words():
    blanks = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    texts = [f"a{blank}b" for blank in [*blanks, "  ", " \t "]] + [" a b", "a b ", "a b\n"]
    hashes = text_hashes(pd.DataFrame({"sentence": [*texts, "ab"]}), ["sentence"])
    assert len(set(hashes[:-1])) == 1
    assert hashes[0] == pd.util.hash_pandas_object(pd.DataFrame({"sentence": ["a b"]}), index=False)[0]
    assert hashes[-1] != hashes[0]
