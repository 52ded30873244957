"""The Lightning modules that train: AutoGluon's, with one learning-rate schedule and our own losses."""

import json
from pathlib import Path
from typing import Any

import torch
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.optim.lit_module import LitModule
from autogluon.multimodal.optim.lr import apply_single_lr, get_lr_scheduler
from torch import Tensor, nn

from automm_distill.automm.teacher import CachedTeacherTargets, OnlineTeacherTargets
from automm_distill.devices import prepare_arithmetic
from automm_distill.loss_log import LossLog
from automm_distill.losses import DistillationLoss, DistillationSpec, LogitMapping

GRADIENT_SHARE_EVERY = 10  # passes


class FineTuneModule(LitModule):
    """Trains teacher and baseline; what is declared here has to be set before the fit."""

    compiled: bool
    progress_file: Path

    def on_fit_start(self) -> None:
        """Called by Lightning in the process that trains, when the model is on its device."""
        prepare_arithmetic(on_gpu=self.device.type == "cuda")  # processes of several GPUs start with torch's own
        if self.compiled:
            # In place, unlike AutoGluon's env.compile (learners/base.py:769): the weights keep their names on disk.
            self.model.model.compile(dynamic=True)

    def configure_optimizers(self) -> tuple[list[Any], list[dict[str, Any]]]:
        """Warm up and decay over the true number of optimizer steps.

        AutoGluon's own count (optim/lit_module.py:479) is too short where an epoch has fewer batches than a step takes:
        the learning rate then rises again at the end.
        """
        (optimizer,), _ = super().configure_optimizers()
        for group in optimizer.param_groups:  # AutoGluon's schedule has already set them to its first step's rate
            group["lr"] = group.pop("initial_lr")
        self._add_parameters(optimizer)
        for group in optimizer.param_groups:
            group["fused"] = True  # one kernel for all weights; said here and not to AdamW, it can still be clipped
        hparams, steps = self.hparams, self.trainer.estimated_stepping_batches
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
        if self.trainer.is_global_zero:
            self.progress_file.write_text(json.dumps(self._progress()))

    def _add_parameters(self, optimizer: torch.optim.Optimizer) -> None:
        """Besides the model's."""

    def _progress(self) -> dict[str, Any]:
        return {"optimizer_steps": self.trainer.global_step, "epochs": self.trainer.current_epoch}


class DistillModule(FineTuneModule):
    """Trains the student by :mod:`distillation.losses`, and logs each term.

    Validation is that of fine-tuning: it needs no teacher. Gradients are measured in the last pass of an optimizer
    step, at most once in :data:`GRADIENT_SHARE_EVERY` passes. On several GPUs, the log is of the first one's rows.
    """

    def prepare(
        self,
        targets: CachedTeacherTargets | OnlineTeacherTargets,
        head: nn.Linear,
        spec: DistillationSpec,
        mapping: LogitMapping,
    ) -> None:
        """To be called once, before the fit: what to learn from, and by which losses.

        :param head: the teacher's last layer.
        """
        self._targets = targets
        # Neither parameters nor part of a checkpoint, but on the device.
        self.register_buffer("_head_weight", head.weight.detach(), persistent=False)
        self.register_buffer("_head_bias", head.bias.detach(), persistent=False)
        width, teacher_width = self.model.out_features, head.in_features
        self.adaptor = nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width)
        self._loss = DistillationLoss(spec, self.adaptor, self._teacher_head, mapping)
        self._passes: list[dict[str, Tensor]] = []  # of the present optimizer step
        self._unmeasured = GRADIENT_SHARE_EVERY
        self._loss_log = LossLog({name: weight for name, weight in spec.weights.items() if weight > 0})

    def on_fit_start(self) -> None:
        """And the teacher follows it there, if it is needed."""
        super().on_fit_start()
        self._targets.to(self.device)

    def on_fit_end(self) -> None:
        """Called by Lightning at the end."""
        self._targets.to(torch.device("cpu"))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """In place of optim/lit_module.py:309."""
        student = run_model(self.model, batch)[self.model.prefix]
        logits, feature = student[LOGITS], student[FEATURES]
        terms = self._loss.terms(
            logits, feature, *self._targets.batch_targets(batch["teacher"]), batch[self.model.label_key]
        )
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._passes = []
        self._log_losses(terms, logits, feature)
        loss = self._loss.total(terms)
        self.log("train_loss", loss)
        return loss

    def _teacher_head(self, feature: Tensor) -> Tensor:
        return nn.functional.linear(feature, self._head_weight, self._head_bias)

    def _add_parameters(self, optimizer: torch.optim.Optimizer) -> None:
        """The adaptor's, at the full learning rate, as in optim/lit_distiller.py:484."""
        for group in apply_single_lr(self.adaptor, self.hparams.lr, self.hparams.weight_decay):
            if group["params"]:
                optimizer.add_param_group(group)

    def _log_losses(self, terms: dict[str, Tensor], logits: Tensor, feature: Tensor) -> None:
        self._loss_log.add(self.current_epoch, terms)
        self._passes.append({name: term.detach() for name, term in terms.items()})
        # Of a step's passes TensorBoard gets the last one's entry: it is the mean over all of them.
        self.log_dict({f"loss/{name}": torch.stack([each[name] for each in self._passes]).mean() for name in terms})
        self._unmeasured += 1
        is_last = len(self._passes) == self.trainer.accumulate_grad_batches or self.trainer.is_last_batch
        if is_last and self._unmeasured >= GRADIENT_SHARE_EVERY:
            self._unmeasured = 0
            for output, shares in self._loss_log.add_gradient_shares(terms, logits, feature).items():
                self.log_dict({f"{output}_share/{name}": share for name, share in shares.items()})

    def _progress(self) -> dict[str, Any]:
        return super()._progress() | {"loss_terms": self._loss_log.summary()}
