"""Token sequences made for many rows at once are those that AutoGluon's text processor makes of each row."""

import numpy as np
import pytest
import torch
from autogluon.multimodal.data.process_text import TextProcessor

from automm_distill.automm import token_sequences
from automm_distill.automm.token_sequences import tokenize, trimmed

from .tokenizer_kinds import KINDS, make_tokenizers, processor_of, some_texts


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One of each of KINDS."""
    return make_tokenizers(tmp_path_factory.mktemp("tokenizers"))


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
