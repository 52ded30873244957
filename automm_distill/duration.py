"""How long a run will take, said before its first fit, from a few timed passes of each network that will be trained."""

import logging
import math
from dataclasses import dataclass

import numpy as np

from automm_distill import memory
from automm_distill.automm import LengthGroupedSampler, TimedNetwork
from automm_distill.inputs.checkpoints.opening import load_tokenizer
from automm_distill.inputs.rows import row_checks
from automm_distill.run_context import RunContext
from automm_distill.training import is_cached

WORTH_SAYING = 60.0  # seconds
# What a CPU's thread and a GPU are taken to do before anything is timed: on the low side, to time rather too often.
GPU_SPEED, THREAD_SPEED = 1e13, {"32": 4e10, "bf16": 1e11}  # operations per second
OPERATIONS_PER_WEIGHT = 6  # and token: two in the forward pass, four in the backward pass (Kaplan et al. 2020)
LENGTHS = (1 / 6, 1 / 2, 5 / 6)  # the quantiles of the batches' lengths that passes are timed at
MEASURING_SHARE = 0.02  # of a fit's time may be spent on timing its network,
MEASURING_SECONDS = (1.0, 8.0)  # but so many seconds may be, and no more
PASSES = 5  # what that takes: four training passes, and three forward passes at a third each
AVERAGES = 2  # of checkpoints that are tried out in the end, each by one validation more (optim/default.yaml: top_k 3)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassSeconds:
    """Seconds for one row in a training pass and in a forward pass, and for one optimizer step."""

    training: float
    forward: float
    step: float


def tell(context: RunContext) -> None:
    """Say how long the fits will take at most; nothing where that is under a minute.

    Fits that ``--resume`` finds in the cache take no time, and a fit that early stopping ends takes less.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    roles = [role for role in context.trained_roles if not is_cached(role, context)]
    if sum(_guess(context, role) for role in roles) < WORTH_SAYING:
        return
    measured = {network: measure(context, network) for network in dict.fromkeys(map(_network, roles))}
    seconds = {role: estimate(context, role, measured[_network(role)]) for role in roles}
    if sum(seconds.values()) < WORTH_SAYING:
        return
    device = context.device
    where = device.name if device.num_gpus else f"CPU with {device.threads} thread{'s' * (device.threads > 1)}"
    log.info(
        "at most about %s for %s at batch %d on this %s (%s)",
        *(in_words(sum(seconds.values())), "one fit" if len(roles) == 1 else f"{len(roles)} fits"),
        *(context.settings.batch_size, where),
        ", ".join(f"{role} {in_words(spent)}" for role, spent in seconds.items()),
    )


def estimate(context: RunContext, role: str, of_pass: PassSeconds) -> float:
    """Seconds of training, validation, and the predictions for all rows that the model is scored on.

    The teacher's has its outputs for the student's training rows too. Left out: starting libraries, writing files.
    """
    data, settings, devices = context.data(role), context.settings, max(1, context.device.num_gpus)
    forward = of_pass.forward / devices
    validation = len(data.validation) * forward
    epoch = context.epoch_rows(role) * of_pass.training / devices + settings.validations_per_epoch * validation
    epoch += math.ceil(context.epoch_rows(role) / settings.batch_size) * of_pass.step
    fit = _epochs(context, role) * epoch + AVERAGES * validation
    if settings.time_limit is not None:
        fit = min(fit, settings.time_limit)
    if role == "teacher":
        passes = 1 if settings.teacher_outputs == "cached" else settings.max_epochs
        fit += passes * context.epoch_rows("student") * forward
    return fit + sum(map(len, context.eval_sets.values())) * of_pass.forward


def measure(context: RunContext, role: str) -> PassSeconds:
    """Time a role's network on rows of the lengths that it will be trained on.

    Fewer rows than in a pass of the fit are taken where that would cost too long; a row then takes as long or longer.
    """
    train, checkpoint = context.data(role).train, context.checkpoint(role)
    tokenizer = load_tokenizer(checkpoint.path)
    longest = checkpoint.max_tokens
    sample = row_checks.sample(train)[list(context.task.model_columns)]
    lengths = np.minimum(row_checks.token_counts(tokenizer, sample), longest)
    rows = context.settings.per_gpu_batch_size
    padded = np.quantile(_batch_lengths(lengths, rows, grouped=context.settings.length_grouping), LENGTHS).astype(int)
    network = TimedNetwork(checkpoint.path, context.device, longest)
    short, middle, long = map(int, padded)
    network.training_seconds(1, middle)  # the first pass sets things up
    of_row = network.training_seconds(1, middle)
    network.step_seconds()
    step = network.step_seconds()
    allowed = np.clip(MEASURING_SHARE * of_row * context.epoch_rows(role) * _epochs(context, role), *MEASURING_SECONDS)
    timed_rows = int(np.clip(allowed / (PASSES * of_row), 1, rows))
    network.training_seconds(timed_rows, long)  # so does the first of a size
    training = np.mean([network.training_seconds(timed_rows, tokens) for tokens in (short, middle, long)])
    forward = np.mean([network.forward_seconds(timed_rows, tokens) for tokens in (short, middle, long)])
    network.free()
    return PassSeconds(float(training) / timed_rows, float(forward) / timed_rows, step)


def in_words(seconds: float) -> str:
    """A length of time as people say it: "40 min", "1 h 25 min", "14 h", "3 days"."""
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        hours, minutes = divmod(5 * round(minutes / 5), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"


def _network(role: str) -> str:
    """Baseline and student are the same network."""
    return "teacher" if role == "teacher" else "student"


def _epochs(context: RunContext, role: str) -> int:
    return context.settings.teacher_max_epochs if role == "teacher" else context.settings.max_epochs


def _guess(context: RunContext, role: str) -> float:
    """Seconds of a fit by the size of its network, before anything is timed."""
    network = memory.read_network_size(context.checkpoint(role).path)
    train = context.data(role).train
    tokens = min(network.max_tokens, context.checkpoint(role).max_tokens, memory.mean_row(train))
    operations = (
        OPERATIONS_PER_WEIGHT * network.layer_parameters * tokens * context.epoch_rows(role) * _epochs(context, role)
    )
    device = context.device
    speed = GPU_SPEED * device.num_gpus if device.num_gpus else THREAD_SPEED[device.precision] * device.threads
    return operations / speed


def _batch_lengths(lengths: np.ndarray, rows: int, *, grouped: bool) -> np.ndarray:
    """The longest row of each batch that a fit would make of rows of these lengths, shape (batches,)."""
    order = LengthGroupedSampler(lengths, rows, seed=0, grouped=grouped).order()
    return np.maximum.reduceat(lengths[order], np.arange(0, len(order), rows))
