"""What each loss did while the student was trained: the numbers a user picks weights by."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

OUTPUTS = ("logits", "feature")
# Gradients at half-precision logits would vanish below its smallest number; shares do not change with the scale.
SCALE = 1024.0


class LossLog:
    """Means of the unweighted terms per epoch, and sizes of the weighted terms' gradients at the student's outputs.

    :param weights: of the terms that are computed, by name.
    """

    def __init__(self, weights: Mapping[str, float]):
        self.weights = dict(weights)
        self._epochs: dict[int, dict[str, list[Tensor]]] = {}  # per epoch and term: sum and number of finite batches
        self._gradients = {output: dict.fromkeys(weights, 0.0) for output in OUTPUTS}

    def add(self, epoch: int, terms: Mapping[str, Tensor]) -> None:
        """Count one batch's terms. Where half precision overflowed, the batch trained nothing and is left out."""
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
        """Count each weighted term's gradient, once at the logits and once at the pooled feature.

        All terms reach the network through the feature, those on the logits by way of the last layer.

        :param logits: (B, C) and ``feature``: (B, D), which ``terms`` were computed from.
        :return: this batch's shares, ``{"logits": {term: share}, "feature": {term: share}}``; empty if one overflowed.
        """
        sizes: dict[str, dict[str, float]] = {output: {} for output in OUTPUTS}
        norms = []
        for name, term in terms.items():
            weighted = SCALE * self.weights[name] * term
            gradients = torch.autograd.grad(weighted, (logits, feature), retain_graph=True, allow_unused=True)
            norms += [weighted.new_zeros(()) if gradient is None else gradient.float().norm() for gradient in gradients]
        measured = (torch.stack(norms) / SCALE).view(len(terms), len(OUTPUTS)).tolist()  # the device waits once
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

        The epochs' numbers are means of the unweighted term, None if it was never finite; the shares are those of the
        sums over the measured batches. Empty when there was no batch.
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
    whole = sum(sizes.values())
    return {name: size / whole if whole else 0.0 for name, size in sizes.items()}


def _mean(total: Tensor, count: Tensor) -> float | None:
    return float(total / count) if count else None
