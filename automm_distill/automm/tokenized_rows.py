"""Rows as the network reads them: tokenised once, padded batch by batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from automm_distill.progress import batch_starts

CHUNK = 4096  # rows per call of the tokenizer


class Rows:
    """Tokens and labels of a frame: the values that AutoGluon's loader computes row by row in every epoch.

    :param processor: AutoGluon's text processor of the model (data/process_text.py).
    :param preprocessor: AutoGluon's data frame preprocessor (data/preprocess_dataframe.py).
    :param label_key: name of the labels in a batch; None for rows without labels.
    :param augmented: let the processor augment a row each time it is read, if the model was configured to.
    """

    def __init__(
        self,
        processor: Any,
        preprocessor: Any,
        frame: pd.DataFrame,
        *,
        label_key: str | None = None,
        augmented: bool = False,
    ) -> None:
        self.processor = processor
        # Columns in AutoGluon's order, with their texts as its dataset has them (data/dataset.py:52).
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
        """Put the rows into this order; not for augmented ones."""
        self.starts, self.lengths = self.starts[order], self.lengths[order]
        if self.label_key is not None:
            self.labels = self.labels[order]

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """These rows as input of the model: tokens and segments (B, longest row), lengths (B,), and labels (B,)."""
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
    for start in batch_starts("tokenizing", count, CHUNK):
        columns = {
            # A row that is too long is trimmed below, longest column first, so the tokenizer need not warn about it.
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
