"""The floor beside the models' scores: TF-IDF features and a linear model, trained in seconds on the same rows.

What a teacher is worth shows in how far it is above that. Pairs of texts are hard for it: it knows the words of each,
and not which of them belong together.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from automm_distill.evaluation.scores import pooled, score_all
from automm_distill.tasks import Task

MOST_ROWS, MOST_CLASS_ROWS = 20_000, 4_000_000  # training rows, and rows times classes
MOST_FEATURES = 20_000  # of each text column
FEWEST_WORDS = 0.5  # share of the rows that blanks have to take apart, else characters are read
LONGEST_WORD = 15  # characters between two blanks, of a text that blanks take apart

Scores = dict[str, dict[str, float | None]]


def floor_scores(task: Task, train: pd.DataFrame, tests: Mapping[str, pd.DataFrame], *, pool: bool) -> Scores:
    """``{test set: {metric: score}}`` of logistic regression, or of ridge regression for values.

    :param train: with the task's ``model_columns`` and ``label``; of very many rows some at random are used.
    :param pool: score the union of the test sets too.
    """
    predictions = predict(task, train, tests)
    labels = {name: frame["label"].to_numpy() for name, frame in tests.items()}
    outputs: Mapping[str, np.ndarray] = predictions
    if pool:
        labels, outputs = pooled(labels), pooled(predictions)
    found = score_all(task, labels, {"floor": outputs})
    return {name: {metric: by_role["floor"] for metric, by_role in metrics.items()} for name, metrics in found.items()}


def predict(task: Task, train: pd.DataFrame, tests: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Probabilities (rows, classes) per test set, or values (rows,)."""
    classes = len(task.classes)
    most = min(MOST_ROWS, MOST_CLASS_ROWS // max(1, classes))
    if len(train) > most:
        train = train.sample(most, random_state=0)
    readers = {
        column: _vectorizer(train[column]).fit(train[column])
        for column in task.model_columns
        if train[column].str.strip().any()  # of an empty column there is nothing to learn
    }

    def features(frame: pd.DataFrame) -> sparse.csr_matrix:
        return sparse.hstack([reader.transform(frame[column]) for column, reader in readers.items()], format="csr")

    labels = train["label"].to_numpy()
    if task.is_regression:
        ridge = Ridge().fit(features(train), labels)
        return {name: ridge.predict(features(frame)) for name, frame in tests.items()}
    logistic = LogisticRegression(C=10.0, max_iter=100).fit(features(train), labels)
    outputs = {}
    for name, frame in tests.items():
        outputs[name] = np.zeros((len(frame), classes))
        outputs[name][:, logistic.classes_] = logistic.predict_proba(features(frame))
    return outputs


def _vectorizer(texts: pd.Series) -> TfidfVectorizer:
    """Of words and pairs of words; where blanks do not take the texts apart, of up to three characters."""
    sample = texts.iloc[:1000]
    has_words = (sample.str.len() <= LONGEST_WORD * (1 + sample.str.count(" "))).mean() >= FEWEST_WORDS
    if has_words and texts.str.contains(r"\w").any():
        how = {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}
    else:
        how = {"analyzer": "char", "ngram_range": (1, 3)}
    return TfidfVectorizer(max_features=MOST_FEATURES, sublinear_tf=True, **how)
