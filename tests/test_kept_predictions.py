"""Predictions in a cache entry: made once for the same rows and weights, and for nothing else."""

import numpy as np
import pandas as pd
import pytest

from automm_distill import cache
from automm_distill.kept_predictions import FOLDER, get_or_predict

FRAME = pd.DataFrame({"sentence": ["a", "b", "c"], "label": [0, 1, 0]})


@pytest.fixture
def entry(tmp_path):
    """A finished cache entry with a file of weights."""
    folder = tmp_path / "teacher-rte-abc"
    folder.mkdir()
    (folder / "model.ckpt").write_bytes(b"weights")
    cache.write_manifest(folder, {}, {})
    return folder


class Model:
    """Predicts a number per row that follows from its text, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, frame):
        self.calls += 1
        return np.array([[ord(text), self.calls] for text in frame["sentence"]], dtype=float)


def ask(entry, model, frame=FRAME, weights="w1"):
    return get_or_predict(entry, weights, frame, ["sentence"], model.predict)


def test_the_same_rows_are_predicted_once(entry):
    model = Model()
    first = ask(entry, model)
    assert np.array_equal(ask(entry, model, FRAME.assign(label=1)), first), "labels are not read"
    assert model.calls == 1
    assert cache.verified_manifest(entry)["files"].keys() == {"model.ckpt"}, "the entry itself is as it was"


@pytest.mark.parametrize(
    "change", [{"frame": FRAME[:2]}, {"frame": FRAME[::-1]}, {"frame": FRAME.assign(sentence="x")}, {"weights": "w2"}]
)
def test_other_rows_another_order_and_other_weights_are_predicted_anew(entry, change):
    model = Model()
    ask(entry, model)
    ask(entry, model, **change)
    assert model.calls == 2
    ask(entry, model)
    assert model.calls == 2


def test_damaged_predictions_are_made_again(entry, caplog):
    model = Model()
    ask(entry, model)
    (file,) = entry.glob(f"{FOLDER}/*/*.npy")
    file.write_bytes(file.read_bytes()[:-8])
    assert ask(entry, model)[0].tolist() == [ord("a"), 2]
    assert "damaged" in caplog.text


def test_entry_that_is_gone_is_not_begun_again(entry):
    model = Model()
    (entry / cache.MANIFEST).unlink()
    ask(entry, model)
    assert not (entry / FOLDER).exists()
