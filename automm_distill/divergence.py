"""Which flags to change after a fit whose numbers were not finite."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from automm_distill.errors import NotFiniteError, TrainingError
from automm_distill.settings import LOSS_WEIGHTS, Settings

# Beyond these a value by itself explains a divergence, and the learning rate is not blamed.
_HUGE_LOSS_WEIGHT = 1e3
_SMALL_TEMPERATURE = 1e-2
_HUGE_WEIGHT_DECAY = 10.0

log = logging.getLogger(__name__)


@contextmanager
def explained(role: str, settings: Settings, precision: str) -> Iterator[None]:
    """Say of numbers that are not finite whose they are and what to change.

    :param role: "teacher", "baseline" or "student".
    :param precision: the one that the device computes in, which may not be the requested one.
    :raises TrainingError: in place of a :class:`NotFiniteError`.
    """
    try:
        yield
    except NotFiniteError as error:
        raise TrainingError(f"the {role} diverged: its {error}; {remedy(role, settings, precision)}") from error


def warn_if_diverged(role: str, training_info: Mapping[str, Any], settings: Settings, precision: str) -> None:
    """Say that a model is one from before its fit diverged: AutoGluon keeps those of the best validations."""
    if "diverged_at" in training_info:
        log.warning(
            "the %s diverged: its loss was not finite first at optimizer step %s of %s, and its weights are those of a "
            "validation before; %s",
            *(role, f"{training_info['diverged_at']:,}", f"{training_info['optimizer_steps']:,}"),
            remedy(role, settings, precision),
        )


def remedy(role: str, settings: Settings, precision: str) -> str:
    """The flags of this model that are likely to blame, with their values."""
    model = "teacher" if role == "teacher" else "student"  # whose flags the baseline shares
    rate, decay = f"{model}_learning_rate", f"{model}_weight_decay"
    lower = [decay] if getattr(settings, decay) > _HUGE_WEIGHT_DECAY else []
    higher = []
    if role == "student":
        lower += [flag for flag in LOSS_WEIGHTS if getattr(settings, flag) > _HUGE_LOSS_WEIGHT]
        higher += ["temperature"] if settings.temperature < _SMALL_TEMPERATURE else []
    lower = lower if lower or higher else [rate]
    ways = [f"a lower --{flag} than {getattr(settings, flag):g}" for flag in lower]
    ways += [f"a higher --{flag} than {getattr(settings, flag):g}" for flag in higher]
    if precision != "32":
        ways.append("--precision bf16 or 32" if precision == "16" else "--precision 32")
    return "try " + " or ".join(ways)
