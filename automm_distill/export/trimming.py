"""A model whose vocabulary is cut down to what its task needs."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from automm_distill.export.classifier import Classifier
from automm_distill.export.embeddings import trim_embeddings
from automm_distill.export.source import Source
from automm_distill.export.vocabulary import trimmed


@dataclass(frozen=True)
class Vocabulary:
    """The old numbers of the pieces that were ``kept``, and for the result row how many there are."""

    kept: np.ndarray
    counts: Mapping[str, int]


def trim(model: Classifier, source: Source, most_frequent: int) -> tuple[Classifier, Vocabulary]:
    """A copy of the model that has the pieces of training, unlabelled and hold-out rows, and the most frequent others.

    :raises UserError: when its vocabulary is of a kind that cannot be cut.
    """
    splits = source.splits
    frames = [splits.student.train, splits.student.validation, splits.unlabelled]
    rows = pd.concat([frame for frame in frames if frame is not None], ignore_index=True)
    tokenizer, kept = trimmed(model.tokenizer, chain.from_iterable(source.texts(rows)), most_frequent)
    network = deepcopy(model.parts.network)
    trim_embeddings(network, kept)
    counts = {"before": model.tokenizer.get_vocab_size(), "after": len(kept), "most_frequent": most_frequent}
    trimmed_model = replace(model, parts=replace(model.parts, network=network), tokenizer=tokenizer)
    return trimmed_model, Vocabulary(kept, counts)
