"""How far a fit is, in place of Lightning's own bar: of which model, in which epoch, and how good it is so far."""

import json
import logging
import math
import multiprocessing
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor

from automm_distill import logs
from automm_distill.automm.fit_options import FitOptions
from automm_distill.progress import Display, Status

log = logging.getLogger(__name__)

MOVING_PASSES = 50  # that the loss on the screen is about a mean of


class FitProgress(ProgressBar):
    """Shows a fit's progress; Lightning leaves out its own bar where it finds one among the callbacks.

    With several GPUs the main process shows it, which is not the one that called ``fit``: all that is set here is
    copied into it.

    :param metric: name of the validation score as Lightning logs it ("val_accuracy").
    :param shown_metric: what it is called on the screen and in the validation log.
    :param larger_is_better: which of two scores is the better one.
    :param unit: what a score of 1 is on the screen: networks learn a regression's labels in a scale of their own.
    """

    def __init__(
        self, options: FitOptions, metric: str, shown_metric: str, *, larger_is_better: bool, unit: float = 1.0
    ) -> None:
        super().__init__()
        self._options = options
        self._metric, self._shown_metric = metric, shown_metric
        self._better = max if larger_is_better else min
        self._unit = unit
        self._enabled = True
        self._display: Display | None = None
        self._passes, self._loss = 0, torch.tensor(torch.nan)
        self._best: float | None = None
        self._steps, self._score, self._validating = 0, "", ""

    def enable(self) -> None:
        """Called by Lightning."""
        self._enabled = True

    def disable(self) -> None:
        """Called by Lightning in all processes but the main one."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning, when all that takes time before the first step is done."""
        if not self._enabled:
            return
        if multiprocessing.parent_process() is not None:  # started by Lightning for a GPU, without our logs
            logs.set_up(self._options.verbosity)
        self._steps = int(trainer.estimated_stepping_batches)
        self._display = Display(stays=True)
        if self._options.validation_log is not None:
            path = Path(self._options.validation_log)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")  # of an earlier fit that was killed

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning after each pass, of which an optimizer step takes one or more."""
        loss = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided it
        self._passes += 1
        # The plain mean at first. It stays on its device: reading it would make the program wait for a GPU.
        self._loss = moving_mean(self._loss, loss, self._passes)
        self._show_if_due(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning."""
        self._validating = f"validating {batch_idx + 1}/{self.total_val_batches}"
        self._show_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning: there is a score, shown at once."""
        self._validating = ""
        if self._display is None:
            return
        score = float(trainer.callback_metrics[self._metric]) * self._unit
        self._best = score if self._best is None else self._better(self._best, score)
        self._score = f"{self._shown_metric} {score:.4f} (best {self._best:.4f})"
        self._display.show(self._status(trainer, self._display))
        if self._options.validation_log is not None:
            self._log_validation(trainer, score, Path(self._options.validation_log))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning after the last step, which may come early."""
        if self._display is None:
            return
        self._display.stop(self._status(trainer, self._display))
        self._display = None
        if trainer.global_step < self._steps:
            log.info(
                "%s: ended early, after step %s of %s: no better score for a while, or --time_limit",
                self._options.role,
                f"{trainer.global_step:,}",
                f"{self._steps:,}",
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Called by Lightning, also for Ctrl-C: a terminal gets its cursor back."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _log_validation(self, trainer: Trainer, score: float, path: Path) -> None:
        """Add a line to the validation log, whole: in one write to a file opened for appending."""
        line = {
            "epoch": self._passes / trainer.num_training_batches,
            "step": trainer.global_step,
            "metric": self._shown_metric,
            "score": score if math.isfinite(score) else None,
            "larger_is_better": self._better is max,
        }
        with path.open("ab", buffering=0) as file:
            file.write(f"{json.dumps(line)}\n".encode())

    def _show_if_due(self, trainer: Trainer) -> None:
        if self._display is not None and self._display.is_due():
            self._display.show(self._status(trainer, self._display))

    def _status(self, trainer: Trainer, display: Display) -> Status:
        step, options = trainer.global_step, self._options
        seconds_left = display.seconds_left(step, self._steps)
        if seconds_left is not None and options.time_limit is not None:
            seconds_left = max(0.0, min(seconds_left, options.time_limit - display.seconds))
        parts = [
            # Lightning counts from 0, and after the last epoch on.
            f"epoch {min(trainer.current_epoch + 1, options.epochs)}/{options.epochs}",
            f"step {step}/{self._steps}",
            f"loss {float(self._loss):.4f}",
            self._score,
            self._validating,
        ]
        return Status(options.role, step, self._steps, ", ".join(filter(None, parts)), seconds_left)


def moving_mean(mean: Tensor, value: Tensor, count: int) -> Tensor:
    """The mean with one more value, the ``count``-th: of all values at first, later mostly of the latest ones."""
    return value.detach() if count == 1 else torch.lerp(mean, value.detach(), max(1 / count, 1 / MOVING_PASSES))
