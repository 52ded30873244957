"""AutoGluon's linear head, carried by a head of transformers' own that has a layer and a non-linearity before the last.

AutoGluon classifies by one linear layer on the state of the first token; the ``ForSequenceClassification`` classes have
a dense layer of the same width and tanh, ReLU or GELU in between. These are close to linear somewhere: tanh around 0,
where the dense layer scales the state down and the last layer up again; the others far above 0, where the dense layer
shifts it up and the last layer's bias takes the shift back.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4  # of a logit
SCALED = 2.0**-10  # largest number given to tanh; its error is a third of the cube
SHIFT = 6.0  # lowest number given to GELU, whose error is then 6e-9
MARGIN = 2.0  # states of other rows may be as many times as large


def carry(network: Any, weight: Tensor, bias: Tensor, states: Tensor, batch: dict[str, Tensor]) -> None:
    """Set the head of a ``ForSequenceClassification`` so that it computes ``states @ weight.T + bias``.

    The scale is a power of two, so that it costs no precision.

    :param network: with the backbone's weights in place, in evaluation mode.
    :param weight: (classes, width), ``bias`` (classes,).
    :param states: of the first tokens of training rows, (rows, width): how large they get.
    :param batch: a few rows as the network reads them, on which the outcome is compared with the linear head.
    :raises ValueError: when the head is of a form that cannot carry it.
    """
    dense, last = _layers(network, batch)
    if last.out_features != weight.shape[0] or last.in_features != weight.shape[1]:
        raise ValueError("its head is of another shape")
    expected = nn.functional.linear(_first_states(network, batch), weight, bias)
    largest = MARGIN * float(states.abs().max())
    ways = [_scaled, _shifted] if dense is not None else [_plain]
    for way in ways:
        way(dense, last, weight, bias, largest)
        with torch.inference_mode():
            difference = float((network(**batch).logits - expected).abs().max())
        if difference <= TOLERANCE:
            return
    raise ValueError("what lies between the state and its last layer cannot be made linear")


def _layers(network: Any, batch: dict[str, Tensor]) -> tuple[nn.Linear | None, nn.Linear]:
    """The dense layer and the last one of the head; None where the last layer reads the state itself."""
    called: list[tuple[nn.Linear, int]] = []
    hooks = [
        module.register_forward_hook(lambda module, given, _: called.append((module, given[0].ndim)))
        for module in network.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.inference_mode():
            network(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    (before, dimensions), (last, _) = called[-2:]
    is_dense = dimensions == 2 and before.in_features == before.out_features == last.in_features
    return before if is_dense else None, last


def _first_states(network: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        states: Tensor = network.base_model(**batch).last_hidden_state[:, 0]
    return states


def _plain(dense: nn.Linear | None, last: nn.Linear, weight: Tensor, bias: Tensor, largest: float) -> None:
    _set(last, weight, bias)


def _scaled(dense: nn.Linear | None, last: nn.Linear, weight: Tensor, bias: Tensor, largest: float) -> None:
    assert dense is not None
    scale = 2.0 ** math.floor(math.log2(SCALED / max(largest, 1e-6)))
    _set(dense, scale * torch.eye(dense.in_features), torch.zeros(dense.out_features))
    _set(last, weight / scale, bias)


def _shifted(dense: nn.Linear | None, last: nn.Linear, weight: Tensor, bias: Tensor, largest: float) -> None:
    assert dense is not None
    shift = math.ceil(largest + SHIFT)
    _set(dense, torch.eye(dense.in_features), torch.full((dense.out_features,), float(shift)))
    _set(last, weight, (bias.double() - shift * weight.double().sum(dim=1)).float())


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    if layer.bias is None:
        raise ValueError("its head has no bias")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
