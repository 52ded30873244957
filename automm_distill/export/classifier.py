"""A fitted model on its way into files: network, head, tokenizer and names, without AutoGluon."""

from collections.abc import Mapping
from dataclasses import dataclass

import tokenizers
import torch
from torch import Tensor, nn

from automm_distill.automm import FittedParts
from automm_distill.export.exported import Texts, encode
from automm_distill.export.plain_tokenizer import input_names, plain_tokenizer
from automm_distill.tasks import Task


@dataclass(frozen=True)
class Classifier:
    """What each form of an export is made from.

    :param parts: network and head.
    :param tokenizer: makes rows as training had them; it may have fewer tokens than that of ``parts``, and the network
        as many.
    :param classes: in the order of the logits; none for a regression.
    """

    parts: FittedParts
    tokenizer: tokenizers.Tokenizer
    classes: tuple[str, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of what the network is given."""
        return input_names(self.parts.rows)

    def batch(self, texts: Texts) -> dict[str, Tensor]:
        """Rows as the network reads them, each (rows, longest row)."""
        return {name: torch.from_numpy(array) for name, array in encode(self.tokenizer, texts, self.inputs).items()}

    def states(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The first tokens' last states, (rows, width)."""
        with torch.inference_mode():
            states: Tensor = self.parts.network(**batch).last_hidden_state[:, 0]
        return states

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(rows, classes); of a regression its values, (rows, 1)."""
        return nn.functional.linear(self.states(batch), self.parts.weight, self.parts.bias)


def classifier(parts: FittedParts, task: Task) -> Classifier:
    """The model of a task, as it was trained.

    :raises UserError: when its tokenizer cannot be saved.
    """
    return Classifier(parts, plain_tokenizer(parts.rows), task.classes)
