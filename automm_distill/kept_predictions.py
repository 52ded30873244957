"""A cached model's predictions for the rows that it is scored on, kept in its cache entry.

They are found only for the very same rows in the same order, so that a run that finds them has the numbers, to the last
bit, of one that does not: what a batch is padded to can change a prediction's last digit.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill import cache
from automm_distill.cache.keyed_parts import row_keys

FOLDER, FILE = "predictions", "predictions.npy"

log = logging.getLogger(__name__)


def get_or_predict(
    entry: Path,
    weights_hash: str,
    frame: pd.DataFrame,
    columns: Sequence[str],
    predict: Callable[[pd.DataFrame], np.ndarray],
) -> np.ndarray:
    """``predict(frame)``, or the same from an earlier run.

    If two processes lack them, one predicts and the other waits.

    :param entry: the model's cache entry; ``weights_hash`` says which weights were loaded from it, which another run
        may have replaced since.
    :param columns: of ``frame``, that the model reads.
    """
    rows = hashlib.sha256(row_keys(frame, columns).tobytes()).hexdigest()
    recipe = {"weights": weights_hash, "columns": list(columns), "rows": rows}

    def build(folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True)
        np.save(folder / FILE, predict(frame))
        return {}

    with cache.locked(entry):  # nobody replaces it meanwhile
        if not (entry / cache.MANIFEST).exists():
            return predict(frame)
        predictions, found = cache.get_or_build(
            entry / FOLDER / cache.fingerprint(recipe),
            recipe,
            not_before=0,
            build=build,
            load=lambda folder, _: np.load(folder / FILE),
        )
    if found:
        log.info("the predictions for %s rows are on disk", f"{len(frame):,}")
    return predictions
