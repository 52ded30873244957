"""The embedded demonstration: generated sentence pairs and a tiny BERT checkpoint, made on the spot without network.

The task is that of PAWS in miniature: do two sentences say the same? Both sentences of a pair use nearly the same
words, so that only who does what to whom decides. Labels follow from how a pair was made; no model is asked.

The teacher starts from random weights and has two layers. A single one can weigh words but hardly relate them: that,
not any tuning, is what makes the teacher the better model. The student is made of its first layer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from automm_distill import cache
from automm_distill.settings import Settings
from automm_distill.tasks import DEMO_LANGUAGES

TRAIN_ROWS, TUNING_ROWS, TEST_ROWS = 3000, 300, 1000
ROLE_SWAPS = 0.6  # of the pairs with another meaning; the others change the verb, which even a bag of words can see


@dataclass(frozen=True)
class Language:
    """The words of one sentence: somebody does something to somebody somewhere. Those of a group mean the same."""

    article: str
    people: Sequence[str]
    verbs: Sequence[Sequence[str]]
    circumstances: Sequence[Sequence[str]]


LANGUAGES = {
    "en": Language(
        article="the",
        people=["baker", "singer", "doctor", "farmer", "pilot", "lawyer", "painter", "nurse"],
        verbs=[["thanked"], ["greeted", "welcomed"], ["helped", "assisted"], ["warned", "alerted"], ["visited"]],
        circumstances=[["at noon", "at midday"], ["in the park"], ["near the river"], ["after lunch"]],
    ),
    "de": Language(
        article="die",
        people=["Frau", "Wirtin", "Nichte", "Lehrerin", "Malerin", "Chefin", "Nachbarin", "Tante"],
        verbs=[["besuchte"], ["lobte", "pries"], ["suchte"], ["warnte", "mahnte"], ["rief", "holte"]],
        circumstances=[["am Mittag"], ["im Garten"], ["auf dem Markt"], ["nach Feierabend", "nach der Arbeit"]],
    ),
}


@dataclass(frozen=True)
class Shape:
    """The size of a generated checkpoint."""

    layers: int
    width: int
    heads: int
    longest: int = 64  # tokens of a row


TEACHER = Shape(layers=2, width=64, heads=4)


def prepare(settings: Settings, folder: Path) -> tuple[Path, str | None, str | None]:
    """Make (once) what ``--demo`` runs on, below ``folder``.

    :return: the data folder, and the teacher's and the student's checkpoint: the user's own where flags name some, None
        for a teacher that is finished, and for a student made of the teacher's layers.
    """
    recipe = {"demo": Path(__file__).read_text(encoding="utf-8"), "benchmark": settings.benchmark}
    path = folder / f"demo-{settings.benchmark}-{cache.fingerprint(recipe)}"
    ready, _ = cache.get_or_build(
        path,
        {"demo": path.name},
        not_before=0,
        build=lambda partial: _build(partial, settings.benchmark),
        load=lambda done, _: done,
    )

    def place(name: str | None) -> str | None:
        return str(ready / name) if name is not None and name.startswith("demo-") else name

    return ready / "data", place(settings.teacher_model), place(settings.student_model)


def make_pairs(language: Language, rows: int, seed: int, seen: set[tuple[str, str]] | None = None) -> pd.DataFrame:
    """``rows`` different sentence pairs with columns idx, sentence1, sentence2, label (1 = same meaning).

    :param seen: pairs not to make again; new ones are added.
    """
    rng = random.Random(seed)
    seen = set() if seen is None else seen
    pairs: list[tuple[int, str, str, int]] = []
    while len(pairs) < rows:
        agent, patient = rng.sample(language.people, 2)
        verb = other_verb = rng.randrange(len(language.verbs))
        roles = (agent, patient)
        same = rng.random() < 0.5
        if not same and rng.random() < ROLE_SWAPS:
            roles = (patient, agent)
        elif not same:
            other_verb = rng.choice([group for group in range(len(language.verbs)) if group != verb])
        circumstance = rng.choice(language.circumstances)
        first, second = (
            f"{language.article} {who} {rng.choice(language.verbs[group])} {language.article} {whom} "
            f"{rng.choice(circumstance)}"
            for (who, whom), group in (((agent, patient), verb), (roles, other_verb))
        )
        if (first, second) not in seen:
            seen.add((first, second))
            pairs.append((len(pairs), first, second, int(same)))
    return pd.DataFrame(pairs, columns=["idx", "sentence1", "sentence2", "label"])


def make_checkpoint(folder: Path, sentences: Sequence[str], shape: Shape, seed: int) -> None:
    """Write a BERT with random weights, and a tokenizer trained on ``sentences``, as a Hugging Face checkpoint.

    Queries and keys start equal, so that a token attends to its like from the first step: the "mimetic"
    initialisation of Trockman and Kolter 2023 (arXiv 2305.09828), without which small networks need far longer.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        sentences, trainers.WordPieceTrainer(vocab_size=1000, special_tokens=special, show_progress=False)
    )
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=shape.longest,
    ).save_pretrained(folder)

    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    width = shape.width
    model = BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=2 * width,
            max_position_embeddings=shape.longest,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.normal_(0, 1)
        model.embeddings.position_embeddings.weight.normal_(0, 0.5)
        model.embeddings.token_type_embeddings.weight.normal_(0, 0.5)
        head_width = width // shape.heads
        layers: Any = model.encoder.layer
        for layer in layers:
            attention = layer.attention.self
            # A token's score with its own like is then 5 on average, before the softmax.
            attention.query.weight.normal_(0, (5 / (head_width**0.5 * width)) ** 0.5)
            attention.key.weight.copy_(attention.query.weight)
            for linear in (attention.value, layer.attention.output.dense, layer.intermediate.dense, layer.output.dense):
                linear.weight.normal_(0, linear.in_features**-0.5)
    model.save_pretrained(folder)
    torch.set_rng_state(generator_state)


def _build(folder: Path, benchmark: str) -> dict[str, str]:
    names = {"demo": "en"} if benchmark == "glue" else {language: language for language in DEMO_LANGUAGES}
    sizes = {"train": TRAIN_ROWS, "validation": TEST_ROWS}
    if benchmark == "pawsx":
        sizes = {
            "train": TRAIN_ROWS // len(DEMO_LANGUAGES),
            "validation": TUNING_ROWS,
            "test": TEST_ROWS // len(DEMO_LANGUAGES),
        }
    sentences: list[str] = []
    for place, (config, language) in enumerate(names.items()):
        seen: set[tuple[str, str]] = set()  # no pair is in two splits
        (folder / "data" / config).mkdir(parents=True)
        for seed, (split, rows) in enumerate(sizes.items()):
            pairs = make_pairs(LANGUAGES[language], rows, seed, seen)
            pairs["idx"] += place * rows  # the languages' pairs are not translations of one another
            pairs.to_parquet(folder / "data" / config / f"{split}.parquet", index=False)
            if split == "train":
                sentences += [*pairs["sentence1"], *pairs["sentence2"]]
    make_checkpoint(folder / "demo-teacher", sentences, TEACHER, seed=1)
    return {"task": f"demo data and checkpoint ({benchmark})"}
