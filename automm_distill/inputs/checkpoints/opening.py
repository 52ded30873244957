"""A checkpoint opened as AutoGluon will open it, before anything is trained: what cannot train is refused in one line.

AutoGluon 1.6.3 (models/hf_text.py) loads configuration, network and tokenizer by the Auto classes of transformers, in
single precision, and trains a head on the feature of a row's first token. Here the same is done once, for one row.
No code that a checkpoint brings along is run, and nothing is asked on standard input.
"""

import json
import logging
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from automm_distill.errors import UserError, first_line, machine_limit
from automm_distill.inputs.checkpoints.finding import AUTOGLUON_MAX_TOKENS
from automm_distill.inputs.checkpoints.weight_files import file_of, weight_files

_FEWEST_TOKENS = 8  # of the longest row: two texts of one token, three special ones, and some room
_SHORT_ROW = 13  # tokens: shorter than what networks cut rows into, and no multiple of it
_NEEDS_ENCODER = "needs an encoder, such as a BERT or a RoBERTa"

_WORD_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "shared.weight")
_LAYER = re.compile(r"(^|\.)(layers?|h|block)\.\d+\.")
_LATIN = 0.9  # share of ASCII in a text of Latin letters
_LETTERS = 0.8  # tokens for each character from which on a text is read letter by letter
_FEW_TOKENS = 1000  # tokens of a tokenizer that is made for letters or bytes

log = logging.getLogger(__name__)


def check_checkpoint(flag: str, name: str, folder: Path, texts: Sequence[str], limit: int | None = None) -> int:
    """Open the checkpoint in ``folder`` and read a row with it.

    :param flag: the command-line flag that ``name`` came from, for messages.
    :param texts: some of those that it will be trained on.
    :param limit: cut rows to so many tokens; None for AutoGluon's own limit.
    :return: the longest row that it takes, in tokens.
    :raises UserError: when AutoGluon could not train it, or would train it on nothing.
    """
    where = f"{flag} {name}"
    config = _read_config(where, folder)
    network = _build_without_weights(where, config)
    tokenizer = _read_tokenizer(where, folder)
    content = _tokenize(where, tokenizer, texts)
    _require_embeddings(where, network, tokenizer)
    with refusing(where, "no saying how long its rows may be"):
        max_tokens = longest_row(config, network, tokenizer, limit or AUTOGLUON_MAX_TOKENS)
    if max_tokens < _FEWEST_TOKENS:
        raise UserError(
            f"{where}: AutoGluon would cut its rows to {max_tokens} tokens (by config.json), which is too few; "
            f"{_NEEDS_ENCODER}"
        )
    _require_reading(where, _load_checked(where, folder), tokenizer, content, max_tokens)
    return max_tokens


def longest_row(config: Any, network: Any, tokenizer: Any, most: int = AUTOGLUON_MAX_TOKENS) -> int:
    """Tokens of the longest row: as many as are wanted, but no more than the network has positions for.

    AutoGluon (models/utils.py:1119) takes ``max_position_embeddings``. RoBERTa and its kin count positions from
    ``padding_idx + 1`` (transformers, create_position_ids_from_input_ids): the first ones are never a token's.

    :param network: with or without weights.
    :param most: as many as are wanted; AutoGluon's own limit, or another.
    """
    declared = getattr(config, "max_position_embeddings", tokenizer.model_max_length)
    if getattr(config, "relative_attention", False) or "relative" in getattr(config, "position_embedding_type", ""):
        declared = tokenizer.model_max_length
    counted_from_padding = [
        module.weight.shape[0] - module.padding_idx - 1
        for name, module in network.named_modules()
        if "position" in name and getattr(module, "padding_idx", None) is not None
    ]
    return int(
        min(most, tokenizer.model_max_length if most > AUTOGLUON_MAX_TOKENS else most, declared, *counted_from_padding)
    )


def load_network(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """The network in ``folder`` with its weights in single precision, and transformers' report of what did not fit.

    A weight that is not in the files, or of another shape there, is drawn at random, the same one each time.
    """
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, report = transformers.AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report
        )
    return network, report


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint that was opened before, as AutoGluon opens it."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


@contextmanager
def refusing(where: str, what: str) -> Iterator[None]:
    """Make one line of whatever a library raises over a file that it cannot use.

    Every exception: the tokenizers library has no type of its own and raises ``Exception`` itself; safetensors, torch,
    transformers and its strict configurations have one each. A machine that is too small is not the checkpoint's fault.
    """
    try:
        yield
    except Exception as error:
        if (machine_limit(error) or "").startswith("out of memory"):  # not "the disk is full": nothing is written here
            raise
        reason = textwrap.shorten(first_line(error), 300, placeholder=" ...")
        raise UserError(f"{where}: {what} ({type(error).__name__}: {reason})") from error


