"""Tokens on disk: made once for all fits and predictions of a tokenizer, and the same as without the disk."""

import logging
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from automm_distill import automm, cache
from automm_distill.automm import Predictor, token_store
from automm_distill.automm.tokenized_rows import Rows

from .checkpoint_formats import write_google_bert, write_mdeberta, write_mminilm
from .conftest import SENTENCES
from .fits import FRAME, RTE, load, make_options, rows_of
from .test_token_sequences import processor_of


@pytest.fixture(autouse=True)
def _few_rows_are_many(monkeypatch):
    monkeypatch.setattr(token_store, "FEW_ROWS", 8)
    monkeypatch.setattr(token_store, "PART_ROWS", 20)


@pytest.fixture
def made(monkeypatch):
    """How many rows each call of the tokenizer was given."""
    counts, tokenize = [], token_store.tokenize

    def counting(processor, texts):
        counts.append(len(next(iter(texts.values()))))
        return tokenize(processor, texts)

    monkeypatch.setattr(token_store, "tokenize", counting)
    return counts


@pytest.fixture(scope="module")
def fitted(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "teacher"
    automm.fit(folder, rows_of("rte"), RTE, make_options(checkpoints, "teacher"))
    return folder


def rows_from(model: Predictor, frame, folder: Path | None) -> Rows:
    (processor,) = model.automm._learner._data_processors["text"]
    return Rows(processor, model.automm._learner._df_preprocessor, frame, token_cache=folder)


def assert_same_batches(one: Rows, other: Rows):
    assert one.lengths.tolist() == other.lengths.tolist()
    for indices in ([0], [5, 2, 40, 2], range(len(one))):
        expected = other.batch(indices)
        for name, tensor in one.batch(indices).items():
            assert tensor.dtype == expected[name].dtype
            assert torch.equal(tensor, expected[name]), name


def test_rows_from_disk_are_those_in_memory(fitted, tmp_path, made):
    """50 of them in three parts, some of them twice; then most of them again, in another order."""
    model = load(fitted)
    frame = FRAME.iloc[[*range(50), 3, 4]]
    expected = rows_from(model, frame, None)
    made.clear()
    assert_same_batches(rows_from(model, frame, tmp_path), expected)
    assert made == [20, 20, 10]
    later = FRAME.iloc[[55, *range(49, 2, -1)]]
    order = np.random.default_rng(1).permutation(len(later))
    stored, in_memory = rows_from(model, later, tmp_path), rows_from(model, later, None)
    assert made == [20, 20, 10, 1, 48]
    for rows in (stored, in_memory):
        rows.reorder(order)
    assert_same_batches(stored, in_memory)


def test_few_rows_are_not_kept(fitted, tmp_path):
    rows_from(load(fitted), FRAME[:8], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_fit_and_its_predictor_and_another_fit_share_tokens_and_learn_the_same(checkpoints, tmp_path, made):
    """To the last bit. Rows are those of the fit, the hold-out, and of a second fit with another seed and rate."""
    rows, kept = rows_of("rte"), tmp_path / "cache"
    options = make_options(checkpoints, "teacher")
    automm.fit(tmp_path / "plain", rows, RTE, options)
    made.clear()
    automm.fit(tmp_path / "stored", rows, RTE, replace(options, token_cache=kept))
    assert sum(made) == len(rows.train) + len(rows.validation)
    plain, stored = (torch.load(tmp_path / name / "model.ckpt")["state_dict"] for name in ("plain", "stored"))
    assert all(torch.equal(weight, stored[name]) for name, weight in plain.items())
    predictor = automm.load(tmp_path / "stored", RTE, verbosity="quiet", token_cache=kept)
    predictor.outputs(rows.train)
    other = make_options(checkpoints, "teacher", seed=5, teacher_learning_rate=3e-4)
    automm.fit(tmp_path / "other", rows, RTE, replace(other, token_cache=kept))
    assert sum(made) == len(rows.train) + len(rows.validation), "nothing was made again"
    assert len(list(kept.glob("tokens-*"))) == 1
    for file in (tmp_path / "stored").rglob("*"):
        assert file.is_dir() or bytes(kept) not in file.read_bytes(), "the finished model knows nothing of the cache"


def test_each_tokenizer_and_length_has_its_own_entry(tmp_path):
    texts = {"sentence1": [*SENTENCES["sentence1"][:30]], "sentence2": [*SENTENCES["sentence2"][:30]]}
    for name, write in (("bert", write_google_bert), ("deberta", write_mdeberta), ("xlmr", write_mminilm)):
        write(tmp_path / name, [*SENTENCES["sentence1"]], **({"layers": 1} if name == "bert" else {}))
    loaded = [AutoTokenizer.from_pretrained(tmp_path / name) for name in ("bert", "deberta", "xlmr")]
    for tokenizer in loaded:
        for max_tokens in (16, 32):
            token_store.tokens_of(processor_of(tokenizer, max_tokens), texts, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("tokens-*"))) == 6
    # As a finished model brings its tokenizer along, or with truncation left on by another call: the same entries.
    for number, tokenizer in enumerate(loaded):
        tokenizer("the nurse", truncation=True, max_length=2)
        tokenizer.save_pretrained(tmp_path / f"saved-{number}")
        again = AutoTokenizer.from_pretrained(tmp_path / f"saved-{number}")
        token_store.tokens_of(processor_of(again, 16), texts, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("tokens-*"))) == 6


def test_damaged_part_is_made_again(fitted, tmp_path, made, caplog):
    model = load(fitted)
    rows_from(model, FRAME[:50], tmp_path)
    (entry,) = tmp_path.glob("tokens-*")
    part = sorted(entry.glob("part-*"))[1]
    size = len(np.load(part / "keys.npy"))
    content = (part / "tokens.npy").read_bytes()
    (part / "tokens.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    made.clear()
    with caplog.at_level(logging.WARNING):
        rows = rows_from(model, FRAME[:50], tmp_path)
    assert made == [size]
    assert "tokens.npy is changed" in caplog.text
    assert_same_batches(rows, rows_from(model, FRAME[:50], None))


def test_pickled_rows_hold_no_tokens(fitted, tmp_path):
    model = load(fitted)
    long = FRAME[:50].assign(sentence1=[f"{number} " + "the nurse " * 400 for number in range(50)])
    rows, in_memory = rows_from(model, long, tmp_path), rows_from(model, long, None)
    assert_same_batches(pickle.loads(pickle.dumps(rows)), in_memory)
    assert len(pickle.dumps(rows)) < len(pickle.dumps(in_memory)) - 0.9 * rows.lengths.sum() * 5


def test_tokens_stay_while_rows_are_read_from_them(fitted, tmp_path):
    rows = rows_from(load(fitted), FRAME[:50], tmp_path)
    (entry,) = tmp_path.glob("tokens-*")
    assert not cache.remove(entry)
    del rows
    assert cache.remove(entry)
