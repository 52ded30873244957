"""Texts -> token sequences: those that AutoGluon's text processor makes row by row, made for many rows at once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from automm_distill.progress import batch_starts

CHUNK = 4096  # rows per call of the tokenizer


@dataclass(frozen=True)
class TokenSequences:
    """Rows one after the other: tokens and segments, both (all tokens,), and how many of them are each row's, (rows,).

    :param tokens: int32.
    :param segments: int8.
    :param lengths: int32.
    """

    tokens: np.ndarray
    segments: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Column:
    """Tokens of one text column, row after row, (all tokens,), and how many of them are each row's, (rows,)."""

    tokens: np.ndarray
    lengths: np.ndarray


def tokenize(processor: Any, texts: Mapping[str, Sequence[str]]) -> TokenSequences:
    """The sequences of all rows; chunks of them side by side where torch has several threads.

    :param processor: AutoGluon's text processor (data/process_text.py), without its augmentation.
    :param texts: its columns, in its order.
    """
    count = len(next(iter(texts.values())))

    def of_chunk(start: int) -> TokenSequences:
        columns = [values[start : start + CHUNK] for values in texts.values()]
        return assemble(processor, [_tokenized(processor.tokenizer, values) for values in columns])

    set_up(processor.tokenizer)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # the tokenizers library lets go of Python's lock
        made = threads.map(of_chunk, range(0, count, CHUNK))
        chunks = [next(made) for _ in batch_starts("tokenizing", count, CHUNK)]
    return TokenSequences(
        np.concatenate([chunk.tokens for chunk in chunks]),
        np.concatenate([chunk.segments for chunk in chunks]),
        np.concatenate([chunk.lengths for chunk in chunks]),
    )


def assemble(processor: Any, columns: Sequence[Column]) -> TokenSequences:
    """[CLS] one [SEP] other [SEP], with as many tokens of each column as there is room for.

    What ``TextProcessor.build_one_token_sequence`` (data/process_text.py:155) does for one row, as AutoGluon configures
    it for text columns: with a separator after each column, and the end token where that is another one. Tokenizers of
    a single special token (T5) have none in front; their segments, which no network reads, are one place off there.
    """
    has_start = not processor.eos_only
    has_end = processor.sep_token_id != processor.eos_token_id
    room = processor.max_len - len(columns) - 1 + processor.eos_only
    kept = trimmed(np.stack([column.lengths for column in columns], axis=1), room)
    lengths = has_start + kept.sum(axis=1) + len(columns) + has_end
    starts = np.cumsum(lengths) - lengths
    tokens = np.full(lengths.sum(), processor.sep_token_id, dtype=np.int32)
    if has_start:
        tokens[starts] = processor.cls_token_id
    if has_end:
        tokens[starts + lengths - 1] = processor.eos_token_id
    first = starts + has_start
    for column, of_column in zip(columns, kept.T, strict=True):
        place = _places(column.lengths)
        inside = place < np.repeat(of_column, column.lengths)
        tokens[np.repeat(first, of_column) + place[inside]] = column.tokens[inside]
        first = first + of_column + 1
    widths = np.column_stack([kept + 1, *([np.ones(len(kept), dtype=kept.dtype)] if has_end else [])])
    widths[:, 0] += has_start
    segments = np.arange(widths.shape[1], dtype=np.int8) % processor.text_segment_num
    return TokenSequences(tokens, np.repeat(np.tile(segments, len(kept)), widths.ravel()), lengths.astype(np.int32))


def trimmed(lengths: np.ndarray, room: int) -> np.ndarray:
    """How many tokens of each column stay, both (rows, columns): in all at most ``room``, the longest trimmed first.

    As ``TextProcessor.get_trimmed_lengths`` (data/process_text.py:326): columns grow together from nothing until the
    room is full, and what is left over goes to the first ones.
    """
    kept = lengths.copy()
    (long,) = np.nonzero(lengths.sum(axis=1) > room)
    wanted, grown = lengths[long], np.zeros_like(lengths[long])
    while len(left := room - grown.sum(axis=1)) and left.any():
        missing = wanted - grown
        growing = missing > 0
        count = growing.sum(axis=1)
        step = np.minimum(np.where(growing, missing, room).min(axis=1), left // count)
        leftover = growing & (np.cumsum(growing, axis=1) <= left[:, None])
        grown += np.where((left < count)[:, None], leftover, growing * step[:, None])
    kept[long] = grown
    return kept


def set_up(tokenizer: Any) -> None:
    """One call as AutoGluon calls it, which switches off truncation and padding left on by another."""
    _called(tokenizer, [""])


def _tokenized(tokenizer: Any, texts: Sequence[str]) -> Column:
    # transformers wraps each row in objects that take as long to make as the tokens; Python's own tokenizers have no
    # backend to ask in its place.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rows = _called(tokenizer, texts)
    else:
        rows = [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return Column(np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum())), lengths)


def _called(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    # A row that is too long is trimmed later, longest column first, so the tokenizer need not warn about it.
    encoded: list[list[int]] = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    return encoded


def _places(lengths: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... for each of the rows of these lengths, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
