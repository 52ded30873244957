"""Rows as the network takes them: tokenised once, padded batch by batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

CHUNK = 4096  # rows that the tokenizer gets at once


class Rows:
    """Tokens (and labels) of a frame, the same that AutoGluon's processors give row by row in every epoch.

    :param processor: AutoGluon's text processor of the model (data/process_text.py).
    :param preprocessor: its data frame preprocessor (data/preprocess_dataframe.py).
    :param label_key: with the labels, under this name.
    :param augmented: let the processor augment each row anew whenever it is read.
    """

    def __init__(
        self,
        processor: Any,
        preprocessor: Any,
        frame: pd.DataFrame,
        *,
        label_key: str | None = None,
        augmented: bool = False,
    ):
        self.processor = processor
        # AutoGluon's order of the columns, and their texts as its dataset has them (data/dataset.py:52).
        self.texts, self.text_types = preprocessor.transform_text(frame)
        self.tokens, self.segments, self.lengths = _tokenize(processor, self.texts)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.label_key = label_key
        if label_key is not None:
            (self.labels,) = preprocessor.transform_label(frame)[0].values()
        self.augmented = augmented and processor.train_augmenter is not None
        if not self.augmented:
            self.texts = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def reorder(self, order: np.ndarray) -> None:
        """Put the rows, which must not be augmented, into this order."""
        self.starts, self.lengths = self.starts[order], self.lengths[order]
        if self.label_key is not None:
            self.labels = self.labels[order]

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """These rows as the model's forward pass takes them: tokens and segments (B, longest row), lengths (B,)."""
        rows = [self._row(index) for index in indices]
        lengths = torch.tensor([len(tokens) for tokens, _ in rows])
        shape = (len(rows), int(lengths.max()))
        tokens = np.full(shape, self.processor.tokenizer.pad_token_id, dtype=np.int32)
        segments = np.zeros(shape, dtype=np.int32)
        for position, (row_tokens, row_segments) in enumerate(rows):
            tokens[position, : len(row_tokens)] = row_tokens
            segments[position, : len(row_tokens)] = row_segments
        batch = {
            self.processor.text_token_ids_key: torch.from_numpy(tokens),
            self.processor.text_segment_ids_key: torch.from_numpy(segments),
            self.processor.text_valid_length_key: lengths,
        }
        if self.label_key is not None:
            batch[self.label_key] = torch.from_numpy(self.labels[np.asarray(indices)])
        return batch

    def _row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.augmented:
            texts = {column: values[index] for column, values in self.texts.items()}
            tokenized = self.processor(texts, self.text_types, is_training=True)
            return tokenized[self.processor.text_token_ids_key], tokenized[self.processor.text_segment_ids_key]
        part = slice(self.starts[index], self.starts[index] + self.lengths[index])
        return self.tokens[part], self.segments[part]


def _tokenize(processor: Any, texts: Mapping[str, list[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rows' tokens and segments, one after the other, and the rows' lengths."""
    count = len(next(iter(texts.values())))
    tokens, segments = [], []
    for start in range(0, count, CHUNK):
        columns = {
            # Too long a row is trimmed below, longest column first; the tokenizer's warning of it is beside the point.
            column: processor.tokenizer(
                values[start : start + CHUNK],
                add_special_tokens=False,
                truncation=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            for column, values in texts.items()
        }
        for row in zip(*columns.values(), strict=True):
            tokenized = processor.build_one_token_sequence(
                {column: np.array(ids, dtype=np.int32) for column, ids in zip(columns, row, strict=True)}
            )
            tokens.append(tokenized[processor.text_token_ids_key])
            segments.append(tokenized[processor.text_segment_ids_key].astype(np.int8))
    return np.concatenate(tokens), np.concatenate(segments), np.array([len(row) for row in tokens])
