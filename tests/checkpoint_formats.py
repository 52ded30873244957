"""Small random checkpoints in the formats in which the scripts' default ones lie on the hub.

File names, configuration keys, number formats and kinds of tokenizer are those of the public repositories; the sizes of
networks and vocabularies are not.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import torch
import transformers

WIDTHS = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}


def write_google_bert(folder: Path, texts: Sequence[str], layers: int) -> None:
    """As google/bert_uncased_L-*: ``vocab.txt`` and nothing else of a tokenizer; weights in torch's format before 1.6.

    [UNK] is number 100 of the vocabulary, as in Google's.
    """
    trained = tokenizers.BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(texts, vocab_size=1000, show_progress=False)
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word for word in sorted(trained.get_vocab()) if word not in ("[PAD]", *special)]
    vocabulary = ["[PAD]", *(f"[unused{number}]" for number in range(99)), *special, *words]
    config = WIDTHS | {"vocab_size": len(vocabulary), "type_vocab_size": 2, "num_hidden_layers": layers}
    _write_config(folder, "bert", config)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    _write_weights(folder, "BertForPreTraining", zipped=False)


def write_mdeberta(folder: Path, texts: Sequence[str]) -> None:
    """As microsoft/mdeberta-v3-base: ``spm.model`` only; single and half precision in one file.

    Beside the weights lie those of the generator it was trained with, another network under the same names.
    """
    pieces = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    options = {f"{kind}_piece": piece for kind, piece in pieces.items()}
    size = _write_sentencepiece(folder / "spm.model", texts, pad_id=0, bos_id=1, eos_id=2, unk_id=3, **options)
    config = WIDTHS | {
        "vocab_size": size + 8,  # [MASK], and room
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
    }
    _write_config(folder, "deberta-v2", config)
    tokenizer = {"do_lower_case": False, "vocab_type": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    _write_weights(folder, "DebertaV2ForMaskedLM", half=lambda name: not name.startswith("deberta."))
    _write_weights(folder, "DebertaV2ForMaskedLM", name="pytorch_model.generator.bin", seed=2)


def write_mminilm(folder: Path, texts: Sequence[str]) -> None:
    """As nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large: XLM-R's SentencePiece model; all in half precision."""
    size = _write_sentencepiece(folder / "sentencepiece.bpe.model", texts, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    special = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>"}
    named = {f"{kind}_token": token for kind, token in special.items()}
    tokenizer = named | {"model_max_length": 512, "tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(named), encoding="utf-8")
    positions = {"max_position_embeddings": 514, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    # fairseq's <pad> and <mask>
    _write_config(folder, "xlm-roberta", WIDTHS | positions | {"vocab_size": size + 2, "type_vocab_size": 1})
    _write_weights(folder, "XLMRobertaForMaskedLM", half=lambda name: True)


def _write_config(folder: Path, model_type: str, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_type": model_type, **config}, indent=2)
    (folder / "config.json").write_text(text, encoding="utf-8")


def _write_weights(
    folder: Path,
    model_class: str,
    *,
    name: str = "pytorch_model.bin",
    half: Callable[[str], bool] = lambda name: False,
    zipped: bool = True,
    seed: int = 1,
) -> None:
    """``half`` picks the weights in half precision; without ``zipped`` in torch's format before 1.6."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = transformers.AutoConfig.from_pretrained(folder)
        state = getattr(transformers, model_class)(config).state_dict()
    state = {name: value.half() if half(name) and value.is_floating_point() else value for name, value in state.items()}
    torch.save(state, folder / name, _use_new_zipfile_serialization=zipped)


def _write_sentencepiece(path: Path, texts: Sequence[str], **options: Any) -> int:
    """A unigram model trained on ``texts``; returns the size of its vocabulary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=400,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **options,
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path)).get_piece_size()
