"""Where the seconds of a fit go: how long it spends in functions of torch, Lightning, AutoGluon and this project."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.learners.base import BaseLearner
from autogluon.multimodal.models.hf_text import HFAutoModelForTextPrediction
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.strategies import Strategy
from torch.utils.data.dataloader import _BaseDataLoaderIter

from automm_distill.automm.learner import Learner
from automm_distill.automm.lightning_modules import DistillModule
from automm_distill.automm.random_numbers import CpuDropout
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.losses import DistillationLoss

TOKENISING, LOADING, START = "tokenising", "loading the checkpoint", "AutoGluon's set-up"
FORWARD, MASKS, LOSSES, BACKWARD = "forward", "dropout masks", "losses", "backward"
CLIPPING, OPTIMIZER, BATCHES = "clipping", "optimizer", "batches"
LOSS_LOG, LOGGING = "loss log", "other logging"
VALIDATION, CHECKPOINTS, AVERAGING = "validation", "checkpoints", "averaging checkpoints"
LIGHTNING = "Lightning"
VALIDATING = (VALIDATION, AVERAGING)  # averages of checkpoints are validated, too


class Place(NamedTuple):
    """A method whose time counts for a phase, less that of other places it calls; if ``whole``, with it."""

    owner: type
    method: str
    phase: str
    whole: bool = False


PLACES = [
    Place(MultiModalPredictor, "fit", START),
    Place(Rows, "__init__", TOKENISING, whole=True),
    Place(BaseLearner, "get_model_per_run", LOADING, whole=True),
    Place(Trainer, "fit", LIGHTNING),
    Place(HFAutoModelForTextPrediction, "forward", FORWARD),
    Place(CpuDropout, "_drop", MASKS),
    Place(DistillationLoss, "terms", LOSSES, whole=True),
    Place(DistillModule, "_log_losses", LOSS_LOG, whole=True),
    Place(LightningModule, "log", LOGGING, whole=True),
    Place(TensorBoardLogger, "log_metrics", LOGGING, whole=True),
    Place(Strategy, "backward", BACKWARD),
    Place(LightningModule, "configure_gradient_clipping", CLIPPING, whole=True),
    Place(torch.optim.AdamW, "step", OPTIMIZER),  # which calls the pass, whose places are left out
    Place(torch.optim.AdamW, "zero_grad", OPTIMIZER),
    Place(_BaseDataLoaderIter, "__next__", BATCHES, whole=True),
    Place(_EvaluationLoop, "run", VALIDATION, whole=True),
    Place(Strategy, "save_checkpoint", CHECKPOINTS, whole=True),
    Place(BaseLearner, "top_k_average", AVERAGING, whole=True),
    Place(Learner, "top_k_average", AVERAGING, whole=True),
]


@contextmanager
def timed_phases() -> Iterator[Counter[str]]:
    """Seconds by phase within the block; their sum is that of all fits in it."""
    seconds: Counter[str] = Counter()
    running: list[list[Any]] = []  # of the places that have been entered: whether whole, seconds of what they called
    with ExitStack() as patches:
        for place in PLACES:
            replacement = _timed(getattr(place.owner, place.method), place, seconds, running)
            patches.enter_context(mock.patch.object(place.owner, place.method, replacement))
        yield seconds


def _timed(
    original: Callable[..., Any], place: Place, seconds: Counter[str], running: list[list[Any]]
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if running and running[-1][0]:
            return original(*args, **kwargs)
        running.append([place.whole, 0.0])
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent = time.perf_counter() - start
            _, called = running.pop()
            seconds[place.phase] += spent - called
            if running:
                running[-1][1] += spent

    return call
