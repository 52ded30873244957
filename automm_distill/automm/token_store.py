"""Tokens of rows, made once for all models, seeds and runs of one tokenizer: kept in the cache folder, mapped to read.

An entry ``tokens-<fingerprint>`` holds what one tokenizer makes of rows, at one length; see
:mod:`automm_distill.cache.keyed_parts`.
"""

import hashlib
import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automm_distill import cache
from automm_distill.automm.token_sequences import set_up, tokenize
from automm_distill.cache import keyed_parts
from automm_distill.cache.keyed_parts import KeyedParts, row_keys
from automm_distill.versions import library_versions

TOKENS, SEGMENTS, LENGTHS = "tokens.npy", "segments.npy", "lengths.npy"
PART_ROWS = 65536
FEW_ROWS = 4096  # up to so many are made faster than found
TOKEN_FORMAT = 1  # of the files; raise it when they change, and older entries are no longer found

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InMemory:
    """Tokens that are not on disk, in one part; ``arrays`` as those of :class:`KeyedParts`."""

    arrays: list[tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class StoredRows:
    """Where the tokens of rows are.

    :param source: has ``arrays``: of each part, its rows' tokens and segments, one row after the other.
    :param part: of each row, (rows,); with ``start``, where it begins there, and ``lengths``, how long it is.
    """

    source: InMemory | KeyedParts
    part: np.ndarray
    start: np.ndarray
    lengths: np.ndarray


def tokens_of(processor: Any, texts: Mapping[str, Sequence[str]], folder: Path | None) -> StoredRows:
    """The rows' tokens; from the cache folder, and put there, unless they are few.

    :param processor: AutoGluon's text processor (data/process_text.py).
    :param texts: its columns, in its order.
    :param folder: the cache folder; None to keep nothing.
    """
    count = len(next(iter(texts.values())))
    # A tokenizer that is Python code has no content by which to know it again.
    if folder is None or count <= FEW_ROWS or not hasattr(processor.tokenizer, "backend_tokenizer"):
        made = tokenize(processor, texts)
        lengths = made.lengths.astype(np.int64)
        source = InMemory([(made.tokens, made.segments)])
        return StoredRows(source, np.zeros(count, dtype=int), np.cumsum(lengths) - lengths, lengths)
    keys = row_keys(texts, texts)
    stored = _stored(processor, texts, keys, folder)
    part, row = stored.places(stored.find(keys))
    start, lengths = np.empty((2, count), dtype=np.int64)
    for number, (_, _, of_part) in enumerate(stored.arrays):
        here = part == number
        lengths[here] = of_part[row[here]]
        start[here] = (np.cumsum(of_part, dtype=np.int64) - of_part)[row[here]]
    return StoredRows(stored, part, start, lengths)


def _stored(processor: Any, texts: Mapping[str, Sequence[str]], keys: np.ndarray, folder: Path) -> KeyedParts:
    """The entry with at least these rows; marked as in use as long as it is held."""
    recipe = _recipe(processor)
    entry = folder / f"tokens-{cache.fingerprint(recipe)}"
    mark = cache.mark_in_use(entry)

    def compute(chosen: np.ndarray) -> keyed_parts.Arrays:
        rows = chosen.tolist()
        made = tokenize(processor, {column: [values[row] for row in rows] for column, values in texts.items()})
        return {TOKENS: made.tokens, SEGMENTS: made.segments, LENGTHS: made.lengths}

    parts = keyed_parts.get_or_compute(
        entry,
        recipe,
        keys,
        compute,
        part_rows=PART_ROWS,
        tell=lambda missing, rows: log.debug("tokens: %d of %d rows are not in %s", missing, rows, entry),
        about={"task": f"tokens, at most {processor.max_len} a row"},
    )
    stored = KeyedParts(parts, (TOKENS, SEGMENTS, LENGTHS))
    weakref.finalize(stored, mark.close)
    return stored


def _recipe(processor: Any) -> dict[str, Any]:
    """All that the tokens of a row depend on, besides its texts."""
    set_up(processor.tokenizer)
    backend = processor.tokenizer.backend_tokenizer
    return {
        "tokenizer": hashlib.sha256(backend.to_str().encode()).hexdigest(),
        "reads_special_tokens_as_text": backend.encode_special_tokens,
        "special_tokens": [processor.cls_token_id, processor.sep_token_id, processor.eos_token_id],
        "max_tokens": processor.max_len,
        "segments": processor.text_segment_num,
        "format": TOKEN_FORMAT,
        "versions": library_versions(),
    }
