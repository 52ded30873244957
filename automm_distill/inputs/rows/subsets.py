"""Some of many rows, by their ids alone."""

import numpy as np
import pandas as pd


def cut(frame: pd.DataFrame, rows: int | None, seed: int) -> pd.DataFrame:
    """A random choice of ``rows`` rows in their order; the same ids are chosen in every language."""
    if rows is None or len(frame) <= rows:
        return frame
    key = f"{seed:016d}"[-16:]
    rank = pd.util.hash_array(frame["id"].to_numpy(dtype=object), hash_key=key, categorize=False)
    chosen = np.sort(np.argsort(rank, kind="stable")[:rows])
    return frame.iloc[chosen].reset_index(drop=True)
