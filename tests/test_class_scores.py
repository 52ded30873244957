"""The table of classes, and the picture of which is taken for which."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from automm_distill import class_scores
from automm_distill.report import confusion


def predictions(classes: int, rows: int = 600) -> pd.DataFrame:
    random = np.random.default_rng(classes)
    label = random.integers(0, classes, rows) * random.integers(0, 2, rows)
    guesses = {
        role: np.where(random.uniform(size=rows) < skill, label, 0)
        for role, skill in (("baseline", 0.6), ("student", 0.8))
    }
    return pd.DataFrame({"label": label, **guesses})


def test_numbers_are_those_of_scikit_learn():
    frame, names = predictions(3), ["a", "b", "c"]
    table = class_scores.table(frame, names)
    for role, first in (("baseline", 2), ("student", 3)):
        report = classification_report(frame["label"], frame[role], target_names=names, output_dict=True)
        for line in table.rows:
            for column, kind in zip(range(first, 8, 2), ("precision", "recall", "f1-score"), strict=True):
                assert line[column] == f"{report[line[0]][kind]:.3f}"
            assert line[1] == f"{report[line[0]]['support']:,.0f}"


def test_rare_classes_share_a_line():
    table = class_scores.table(predictions(100), [f"c{n}" for n in range(100)])
    assert len(table.rows) == class_scores.MOST_CLASSES + 1
    assert table.rows[0][0] == "c0", "the most frequent one"
    assert table.rows[-1][0] == "70 others (means)"
    counts = [int(line[1].replace(",", "")) for line in table.rows]
    assert sum(counts) == 600
    assert counts[:-1] == sorted(counts[:-1], reverse=True)


def test_a_class_of_test_rows_alone_has_no_line():
    frame = predictions(3)
    frame.loc[:9, "label"] = 3
    table = class_scores.table(frame, ["a", "b", "c"])
    assert [line[0] for line in table.rows] == ["a", "b", "c"]
    assert sum(int(line[1]) for line in table.rows) == 590


@pytest.mark.parametrize("classes", [2, 3, 30, 100])
def test_picture_has_the_shares_of_each_true_class(classes):
    frame = predictions(classes)
    truth, predicted = frame["label"].to_numpy(), frame["student"].to_numpy()
    figure = confusion.draw(truth, predicted, [f"class {n}" for n in range(classes)], "title")
    (image,) = figure.axes[0].images
    shown = np.sort(np.argsort(-np.bincount(truth, minlength=classes), kind="stable")[: confusion.MOST_CLASSES])
    counts = np.bincount(truth, minlength=classes)[shown, None]
    expected = confusion_matrix(truth, predicted, labels=np.arange(classes))[np.ix_(shown, shown)]
    assert np.allclose(image.get_array(), expected / np.maximum(counts, 1))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [f"class {n}" for n in shown]
