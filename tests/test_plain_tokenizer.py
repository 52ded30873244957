"""Exported tokenizers, which know nothing of AutoGluon, make the very rows that AutoGluon trains on."""

import numpy as np
import pytest

from automm_distill.automm import row_form
from automm_distill.automm.token_sequences import tokenize
from automm_distill.errors import UserError
from automm_distill.export.exported import encode
from automm_distill.export.plain_tokenizer import input_names, plain_tokenizer, transformers_tokenizer

from .tokenizer_kinds import KINDS, LONG, make_tokenizers, processor_of, some_texts


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One of each of KINDS."""
    return make_tokenizers(tmp_path_factory.mktemp("tokenizers"))


def autogluons_rows(processor, texts):
    made = tokenize(processor, texts)
    ends = np.cumsum(made.lengths)[:-1]
    return [part.tolist() for part in np.split(made.tokens, ends)], [s.tolist() for s in np.split(made.segments, ends)]


# Rows of an even room for two texts, so that none is left over for one of two long ones.
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("columns", "room", "segments"), [(2, 60, 2), (2, 14, 2), (2, 508, 1), (1, 21, 2)])
def test_each_row_is_autogluons(tokenizers, kind, columns, room, segments):
    processor = processor_of(tokenizers[kind], room + columns + 1, segments)
    if processor.eos_only:
        processor.max_len -= 1
    form = row_form(processor, reads_segments=True)
    texts = some_texts(columns)
    tokens, segment_rows = autogluons_rows(processor, texts)
    rows = plain_tokenizer(form).encode_batch(
        [row if columns == 2 else row[0] for row in zip(*texts.values(), strict=True)]
    )
    assert max(map(len, tokens)) == form.max_tokens or room > 100, "among them rows that are cut"
    for row, of_tokens, of_segments in zip(rows, tokens, segment_rows, strict=True):
        length = sum(row.attention_mask)
        assert row.ids[:length] == of_tokens
        assert set(row.ids[length:]) <= {processor.tokenizer.pad_token_id}
        if not processor.eos_only:  # T5 reads no segments
            assert row.type_ids[:length] == of_segments


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_the_same_after_a_round_trip(tokenizers, kind, tmp_path):
    import transformers

    processor = processor_of(tokenizers[kind], 35)
    form = row_form(processor, reads_segments=False)
    plain = plain_tokenizer(form)
    transformers_tokenizer(form, plain).save_pretrained(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == form.max_tokens
    pairs = list(zip(*some_texts(2).values(), strict=True))
    read = loaded([one for one, _ in pairs], [other for _, other in pairs], padding=True, truncation=True)
    expected = encode(plain, pairs, input_names(form))
    assert set(read) == {"input_ids", "attention_mask"}
    for name, values in expected.items():
        assert np.array_equal(read[name], values), name


def test_where_two_long_texts_share_an_odd_room_they_differ_by_a_token(tokenizers):
    """The one difference that the tokenizers library leaves: which text gets the token that is left over."""
    processor = processor_of(tokenizers["WordPiece"], 16)
    texts = {"sentence1": [LONG * 2], "sentence2": [LONG * 3]}
    ((ours,), _), row = autogluons_rows(processor, texts), plain_tokenizer(row_form(processor, reads_segments=True))
    theirs = row.encode(LONG * 2, LONG * 3).ids
    separators = [
        [place for place, token in enumerate(ids) if token == processor.sep_token_id] for ids in (ours, theirs)
    ]
    assert len(ours) == len(theirs) == 16
    assert separators == [[8, 15], [7, 15]]


def test_a_tokenizer_in_python_is_refused(tokenizers):
    form = row_form(processor_of(tokenizers["WordPiece"], 16), reads_segments=True)
    without = type("ByWords", (), {})()
    with pytest.raises(UserError, match=r"ByWords is written in Python.*needs a checkpoint with a fast tokenizer"):
        plain_tokenizer(type(form)(**{**vars(form), "tokenizer": without}))
