"""The Lightning modules that train: AutoGluon's with another learning-rate schedule, and the student's losses."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.optim.lit_module import LitModule
from autogluon.multimodal.optim.lr import apply_single_lr, get_lr_scheduler
from torch import Tensor, nn

from automm_distill.automm.fit_options import FitOptions
from automm_distill.automm.hidden_states import HiddenStates, Projections
from automm_distill.automm.random_numbers import CpuDropout, pass_seed, seed_torch
from automm_distill.automm.targets import TargetSource
from automm_distill.automm.teacher import TeacherTargets
from automm_distill.automm.tokenized_rows import LABEL_WEIGHT
from automm_distill.devices import prepare_arithmetic
from automm_distill.loss_log import LossLog
from automm_distill.losses import HIDDEN_STATES, DistillationLoss, LogitMapping, States

GRADIENT_SHARE_EVERY = 10  # forward passes

# Constructor arguments that are ours, not AutoGluon's.
_OUR_ARGUMENTS = ("options", "progress_file", "targets", "teacher_head", "logit_mapping")


class FineTuneModule(LitModule):
    """Trains teacher and baseline.

    :param progress_file: where the process that trains leaves what it did for the one that called ``fit``.
    :param lit_module: what AutoGluon gives its own module (learners/base.py:949).
    """

    def __init__(self, options: FitOptions, progress_file: Path, **lit_module: Any) -> None:
        super().__init__(**lit_module)
        self.options = options
        self.progress_file = progress_file
        # Whether there is anything for CpuDropout to do, which tiny networks notice: the first pass shows.
        self._drops = True
        # On the device of the losses, so that no pass has to wait for a comparison.
        self._diverged_at: Tensor | None = None  # optimizer step of the first loss that was not finite; -1: none yet

    def save_hyperparameters(self, *args: Any, ignore: Sequence[str] = (), **kwargs: Any) -> None:
        """Called by AutoGluon's constructor (optim/lit_module.py:147), which would copy ours into every checkpoint."""
        super().save_hyperparameters(*args, ignore=[*ignore, *_OUR_ARGUMENTS], **kwargs)

    def on_fit_start(self) -> None:
        """Called by Lightning in each process that trains, when the model is on its device."""
        prepare_arithmetic(on_gpu=self.device.type == "cuda")  # processes of several GPUs start with torch's defaults
        if self.options.compile:
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
            # One kernel for all weights. Lightning refuses to clip gradients for an AdamW that was created with it.
            group["fused"] = True
        hparams, steps = self.hparams, self.trainer.estimated_stepping_batches
        schedule = get_lr_scheduler(
            optimizer=optimizer,
            num_max_steps=steps,
            num_warmup_steps=int(steps * hparams.warmup_steps),
            lr_schedule=hparams.lr_schedule,
            end_lr=hparams.end_lr,
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """In place of optim/lit_module.py:309: random numbers that follow from seed, epoch and pass."""
        with self._random_numbers(batch_idx) as dropout:
            loss = self._training_loss(batch, batch_idx)
        if dropout is not None:
            self._drops = dropout.replaced
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Called by Lightning after each pass: remember where the loss stopped being finite."""
        loss = outputs["loss"]
        took_a_step = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch
        number = self.trainer.global_step + (not took_a_step)  # of the step that this pass belongs to, from 1 on
        step = torch.full_like(loss, number, dtype=torch.long)
        before = torch.full_like(step, -1) if self._diverged_at is None else self._diverged_at
        self._diverged_at = torch.where((before < 0) & ~loss.isfinite(), step, before)

    def on_train_end(self) -> None:
        """Write the progress file: with several GPUs, the process that called ``fit`` is not one that trains."""
        if self.trainer.is_global_zero:
            self.progress_file.write_text(json.dumps(self._progress()))

    def _training_loss(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss: Tensor = super().training_step(batch, batch_idx)
        return loss

    def _random_numbers(self, batch_idx: int) -> AbstractContextManager[CpuDropout | None]:
        source = pass_seed(self.options.seed, self.current_epoch, batch_idx, self.trainer.global_rank)
        seed_torch(source)
        on_cpu = self.device.type == "cpu"
        return CpuDropout(source) if on_cpu and self._drops and not self.options.compile else nullcontext()

    def _add_parameters(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the optimizer more than the model's parameters."""

    def _progress(self) -> dict[str, Any]:
        progress = {"optimizer_steps": self.trainer.global_step, "epochs": self.trainer.current_epoch}
        if self._diverged_at is not None and self._diverged_at >= 0:
            progress["diverged_at"] = int(self._diverged_at)
        return progress


class DistillModule(FineTuneModule):
    """Trains the student by ``options.losses`` (:mod:`automm_distill.losses`), and logs each term.

    Validation is that of fine-tuning: it needs no teacher. Gradients are measured in the last forward pass of an
    optimizer step, at most once in :data:`GRADIENT_SHARE_EVERY` passes. With several GPUs, the log covers the rows of
    the first one.

    :param teacher_head: the teacher's last layer; None of a teacher of which only outputs are known.
    :param logit_mapping: from the teacher's outputs to those of this student.
    """

    def __init__(
        self, targets: TargetSource, teacher_head: nn.Linear | None, logit_mapping: LogitMapping, **fine_tune: Any
    ) -> None:
        super().__init__(**fine_tune)
        losses = self.options.losses
        assert losses is not None  # only fine-tuning does without
        self._targets = targets
        # Buffers follow the module to its device; these are neither trained nor saved.
        if teacher_head is not None:
            self.register_buffer("_head_weight", teacher_head.weight.detach(), persistent=False)
            self.register_buffer("_head_bias", teacher_head.bias.detach(), persistent=False)
        width = self.model.out_features
        teacher_width = width if teacher_head is None else teacher_head.in_features
        self.adaptor = nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width)
        pairs = losses.hidden_layers if losses.weights[HIDDEN_STATES] > 0 else ()
        self._hidden = HiddenStates(self.model.model, [layer for layer, _ in pairs]) if pairs else None
        self.projections = Projections(len(pairs), width, teacher_width)
        self._loss = DistillationLoss(losses, self.adaptor, self._teacher_head, logit_mapping, self.projections)
        self._passes: list[dict[str, Tensor]] = []  # the terms of the current optimizer step's passes
        self._passes_since_shares = GRADIENT_SHARE_EVERY
        self._loss_log = LossLog({name: weight for name, weight in losses.weights.items() if weight > 0})

    def on_fit_start(self) -> None:
        """Called by Lightning: the teacher follows the student to its device, if it is run at all."""
        super().on_fit_start()
        self._targets.to(self.device)

    def on_fit_end(self) -> None:
        """Called by Lightning: free the device of the teacher, and the student of what watches it."""
        self._targets.to(torch.device("cpu"))
        if self._hidden is not None:
            self._hidden.remove()

    def _training_loss(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        student = run_model(self.model, batch)[self.model.prefix]
        logits, feature = student[LOGITS], student[FEATURES]
        teacher = self._targets.batch_targets(batch["teacher"])
        layers = self._hidden.take() if self._hidden is not None else []
        terms = self._loss.terms(
            logits,
            feature,
            teacher.logits,
            teacher.features,
            batch[self.model.label_key],
            label_weights=batch.get(LABEL_WEIGHT),
            teacher_weights=teacher.weights,
            states=self._states(layers, teacher, batch) if layers else None,
        )
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._passes = []
        self._log_losses(terms, logits, layers[-1] if layers else feature)
        loss = self._loss.total(terms)
        self.log("train_loss", loss)
        return loss

    def _teacher_head(self, feature: Tensor) -> Tensor:
        return nn.functional.linear(feature, self._head_weight, self._head_bias)

    def _states(self, layers: Sequence[Tensor], teacher: TeacherTargets, batch: dict[str, Any]) -> States:
        """The student's states beside the teacher's: of the first tokens, or of all where the teacher's are."""
        assert teacher.states is not None
        if teacher.states.ndim == 3:
            return States(torch.stack([states[:, 0] for states in layers], dim=1), teacher.states)
        lengths = batch[self.model.text_valid_length_key]
        tokens = torch.arange(teacher.states.shape[2], device=lengths.device) < lengths.unsqueeze(1)
        return States(torch.stack(list(layers), dim=1), teacher.states, tokens)

    def _add_parameters(self, optimizer: torch.optim.Optimizer) -> None:
        """Those between the widths, at the full learning rate, as in optim/lit_distiller.py:484."""
        for module in (self.adaptor, self.projections):
            for group in apply_single_lr(module, self.hparams.lr, self.hparams.weight_decay):
                if group["params"]:
                    optimizer.add_param_group(group)

    def _log_losses(self, terms: dict[str, Tensor], logits: Tensor, feature: Tensor) -> None:
        """:param feature: what all losses reach the network through: the states of the highest layer, if compared."""
        self._loss_log.add(self.current_epoch, terms)
        self._passes.append({name: term.detach() for name, term in terms.items()})
        # TensorBoard keeps one entry per optimizer step, the last pass's, so each entry is the mean of all up to it.
        self.log_dict({f"loss/{name}": torch.stack([each[name] for each in self._passes]).mean() for name in terms})
        self._passes_since_shares += 1
        is_last = len(self._passes) == self.trainer.accumulate_grad_batches or self.trainer.is_last_batch
        if is_last and self._passes_since_shares >= GRADIENT_SHARE_EVERY:
            self._passes_since_shares = 0
            for output, shares in self._loss_log.add_gradient_shares(terms, logits, feature).items():
                self.log_dict({f"{output}_share/{name}": share for name, share in shares.items()})

    def _progress(self) -> dict[str, Any]:
        return super()._progress() | {"loss_terms": self._loss_log.summary()}
