"""What a network's layers make of a batch, beside what AutoGluon's model returns."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from automm_distill.inputs.checkpoints.layers import find_layers, layer_states


class HiddenStates:
    """The states after some layers of a network, kept from its last forward pass.

    :param network: the transformers model in AutoGluon's (models/hf_text.py, ``model``).
    :param layers: counted from 0, in any order.
    """

    def __init__(self, network: nn.Module, layers: Sequence[int]) -> None:
        self.layers = tuple(layers)
        self._kept: dict[int, Tensor] = {}
        _, modules = find_layers(network)
        self._handles = [modules[layer].register_forward_hook(partial(self._keep, layer)) for layer in {*layers}]

    def take(self) -> list[Tensor]:
        """The states after each layer, (B, L, D); to be taken once per pass."""
        kept, self._kept = self._kept, {}
        return [kept[layer] for layer in self.layers]

    def remove(self) -> None:
        """Let the network go."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self._kept[layer] = layer_states(output)


class Projections(nn.Module):
    """From the student's states to the teacher's width: one linear layer for each of its layers.

    Sun et al. 2019 compare models of one width; this is what TinyBERT (Jiao et al. 2020, eq. 8) does where they differ.
    """

    def __init__(self, layers: int, width: int, teacher_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width) for _ in range(layers)
        )

    def forward(self, states: Tensor) -> Tensor:
        """(B, K, ..., D) -> (B, K, ..., E)."""
        return torch.stack([layer(states[:, place]) for place, layer in enumerate(self.layers)], dim=1)
