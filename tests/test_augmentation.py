"""AutoGluon's own text augmenter, which needs NLTK data: here a WordNet of two synsets and a tagger with few tags.

The files have the format of the real ones (WordNet 3.0's wndb(5WN), NLTK's averaged perceptron tagger), so that the
augmenter, nlpaug and NLTK run as they do for a user.
"""

import json
import random
from pathlib import Path

import nltk
import pytest
import torch
from autogluon.multimodal.data import trivial_augmenter

from automm_distill import automm
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.inputs.rows.splits import TrainValidation

from .fits import FRAME, RTE, load, make_options

SYNONYMS = (("bridge", "river"), ("nurse", "pilot"))
TEXT = "the pilot paints the bridge while the others wait for the train"  # AutoGluon augments texts of 10 words or more


def write_nltk_data(folder: Path) -> None:
    """What NLTK's ``find`` and readers look for, under ``folder``."""
    wordnet = folder / "corpora" / "wordnet"
    wordnet.mkdir(parents=True)
    lines, index = "", ""
    for lemmas in SYNONYMS:
        offset = len(lines)
        lines += f"{offset:08d} 00 n 02 {lemmas[0]} 0 {lemmas[1]} 0 000 | two words that mean the same\n"
        index += "".join(f"{lemma} n 1 0 1 0 {offset:08d}\n" for lemma in lemmas)
    files = {"data.noun": lines, "index.noun": index, "lexnames": "00 noun.all 1\n"}
    files["data.adj"] = "  1 WordNet 3.0 Copyright\n"
    empty = ("index.adj", "index.adv", "index.verb", "data.adv", "data.verb", "index.sense", "cntlist.rev")
    exceptions = ("adj.exc", "adv.exc", "noun.exc", "verb.exc")
    for name in (*files, *empty, *exceptions):
        (wordnet / name).write_text(files.get(name, ""))
    tagger = folder / "taggers" / "averaged_perceptron_tagger_eng"
    tagger.mkdir(parents=True)
    for name, content in {"weights": {}, "tagdict": {"the": "DT"}, "classes": ["NN"]}.items():
        (tagger / f"averaged_perceptron_tagger_eng.{name}.json").write_text(json.dumps(content))
    # AutoGluon would download these as well (data/trivial_augmenter.py:210), and reads neither of them.
    (folder / "corpora" / "omw-1.4").mkdir()
    (folder / "taggers" / "averaged_perceptron_tagger").mkdir()


@pytest.fixture
def nltk_data(tmp_path, monkeypatch):
    write_nltk_data(tmp_path / "nltk_data")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])
    monkeypatch.setattr(trivial_augmenter, "_nltk_downloaded", False)


def test_augmentation_reaches_the_rows_of_a_fit(nltk_data, checkpoints, tmp_path):
    frame = FRAME.assign(sentence1=TEXT)
    rows = TrainValidation(frame[:64], frame[64:96])
    for name, scale in (("plain", 0.0), ("augmented", 0.5)):
        automm.fit(tmp_path / name, rows, RTE, make_options(checkpoints, "baseline", aug_scale=scale))
    plain, augmented = (load(tmp_path / name).automm._learner for name in ("plain", "augmented"))
    assert any(
        not torch.equal(weight, other)
        for weight, other in zip(plain._model.parameters(), augmented._model.parameters(), strict=True)
    )
    (without,), (processor,) = (learner._data_processors["text"] for learner in (plain, augmented))
    assert without.train_augmenter is None
    assert processor.train_augmenter.max_strength == 0.5

    with_workers = make_options(checkpoints, "baseline", aug_scale=0.5, num_workers=2)
    automm.fit(tmp_path / "workers", rows, RTE, with_workers)
    by_workers = load(tmp_path / "workers").automm._learner._model.parameters()
    for weight, other in zip(augmented._model.parameters(), by_workers, strict=True):
        assert torch.equal(weight, other), "the numbers follow from seed, epoch and rows, whoever draws them"

    random.seed(1)
    read = Rows(processor, augmented._df_preprocessor, rows.train, augmented=True)
    token_rows = {tuple(read.batch([0])[processor.text_token_ids_key][0].tolist()) for _ in range(20)}
    assert len(token_rows) > 5, "a row is another one each time it is read"


def test_augmenter_replaces_deletes_swaps_and_inserts(nltk_data):
    random.seed(1)
    augment = trivial_augmenter.TrivialAugment("text", max_strength=0.5)
    results = [augment(TEXT) for _ in range(200)]
    texts = {result if isinstance(result, str) else result[0] for result in results}
    words = sorted(TEXT.split())
    assert TEXT in texts, "one of five operations is none"
    assert any({"nurse", "river"} & set(text.split()) for text in texts), "synonyms"
    assert any(len(text.split()) < len(words) for text in texts), "deletion"
    assert any(text != TEXT and sorted(text.lower().split()) == words for text in texts), "swap"
    assert any(set(text) & set("!?;:") for text in texts), "punctuation"
    changed_words = {word for text in texts for word in text.lower().split()} - {*words, "nurse", "river"}
    assert changed_words <= set(".,!?;:"), "nothing else"
