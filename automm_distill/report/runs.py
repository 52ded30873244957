"""Rows of any number of results files, sorted out and grouped by everything that is not the seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm_distill import results
from automm_distill.errors import UserError
from automm_distill.settings import FIELDS_NOT_IN_IDENTITY

# What a row has had since its format last grew; a row without any of it was written by an older version.
REQUIRED_FIELDS = (
    *("run", "finished", "task", "demonstration", "settings", "scores", "validation", "speed_up", "size"),
    *("rows", "training", "device", "versions", "paths"),
)
# Parts of a row, besides its settings, that make two runs differ in more than their seed.
ENVIRONMENT_FIELDS = ("rows", "device", "versions")


@dataclass(frozen=True)
class Run:
    """One row, and the folder that its run left beside the results file."""

    row: Mapping[str, Any]
    folder: Path

    @property
    def seed(self) -> int:
        """Of the hold-out and of all three fits."""
        return self.row["settings"]["seed"]

    @property
    def student(self) -> Path:
        """The distilled student's folder."""
        beside = self.folder / "student"
        return beside if beside.exists() else Path(self.row["paths"]["student"])

    @property
    def predictions(self) -> Path:
        """Where the run left each model's predictions, also when its results file was copied without them."""
        beside = self.folder / results.PREDICTIONS
        return beside if beside.exists() else Path(self.row["paths"]["predictions"])


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in nothing but their seed, one of each seed, in order; and all that they have in common."""

    config: Mapping[str, Any]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class TaskRuns:
    """All settings of one task; ``varied_flags`` names what differs between them."""

    task: str
    demonstration: bool
    settings: tuple[RunGroup, ...]
    varied_flags: tuple[str, ...]

    @property
    def name(self) -> str:
        """The task, marked where its rows are generated sentences."""
        return f"{self.task} (demonstration)" if self.demonstration and self.task != "demo" else self.task

    @property
    def flags(self) -> tuple[str, ...]:
        """What differs on the command line."""
        return tuple(name for name in self.varied_flags if " " not in name)

    @property
    def measured(self) -> dict[str, tuple[str, ...]]:
        """The metrics of each test set; the first of the first is what counts most."""
        scores = self.settings[0].runs[0].row["scores"]
        return {test_set: tuple(metrics) for test_set, metrics in scores.items()}

    @property
    def primary(self) -> tuple[str, str]:
        """Test set and metric that verdicts and the choice are about."""
        test_set, metrics = next(iter(self.measured.items()))
        return test_set, metrics[0]


@dataclass(frozen=True)
class LoadedRuns:
    """``left_out`` says what was not used, and why, one line each."""

    studies: tuple[TaskRuns, ...]
    left_out: tuple[str, ...]


def load_runs(places: Sequence[Path]) -> LoadedRuns:
    """Everything in these results files, or in the ``results.jsonl`` of these folders.

    :raises UserError: when one is not there, or when there is no row to report in any of them.
    """
    broken, old, copies, repeated = 0, 0, 0, 0
    runs: dict[str, Run] = {}
    for place in places:
        path = place / results.RESULTS if place.is_dir() else place
        if not path.exists():
            raise UserError(f"{place}: no {results.RESULTS} there")
        rows, spoilt = results.read_rows(path)
        broken += spoilt
        for row in rows:
            if any(part not in row for part in REQUIRED_FIELDS):
                old += 1
                continue
            run = Run(row, path.parent / row["run"])
            known = runs.get(row["run"])
            copies += known is not None
            if known is None or not known.predictions.exists():
                runs[row["run"]] = run
    latest: dict[tuple[str, int], Run] = {}
    for run in sorted(runs.values(), key=lambda run: run.row["finished"]):
        key = (repr(sorted(_config(run.row).items())), run.seed)
        repeated += key in latest
        latest[key] = run
    if not latest:
        raise UserError(f"{', '.join(map(str, places))}: no row to report ({broken} broken, {old} of an older version)")
    left_out = (
        (broken, "broken lines, as a killed run may leave"),
        (old, "rows written by an older version"),
        (copies, "copies of a row"),
        (repeated, "runs repeated later with the same settings and seed"),
    )
    return LoadedRuns(_studies(list(latest.values())), tuple(f"{count} {what}" for count, what in left_out if count))


def format_value(value: Any) -> str:
    """The value of a setting, as people write it."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "-" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)


def _config(row: Mapping[str, Any]) -> dict[str, Any]:
    """All that shaped a run but its seed, flat, by the names of its flags."""
    made = {
        name: value for name, value in row["settings"].items() if name != "seed" and name not in FIELDS_NOT_IN_IDENTITY
    }
    for part in ENVIRONMENT_FIELDS:
        for name, value in row[part].items():
            inner = value if isinstance(value, dict) else {"": value}
            made |= {f"{part} {name} {key}".rstrip(): entry for key, entry in inner.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in made.items()}


def _studies(runs: Sequence[Run]) -> tuple[TaskRuns, ...]:
    studies: dict[tuple[str, bool], dict[str, list[Run]]] = {}
    for run in runs:
        settings = studies.setdefault((run.row["task"], run.row["demonstration"]), {})
        settings.setdefault(repr(sorted(_config(run.row).items())), []).append(run)
    return tuple(_study(*key, list(studies[key].values())) for key in sorted(studies))


def _study(task: str, demonstration: bool, groups: Sequence[Sequence[Run]]) -> TaskRuns:
    settings = [
        RunGroup(_config(runs[0].row), tuple(sorted(runs, key=lambda run: (run.seed, run.row["finished"]))))
        for runs in groups
    ]
    names = dict.fromkeys(name for setting in settings for name in setting.condition)
    differing = [name for name in names if len({setting.config.get(name) for setting in settings}) > 1]
    varied_flags = tuple(name for name in differing if not name.startswith("rows "))
    if len({tuple(setting.config.get(name) for name in varied_flags) for setting in settings}) < len(settings):
        varied_flags = tuple(differing)  # numbers of rows follow from flags, as a rule, and need no columns then
    settings.sort(key=lambda setting: [sortable(setting.config.get(name)) for name in varied_flags])
    return TaskRuns(task, demonstration, tuple(settings), varied_flags)


def sortable(value: Any) -> tuple[int, float, str]:
    """A key for values of a setting: nothing first, then numbers by size, then the rest by name."""
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))
