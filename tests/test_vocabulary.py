"""Trimmed vocabularies read what they are made for as whole ones do, and trimmed networks make the same of it."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from automm_distill.errors import UserError
from automm_distill.export.embeddings import trim_embeddings
from automm_distill.export.vocabulary import trimmed

from .checkpoint_formats import write_google_bert, write_mdeberta, write_mminilm
from .conftest import GERMAN, SENTENCES

ENGLISH = [*SENTENCES["sentence1"], *SENTENCES["sentence2"]]
FOREIGN = [*GERMAN["sentence1"], *GERMAN["sentence2"]]
PAIRS = list(zip(SENTENCES["sentence1"][:40], SENTENCES["sentence2"][:40], strict=True))
SPECIAL = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
RARE = ["tttt", "nnnn", "mmmm"]  # in front of the special tokens, which get other numbers when these are gone


def finish(model: models.Model) -> Tokenizer:
    """A tokenizer as BERT (WordPiece) or XLM-R (Unigram) has one, with a token beyond the model's own vocabulary."""
    tokenizer = Tokenizer(model)
    if isinstance(model, models.WordPiece):
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([*SPECIAL, "[MASK]"])
    ids = [(token, tokenizer.token_to_id(token)) for token in SPECIAL]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    return tokenizer


def train_wordpiece(texts: Sequence[str]) -> Tokenizer:
    trained = finish(models.WordPiece(unk_token="[UNK]"))
    trained.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=300, show_progress=False))
    pieces = [*RARE, *SPECIAL, *sorted(trained.get_vocab(False), key=trained.token_to_id)]
    return finish(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))


def train_unigram(texts: Sequence[str]) -> Tokenizer:
    trained = finish(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False, max_piece_length=12
    )
    trained.train_from_iterator(texts, trainer)
    pieces = json.loads(trained.to_str())["model"]["vocab"]
    front = [(piece, -30.0 - place) for place, piece in enumerate(RARE)]
    return finish(models.Unigram([*front, *((piece, score) for piece, score in pieces)], unk_id=len(RARE)))


@pytest.fixture(scope="module", params=[train_wordpiece, train_unigram], ids=["WordPiece", "Unigram"])
def whole(request) -> Tokenizer:
    """Trained on two languages; the task has one."""
    return request.param(ENGLISH + FOREIGN)


def wordpiece(*pieces: str) -> Tokenizer:
    return finish(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))


def unigram(**scores: float) -> Tokenizer:
    return finish(models.Unigram([("[UNK]", 0.0), *scores.items()], unk_id=0))


def pieces_of(tokenizer: Tokenizer) -> list[str]:
    """Without the special tokens, by id."""
    vocabulary = tokenizer.get_vocab()
    return [piece for piece in sorted(vocabulary, key=vocabulary.__getitem__) if piece not in {*SPECIAL, "[MASK]"}]


def test_given_texts_are_read_in_the_same_pieces(whole):
    texts = [*ENGLISH, "the \u2603 (a snowman)"]
    part, kept = trimmed(whole, texts, most_frequent=0)

    assert len(kept) == part.get_vocab_size() < 0.9 * whole.get_vocab_size()
    assert [part.id_to_token(number) for number in range(len(kept))] == [
        whole.id_to_token(old) for old in kept.tolist()
    ]
    assert part.token_to_id("[PAD]") != whole.token_to_id("[PAD]")
    rows: list[Any] = [*texts, *PAIRS]
    for add_special_tokens in (True, False):
        old = whole.encode_batch(rows, add_special_tokens=add_special_tokens)
        new = part.encode_batch(rows, add_special_tokens=add_special_tokens)
        for one, other in zip(old, new, strict=True):
            assert kept[other.ids].tolist() == one.ids
            assert (other.type_ids, other.attention_mask) == (one.type_ids, one.attention_mask)


