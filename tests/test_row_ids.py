"""Ids tell rows apart and join the languages of a sentence pair; an id that does neither groups nothing."""

import numpy as np
import pandas as pd
import pytest

from automm_distill.inputs.rows.row_ids import row_ids, separate_unrelated
from automm_distill.inputs.rows.splits import load_splits

from .conftest import make_settings, write_splits


def test_ids_have_one_spelling_in_all_languages(tmp_path, caplog):
    """A column with a missing entry is read as 1.0, 2.0: the same sentences as 1, 2 in another language."""
    caplog.set_level("INFO", logger="automm_distill")
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


@pytest.mark.parametrize(
    ("ids", "expected", "counts"),
    [
        (["", "", ""], ["0", "1", "2"], "0 of 3 rows apart (blank: 3, repeated: 0)"),
        ([None, np.nan, " "], ["0", "1", "2"], "0 of 3 rows apart (blank: 3, repeated: 0)"),
        ([7, 7, 7], ["0", "1", "2"], "0 of 3 rows apart (blank: 0, repeated: 3)"),
        ([5, None, 6], ["5", "row 1", "6"], "2 of 3 rows apart (blank: 1, repeated: 0)"),
        (["a", "b", "a"], ["row 0", "b", "row 2"], "1 of 3 rows apart (blank: 0, repeated: 2)"),
    ],
)
def test_blank_and_repeated_ids_group_nothing(caplog, ids, expected, counts):
    caplog.set_level("INFO", logger="automm_distill")
    assert row_ids(pd.DataFrame({"id": ids}), "de/test") == expected
    assert f"de/test: column 'id' tells {counts}" in caplog.text


def test_whole_numbers_with_gaps_are_ids_where_there_are_some():
    assert row_ids(pd.DataFrame({"id": pd.array([5, None, 6], dtype="Int64")}), "x") == ["5", "row 1", "6"]
    assert row_ids(pd.DataFrame({"id": np.array([5, 7, 6], dtype=np.uint8)}), "x") == ["5", "7", "6"]


def test_rows_without_ids_go_by_their_number_in_the_file():
    assert row_ids(pd.DataFrame({"label": [0, 1, 0]})[1:], "x") == ["1", "2"]


def languages(**labels):
    ids = [str(number) for number in range(40)]
    return {name: pd.DataFrame({"id": ids, "label": values}) for name, values in labels.items()}


def test_ids_of_translated_pairs_are_kept(caplog):
    """In PAWS-X up to 2 % of the labels differ between two languages."""
    labels = np.arange(40) % 2
    tests = languages(en=labels, de=np.where(np.arange(40) == 3, 1 - labels, labels), fr=labels)
    assert all(frame is tests[name] for name, frame in separate_unrelated(tests).items())
    assert not caplog.records


def test_ids_of_unrelated_rows_are_made_different(caplog):
    labels = np.arange(40) % 2
    other = np.arange(40) // 2 % 2
    separate = separate_unrelated(languages(en=labels, de=other, fr=labels, es=other))
    assert "unrelated labels in the test sets of en, fr and de, es: their rows are taken as independent" in caplog.text
    assert separate["en"]["id"].tolist() == separate["fr"]["id"].tolist() == [str(number) for number in range(40)]
    assert separate["de"]["id"].tolist() == separate["es"]["id"].tolist()
    assert not set(separate["en"]["id"]) & set(separate["de"]["id"])


def test_labels_of_one_class_contradict_nothing():
    tests = languages(en=np.ones(40), de=np.ones(40))
    assert separate_unrelated(tests)["de"] is tests["de"]


def test_unrelated_rows_are_found_before_they_are_cut(tmp_path, caplog):
    rows = pd.DataFrame({"id": range(40), "sentence1": "a", "sentence2": "b", "label": np.arange(40) % 2})
    for language, labels in (("en", rows["label"]), ("de", rows["id"] // 2 % 2)):
        write_splits(tmp_path / language, dict.fromkeys(("train", "validation", "test"), rows.assign(label=labels)))
    both = {"pawsx_teacher_tasks": ("en", "de"), "pawsx_student_tasks": ("en", "de")}
    tests = load_splits(make_settings("pawsx", **both, max_test_rows=10), tmp_path).tests
    assert "unrelated labels in the test sets of en and de" in caplog.text
    assert [len(frame) for frame in tests.values()] == [10, 10]
    assert not set(tests["en"]["id"]) & set(tests["de"]["id"])
