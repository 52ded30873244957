"""What can be refused before any trial starts, and which trials are done before."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from automm_distill.inputs.checkpoints.finding import find_checkpoint
from automm_distill.inputs.checkpoints.layers import cut
from automm_distill.inputs.checkpoints.opening import check_checkpoint
from automm_distill.inputs.rows.splits import Splits, load_splits
from automm_distill.memory import estimate_peak
from automm_distill.preflight import preflight
from automm_distill.result_row import planned_row
from automm_distill.results import RESULTS, read_rows
from automm_distill.settings import DATA, FLAGS, Settings
from automm_distill.sweep.grid import Trial

_ROW_FLAGS = tuple(name for name, flag in FLAGS.items() if flag.group == DATA)


@dataclass(frozen=True)
class CheckedTrial:
    """A trial that can run, and what it will be.

    ``identity`` is :attr:`RunContext.identity`; ``precision`` is the one that this machine has for it, or on a cluster
    the requested one; ``num_gpus`` is None on a cluster; ``memory`` is the estimate of its peak in bytes. ``row`` is
    what the row of its result will say of its settings, rows and checkpoints.
    """

    trial: Trial
    identity: str
    precision: str
    num_gpus: int | None
    memory: int
    row: Mapping[str, Any] = field(default_factory=dict)

    def is_done(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row`` of a file of results is of this trial: the same run, in the same arithmetic."""
        if row.get("identity") != self.identity:
            return False
        if self.num_gpus is None:
            return self.precision in ("auto", row["settings"]["precision"], row["device"]["precision"])
        return (self.precision, self.num_gpus) == (row["device"]["precision"], row["device"]["num_gpus"])


def check(trials: Sequence[Trial], *, on_cluster: bool) -> list[CheckedTrial]:
    """Look at the rows, checkpoints and folders of all trials, before any of them starts.

    Trials that turn out to be the same run, since two names lead to the same rows or checkpoint, become one.

    :raises UserError: for whatever the user has to mend first.
    """
    # Rows are kept for one set of them at a time: trials that share theirs are looked at one after the other.
    order = sorted(range(len(trials)), key=lambda number: repr(_rows_key(trials[number].settings)))
    read_once, find_once, check_once = _load_once(), functools.cache(find_checkpoint), functools.cache(check_checkpoint)
    cut_once = functools.cache(cut)
    checked: dict[int, CheckedTrial] = {}
    for number in order:
        settings = trials[number].settings
        if on_cluster:  # its devices are not this machine's, which must not be asked for them
            settings = replace(settings, num_gpu=0, precision="32")
        context = preflight(settings, load=read_once, find=find_once, check=check_once, cut=cut_once)
        with context.entries_in_use:  # a trial that runs marks them itself
            checked[number] = CheckedTrial(
                trials[number],
                context.identity,
                trials[number].settings.precision if on_cluster else context.device.precision,
                None if on_cluster else context.device.num_gpus,
                estimate_peak(context, on_gpu=trials[number].settings.num_gpu > 0),
                planned_row(context) | {"settings": asdict(_as_asked(context.settings, trials[number].settings))},
            )
    by_run: dict[tuple[str, str], CheckedTrial] = {}
    for _, each in sorted(checked.items()):
        by_run.setdefault((each.identity, each.precision), each)
    return list(by_run.values())


def _as_asked(settings: Settings, asked: Settings) -> Settings:
    """What the rows made of the settings, with the device that was asked for."""
    return replace(settings, num_gpu=asked.num_gpu, precision=asked.precision)


def pending(trials: Iterable[CheckedTrial]) -> list[CheckedTrial]:
    """Those without a row in their ``results.jsonl``."""

    return [each for each, row in with_rows(trials) if row is None]


def lacking_exports(trials: Iterable[CheckedTrial]) -> list[CheckedTrial]:
    """Those that are done, but whose students are not there in all forms that ``--export`` asks for."""
    return [
        each
        for each, row in with_rows(trials)
        if row is not None and not set(each.trial.settings.export) <= row.get("export", {}).get("forms", {}).keys()
    ]


def with_rows(trials: Iterable[CheckedTrial]) -> Iterator[tuple[CheckedTrial, dict[str, Any] | None]]:
    """Each with the last row of its ``results.jsonl`` that is of it."""

    @functools.cache
    def rows(folder: str) -> list[dict[str, Any]]:
        return read_rows(Path(folder) / RESULTS)[0]

    for each in trials:
        yield each, next(filter(each.is_done, reversed(rows(each.trial.settings.output_folder))), None)


def _load_once() -> Callable[[Settings, Path], Splits]:
    """``load_splits`` that remembers the last rows, for trials that differ in other things."""
    last: dict[Hashable, Splits] = {}

    def load(settings: Settings, folder: Path) -> Splits:
        key = (_rows_key(settings), folder)
        if key not in last:
            last.clear()
            last[key] = load_splits(settings, folder)
        return last[key]

    return load


def _rows_key(settings: Settings) -> tuple[Hashable, ...]:
    """All settings that the rows, and how they are split, depend on."""
    return (settings.benchmark, settings.seed, *(getattr(settings, name) for name in _ROW_FLAGS))