def test_other_texts_are_read_in_smaller_pieces(whole):
    part, _ = trimmed(whole, ENGLISH, most_frequent=0)

    old, new = whole.encode_batch(FOREIGN, False), part.encode_batch(FOREIGN, False)
    assert not any("[UNK]" in row.tokens for row in old)
    assert not any("[UNK]" in row.tokens for row in new)

    def bare(row: tokenizers.Encoding) -> str:
        return "".join(token.removeprefix("##") for token in row.tokens if token != "[PAD]")

    assert [bare(row) for row in new] == [bare(row) for row in old]
    assert sum(sum(row.attention_mask) for row in new) > sum(sum(row.attention_mask) for row in old)


def test_more_than_there_is_keeps_everything(whole):
    part, kept = trimmed(whole, ["the"], most_frequent=10_000)

    assert kept.tolist() == list(range(whole.get_vocab_size()))
    assert part.to_str() == Tokenizer.from_str(whole.to_str()).to_str()  # a score's last digit may go in reading


@pytest.mark.parametrize(
    ("most_frequent", "others"),
    [(0, []), (1, ["the"]), (2, ["the", "##ing"]), (4, ["[unused0]", "the", "##ing", "dog"])],
)
def test_kept_of_a_wordpiece_vocabulary(most_frequent, others):
    every = ["[unused0]", "a", "##b", "b", "ab", "##a", "the", "##t", "##h", "##e", "t", "##ing", "##i", "##n", "##g"]
    every += ["d", "##o", "dog", "cat", "c"]
    tokenizer = wordpiece(*SPECIAL, *every, *"[]", *(f"##{character}" for character in "unsed0]"))

    part, _ = trimmed(tokenizer, ["Cat ab"], most_frequent)

    gone = {"[unused0]", "the", "##ing", "dog"} - set(others)
    assert set(pieces_of(tokenizer)) - set(pieces_of(part)) == gone


@pytest.mark.parametrize(("most_frequent", "others"), [(0, set()), (1, {"bb"}), (2, {"bb", "\u2581bb"})])
def test_kept_of_a_unigram_vocabulary(most_frequent, others):
    kept = {"▁": -3.0, "▁a": -3.0, "a": -5.0, "b": -6.0, "▁ab": -4.0, "<0x0A>": -9.0, "aj": -8.0, "lowest": -12.0}
    kept |= dict.fromkeys("<0xA>", -10.0)
    tokenizer = unigram(**kept, **{"aa": -5.5, "bb": -1.0, "▁bb": -2.0, "ba": -7.0})

    part, _ = trimmed(tokenizer, ["ab"], most_frequent)

    assert set(pieces_of(part)) == kept.keys() | others  # aj: there is no j by itself


def test_a_piece_that_comes_twice_counts_as_the_last_one():
    twice = [("[UNK]", 0.0), ("▁", -2.0), ("a", -3.0), ("b", -3.0), ("ab", -1.0), ("aa", -2.0), ("ab", -9.0)]
    tokenizer = finish(models.Unigram(twice, unk_id=0))

    part, kept = trimmed(tokenizer, ["a b"], 1)

    assert kept[:6].tolist() == [0, 1, 2, 3, 5, 6]  # 6 is the lowest as well
    assert part.encode("ab").tokens == tokenizer.encode("ab").tokens


def test_an_unknown_word_of_wordpiece_stays_unknown():
    tokenizer = wordpiece(*SPECIAL, *"xyz", "##x", "##y", "##yz", "xy", "zz")
    assert tokenizer.encode("xyz", add_special_tokens=False).tokens == ["[UNK]"]  # xy, and there is no ##z

    for text in ("xyz", "a Xyz"):
        part, kept = trimmed(tokenizer, [text], most_frequent=0)
        assert kept[part.encode(text).ids].tolist() == tokenizer.encode(text).ids
    without, _ = trimmed(tokenizer, [], most_frequent=0)
    assert without.encode("xyz", add_special_tokens=False).tokens == ["x", "##yz"]


def test_an_unknown_character_of_unigram_stays_as_unlikely():
    """Its score is 10 less than the lowest in the vocabulary, and decides between paths through x, which is unknown."""
    tokenizer = unigram(**{"▁": -1.0, "y": -9.0, "z": -12.0, "xy": -12.0, "yz": -1.0, "yyy": -20.0})
    tokens = tokenizer.encode("xyz", add_special_tokens=False).tokens
    assert tokens == ["▁", "xy", "z"]

    part, _ = trimmed(tokenizer, ["xyz"], most_frequent=0)

    assert part.encode("xyz", add_special_tokens=False).tokens == tokens


