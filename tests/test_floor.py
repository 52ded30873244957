"""The floor: what TF-IDF and a linear model make of texts whose words tell, of pairs, values and many classes."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from automm_distill.evaluation import floor
from automm_distill.tasks import GLUE_TASKS, own_task, pawsx_task

RANDOM = np.random.default_rng(1)
WORDS = {0: ("dull", "slow", "grey"), 1: ("bright", "quick", "red")}


def sentences(count: int) -> pd.DataFrame:
    labels = RANDOM.integers(0, 2, count)
    texts = [" ".join(RANDOM.permutation([*RANDOM.choice(WORDS[label], 2), "a", "day"])) for label in labels]
    return pd.DataFrame({"id": [str(n) for n in range(count)], "sentence": texts, "label": labels})


def test_words_that_tell_are_learnt():
    train, test = sentences(200), sentences(100)
    found = floor.floor_scores(GLUE_TASKS["sst2"], train, {"test": test}, pool=False)
    assert found == {"test": {"accuracy": 1.0}}


def test_probabilities_are_those_of_scikit_learns_own_pipeline():
    train, test = sentences(60), sentences(30).assign(label=0)
    outputs = floor.predict(GLUE_TASKS["sst2"], train, {"test": test})["test"]
    reader = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, max_features=20000)
    model = LogisticRegression(C=10.0).fit(reader.fit_transform(train["sentence"]), train["label"])
    assert outputs == pytest.approx(model.predict_proba(reader.transform(test["sentence"])), abs=1e-3)


def test_texts_without_blanks_are_read_by_their_characters():
    characters = {0: "山川雨雪风", 1: "猫狗鸟鱼虫"}
    labels = RANDOM.integers(0, 2, 200)
    texts = [
        "".join([*RANDOM.choice([*characters[label]], 3), *RANDOM.choice([*"一二三四五六七八九十"], 17)])
        for label in labels
    ]
    frame = pd.DataFrame({"id": "", "sentence1": texts, "sentence2": texts[::-1], "label": labels})
    found = floor.floor_scores(pawsx_task("zh"), frame[:150], {"zh": frame[150:], "ja": frame[150:]}, pool=True)
    assert list(found) == ["all", "zh", "ja"]
    assert found["zh"]["accuracy"] > 0.8


def test_values_are_learnt_in_their_unit():
    frame = sentences(300).assign(label=lambda rows: 1000 + 500 * rows["label"])
    task = own_task("prices", ["text"], (), None, has_validation=False)
    found = floor.floor_scores(task, frame[:200], {"test": frame[200:]}, pool=False)["test"]
    assert found["rmse"] < 100
    assert found["pearson"] > 0.98


def test_a_class_that_no_training_row_has_is_never_right():
    train, test = sentences(100), sentences(40)
    test.loc[:9, "label"] = 2
    found = floor.floor_scores(GLUE_TASKS["sst2"], train, {"test": test}, pool=False)
    assert found["test"]["accuracy"] == 0.75


def test_texts_without_a_word_and_columns_without_a_text_are_no_obstacle():
    pairs = pd.DataFrame({"id": "", "sentence1": ["", " "] * 20, "sentence2": ["?!", "..."] * 20, "label": [0, 1] * 20})
    found = floor.floor_scores(GLUE_TASKS["rte"], pairs, {"test": pairs}, pool=False)
    assert found["test"]["accuracy"] == 1


def test_a_thousand_classes_take_seconds():
    labels = np.arange(8000) % 1000
    texts = [f"word{label} some other words {number % 77}" for number, label in enumerate(labels)]
    frame = pd.DataFrame({"id": "", "sentence": texts, "label": labels})
    task = own_task("intents", ["text"], [f"c{n}" for n in range(1000)], None, has_validation=False)
    start = time.monotonic()
    found = floor.floor_scores(task, frame[:7000], {"test": frame[7000:]}, pool=False)
    assert time.monotonic() - start < 120, "on a busy machine"
    assert found["test"]["accuracy"] > 0.9
