"""A cached model's predictions for the rows that it is scored on, kept in the cache.

They are found only for the very same rows in the same order, so that a run that finds them has the numbers, to the last
bit, of one that does not: what a batch is padded to can change a prediction's last digit. (So can the number of
threads, which is in no key of the cache.)
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill import cache
from automm_distill.cache.keyed_parts import row_keys

FILE = "predictions.npy"

log = logging.getLogger(__name__)


def recipe_of(model: Mapping[str, Any], frame: pd.DataFrame, columns: tuple[str, ...]) -> dict[str, Any]:
    """All that the predictions of a model depend on.

    :param model: its content, as plain values.
    :param columns: of ``frame``, that it reads.
    """
    rows = hashlib.sha256(row_keys(frame, columns).tobytes()).hexdigest()
    return {"model": dict(model), "columns": list(columns), "rows": rows}


def get_or_predict(
    folder: Path,
    recipe: Mapping[str, Any],
    frame: pd.DataFrame,
    predict: Callable[[pd.DataFrame], np.ndarray],
    about: Mapping[str, Any],
) -> np.ndarray:
    """``predict(frame)``, or the same from an earlier run. If two processes lack them, one predicts, the other waits.

    :param folder: the entry of these predictions in the cache.
    :param about: kept in its manifest, for people.
    """

    def build(partial: Path) -> Mapping[str, Any]:
        partial.mkdir()
        np.save(partial / FILE, predict(frame))
        return {**about, "rows": len(frame)}

    predictions, found = cache.get_or_build(
        folder, recipe, not_before=0, build=build, load=lambda entry, _: np.load(entry / FILE)
    )
    if found:
        log.info("the predictions for %s rows are on disk", f"{len(frame):,}")
    return predictions
