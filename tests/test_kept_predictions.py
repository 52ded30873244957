"""Predictions in the cache: made once for the same rows and model, and for nothing else."""

import numpy as np
import pandas as pd
import pytest

from automm_distill import cache
from automm_distill.kept_predictions import get_or_predict, recipe_of

FRAME = pd.DataFrame({"sentence": ["a", "b", "c"], "label": [0, 1, 0]})
CONTENT = {"entry": "teacher-rte-abc", "weights": "w1"}


class Model:
    """Predicts a number per row that follows from its text, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, frame):
        self.calls += 1
        return np.array([[ord(text), self.calls] for text in frame["sentence"]], dtype=float)


def ask(folder, model, frame=FRAME, content=CONTENT):
    recipe = recipe_of(content, frame, ("sentence",))
    return get_or_predict(folder / f"predictions-{cache.fingerprint(recipe)}", recipe, frame, model.predict, {})


def test_the_same_rows_are_predicted_once(tmp_path):
    model = Model()
    first = ask(tmp_path, model)
    assert np.array_equal(ask(tmp_path, model, FRAME.assign(label=1)), first), "labels are not read"
    assert model.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        {"frame": FRAME[:2]},
        {"frame": FRAME[::-1]},
        {"frame": FRAME.assign(sentence="x")},
        {"content": CONTENT | {"weights": "w2"}},
        {"content": CONTENT | {"entry": "teacher-rte-def"}},
    ],
)
def test_other_rows_another_order_and_another_model_are_predicted_anew(tmp_path, change):
    model = Model()
    ask(tmp_path, model)
    ask(tmp_path, model, **change)
    assert model.calls == 2
    ask(tmp_path, model)
    assert model.calls == 2


def test_damaged_predictions_are_made_again(tmp_path, caplog):
    model = Model()
    ask(tmp_path, model)
    (file,) = tmp_path.glob("predictions-*/*.npy")
    file.write_bytes(file.read_bytes()[:-8])
    assert ask(tmp_path, model)[0].tolist() == [ord("a"), 2]
    assert "damaged" in caplog.text
