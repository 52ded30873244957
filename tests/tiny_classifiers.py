"""Tiny random networks of several families with a linear head and a tokenizer, as a fit would leave them."""

from collections.abc import Mapping
from typing import Any

import tokenizers
import torch
import transformers

from automm_distill.automm import FittedParts, RowForm
from automm_distill.export.classifier import Classifier
from automm_distill.export.plain_tokenizer import plain_tokenizer

from .conftest import SENTENCES

WIDTH = 32
_SIZES = {"hidden_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
_RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_DISTILBERT = {"dim": WIDTH, "n_heads": 2, "n_layers": 2, "hidden_dim": 64}
_FROM_PADDING = {"pad_token_id": 0, "max_position_embeddings": 70}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "bert": {},
    "roberta": _FROM_PADDING | {"type_vocab_size": 1},
    "xlm-roberta": _FROM_PADDING | {"type_vocab_size": 1},
    "albert": {"embedding_size": 16},
    "mpnet": {"pad_token_id": 0},
    "distilbert": _DISTILBERT,
    "electra": {"embedding_size": 16},
    "deberta-v2": _RELATIVE,
    "modernbert": {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
}
SEGMENTS = {"bert": 2, "albert": 2, "electra": 2}
TEXTS = SENTENCES[["sentence1", "sentence2"]].to_numpy().tolist()
LONGEST = 16  # tokens: some of the rows are cut


def make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """WordPiece, as BERT's."""
    trained = tokenizers.BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator([text for row in TEXTS for text in row], vocab_size=200, show_progress=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")},
    )


def make_classifier(
    family: str, classes: tuple[str, ...] = ("no", "yes", "maybe"), *, segments: int | None = None, seed: int = 0
) -> Classifier:
    """A network of this family, with larger numbers than at its start; without classes its head gives one value."""
    tokenizer = make_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"vocab_size": len(tokenizer)} | (_SIZES if family != "distilbert" else {})
        config = transformers.AutoConfig.for_model(family, **{**sizes, **FAMILIES[family]})
        network = transformers.AutoModel.from_config(config).eval()
        with torch.no_grad():
            for weights in network.parameters():
                weights.add_(0.05 * torch.randn_like(weights))
        weight, bias = torch.randn(len(classes) or 1, WIDTH), torch.randn(len(classes) or 1)
    form = RowForm(
        tokenizer,
        max_tokens=LONGEST,
        start=tokenizer.cls_token_id,
        separator=tokenizer.sep_token_id,
        end=None,
        segments=SEGMENTS.get(family, 0) if segments is None else segments,
    )
    return Classifier(FittedParts(network, weight, bias, form), plain_tokenizer(form), classes)
