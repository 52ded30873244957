"""A checkpoint's network as a fit runs it, for a few timed passes: nothing of it is kept."""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from autogluon.multimodal.models.hf_text import HFAutoModelForTextPrediction
from autogluon.multimodal.utils.precision import get_precision_context

from automm_distill.automm.fit_options import PRECISION_NAMES
from automm_distill.automm.random_numbers import CpuDropout, pass_seed
from automm_distill.devices import Device

BYTES = 256


class TimedNetwork:
    """AutoGluon's network (models/hf_text.py) with the checkpoint's weights, on the device of the fits.

    What a pass computes does not depend on what the rows say, only on their number and length: their tokens are random.
    The random numbers of the fits are left as they were.

    :param max_tokens: that the network reads of a row.
    """

    def __init__(self, checkpoint: Path, device: Device, max_tokens: int) -> None:
        self.device = torch.device("cuda" if device.num_gpus else "cpu")
        self.precision = PRECISION_NAMES[device.precision]
        with torch.random.fork_rng(self._gpus), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a shorter length than the checkpoint's, as the fit's own are
            network: Any = HFAutoModelForTextPrediction(
                prefix="hf_text",
                checkpoint_name=str(checkpoint),
                num_classes=1,
                max_text_len=max_tokens,
                text_segment_num=2,
            )
        self.network = network.to(self.device)
        self.vocabulary = getattr(network.model.config, "vocab_size", BYTES)  # CANINE reads characters
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, fused=True)

    def training_seconds(self, rows: int, tokens: int) -> float:
        """Of one forward and backward pass over ``rows`` rows of ``tokens`` tokens."""
        self.network.train()
        self.optimizer.zero_grad()
        with CpuDropout(pass_seed(0, 0, 0)) if self.device.type == "cpu" else nullcontext():
            return self._seconds(lambda batch: self._logits(batch).square().mean().backward(), rows, tokens)

    def forward_seconds(self, rows: int, tokens: int) -> float:
        """Of one forward pass, as in validation and prediction."""
        self.network.eval()
        with torch.inference_mode():
            return self._seconds(self._logits, rows, tokens)

    def step_seconds(self) -> float:
        """Of one optimizer step; a training pass must come first."""
        return self._timed(self.optimizer.step)

    def free(self) -> None:
        """Give its memory back."""
        del self.network, self.optimizer
        torch.cuda.empty_cache()

    @property
    def _gpus(self) -> list[int]:
        return [torch.cuda.current_device()] if self.device.type == "cuda" else []

    def _seconds(self, run: Callable[[dict[str, torch.Tensor]], object], rows: int, tokens: int) -> float:
        with torch.random.fork_rng(self._gpus):  # dropout draws from it, too
            batch = {
                "text_token_ids": torch.randint(self.vocabulary, (rows, tokens), dtype=torch.int32),
                "text_segment_ids": torch.zeros((rows, tokens), dtype=torch.int32),
                "text_valid_length": torch.full((rows,), tokens),
            }
            return self._timed(lambda: run({name: tensor.to(self.device) for name, tensor in batch.items()}))

    def _logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with get_precision_context(precision=self.precision, device_type=self.device.type):
            _, logits = self.network(**batch)
        return logits.float()

    def _timed(self, work: Callable[[], object]) -> float:
        self._synchronize()
        start = time.perf_counter()
        work()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
