"""A model whose vocabulary is cut down to what its task needs."""

from copy import deepcopy
from dataclasses import replace
from itertools import chain
from typing import Any

import pandas as pd

from automm_distill.export.classifier import Classifier
from automm_distill.export.embeddings import trim_embeddings
from automm_distill.export.source import Source
from automm_distill.export.vocabulary import trimmed


def trim(model: Classifier, source: Source, most_frequent: int) -> tuple[Classifier, dict[str, Any]]:
    """The model with the pieces that training, unlabelled and hold-out rows use, and the most frequent others.

    :return: the model, a copy, and ``most_frequent``, ``before`` and ``after`` (pieces), for the result row.
    :raises UserError: when its vocabulary is of a kind that cannot be cut.
    """
    splits = source.splits
    frames = [splits.student.train, splits.student.validation, splits.unlabelled]
    rows = pd.concat([frame for frame in frames if frame is not None], ignore_index=True)
    tokenizer, kept = trimmed(model.tokenizer, chain.from_iterable(source.texts(rows)), most_frequent)
    network = deepcopy(model.parts.network)
    trim_embeddings(network, kept)
    counts = {"before": model.tokenizer.get_vocab_size(), "after": len(kept), "most_frequent": most_frequent}
    return replace(model, parts=replace(model.parts, network=network), tokenizer=tokenizer), counts
