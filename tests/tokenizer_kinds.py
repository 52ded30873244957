"""Tokenizers of all kinds that AutoGluon's text processor tells apart, and texts for them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from autogluon.multimodal.data.process_text import TextProcessor
from omegaconf import OmegaConf
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

from .checkpoint_formats import write_google_bert, write_mdeberta, write_mminilm
from .conftest import GERMAN, SENTENCES

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
KINDS = ["WordPiece", "SentencePiece, DeBERTa", "SentencePiece, XLM-R", "bytes, RoBERTa", "two ends, CLIP", "end, T5"]
LONG = "the nurse paints the bridge, die Lehrerin malt die Brücke 桥 "


def make_tokenizers(folder: Path) -> dict[str, Any]:
    """One of each of KINDS, from files in ``folder``."""
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


def processor_of(tokenizer: Any, max_tokens: int, segments: int = 2) -> TextProcessor:
    """AutoGluon's text processor of a network with this tokenizer."""
    model = SimpleNamespace(
        prefix="hf_text",
        tokenizer_name="hf_auto",
        tokenizer=tokenizer,
        max_text_len=max_tokens,
        text_segment_num=segments,
    )
    return TextProcessor(model, template_config=OmegaConf.create({"turn_on": False}))


def some_texts(columns: int) -> dict[str, list[str]]:
    """Short, empty and long ones in all combinations, and such with unknown words."""
    random = np.random.default_rng(0)
    rows = 60
    texts = [[LONG * int(times) for times in random.integers(0, 9, rows)] for _ in range(columns)]
    for column, sentences in zip(texts, (SENTENCES["sentence1"], GERMAN["sentence1"]), strict=False):
        column[::2] = sentences[: rows // 2]
    return {f"sentence{number}": column for number, column in enumerate(texts, start=1)}
