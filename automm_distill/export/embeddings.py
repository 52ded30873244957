"""A network's word embeddings, trimmed with its tokenizer's vocabulary.

A multilingual network is mostly word embeddings, and a task in few languages reads few of them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from automm_distill.errors import UserError

if TYPE_CHECKING:
    import transformers


def trim_embeddings(network: "transformers.PreTrainedModel", kept: np.ndarray) -> None:
    """Leave the ``kept`` rows of the word embeddings, in place, and renumber what the network knows of the tokens.

    A special token that the configuration names by mistake, being none of the tokenizer, may be gone: it becomes None.

    :param network: a backbone or a classifier; a language model's output has a vocabulary of its own.
    :param kept: old ids, ascending, as :func:`vocabulary.trimmed` returns them.
    :raises UserError: when none of them is the padding from which the network numbers positions.
    """
    import torch
    from torch import nn

    table: Any = network.get_input_embeddings()
    rows, config, weight = table.num_embeddings, network.config, table.weight
    kept = kept[kept < rows]  # special tokens that no row has, such as [MASK], may be without an embedding
    places = {int(old): new for new, old in enumerate(kept)}
    _renumber_positions(network, places)
    for module in network.modules():
        if isinstance(module, nn.Embedding) and module.weight is weight:
            module.num_embeddings = len(kept)
            module.padding_idx = places.get(module.padding_idx) if module.padding_idx is not None else None
    weight.data = weight.data[torch.from_numpy(kept)]  # the same parameter, so that tied weights stay tied
    for name, token in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(token, int) and 0 <= token < rows:
            setattr(config, name, places.get(token))
    config.vocab_size = len(kept)


def _renumber_positions(network: "transformers.PreTrainedModel", places: dict[int, int]) -> None:
    """Keep each position its embedding in networks like RoBERTa, whose first one is numbered padding token + 1.

    As many rows of position embeddings go from the front as the padding token's number becomes less.
    """
    from torch import nn

    module: Any
    for module in network.modules():
        table = getattr(module, "position_embeddings", None)
        if not isinstance(table, nn.Embedding) or table.padding_idx is None:
            continue
        if table.padding_idx not in places:
            raise UserError(
                f"--trim_vocabulary: pad_token_id in config.json, {table.padding_idx}, is no special token of the "
                "tokenizer; needs an export without this flag"
            )
        fewer = table.padding_idx - places[table.padding_idx]
        module.padding_idx = table.padding_idx = places[table.padding_idx]
        table.weight.data = table.weight.data[fewer:]
        table.num_embeddings -= fewer
        network.config.max_position_embeddings -= fewer
