"""The Lightning modules that train: AutoGluon's, with one learning-rate schedule and our own losses."""

import json
from pathlib import Path
from typing import Any

import torch
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.optim.lit_distiller import DistillerLitModule
from autogluon.multimodal.optim.lit_module import LitModule
from autogluon.multimodal.optim.lr import get_lr_scheduler

from ..account import TermAccount
from ..losses import DistillationLoss

SHARE_EVERY = 10  # batches


class _Training:
    """What teacher, baseline and student have in common."""

    progress_file: Path

    def configure_optimizers(self) -> tuple[list[Any], list[dict[str, Any]]]:
        """Warm up and decay over the true number of optimizer steps.

        AutoGluon's own count is too long for a student on several GPUs (optim/lit_distiller.py:499), and too short
        where an epoch has fewer batches than a step takes: the learning rate then rises again at the end.
        """
        (optimizer,), _ = super().configure_optimizers()  # type: ignore[misc]
        for group in optimizer.param_groups:  # AutoGluon's schedule has already set them to its first step's rate
            group["lr"] = group.pop("initial_lr")
        hparams, steps = self.hparams, self.trainer.estimated_stepping_batches  # type: ignore[attr-defined]
        schedule = get_lr_scheduler(
            optimizer=optimizer,
            num_max_steps=steps,
            num_warmup_steps=int(steps * hparams.warmup_steps),
            lr_schedule=hparams.lr_schedule,
            end_lr=hparams.end_lr,
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_train_end(self) -> None:
        """Leave a note for the process that called ``fit``: on several GPUs, it is not the one that trains."""
        trainer = self.trainer  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            self.progress_file.write_text(json.dumps(self._progress(trainer)))

    def _progress(self, trainer: Any) -> dict[str, Any]:
        return {"optimizer_steps": trainer.global_step, "epochs": trainer.current_epoch}


class FineTuning(_Training, LitModule):
    """Trains teacher and baseline."""


class Distilling(_Training, DistillerLitModule):
    """Trains the student by :mod:`distillation.losses`, and keeps an account of each term.

    Gradients are measured once in :data:`SHARE_EVERY` batches. On several GPUs, the account is of the first one's rows.
    """

    loss: DistillationLoss

    def setup(self, stage: str) -> None:
        """Called by Lightning before the first batch."""
        self.teacher_model.requires_grad_(False)  # AutoGluon leaves it trainable, which several GPUs would sum up
        self._batches = 0
        self._account = TermAccount({name: weight for name, weight in self.loss.recipe.weights.items() if weight > 0})

    def _compute_loss(self, student_output: dict, teacher_output: dict, label: torch.Tensor) -> torch.Tensor:
        """In place of optim/lit_distiller.py:293."""
        student, teacher = student_output[self.student_model.prefix], teacher_output[self.teacher_model.prefix]
        terms = self.loss.terms(student[LOGITS], student[FEATURES], teacher[LOGITS], teacher[FEATURES], label)
        if self.training and torch.is_grad_enabled():
            self._keep_account(terms, student[LOGITS], student[FEATURES])
        return self.loss.total(terms)

    def _keep_account(self, terms: dict[str, torch.Tensor], logits: torch.Tensor, feature: torch.Tensor) -> None:
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        self._account.add(self.current_epoch, terms)
        if self._batches % SHARE_EVERY == 0:
            for output, shares in self._account.measure(terms, logits, feature).items():
                self.log_dict({f"{output}_share/{name}": share for name, share in shares.items()})
        self._batches += 1

    def _progress(self, trainer: Any) -> dict[str, Any]:
        return super()._progress(trainer) | {"terms": self._account.table()}
