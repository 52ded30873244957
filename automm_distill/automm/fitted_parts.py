"""What a fitted ``MultiModalPredictor`` is made of, for those who want to run it without AutoGluon."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.t5 import T5PreTrainedModel

from automm_distill.automm.predictor import Predictor


@dataclass(frozen=True)
class RowForm:
    """How texts become a row: ``start`` if there is one, each text followed by ``separator``, ``end`` if there is one.

    :param tokenizer: transformers' own.
    :param max_tokens: of a row, special tokens included.
    :param start: token numbers, as are ``separator`` and ``end``.
    :param segments: how many segment numbers texts take in turn; 0 where the network is given none.
    """

    tokenizer: Any
    max_tokens: int
    start: int | None
    separator: int
    end: int | None
    segments: int


@dataclass(frozen=True)
class FittedParts:
    """A network whose first token's last state a linear head reads, and how it is given its rows.

    :param network: transformers' own, in single precision on the CPU, in evaluation mode.
    :param weight: of the head, (classes, width), and ``bias`` (classes,); a regression's give the label's own units.
    """

    network: Any
    weight: torch.Tensor
    bias: torch.Tensor
    rows: RowForm


def fitted_parts(predictor: Predictor) -> FittedParts:
    """The parts of a fitted model, which goes on sharing its network with them.

    autogluon.multimodal 1.6.3: ``_learner._model`` is an ``HFAutoModelForTextPrediction`` (models/hf_text.py:37), its
    ``head`` one linear layer on the first token's state (:202); segments are given if ``disable_seg_ids`` is False
    (:127) and the tokenizer names them among its inputs (:175).
    """
    learner = predictor.automm._learner
    model = learner._model.to("cpu").float().eval()
    (processor,) = learner._data_processors["text"]
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    if predictor.label_scaler is not None:
        scale = torch.tensor(predictor.label_scaler.scale_)
        mean = torch.tensor(predictor.label_scaler.mean_)
        weight, bias = (weight * scale[:, None]).float(), (bias * scale + mean).float()
    network = model.model.encoder if isinstance(model.model, T5PreTrainedModel) else model.model
    reads_segments = "token_type_ids" in processor.tokenizer.model_input_names and not model.disable_seg_ids
    return FittedParts(network, weight, bias, row_form(processor, reads_segments=reads_segments))


def row_form(processor: Any, *, reads_segments: bool) -> RowForm:
    """How AutoGluon's text processor (data/process_text.py:155 in 1.6.3) puts a row together."""
    end = processor.eos_token_id if processor.eos_token_id != processor.sep_token_id else None
    return RowForm(
        tokenizer=processor.tokenizer,
        max_tokens=processor.max_len + (end is not None),  # which AutoGluon does not count (:174)
        start=None if processor.eos_only else processor.cls_token_id,
        separator=processor.sep_token_id,
        end=end,
        segments=processor.text_segment_num if reads_segments else 0,
    )
