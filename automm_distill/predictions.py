"""predictions.parquet: every model's prediction on every test row of a run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill.evaluation.metrics import predicted_labels

PREDICTIONS = "predictions.parquet"
PROBABILITIES = "_probabilities"  # after the role in a column's name


def write_predictions(
    path: Path, tests: Mapping[str, pd.DataFrame], outputs: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """One row per test row: ``test_set``, ``id``, ``label`` and, per role, its prediction.

    :param outputs: ``{role: {test set: output of Predictor.predict}}``. Of a classifier, ``<role>_probabilities``
        keeps the probabilities of all classes too.
    """
    frames = []
    for name, rows in tests.items():
        frame = rows[["id", "label"]].copy()
        frame.insert(0, "test_set", name)
        for role, output in outputs.items():
            frame[role] = predicted_labels(output[name])
            if output[name].ndim == 2:
                frame[f"{role}{PROBABILITIES}"] = list(output[name].astype(np.float32))
        frames.append(frame)
    pd.concat(frames, ignore_index=True).to_parquet(path, index=False)
