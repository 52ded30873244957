"""A tokenizer that needs no AutoGluon: texts to the very rows that the model was trained on."""

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers.processors import TemplateProcessing

from automm_distill.automm import RowForm
from automm_distill.errors import UserError


def plain_tokenizer(form: RowForm) -> tokenizers.Tokenizer:
    """The model's tokenizer, which puts special tokens, segments, truncation and padding where training had them.

    One text or a pair; of what is too long the longer text is cut. Where two texts are each longer than half of an odd
    room, the tokenizers library gives the one token left over to the longer text, AutoGluon to the first.

    :raises UserError: when the tokenizer is one of Python's own, which cannot be written to a file.
    """
    made = tokenizers.Tokenizer.from_str(backend_of(form.tokenizer).to_str())
    tokens = {
        number: made.id_to_token(number) for number in (form.start, form.separator, form.end) if number is not None
    }
    made.post_processor = TemplateProcessing(
        single=_template(form, tokens, "A"),
        pair=_template(form, tokens, "AB"),
        special_tokens=[(token, number) for number, token in tokens.items()],
    )
    made.enable_truncation(form.max_tokens, strategy="longest_first", direction="right")
    padding = form.tokenizer.pad_token_id
    made.enable_padding(pad_id=padding, pad_token=made.id_to_token(padding), direction="right")
    return made


def backend_of(tokenizer: Any) -> tokenizers.Tokenizer:
    """The tokenizer of the tokenizers library inside one of transformers.

    :raises UserError: when it is one of Python's own, which cannot be written to a file.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"export: {type(tokenizer).__name__} is written in Python and cannot be saved as tokenizer.json; needs a "
            "checkpoint with a fast tokenizer"
        )
    return backend


def transformers_tokenizer(form: RowForm, made: tokenizers.Tokenizer) -> Any:
    """The same tokenizer for transformers.

    :param made: of :func:`plain_tokenizer`, possibly with fewer tokens.
    """
    import transformers

    names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    special = {f"{name}_token": getattr(form.tokenizer, f"{name}_token", None) for name in names}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=form.max_tokens,
        model_input_names=input_names(form),
        padding_side="right",
        truncation_side="right",
        **{name: token for name, token in special.items() if token is not None},
    )


def input_names(form: RowForm) -> list[str]:
    """What the network is given, in order."""
    return ["input_ids", "attention_mask", *(["token_type_ids"] if form.segments else [])]


def _template(form: RowForm, tokens: Mapping[int, str], texts: str) -> str:
    segments = [place % max(1, form.segments) for place in range(len(texts) + 1)]
    pieces = [] if form.start is None else [f"{tokens[form.start]}:{segments[0]}"]
    for text, segment in zip(texts, segments, strict=False):
        pieces += [f"${text}:{segment}", f"{tokens[form.separator]}:{segment}"]
    if form.end is not None:
        pieces.append(f"{tokens[form.end]}:{segments[-1]}")
    return " ".join(pieces)