def _read_config(where: str, folder: Path) -> Any:
    import transformers

    with refusing(where, f"{folder / 'config.json'} is no configuration"):
        declared = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model_type = declared.get("model_type")
    if str(model_type) not in transformers.CONFIG_MAPPING:
        if "auto_map" in declared:
            problem = "needs Python code of its own (auto_map in config.json), which is never run here"
        elif model_type is None:
            problem = 'config.json has no model_type (such as "model_type": "bert")'
        else:
            problem = f"model_type {model_type!r} in config.json is none that is known"
        raise UserError(f"{where}: {problem}; needs an architecture of transformers {version('transformers')}")
    if declared.get("quantization_config"):
        raise UserError(f"{where}: its weights are quantized, and cannot be trained; needs the original checkpoint")
    with refusing(where, f"{folder / 'config.json'} cannot be used"):
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _build_without_weights(where: str, config: Any) -> Any:
    import torch
    import transformers

    with refusing(where, f"transformers cannot build its network ({config.model_type})"), torch.device("meta"):
        network = transformers.AutoModel.from_config(config, trust_remote_code=False)
    if network.main_input_name != "input_ids":
        raise UserError(f"{where}: a {config.model_type} network reads {network.main_input_name}, not text")
    return network


def _read_tokenizer(where: str, folder: Path) -> Any:
    import transformers

    with refusing(where, f"no tokenizer can be made of the files in {folder}"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    # Without its files, transformers 5 makes an empty tokenizer: its special tokens, and nothing else.
    files = sorted({"tokenizer.json", *tokenizer.vocab_files_names.values()})
    if tokenizer.vocab_files_names and not any((folder / file).is_file() for file in files):
        raise UserError(f"{where}: no tokenizer files in {folder}; found none of {', '.join(files)}")
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"{where}: its tokenizer has no padding token, like those of GPT-2 and Llama, decoders; {_NEEDS_ENCODER}"
        )
    if None in _row_ends(tokenizer):
        raise UserError(f"{where}: its tokenizer has no tokens for the start and the end of a row; {_NEEDS_ENCODER}")
    return tokenizer


def _row_ends(tokenizer: Any) -> tuple[int | None, int | None, int | None]:
    """Tokens at a row's start, between its texts and at its end, as in AutoGluon (data/process_text.py:277)."""
    first, between, last = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.sep_token_id
    if first is None or between is None:
        first, between, last = tokenizer.bos_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
    if first is None and between is None:
        first = between = last
    return first, between, last


