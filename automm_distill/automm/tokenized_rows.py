"""Rows as the network reads them: tokenised once, padded batch by batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from automm_distill.automm.token_store import tokens_of

LABEL_WEIGHT = "label_weight"


class Rows:
    """Tokens and labels of a frame: the values that AutoGluon's loader computes row by row in every epoch.

    :param processor: AutoGluon's text processor of the model (data/process_text.py).
    :param preprocessor: AutoGluon's data frame preprocessor (data/preprocess_dataframe.py).
    :param label_key: name of the labels in a batch; None for rows without labels.
    :param unlabelled: rows that follow those of ``frame``, with the same texts' columns. A batch then has
        the weights of its labels under :data:`LABEL_WEIGHT`, 1 on average over all rows and 0 for those, whose labels
        are made up.
    :param augmented: let the processor augment a row each time it is read, if the model was configured to.
    :param token_cache: the cache folder, where the tokens of many rows are kept; None to keep none.
    """

    def __init__(
        self,
        processor: Any,
        preprocessor: Any,
        frame: pd.DataFrame,
        *,
        label_key: str | None = None,
        unlabelled: pd.DataFrame | None = None,
        augmented: bool = False,
        token_cache: Path | None = None,
    ) -> None:
        self.processor = processor
        # Columns in AutoGluon's order, with their texts as its dataset has them (data/dataset.py:52).
        texts = frame if unlabelled is None else pd.concat([frame, unlabelled], ignore_index=True)
        self.texts, self.text_types = preprocessor.transform_text(texts)
        stored = tokens_of(processor, self.texts, token_cache)
        self.source, self.parts, self.starts, self.lengths = stored.source, stored.part, stored.start, stored.lengths
        self.label_key = label_key
        if label_key is not None:
            (self.labels,) = preprocessor.transform_label(frame)[0].values()
            self.labels = np.resize(self.labels, len(texts))
        self.label_weights = None
        if unlabelled is not None:
            self.label_weights = np.zeros(len(texts), dtype=np.float32)
            self.label_weights[: len(frame)] = len(texts) / len(frame)
        self.augmented = augmented and processor.train_augmenter is not None
        if not self.augmented:
            self.texts = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def reorder(self, order: np.ndarray) -> None:
        """Put the rows into this order; not for augmented ones."""
        self.parts, self.starts, self.lengths = self.parts[order], self.starts[order], self.lengths[order]
        if self.label_key is not None:
            self.labels = self.labels[order]

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """These rows as input of the model: tokens and segments (B, longest row), lengths (B,), and labels (B,)."""
        chosen = np.asarray(indices)
        rows = [self._augmented(index) for index in indices] if self.augmented else self._read(chosen)
        lengths = [len(tokens) for tokens, _ in rows]
        shape = (len(rows), max(lengths))
        tokens = np.full(shape, self.processor.tokenizer.pad_token_id, dtype=np.int32)
        segments = np.zeros(shape, dtype=np.int32)
        for position, (length, (row_tokens, row_segments)) in enumerate(zip(lengths, rows, strict=True)):
            tokens[position, :length] = row_tokens
            segments[position, :length] = row_segments
        batch = {
            self.processor.text_token_ids_key: torch.from_numpy(tokens),
            self.processor.text_segment_ids_key: torch.from_numpy(segments),
            self.processor.text_valid_length_key: torch.tensor(lengths),
        }
        if self.label_key is not None:
            batch[self.label_key] = torch.from_numpy(self.labels[chosen])
        if self.label_weights is not None:
            batch[LABEL_WEIGHT] = torch.from_numpy(self.label_weights[chosen])
        return batch

    def _read(self, chosen: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The rows' tokens and segments, as they are kept."""
        arrays = self.source.arrays
        starts = self.starts[chosen]
        places = zip(
            self.parts[chosen].tolist(), starts.tolist(), (starts + self.lengths[chosen]).tolist(), strict=True
        )
        return [(arrays[part][0][start:end], arrays[part][1][start:end]) for part, start, end in places]

    def _augmented(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The row's tokens and segments, of texts that are changed anew."""
        texts = {column: values[index] for column, values in self.texts.items()}
        tokenized = self.processor(texts, self.text_types, is_training=True)
        return tokenized[self.processor.text_token_ids_key], tokenized[self.processor.text_segment_ids_key]
