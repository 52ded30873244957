"""A search that costs less than a grid: bad points are stopped early, and only good ones get several seeds.

All points of the grid, or some of them at random, run with the first seed only; ``halving`` stops those whose students
lag behind on validation rows. Of the points that came to the end, the best by validation score run with the other
seeds. Test rows decide nothing.
"""

import logging
import math
import random
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from automm_distill import cache, logs
from automm_distill.errors import UserError
from automm_distill.evaluation.metrics import of_row
from automm_distill.flag import Benchmark
from automm_distill.preflight import RUN_LOCKS
from automm_distill.results import STOPPED, append_row, read_rows
from automm_distill.sweep import checks, progress, ray_runner
from automm_distill.sweep.checks import CheckedTrial
from automm_distill.sweep.grid import Trial
from automm_distill.sweep.halving import Halving, Stop, Validation, read_validations

KEPT_SHARE, FEWEST_KEPT = 1 / 3, 2  # of the points that came to the end, those that get the other seeds
# Flags that decide which rows a student is validated on: scores on other rows cannot be compared.
_VALIDATION_ROWS = ("glue_task", "dataset_path", "max_train_rows", "pawsx_student_tasks")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How many trials failed, and how many did not end because the time was over."""

    failed: int
    unfinished: int


def choose_points(trials: Sequence[Trial], grid: Collection[str], count: int | None) -> list[Trial]:
    """The trials of ``count`` points at random, or of all where there are no more, in random order.

    The order matters, since the first trials have nobody to be compared with. With a larger count the same points come
    first.

    :param grid: the flags that vary.
    :raises UserError: when a search would have nothing to compare, or what cannot be compared.
    """
    for name in grid:
        if name in _VALIDATION_ROWS:
            raise UserError(
                f"--grid {name}: --search asha compares trials by their validation score, and these have other "
                "validation rows; use --search grid, or a search for each"
            )
    longest = max(trial.settings.max_epochs for trial in trials)
    if longest < 2:
        raise UserError(
            f"--max_epochs {longest}: --search asha stops no trial within its first epoch; needs 2 or more, or use "
            "--search grid"
        )
    by_point: dict[tuple[tuple[str, str], ...], list[Trial]] = {}
    for trial in trials:
        by_point.setdefault(_point(trial), []).append(trial)
    if len(by_point) < 2:
        raise UserError("--search asha: one point has nothing to be compared with; give --grid two values or more")
    points = list(by_point)
    random.Random(trials[0].settings.seed).shuffle(points)
    if count is not None and count > len(points):
        log.warning("--trials %d: the grid has %d points, all are taken", count, len(points))
    return [trial for point in points[:count] for trial in by_point[point]]


def with_validation_log(trial: CheckedTrial) -> CheckedTrial:
    """``trial`` told to write down its validations, for :func:`validation_log` to find."""
    argv = (*trial.trial.argv, f"--validation_log={validation_log(trial)}")
    return replace(trial, trial=replace(trial.trial, argv=argv))


def validation_log(trial: CheckedTrial) -> Path:
    """Where a trial's validations are, named by what it is: of other rows under the same path there is another log."""
    folder = Path(trial.trial.settings.output_folder).resolve()
    return folder / "logs" / f"{trial.trial.name}-{trial.identity[:6]}.validations.jsonl"


def run(
    trials: Sequence[CheckedTrial],
    benchmark: Benchmark,
    *,
    address: str | None,
    resources: ray_runner.Resources,
    deadline: float,
) -> Outcome:
    """Search among the points of ``trials``, each of which has the same seeds; what was done before is not done again.

    :param deadline: when to end whatever runs, by ``time.monotonic``.
    :raises UserError: when Ray does not start, or this machine has not what one trial needs.
    """
    ray_runner.require("ray.tune.schedulers")
    trials = [with_validation_log(trial) for trial in trials]
    first_seed = trials[0].trial.settings.seed
    first = [trial for trial in trials if trial.trial.settings.seed == first_seed]
    halving = Halving(max(trial.trial.settings.max_epochs for trial in trials))
    waiting = [trial for trial in checks.pending(first) if not _was_stopped(trial)]
    for trial in first:
        if trial not in waiting:
            halving.remember(trial.trial.name, trial.trial.settings.max_epochs, read_validations(validation_log(trial)))
    say = logs.message_console().out
    say(f"{len(first)} points with seed {first_seed} first, {len(first) - len(waiting)} of them done or stopped before")
    if not (waiting or _of_the_best(trials, first)):
        return Outcome(0, 0)
    with ray_runner.ray_session(address, resources):
        halved = _Halved(waiting, deadline, halving)
        _run(halved, benchmark, resources)
        if halved.unfinished:
            return Outcome(halved.failed, halved.unfinished)
        stopped = sum(map(_was_stopped, first))
        others = _of_the_best(trials, first)
        say(f"{stopped} of {len(first)} points were stopped early")
        if others:
            say(f"the best of the rest go on with the other seeds: {len(others)} trials")
        rest = _Timed(others, deadline)
        _run(rest, benchmark, resources)
    return Outcome(halved.failed + rest.failed, rest.unfinished)