def _tokenize(where: str, tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """The tokens of all ``texts``, one after the other, without special ones."""
    with refusing(where, "its tokenizer cannot read the rows"):
        rows = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    tokens = [token for row in rows for token in row]
    if all(token == unknown for token in tokens):
        seen = f"nothing but {tokenizer.unk_token}" if tokens else "nothing"
        raise UserError(f"{where}: its tokenizer reads {seen} in {len(rows)} texts of the task; are its files whole?")
    strange = sum(row.count(unknown) > len(row) / 2 for row in rows)
    if strange > len(rows) / 20:
        log.warning(
            "%s: of %d texts of the task, its tokenizer reads %d as mostly %s (unknown); is it for another language?",
            *(where, len(rows), strange, tokenizer.unk_token),
        )
    _warn_of_letters(where, tokenizer, len(tokens), "".join("".join(texts).split()))
    return tokens


def _warn_of_letters(where: str, tokenizer: Any, tokens: int, letters: str) -> None:
    """Say that a tokenizer for words or their parts hardly finds any; a Chinese character may be a word."""
    is_latin = sum(map(str.isascii, letters)) > _LATIN * len(letters)
    if is_latin and len(tokenizer) > _FEW_TOKENS and tokens > _LETTERS * len(letters):
        log.warning(
            "%s: its tokenizer reads the task's texts almost letter by letter (%s tokens for %s characters); is "
            "tokenizer_class in tokenizer_config.json right, and are its files whole?",
            *(where, f"{tokens:,}", f"{len(letters):,}"),
        )


def _require_embeddings(where: str, network: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with tokens that the network has no embedding for.

    Special tokens that AutoGluon never uses, such as [MASK], may be without.
    """
    from torch import nn

    try:
        embeddings = network.get_input_embeddings()
    except NotImplementedError:  # CANINE computes them
        return
    used = {tokenizer.pad_token_id, *_row_ends(tokenizer)}
    highest = max({*tokenizer.get_vocab().values()} - set(tokenizer.all_special_ids) | used)
    if isinstance(embeddings, nn.Embedding) and highest >= embeddings.num_embeddings:
        raise UserError(
            f"{where}: its tokenizer has tokens up to number {highest}, its network embeddings for "
            f"{embeddings.num_embeddings} (vocab_size in config.json): they are not of one checkpoint"
        )


def _load_checked(where: str, folder: Path) -> Any:
    """The network with its weights, as AutoGluon loads it (models/utils.py:623), all of them there and finite."""
    from transformers.models.t5 import T5PreTrainedModel

    files = weight_files(where, folder)
    file = files[0] if len(files) == 1 else folder
    with refusing(where, f"the weights in {file} cannot be read, get them again"):
        network, report = load_network(folder)
    if isinstance(network, T5PreTrainedModel):
        del network.decoder  # as AutoGluon does (models/hf_text.py:124)
    # A language model is often saved without the pooler, which AutoGluon does not use.
    weights = {name: weight for name, weight in network.named_parameters() if "pooler" not in name}
    for name, in_file, by_config in sorted(report["mismatched_keys"]):
        if name in weights:
            raise UserError(
                f"{where}: {name} is {tuple(in_file)} in {file} and {tuple(by_config)} by config.json: they are not of "
                "one checkpoint"
            )
    _compare_weights(where, network, file, report)
    for name, weight in weights.items():
        if weight.numel() and not all(limit.isfinite() for limit in weight.detach().aminmax()):
            count = weight.numel() - int(weight.isfinite().sum())
            raise UserError(
                f"{where}: {count:,} of {weight.numel():,} numbers of {name} are not finite (NaN or infinite) in "
                f"{file_of(where, files, name)}; training cannot start from them"
            )
    return network


def _compare_weights(where: str, network: Any, file: Path, report: Mapping[str, Any]) -> None:
    """Refuse weights of another network, and say where some are missing or left over.

    :param report: of transformers' loading: names that are only in the network, or only in the file.
    """
    weights = [name for name, _ in network.named_parameters() if "pooler" not in name]
    missing = sorted(
        (name for name in report["missing_keys"] if name in weights),
        key=lambda name: (not name.endswith(_WORD_EMBEDDINGS), name),
    )
    if len(missing) > len(weights) / 2 or any(name.endswith(_WORD_EMBEDDINGS) for name in missing):
        raise UserError(
            f"{where}: {len(missing)} of the {len(weights)} weights of its network ({network.config.model_type}) are "
            f"not in {file}, such as {missing[0]}"
        )
    if missing:
        log.warning(
            "%s: %d of the %d weights of its network are not in %s and start at random, such as %s",
            *(where, len(missing), len(weights), file, missing[0]),
        )
    left_out = sorted(name for name in report["unexpected_keys"] if _LAYER.search(name))
    if left_out:
        log.warning(
            "%s: by config.json its network is smaller than %s: %d weights are left out, such as %s",
            *(where, file, len(left_out), left_out[0]),
        )


def _require_reading(where: str, network: Any, tokenizer: Any, content: Sequence[int], max_tokens: int) -> None:
    """Read two of the longest rows, alike but for what follows the first token, whose feature AutoGluon trains on.

    And a batch of short rows with padding, which some networks (Nystroemformer) cannot be trained on.
    """
    import torch

    first, between, last = _row_ends(tokenizer)
    row = list(content) if first == between == last else [first, *content]  # T5's has no token at its start
    row = (row * (max_tokens // len(row) + 1))[:max_tokens]
    tokens = torch.tensor([row, [row[0], *[between] * (max_tokens - 1)]], dtype=torch.int32)
    with refusing(where, "its network cannot read a row as AutoGluon gives it"), torch.inference_mode():
        features = _read(network, tokenizer, tokens, torch.ones_like(tokens))
        width = network.config.hidden_size
        padded = tokens[:1, :_SHORT_ROW].repeat(3, 1)
        lengths = torch.tensor([[padded.shape[1]], [padded.shape[1] - 2], [3]])
        short = _read(network, tokenizer, padded, (torch.arange(padded.shape[1]) < lengths).int())
    if features.shape[1] != width:
        raise UserError(f"{where}: features of {features.shape[1]} numbers, and not hidden_size, {width}")
    if not features.isfinite().all() or not short.isfinite().all():
        raise UserError(f"{where}: what its network makes of a row is not finite (NaN or infinite)")
    if torch.allclose(features[0], features[1], rtol=1e-5, atol=1e-6):
        raise UserError(
            f"{where}: the first token of a row, whose feature AutoGluon trains on, sees nothing of the others in this "
            f"network ({network.config.model_type}), as in a decoder or where all weights are alike; {_NEEDS_ENCODER}"
        )


def _read(network: Any, tokenizer: Any, tokens: Any, mask: Any) -> Any:
    """Features of the rows' first tokens, shape (rows, width), as in AutoGluon (models/hf_text.py:161).

    :param tokens: and ``mask``, 1 for a token and 0 for padding: shape (rows, longest row).
    """
    import torch
    from transformers.models.t5 import T5PreTrainedModel

    if isinstance(network, T5PreTrainedModel):
        encoder: Any = network.encoder
        return encoder(inputs_embeds=encoder.embed_tokens(tokens), attention_mask=mask).last_hidden_state[:, 0]
    inputs = {"input_ids": tokens, "attention_mask": mask}
    if "token_type_ids" in tokenizer.model_input_names:
        has_segments = getattr(network.config, "type_vocab_size", 2) > 1
        inputs["token_type_ids"] = torch.zeros_like(tokens) if has_segments else None
    return network(**inputs).last_hidden_state[:, 0]
