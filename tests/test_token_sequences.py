"""Token sequences made for many rows at once are those that AutoGluon's text processor makes of each row."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from autogluon.multimodal.data.process_text import TextProcessor
from omegaconf import OmegaConf
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

from automm_distill.automm import token_sequences
from automm_distill.automm.token_sequences import tokenize, trimmed

from .checkpoint_formats import write_google_bert, write_mdeberta, write_mminilm
from .conftest import GERMAN, SENTENCES

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
KINDS = ["WordPiece", "SentencePiece, DeBERTa", "SentencePiece, XLM-R", "bytes, RoBERTa", "two ends, CLIP", "end, T5"]
LONG = "the nurse paints the bridge, die Lehrerin malt die Brücke 桥 "


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One of each of KINDS."""
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = [*SENTENCES["sentence1"], *GERMAN["sentence2"]]
    write_google_bert(folder / "bert", texts, layers=1)
    write_mdeberta(folder / "deberta", texts)
    write_mminilm(folder / "xlmr", texts)
    of_bytes = ByteLevelBPETokenizer()
    of_bytes.train_from_iterator(texts, vocab_size=500, special_tokens=[*SPECIAL.values()], show_progress=False)
    of_bytes.save_model(str(folder))
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[B]": 1, "[E]": 2, "the": 3, "nurse": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"unk_token": "[UNK]", "eos_token": "[E]", "pad_token": "[UNK]"}
    return dict(
        zip(
            KINDS,
            (
                *(AutoTokenizer.from_pretrained(folder / name) for name in ("bert", "deberta", "xlmr")),
                RobertaTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), **SPECIAL),
                PreTrainedTokenizerFast(tokenizer_object=words, bos_token="[B]", **ends),
                PreTrainedTokenizerFast(tokenizer_object=words, **ends),
            ),
            strict=True,
        )
    )


def processor_of(tokenizer, max_tokens, segments=2):
    model = SimpleNamespace(
        prefix="hf_text",
        tokenizer_name="hf_auto",
        tokenizer=tokenizer,
        max_text_len=max_tokens,
        text_segment_num=segments,
    )
    return TextProcessor(model, template_config=OmegaConf.create({"turn_on": False}))


def some_texts(columns):
    """Short, empty and long ones in all combinations, and such with unknown words."""
    random = np.random.default_rng(0)
    rows = 60
    texts = [[LONG * int(times) for times in random.integers(0, 9, rows)] for _ in range(columns)]
    for column, sentences in zip(texts, (SENTENCES["sentence1"], GERMAN["sentence1"]), strict=False):
        column[::2] = sentences[: rows // 2]
    return {f"sentence{number}": column for number, column in enumerate(texts, start=1)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("columns", "max_tokens", "segments"), [(2, 64, 2), (2, 17, 2), (2, 512, 1), (1, 24, 2)])
def test_each_row_is_autogluons(tokenizers, kind, columns, max_tokens, segments):
    processor = processor_of(tokenizers[kind], max_tokens, segments)
    texts = some_texts(columns)
    made = tokenize(processor, texts)
    ends = np.cumsum(made.lengths)
    assert made.lengths.max() >= min(max_tokens, 100), "among them rows that are trimmed, where few tokens are read"
    for row, (start, end) in enumerate(zip(ends - made.lengths, ends, strict=True)):
        one = {column: values[row] for column, values in texts.items()}
        expected = processor(one, dict.fromkeys(texts, "text"), is_training=False)
        assert made.tokens[start:end].tolist() == expected[processor.text_token_ids_key].tolist()
        if not processor.eos_only:  # T5's: AutoGluon has one segment more than tokens
            assert made.segments[start:end].tolist() == expected[processor.text_segment_ids_key].tolist()
    assert len(made.tokens) == len(made.segments) == ends[-1]


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_columns_are_trimmed_as_autogluon_trims_them(columns):
    lengths = np.random.default_rng(0).integers(0, 30, (300, columns))
    for room in (1, 2, 7, 20, 61, 200):
        expected = [TextProcessor.get_trimmed_lengths(row.tolist(), room, do_merge=True) for row in lengths]
        assert trimmed(lengths, room).tolist() == np.array(expected).tolist()


def test_truncation_left_on_by_another_call_does_not_count(tokenizers):
    processor = processor_of(tokenizers["WordPiece"], 64)
    texts = some_texts(2)
    expected = tokenize(processor, texts)
    processor.tokenizer("the nurse", truncation=True, max_length=2, padding="max_length")
    made = tokenize(processor, texts)
    assert made.tokens.tolist() == expected.tokens.tolist()


def test_rows_of_several_threads_stay_in_their_order(tokenizers, monkeypatch):
    processor = processor_of(tokenizers["WordPiece"], 64)
    texts = some_texts(2)
    expected = tokenize(processor, texts)
    monkeypatch.setattr(token_sequences, "CHUNK", 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    made = tokenize(processor, texts)
    assert made.tokens.tolist() == expected.tokens.tolist()
    assert made.segments.tolist() == expected.segments.tolist()
    assert made.lengths.tolist() == expected.lengths.tolist()
