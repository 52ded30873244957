"""The demonstration: labels by construction, splits apart, a tokenizer that knows every word."""

from dataclasses import replace

import pandas as pd
import pytest
from transformers import AutoTokenizer

from automm_distill.inputs import demo

from .conftest import make_settings


def meaning(sentence, language):
    """Who does what to whom where, with words that mean the same made equal."""
    _, agent, verb, _, patient, *circumstance = sentence.split()
    (group,) = (n for n, words in enumerate(language.verbs) if verb in words)
    (where,) = (n for n, phrases in enumerate(language.circumstances) if " ".join(circumstance) in phrases)
    return agent, group, patient, where


@pytest.mark.parametrize("name", demo.LANGUAGES)
def test_labels_say_whether_the_meanings_are_equal(name):
    language = demo.LANGUAGES[name]
    pairs = demo.make_pairs(language, 500, seed=1)
    for pair in pairs.itertuples():
        assert (meaning(pair.sentence1, language) == meaning(pair.sentence2, language)) == pair.label
    assert 0.3 < pairs["label"].mean() < 0.7
    assert not pairs.duplicated(["sentence1", "sentence2"]).any()


def test_languages_share_no_word():
    words = [
        {
            word
            for column in ("sentence1", "sentence2")
            for text in demo.make_pairs(language, 500, 1)[column]
            for word in text.split()
        }
        for language in demo.LANGUAGES.values()
    ]
    assert len(words) == 2
    assert not words[0] & words[1]


@pytest.mark.parametrize(("benchmark", "configs"), [("glue", ["demo"]), ("pawsx", ["de", "en"])])
def test_no_pair_is_in_two_splits_and_the_tokenizer_knows_every_word(tmp_path, benchmark, configs):
    own = {"teacher_model": "demo-teacher", "student_model": "my-student", "demo": True, "dataset_path": None}
    settings = make_settings(**own, benchmark=benchmark, pawsx_teacher_tasks=("en",), pawsx_student_tasks=("en",))
    data, teacher, student = demo.prepare(settings, tmp_path)
    assert student == "my-student", "a checkpoint that the user names is kept"
    _, _, student = demo.prepare(replace(settings, student_model=None, student_layers="1"), tmp_path)
    assert student is None, "it is made of the teacher's layers"
    assert sorted(path.name for path in data.iterdir()) == configs
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    for config in configs:
        frames = [pd.read_parquet(path) for path in (data / config).iterdir()]
        together = pd.concat(frames, ignore_index=True)
        assert not together.duplicated(["sentence1", "sentence2"]).any()
        ids = tokenizer([*together["sentence1"], *together["sentence2"]])["input_ids"]
        assert all(tokenizer.unk_token_id not in row for row in ids)
