"""A tokenizer's vocabulary, trimmed to the pieces that a task needs.

Texts of the task are read as before. In others, smaller pieces stand in for one that is gone, down to characters.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import tokenizers

from automm_distill.errors import UserError

_CHUNK = 4096  # texts per call of the tokenizer
_SPACE = "\u2581"  # SentencePiece's sign for the space before a word
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece for a byte of a character that has none of its own
_UNUSED = re.compile(r"\[unused\d+\]")  # the first ids of Google's vocabularies, kept free for tokens to come


def require_trimmable(tokenizer: tokenizers.Tokenizer) -> None:
    """Refuse a vocabulary of which it is not known how texts are put together from its pieces.

    :raises UserError: when it is neither WordPiece nor Unigram.
    """
    kind = json.loads(tokenizer.to_str())["model"]["type"]
    if kind not in ("WordPiece", "Unigram"):
        raise UserError(
            f"--trim_vocabulary: the vocabulary of a {kind} tokenizer cannot be trimmed; needs WordPiece (as BERT has) "
            "or Unigram (as XLM-R has), or an export without this flag"
        )


def trimmed(
    tokenizer: tokenizers.Tokenizer, texts: Iterable[str], most_frequent: int
) -> tuple[tokenizers.Tokenizer, np.ndarray]:
    """A tokenizer of fewer pieces, which reads ``texts`` in the same pieces as ``tokenizer`` does.

    Kept are the pieces of ``texts``, special and other added tokens, single characters and whatever else cannot be put
    together from smaller pieces, and the ``most_frequent`` most frequent of the others: in Unigram those of the highest
    scores, which are logarithms of probabilities; in WordPiece those of the lowest ids, because its vocabularies are
    written in order of frequency.

    A best path (Unigram) or a longest match (WordPiece) stays what it is when pieces go that are not in it. Unknown
    characters need more: see :func:`_lowest` and :func:`_before_unknown`.

    :return: the new tokenizer, and the old ids of its pieces, ascending, shape (new vocabulary,): a piece's new id is
        its place in them.
    :raises UserError: when the vocabulary is neither WordPiece nor Unigram.
    """
    require_trimmable(tokenizer)
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    slots = list(_id_slots(content))
    needed = {holder[key] for holder, key in slots} | _indivisible(model) | _lowest(model)
    needed |= _used(content, texts)
    others = (piece for piece in _by_frequency(model) if piece not in needed)
    kept = sorted(needed.union(islice(others, most_frequent)))

    places = {old: new for new, old in enumerate(kept)}
    for holder, key in slots:
        holder[key] = places[holder[key]]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
    else:
        model["vocab"] = {piece: places[old] for piece, old in model["vocab"].items() if old in places}
    return tokenizers.Tokenizer.from_str(json.dumps(content)), np.array(kept, dtype=np.int64)


def _id_slots(content: Any) -> Iterator[tuple[Any, Any]]:
    """Where in a tokenizer.json ids of special tokens stand: containers, and keys in them."""
    for token in content["added_tokens"]:
        yield token, "id"
    if content["padding"] is not None:
        yield content["padding"], "pad_id"
    if content["model"].get("unk_id") is not None:
        yield content["model"], "unk_id"
    yield from _template_slots(content["post_processor"] or {})


def _template_slots(processor: Any) -> Iterator[tuple[Any, Any]]:
    for part in processor.get("processors", ()):
        yield from _template_slots(part)
    for name in ("cls", "sep"):  # of BertProcessing and RobertaProcessing
        if name in processor:
            yield processor[name], 1
    for token in processor.get("special_tokens", {}).values():  # of TemplateProcessing
        for place in range(len(token["ids"])):
            yield token["ids"], place


def _pieces(model: Any) -> dict[str, int]:
    """Ids of all pieces; of a piece that comes twice in a Unigram vocabulary the last one, which alone is ever used."""
    if model["type"] == "WordPiece":
        return dict(model["vocab"])
    return {piece: place for place, (piece, _) in enumerate(model["vocab"])}


def _by_frequency(model: Any) -> list[int]:
    pieces = _pieces(model)
    if model["type"] == "Unigram":
        return sorted(pieces.values(), key=lambda number: -model["vocab"][number][1])
    return [pieces[piece] for piece in sorted(pieces, key=lambda piece: (bool(_UNUSED.match(piece)), pieces[piece]))]


def _indivisible(model: Any) -> set[int]:
    """Pieces that no smaller ones can stand in for, and WordPiece's unknown token, which is known by its name.

    These are single characters, bytes, and what has a character without a piece of its own, as many a rare one is.
    """
    pieces = _pieces(model)
    prefix = model.get("continuing_subword_prefix")
    return {
        number
        for piece, number in pieces.items()
        if len(piece.removeprefix(prefix or _SPACE)) <= 1
        or not pieces.keys() >= _characters(piece, prefix)
        or _BYTE.fullmatch(piece)
        or piece == model.get("unk_token")
    }


def _characters(piece: str, prefix: str | None) -> set[str]:
    """The single characters that make up ``piece``: in WordPiece with a ``prefix`` inside of a word."""
    if prefix is None:
        return set(piece)
    inside = [prefix + character for character in piece.removeprefix(prefix)]
    return set(inside if piece.startswith(prefix) else [piece[:1], *inside[1:]])


def _lowest(model: Any) -> set[int]:
    """The piece of the lowest score in Unigram, below which lies that of unknown characters: it must not change."""
    scores = [score for _, score in model["vocab"]] if model["type"] == "Unigram" else []
    return {int(np.argmin(scores))} if scores else set()


def _used(content: Any, texts: Iterable[str]) -> set[int]:
    """Pieces that ``texts`` are read by."""
    whole = {"truncation": None, "padding": None}
    reader = tokenizers.Tokenizer.from_str(json.dumps(content | whole))
    unknown = reader.token_to_id(content["model"].get("unk_token", ""))
    used: set[int] = set()
    remaining = iter(texts)
    while chunk := list(islice(remaining, _CHUNK)):
        for text, encoding in zip(chunk, reader.encode_batch_fast(chunk, add_special_tokens=False), strict=True):
            ids = set(encoding.ids)
            used |= ids
            if unknown in ids:
                used.update(_before_unknown(reader, text, unknown, content["model"]["max_input_chars_per_word"]))
    return used


def _before_unknown(reader: tokenizers.Tokenizer, text: str, unknown: int, longest: int) -> Iterator[int]:
    """The pieces that WordPiece takes from the start of an unknown word before it gives it up.

    Without them it would take shorter ones, and might then come to the word's end.

    :param longest: characters of a word that is read at all.
    """
    encoding = reader.encode(text, add_special_tokens=False)
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if token == unknown:
            surface = text[start:end]
            word = (reader.normalizer.normalize_str(surface) if reader.normalizer else surface).strip()
            starts = (word[:size] for size in range(min(len(word), longest), 0, -1))
            read = ([piece.id for piece in reader.model.tokenize(start)] for start in starts)
            yield from next((ids for ids in read if unknown not in ids), [])
