"""The size of each loss, and of its gradient, while the student is trained: the numbers to choose weights by."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

OUTPUTS = ("logits", "feature")
# Keeps small gradients from becoming 0 in half precision; shares do not depend on it.
SCALE = 1024.0


class LossLog:
    """Means of the unweighted losses per epoch, and norms of the weighted losses' gradients at the student's outputs.

    :param weights: by name, of the losses that are computed.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._epochs: dict[int, dict[str, list[Tensor]]] = {}  # per epoch and loss: sum, and number of finite batches
        self._gradients = {output: dict.fromkeys(weights, 0.0) for output in OUTPUTS}

    def add(self, epoch: int, terms: Mapping[str, Tensor]) -> None:
        """Add one batch. Values that overflowed in half precision are left out: their batch was not trained on."""
        sums = self._epochs.setdefault(epoch, {})
        for name, term in terms.items():
            value = term.detach()
            finite = torch.isfinite(value)
            counted = sums.setdefault(name, [torch.zeros_like(value), torch.zeros_like(value)])
            counted[0] += torch.where(finite, value, 0.0)
            counted[1] += finite

    def add_gradient_shares(
        self, terms: Mapping[str, Tensor], logits: Tensor, feature: Tensor
    ) -> dict[str, dict[str, float]]:
        """Add the norm of each weighted loss's gradient, at the logits and at the pooled feature.

        All losses reach the network through the feature, those of the logits by way of the last layer; those of hidden
        states through the states of the highest layer that is compared, which then takes the feature's place.

        :param logits: (B, C) and ``feature``: (B, D) or (B, L, D), from which ``terms`` were computed.
        :return: this batch's shares, ``{"logits": {term: share}, "feature": {term: share}}``; empty if one overflowed.
        """
        sizes: dict[str, dict[str, float]] = {output: {} for output in OUTPUTS}
        norms = []
        for name, term in terms.items():
            weighted = SCALE * self.weights[name] * term
            gradients = torch.autograd.grad(weighted, (logits, feature), retain_graph=True, allow_unused=True)
            norms += [weighted.new_zeros(()) if gradient is None else gradient.float().norm() for gradient in gradients]
        measured = (torch.stack(norms) / SCALE).view(len(terms), len(OUTPUTS)).tolist()  # one transfer
        for name, of_term in zip(terms, measured, strict=True):
            for output, size in zip(OUTPUTS, of_term, strict=True):
                sizes[output][name] = size
        if not all(math.isfinite(size) for by_term in sizes.values() for size in by_term.values()):
            return {}
        for output, by_term in sizes.items():
            for name, size in by_term.items():
                self._gradients[output][name] += size
        return {output: _shares(by_term) for output, by_term in sizes.items()}

    def summary(self) -> dict[str, dict[str, float | None]]:
        """``{term: {"weight", "first_epoch", "last_epoch", "logits_share", "feature_share"}}``.

        ``first_epoch`` and ``last_epoch`` are means of the unweighted loss, None if it was never finite; shares are
        those of the norms' sums over the measured batches. Empty when there was no batch.
        """
        if not self._epochs:
            return {}
        first, last = self._epochs[min(self._epochs)], self._epochs[max(self._epochs)]
        shares = {output: _shares(by_term) for output, by_term in self._gradients.items()}
        return {
            name: {
                "weight": weight,
                "first_epoch": _mean(*first[name]),
                "last_epoch": _mean(*last[name]),
                **{f"{output}_share": shares[output][name] for output in OUTPUTS},
            }
            for name, weight in self.weights.items()
        }


def _shares(sizes: Mapping[str, float]) -> dict[str, float]:
    total = sum(sizes.values())
    return {name: size / total if total else 0.0 for name, size in sizes.items()}


def _mean(total: Tensor, count: Tensor) -> float | None:
    return float(total / count) if count else None
