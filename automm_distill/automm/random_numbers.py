"""Random numbers that follow from seed, epoch and pass alone, and dropout whose masks cost little on a CPU.

Whatever a pass draws, it draws from a generator of its own, so that a fit can begin at any pass. What the masks save is
in docs/performance.md.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LEVELS = 2**16  # a mask compares random numbers of 16 bits
_PASS, _PYTHON = 1, 2  # two sources with the same numbers differ by what they are for; the order of rows has neither


def pass_seed(seed: int, epoch: int, number: int, device: int = 0) -> np.random.SeedSequence:
    """The source of all random numbers of one pass.

    :param number: of the pass within its epoch; ``device``: of the one that the pass runs on.
    """
    return np.random.SeedSequence((seed, epoch, number, device), spawn_key=(_PASS,))


def seed_torch(source: np.random.SeedSequence) -> None:
    """Let torch draw from ``source``, on all devices."""
    torch.manual_seed(int(source.generate_state(1, np.uint64)[0]))


@contextmanager
def seeded_python(*source: int) -> Iterator[None]:
    """Let ``random`` and ``numpy.random``, which libraries draw from, follow from ``source`` within the block only."""
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002 - what nlpaug draws from
    word = int(np.random.SeedSequence(source, spawn_key=(_PYTHON,)).generate_state(1)[0])
    random.seed(word)
    np.random.seed(word)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


class CpuDropout(TorchFunctionMode):
    """Within the block, ``dropout`` and the dropout of ``scaled_dot_product_attention`` with faster masks.

    torch draws a mask number by number, on one thread. Here numpy draws them and compares them four at a time. An
    element is dropped with the probability p, rounded to 1 / 65,536, and kept ones are multiplied by 1 / (1 - p).

    Attention is computed as the formula has it (Vaswani et al. 2017, eq. 1), with the softmax in single precision. In
    torch 2.12.1 that is faster than its own kernels in the two cases taken over: with dropout, and in half precision,
    where the gradient of its fused kernel takes ten times as long as its result. A mask holds truth values or, in the
    place of minus infinity, the least finite number.
    """

    def __init__(self, source: np.random.SeedSequence) -> None:
        super().__init__()
        self._random = np.random.Generator(np.random.SFC64(source))
        self.replaced = False  # whether it has computed anything in torch's place

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch for each of its functions."""
        if func is functional.dropout:
            return self._dropout(*args, **kwargs or {})
        if func is functional.scaled_dot_product_attention:
            return self._attention(*args, **kwargs or {})
        return func(*args, **kwargs or {})

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        self.replaced = True
        dropped = self._drop(input, p)
        return input.copy_(dropped) if inplace else dropped

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        torchs_is_faster = dropout_p == 0 and (query.dtype == torch.float32 or not torch.is_grad_enabled())
        if torchs_is_faster or is_causal or enable_gqa:
            return functional.scaled_dot_product_attention(
                *(query, key, value, attn_mask, dropout_p, is_causal), scale=scale, enable_gqa=enable_gqa
            )
        self.replaced = True
        scores = query @ key.transpose(-2, -1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                attn_mask = torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill_(
                    ~attn_mask, torch.finfo(scores.dtype).min
                )
            scores = scores + attn_mask
        weights = functional.softmax(scores, dim=-1).to(value.dtype)
        return (self._drop(weights, dropout_p) if dropout_p else weights) @ value

    def _drop(self, input: Tensor, p: float) -> Tensor:
        dropped_levels = round(p * LEVELS)
        count = input.numel()
        words = self._random.integers(2**64, size=-(-count // 4), dtype=np.uint64)
        kept = (words.view(np.uint16)[:count] >= dropped_levels).view(np.uint8)
        mask = torch.from_numpy(kept).view(input.shape).to(input.dtype)
        return input * mask * (LEVELS / max(1, LEVELS - dropped_levels))
