"""predictions.parquet: every model's prediction on every test row of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill.evaluation.metrics import predicted_labels

PREDICTIONS = "predictions.parquet"
PROBABILITIES = "_probabilities"  # after the role in a column's name


def write_predictions(
    path: Path,
    tests: Mapping[str, pd.DataFrame],
    outputs: Mapping[str, Mapping[str, np.ndarray]],
    classes: Sequence[str] = (),
) -> None:
    """One row per test row: ``test_set``, ``id``, ``label`` and, per role, its prediction.

    :param outputs: ``{role: {test set: output of Predictor.predict}}``. Of a classifier, ``<role>_probabilities``
        keeps the probabilities of all classes too.
    :param classes: the names behind the numbers of a classifier: ``label_class`` and ``<role>_class`` hold them,
        nothing for a label that is none of them.
    """
    names = pd.Series([*classes, None], dtype=object)
    frames = []
    for name, rows in tests.items():
        frame = rows[["id", "label"]].copy()
        frame.insert(0, "test_set", name)
        if classes:
            frame["label_class"] = names[frame["label"]].to_numpy()
        for role, output in outputs.items():
            if name not in output:  # of a teacher that is a file without these rows
                continue
            frame[role] = predicted_labels(output[name])
            if classes:
                frame[f"{role}_class"] = names[frame[role]].to_numpy()
            if output[name].ndim == 2:
                frame[f"{role}{PROBABILITIES}"] = list(output[name].astype(np.float32))
        frames.append(frame)
    pd.concat(frames, ignore_index=True).to_parquet(path, index=False)
