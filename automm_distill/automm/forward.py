"""One forward pass of AutoGluon's network, outside Lightning."""

from collections.abc import Mapping
from typing import Any

import torch
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.utils.precision import get_precision_context
from torch import Tensor


def forward(model: Any, batch: Mapping[str, Tensor], device: torch.device, precision: str) -> dict[str, Tensor]:
    """Logits and features of a batch, without gradients, as predict(realtime=True) does it (utils/inference.py:187).

    :param model: AutoGluon's (models/hf_text.py), on ``device`` and in evaluation mode.
    :param precision: under Lightning's name.
    """
    with get_precision_context(precision=precision, device_type=device.type), torch.inference_mode():
        outputs: dict[str, Tensor] = run_model(model, {key: value.to(device) for key, value in batch.items()})[
            model.prefix
        ]
    return outputs