def test_the_unknown_token_needs_not_be_a_special_one():
    pieces = ["un", "[UNK]", *"[un]", *(f"##{character}" for character in "nUNK]")]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))

    part, kept = trimmed(tokenizer, ["u"], most_frequent=0)

    assert pieces_of(part) == pieces_of(tokenizer)[1:]
    assert kept[part.encode("x").ids].tolist() == [1]


def test_the_whole_of_a_text_counts_where_the_tokenizer_truncates():
    tokenizer = wordpiece(*SPECIAL, *"abt", "##b", "##t", "ab", "at")
    tokenizer.enable_truncation(3)

    part, _ = trimmed(tokenizer, ["ab ab ab at"], most_frequent=0)

    assert {"ab", "at"} <= set(pieces_of(part))
    assert part.truncation == tokenizer.truncation


@pytest.mark.parametrize("kind", ["BertProcessing", "RobertaProcessing", "Sequence"])
def test_special_tokens_of_each_kind_of_template(whole, kind):
    whole = Tokenizer.from_str(whole.to_str())
    first, last = (("[CLS]", whole.token_to_id("[CLS]")), ("[SEP]", whole.token_to_id("[SEP]")))
    whole.post_processor = {
        "BertProcessing": lambda: processors.BertProcessing(last, first),
        "RobertaProcessing": lambda: processors.RobertaProcessing(last, first),
        "Sequence": lambda: processors.Sequence([processors.ByteLevel(), whole.post_processor]),
    }[kind]()

    part, kept = trimmed(whole, ENGLISH, most_frequent=0)

    for row in (ENGLISH[0], PAIRS[0]):
        one, other = whole.encode_batch([row])[0], part.encode_batch([row])[0]
        assert kept[other.ids].tolist() == one.ids
        assert other.tokens == one.tokens


WIDTHS = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
NETWORKS: dict[str, dict[str, Any]] = {
    "bert": WIDTHS,
    "xlm-roberta": WIDTHS,
    "electra": WIDTHS | {"embedding_size": 8},
    "albert": WIDTHS | {"embedding_size": 8},
    "deberta-v2": WIDTHS | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32},
    "t5": {"d_model": 16, "d_kv": 8, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1, "d_ff": 32},
}


def make_network(family: str, tokenizer: Tokenizer, classifier: bool, **changes: Any) -> Any:
    """With random weights, and room for more pieces than there are."""
    numbers = {
        "vocab_size": -(-tokenizer.get_vocab_size() // 64) * 64,
        "pad_token_id": tokenizer.token_to_id("[PAD]"),
        "bos_token_id": tokenizer.token_to_id("[CLS]"),
        "eos_token_id": tokenizer.token_to_id("[SEP]"),
        "decoder_start_token_id": tokenizer.token_to_id("[PAD]"),
    }
    auto = transformers.AutoModelForSequenceClassification if classifier else transformers.AutoModel
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = transformers.AutoConfig.for_model(family, **(NETWORKS[family] | numbers | changes))
        return auto.from_config(config).eval()


def outputs(network: Any, tokenizer: Tokenizer, rows: Sequence[Any]) -> np.ndarray:
    """Logits of a classifier, or the states of all tokens but padding, of which some rows have more than others."""
    encoded = tokenizer.encode_batch(rows)
    ids = torch.tensor([row.ids for row in encoded])
    mask = torch.tensor([row.attention_mask for row in encoded])
    assert len(set(mask.sum(1).tolist())) > 1
    decoder = {"decoder_input_ids": ids} if network.config.is_encoder_decoder and network.base_model is network else {}
    with torch.inference_mode():
        made = network(input_ids=ids, attention_mask=mask, **decoder)
    return (made.logits if "logits" in made else made.last_hidden_state[mask.bool()]).numpy()


@pytest.mark.parametrize("classifier", [False, True], ids=["backbone", "classifier"])
@pytest.mark.parametrize(
    ("whole", "family"),
    [
        *((train_wordpiece, family) for family in ("bert", "electra", "distilbert")),
        *((train_unigram, family) for family in ("xlm-roberta", "deberta-v2", "albert", "t5")),
    ],
    indirect=["whole"],
)
def test_a_trimmed_network_makes_the_same_of_the_texts(whole, family, classifier, tmp_path):
    part, kept = trimmed(whole, ENGLISH, most_frequent=0)
    network = make_network(family, whole, classifier)
    expected, padded = outputs(network, whole, PAIRS), network.get_input_embeddings().padding_idx is not None
    padding = part.token_to_id("[PAD]")

    trim_embeddings(network, kept)
    network.save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path).eval()

    for one in (network, again):
        np.testing.assert_allclose(outputs(one, part, PAIRS), expected, rtol=0, atol=1e-6)
        table = one.get_input_embeddings()
        assert len(table.weight) == table.num_embeddings == one.config.vocab_size == len(kept)
        assert table.padding_idx == (padding if padded else None)
        assert (one.config.pad_token_id, one.config.eos_token_id) == (padding, part.token_to_id("[SEP]"))


