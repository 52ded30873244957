"""Rows told apart by their texts alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# A blank that is not a single one between two words, or is another character that Python's split takes for one.
_UNEVEN = r"^ | $|  |[\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def text_hashes(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """One number for the texts of each row, whatever the blanks between their words: 64 bits, shape (rows,)."""
    texts = pd.DataFrame({column: _evenly_spaced(frame[column]) for column in columns})
    return pd.util.hash_pandas_object(texts, index=False, categorize=False).to_numpy()


def _evenly_spaced(texts: pd.Series) -> np.ndarray:
    """The texts with one blank between words, and none around them."""
    even = texts.to_numpy(dtype=object, copy=True)
    found = pc.match_substring_regex(pa.array(even, pa.large_string()), _UNEVEN)  # type: ignore[attr-defined]
    uneven = found.to_numpy(zero_copy_only=False)
    even[uneven] = [" ".join(text.split()) for text in even[uneven]]
    return even
