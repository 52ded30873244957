"""The Hugging Face form: a folder that ``transformers.pipeline("text-classification", folder)`` loads."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from automm_distill.errors import UserError
from automm_distill.export.classifier import Classifier
from automm_distill.export.exported import BATCH, Texts
from automm_distill.export.linear_head import carry
from automm_distill.export.plain_tokenizer import transformers_tokenizer
from automm_distill.export_formats import HF, WEIGHTS


def write_hf(model: Classifier, folder: Path, texts: Texts) -> dict[str, list[float]]:
    """An ``AutoModelForSequenceClassification`` and its tokenizer, no code of their own, into ``folder``.

    :param texts: training rows, which say how large the numbers get that the head is given.
    :return: for "bfloat16" and "float16", the largest difference of a logit from single precision on some of these
        rows: of the form, and of the same network with a linear head.
    :raises UserError: when the family's head cannot carry a linear one.
    """
    network = _with_head(model)
    states = torch.cat(
        [model.states(model.batch(texts[start : start + BATCH])) for start in range(0, len(texts), BATCH)]
    )
    batch = model.batch(texts[:BATCH])
    try:
        carry(network, model.parts.weight, model.parts.bias, states, batch)
    except ValueError as error:
        kind = model.parts.network.config.model_type
        raise UserError(
            f"export hf: a {kind} network of transformers cannot carry AutoGluon's head: {error}; onnx may work"
        ) from error
    network.save_pretrained(folder)
    transformers_tokenizer(model.parts.rows, model.tokenizer).save_pretrained(folder)
    # A name that transformers 4 and 5 both know, and that keeps tokenizer.json as it is.
    file = folder / "tokenizer_config.json"
    declared = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(declared, indent=2, ensure_ascii=False), encoding="utf-8")
    (folder / WEIGHTS[HF]).chmod(file.stat().st_mode)  # safetensors keeps it from others
    model.tokenizer.save(str(folder / "tokenizer.json"))  # with truncation and padding, for those without transformers
    return {kind: _rounding(model, network, batch, getattr(torch, kind)) for kind in ("bfloat16", "float16")}


def _rounding(model: Classifier, network: Any, batch: dict[str, torch.Tensor], kind: torch.dtype) -> list[float]:
    """The largest differences that such numbers make to the logits: with the family's head, and with a linear one."""
    parts = model.parts
    with torch.inference_mode():
        expected = model.logits(batch)
        carried = deepcopy(network).to(kind)(**batch).logits
        states = deepcopy(parts.network).to(kind)(**batch).last_hidden_state[:, 0]
        plain = torch.nn.functional.linear(states, parts.weight.to(kind), parts.bias.to(kind))
    return [float((logits.float() - expected).abs().nan_to_num(torch.inf).max()) for logits in (carried, plain)]


def _with_head(model: Classifier) -> Any:
    """The family's classifier with the model's backbone in it; its head is drawn at random."""
    import transformers

    config = deepcopy(model.parts.network.config)
    config.num_labels = len(model.classes) or 1
    if model.classes:
        config.id2label = dict(enumerate(model.classes))
        config.label2id = {name: number for number, name in enumerate(model.classes)}
        config.problem_type = "single_label_classification"
    else:
        config.id2label, config.label2id = {0: "score"}, {"score": 0}
        config.problem_type = "regression"
    with torch.random.fork_rng(devices=[]):
        try:
            network = transformers.AutoModelForSequenceClassification.from_config(
                config, trust_remote_code=False, dtype=torch.float32
            )
        except ValueError as error:
            raise UserError(
                f"export hf: transformers has no sequence classifier for a {config.model_type} network; onnx may work"
            ) from error
    report = network.base_model.load_state_dict(model.parts.network.state_dict(), strict=False)
    absent = [name for name in report.missing_keys if "pooler" not in name]
    if absent:
        raise UserError(
            f"export hf: a {config.model_type} classifier of transformers has weights that the model lacks "
            f"({absent[0]}); onnx may work"
        )
    return network.float().eval()