def test_a_token_of_the_configuration_that_is_none_of_the_tokenizer():
    tokenizer = wordpiece(*SPECIAL, *"ab", "##b", "##a", "ab", "ba")
    _, kept = trimmed(tokenizer, ["ba"], most_frequent=0)
    network = make_network("bert", tokenizer, False, bos_token_id=tokenizer.token_to_id("ab"), eos_token_id=5000)

    trim_embeddings(network, kept)

    assert (network.config.bos_token_id, network.config.eos_token_id) == (None, 5000)


@pytest.mark.parametrize(
    ("model", "kind"), [(models.BPE(), "BPE"), (models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"), "WordLevel")]
)
def test_other_vocabularies_are_refused(model, kind):
    with pytest.raises(UserError, match=rf"^--trim_vocabulary: the vocabulary of a {kind} tokenizer .* needs [^\n]*$"):
        trimmed(Tokenizer(model), [], most_frequent=7)


def test_a_special_token_without_an_embedding_stays_without(whole):
    tokenizer, kept = trimmed(whole, ENGLISH, most_frequent=0)
    highest = whole.get_vocab_size() - 1
    assert kept[-1] == highest == whole.token_to_id("[MASK]")
    network = make_network("bert", whole, False, vocab_size=highest)
    trim_embeddings(network, kept)
    assert network.get_input_embeddings().num_embeddings == network.config.vocab_size == tokenizer.token_to_id("[MASK]")


def test_positions_that_are_numbered_from_a_piece_are_refused(whole):
    """Such a piece is read as padding; when it is gone, nothing in its place would be."""
    _, kept = trimmed(whole, ENGLISH, most_frequent=0)
    piece = next(number for number in range(40, whole.get_vocab_size()) if number not in kept)
    network = make_network("xlm-roberta", whole, False, pad_token_id=piece)

    with pytest.raises(UserError, match=rf"^--trim_vocabulary: pad_token_id in config.json, {piece}, [^\n]*$"):
        trim_embeddings(network, kept)


@pytest.mark.parametrize("write", [partial(write_google_bert, layers=1), write_mdeberta, write_mminilm])
def test_a_saved_tokenizer_takes_the_new_vocabulary(write, tmp_path):
    """Also where transformers builds the tokenizer of a family by itself, of no more than its vocabulary."""
    write(tmp_path / "old", ENGLISH + FOREIGN)
    old = transformers.AutoTokenizer.from_pretrained(tmp_path / "old")
    part, kept = trimmed(old.backend_tokenizer, ENGLISH, most_frequent=0)

    old.save_pretrained(tmp_path / "new")
    part.save(str(tmp_path / "new" / "tokenizer.json"))

    new = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert len(new) == len(kept) < len(old)
    one, other = (tokenizer(*zip(*PAIRS, strict=True), padding=True, return_tensors="np") for tokenizer in (old, new))
    assert (kept[other["input_ids"]] == one["input_ids"]).all()
    assert (other["attention_mask"] == one["attention_mask"]).all()
    assert not other["attention_mask"].all()