def _run(follower: "_Timed", benchmark: Benchmark, resources: ray_runner.Resources) -> None:
    if not follower.trials or follower.is_over:
        follower.unfinished = len(follower.trials)
        return
    for trial in follower.trials.values():
        validation_log(trial).unlink(missing_ok=True)  # of a run that was killed
    trials = [trial.trial for trial in follower.trials.values()]
    progress.run(trials, benchmark, resources=resources, follower=follower)
    for folder in {trial.settings.output_folder for trial in trials}:
        cache.remove_unfinished(Path(folder), disposable_locks=RUN_LOCKS)


class _Timed(progress.Follower):
    """Ends all trials when the time is over, and counts those that failed and those that did not end."""

    def __init__(self, trials: Sequence[CheckedTrial], deadline: float) -> None:
        self.trials = {trial.trial.name: trial for trial in trials}
        self.failed = self.unfinished = 0
        self._deadline = deadline

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._deadline

    def to_end(self) -> Collection[str]:
        return self.trials if self.is_over else ()

    def running(self, name: str) -> str:
        validations = read_validations(validation_log(self.trials[name]))
        if not validations:
            return "running"
        latest, best = validations[-1], max(validations, key=lambda each: each.merit)
        return f"epoch {latest.epoch:.1f} of {self.trials[name].trial.settings.max_epochs}, best {_scored(best)}"

    def ended(self, finished: ray_runner.Finished) -> str:
        if finished.status is None and self.is_over:
            self.unfinished += 1
            return "not done: the time is over"
        self.failed += finished.status != 0
        return super().ended(finished)


class _Halved(_Timed):
    """Stops trials early, and writes down which."""

    def __init__(self, trials: Sequence[CheckedTrial], deadline: float, halving: Halving) -> None:
        super().__init__(trials, deadline)
        self._halving = halving
        self._stops: dict[str, Stop] = {}

    def to_end(self) -> Collection[str]:
        for name, trial in self.trials.items():
            if name not in self._stops:
                validations = read_validations(validation_log(trial))
                stop = self._halving.judge(name, trial.trial.settings.max_epochs, validations)
                if stop is not None:
                    self._stops[name] = stop
        return super().to_end() or self._stops

    def ended(self, finished: ray_runner.Finished) -> str:
        trial, stop = self.trials[finished.command.name], self._stops.get(finished.command.name)
        # It may have failed, or left its result, before it could be stopped.
        if finished.status is not None or stop is None or not checks.pending([trial]):
            return super().ended(finished)
        settings = trial.trial.settings
        append_row(Path(settings.output_folder), _stopped_row(trial, stop), STOPPED)
        where = f"stopped at epoch {stop.epoch:.1f} of {settings.max_epochs}"
        return f"{where}: {_scored(stop.best)} is behind the best third of {stop.trials} trials"


def _scored(validation: Validation) -> str:
    return f"{validation.metric} {'n/a' if validation.score is None else f'{validation.score:.4f}'}"


def _stopped_row(trial: CheckedTrial, stop: Stop) -> dict[str, Any]:
    """What stopped.jsonl says of a trial: as in results.jsonl, and where and why it was stopped."""
    settings = trial.trial.settings
    num_gpus = settings.num_gpu if trial.num_gpus is None else trial.num_gpus
    return {
        **trial.row,
        "stopped": datetime.now(UTC).isoformat(timespec="seconds"),
        "epoch": stop.epoch,
        "rung": stop.rung,
        "trials_at_rung": stop.trials,
        "best_validation": asdict(stop.best),
        "device": {"precision": trial.precision, "num_gpus": num_gpus},
    }


def _was_stopped(trial: CheckedTrial) -> bool:
    rows, _ = read_rows(Path(trial.trial.settings.output_folder) / STOPPED)
    return any(map(trial.is_done, rows))


def _of_the_best(trials: Sequence[CheckedTrial], first: Sequence[CheckedTrial]) -> list[CheckedTrial]:
    """What is missing of the best points' trials with the other seeds."""
    kept = {_point(trial.trial) for trial in _best(first)}
    return checks.pending([trial for trial in trials if _point(trial.trial) in kept and trial not in first])


def _best(trials: Sequence[CheckedTrial]) -> list[CheckedTrial]:
    """Of the trials with a result the best by validation score, as in the report."""
    scored = []
    for trial, row in checks.with_rows(trials):
        if row is not None:
            metric, by_role = next(iter(row["validation"].items()))  # of the task's first metric
            scored.append((of_row(row, metric).merit(by_role["student"]), trial))
    kept = max(FEWEST_KEPT, math.ceil(KEPT_SHARE * len(scored)))
    ranked = sorted(scored, key=lambda pair: pair[0], reverse=True)
    return [trial for _, trial in ranked[:kept]]


def _point(trial: Trial) -> tuple[tuple[str, str], ...]:
    """Its place in the grid but for the seed."""
    return tuple((name, value) for name, value in trial.point.items() if name != "seed")
