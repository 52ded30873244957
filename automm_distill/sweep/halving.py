"""Which trials of a search to stop: asynchronous successive halving (Li et al. 2020, arXiv 1810.05934)."""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REDUCTION_FACTOR = 3  # a trial goes on while it is in the best third of those that came as far
GRACE_EPOCHS = 1  # before which no trial is stopped
# AutoGluon validates after a whole number of batches: of 251, twice an epoch is after 125 and 250, which is an epoch.
SLACK_EPOCHS = 0.05
WORST = -1e9  # in place of an undefined score; finite, since percentiles are taken of it


@dataclass(frozen=True)
class Validation:
    """A line of a validation log: the student's score after so many epochs; None where it is undefined."""

    epoch: float
    step: int
    metric: str
    score: float | None
    larger_is_better: bool

    @property
    def merit(self) -> float:
        """The score turned so that a larger one is better."""
        if self.score is None:
            return WORST
        return self.score if self.larger_is_better else -self.score


@dataclass(frozen=True)
class Stop:
    """Why a trial is stopped: ``best`` so far at a rung, of so many ``trials`` that have come to it, itself included.

    ``rung`` is in epochs; ``epoch`` is where the trial was.
    """

    rung: int
    epoch: float
    best: Validation
    trials: int


def read_validations(path: Path) -> list[Validation]:
    """The whole lines of a validation log, none where it is not there (yet)."""
    if not path.exists():
        return []
    validations = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, TypeError):  # cut off, since the disk is full, say; or of another version
            validations.append(Validation(**json.loads(line)))
    return validations


def rungs(max_epochs: int) -> list[int]:
    """After how many epochs a trial of ``max_epochs`` is compared with others; at its end there is nothing to save."""
    found, rung = [], GRACE_EPOCHS
    while rung < max_epochs:
        found.append(rung)
        rung *= REDUCTION_FACTOR
    return found


class Halving:
    """Compares each trial, when it comes to a rung, with those that were there before it.

    The score at a rung is the best so far, not the latest: AutoGluon keeps the best checkpoints, so that is the student
    which the trial would leave. The decision is Ray Tune's.

    :param max_epochs: of the longest trial.
    """

    def __init__(self, max_epochs: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

        self._stop = TrialScheduler.STOP
        self._scheduler: Any = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="merit",
            mode="max",
            max_t=max_epochs,
            grace_period=GRACE_EPOCHS,
            reduction_factor=REDUCTION_FACTOR,
            stop_last_trials=False,
        )
        self._trials: dict[str, SimpleNamespace] = {}
        self._rungs_passed: Counter[str] = Counter()
        self._at_rung: Counter[int] = Counter()

    def judge(self, name: str, max_epochs: int, validations: Sequence[Validation]) -> Stop | None:
        """Whether the trial is to be stopped at a rung that it has come to since it was judged last.

        :param max_epochs: of this trial.
        :param validations: all of its log.
        """
        for rung in rungs(max_epochs)[self._rungs_passed[name] :]:
            first = next((at for at, each in enumerate(validations) if each.epoch >= rung - SLACK_EPOCHS), None)
            if first is None:
                return None
            best = max(validations[: first + 1], key=lambda each: each.merit)
            self._rungs_passed[name] += 1
            self._at_rung[rung] += 1
            if self._decide(name, rung, best.merit) == self._stop:
                return Stop(rung, validations[first].epoch, best, self._at_rung[rung])
        return None

    def remember(self, name: str, max_epochs: int, validations: Sequence[Validation]) -> None:
        """Take a trial of an earlier search for comparison."""
        while self.judge(name, max_epochs, validations) is not None:
            pass

    def _decide(self, name: str, rung: int, merit: float) -> str:
        """Ray's answer, which reads nothing of a trial but its id (ray/tune/schedulers/async_hyperband.py, 2.58.1)."""
        if name not in self._trials:
            self._trials[name] = SimpleNamespace(trial_id=name)
            self._scheduler.on_trial_add(None, self._trials[name])
        decision: str = self._scheduler.on_trial_result(None, self._trials[name], {"epoch": rung, "merit": merit})
        return decision
