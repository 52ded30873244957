"""The rows of any number of results files, grouped: runs of one group differ in nothing but the seed."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from automm_distill import results
from automm_distill.errors import UserError
from automm_distill.evaluation.metrics import Metric, of_row
from automm_distill.export_formats import EXPORT
from automm_distill.flag import local_path
from automm_distill.layer_choice import student_name
from automm_distill.predictions import PREDICTIONS
from automm_distill.settings import Settings, identity
from automm_distill.teacher_choice import chosen_flag

# What a row has had since version 0.1; a row without any of it is older and cannot be reported.
REQUIRED_FIELDS = (
    *("run", "finished", "task", "demonstration", "settings", "scores", "validation", "speed_up", "size"),
    *("rows", "training", "device", "versions", "paths"),
)
# The same of a row of stopped.jsonl.
STOPPED_FIELDS = (
    *("identity", "task", "demonstration", "settings", "rows", "checkpoints", "versions", "rung", "best_validation"),
    "stopped",
)
# Parts of a row, besides its settings, that runs of one group share; the last two follow from flags as a rule. Their
# entries have names with a blank, which a flag's name never has.
ENVIRONMENT_FIELDS = ("device", "versions", "rows", "checkpoints")

# A flag that a row's version did not have yet is at its default there: new ones are off.
_OFF = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One row of a results file, the folder that its run left beside that file, and what shaped it but the seed."""

    row: Mapping[str, Any]
    folder: Path
    config: Config

    @property
    def seed(self) -> int:
        """The seed of the hold-out and of all three fits."""
        return self.row["settings"]["seed"]

    @property
    def student(self) -> Path:
        """The distilled student's folder."""
        beside = self.folder / "student"
        return beside if beside.exists() else Path(self.row["paths"]["student"])

    @property
    def exports(self) -> Path:
        """The folder of the student's exported forms."""
        return self.student.parent / EXPORT

    @property
    def predictions(self) -> Path:
        """Each model's predictions: beside the results file, or where they were written."""
        beside = self.folder / PREDICTIONS
        return beside if beside.exists() else Path(self.row["paths"]["predictions"])


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same configuration, one per seed, in the order of their seeds."""

    runs: tuple[Run, ...]

    @property
    def config(self) -> Config:
        """What all runs of the group have in common."""
        return self.runs[0].config


@dataclass(frozen=True)
class StoppedConfig:
    """A configuration that a search stopped early, and of which no run has come to its end.

    ``rows`` are its lines of ``stopped.jsonl``, one per seed as a rule.
    """

    rows: tuple[Mapping[str, Any], ...]
    config: Config


@dataclass(frozen=True)
class TaskRuns:
    """All runs of one task.

    Between groups differ ``varied_flags`` of the command line and ``varied_environment``, data and machine. ``columns``
    are the flags, also those that only the ``stopped`` ones vary, and as few of the environment as tell
    all groups apart.
    """

    task: str
    demonstration: bool
    groups: tuple[RunGroup, ...]
    varied_flags: tuple[str, ...]
    varied_environment: tuple[str, ...]
    columns: tuple[str, ...]
    stopped: tuple[StoppedConfig, ...] = ()

    @property
    def name(self) -> str:
        """The task's name, marked where its rows are generated sentences."""
        return f"{self.task} (demonstration)" if self.demonstration and self.task != "demo" else self.task

    @property
    def run_count(self) -> int:
        """Of all groups."""
        return sum(len(group.runs) for group in self.groups)

    @property
    def metrics(self) -> dict[str, tuple[str, ...]]:
        """The metrics of each test set; the first metric of the first set is the primary one."""
        scores = self.groups[0].runs[0].row["scores"]
        return {test_set: tuple(by_metric) for test_set, by_metric in scores.items()}

    def metric(self, name: str) -> Metric:
        """One of them."""
        return of_row(self.groups[0].runs[0].row, name)

    @property
    def primary(self) -> tuple[str, str]:
        """The test set and the metric that verdicts and the choice rely on."""
        test_set, metrics = next(iter(self.metrics.items()))
        return test_set, metrics[0]

    @property
    def versions(self) -> tuple[tuple[str | None, int | None], ...]:
        """This package's version and training format in each run, without repeats; None before they were recorded."""
        found = {
            (run.row.get("version"), run.row.get("training_format")) for group in self.groups for run in group.runs
        }
        return tuple(sorted(found, key=lambda pair: (pair[1] or 0, pair[0] or "")))


@dataclass(frozen=True)
class LoadedRuns:
    """``left_out`` says what was not used, and why, one line each."""

    tasks: tuple[TaskRuns, ...]
    left_out: tuple[str, ...]


def load_runs(places: Sequence[Path]) -> LoadedRuns:
    """Everything in these results files, or in the ``results.jsonl`` of these folders; and ``stopped.jsonl`` beside.

    :raises UserError: when one is not there, or when none of them has a row to report.
    """
    broken, old, copies, repeated = 0, 0, 0, 0
    located: dict[str, tuple[Mapping[str, Any], Path]] = {}
    stopped: dict[tuple[str, str], Mapping[str, Any]] = {}  # of a copied file, each once
    for place in places:
        path = place / results.RESULTS if place.is_dir() else place
        if not path.exists():
            raise UserError(f"{place}: no {results.RESULTS} there")
        rows, broken_lines = results.read_rows(path)
        stopped_rows, broken_stopped_lines = results.read_rows(path.with_name(results.STOPPED))
        for row in stopped_rows:
            if all(field in row for field in STOPPED_FIELDS):
                stopped[row["identity"], row["stopped"]] = row
        broken += broken_lines + broken_stopped_lines
        for row in rows:
            if any(field not in row for field in REQUIRED_FIELDS):
                old += 1
                continue
            folder = path.parent / row["run"]
            copies += row["run"] in located
            if row["run"] not in located or (folder / PREDICTIONS).exists():
                located[row["run"]] = (row, folder)
    names = _checkpoint_names([*(row for row, _ in located.values()), *stopped.values()])
    runs = [Run(row, folder, _config(row, names)) for row, folder in located.values()]
    latest: dict[tuple[Any, int], Run] = {}
    for run in sorted(runs, key=lambda run: run.row["finished"]):
        key = (_group_key(run), run.seed)
        repeated += key in latest
        latest[key] = run
    if not latest:
        raise UserError(
            f"{', '.join(map(str, places))}: no row to report ({broken} broken, {old} of an older version); "
            "needs a run that has ended"
        )
    left_out = (
        (broken, "incomplete lines of interrupted runs"),
        (old, "rows of an older version, which lack what a report needs"),
        (copies, "copies of a row"),
        (repeated, "runs that were repeated later with the same configuration and seed"),
    )
    stopped_configs = [(row, _config(row, names)) for row in stopped.values()]
    return LoadedRuns(
        _by_task(latest.values(), stopped_configs), tuple(f"{count} {what}" for count, what in left_out if count)
    )


def format_value(value: Any) -> str:
    """The value of a setting as text, short."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "-" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)


def describe(config: Config, names: Iterable[str]) -> str:
    """The values of these settings, in one line."""
    return ", ".join(f"{name} {format_value(config.get(name))}" for name in names)


def sortable(value: Any) -> tuple[int, float, str]:
    """A sort key for values of a setting: None first, then numbers by size, then the rest by name."""
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def _config(row: Mapping[str, Any], checkpoint_names: Mapping[str, str]) -> Config:
    """All that shaped a run but its seed, flat: two runs with the same belong to one group.

    Where rows and checkpoints have a fingerprint, that counts and not the place where they were found.
    """
    settings = _OFF | row["settings"]
    config = identity(settings, is_regression=row.get("problem_type") == "regression")
    del config["seed"]
    for role in ("teacher", "student"):
        name = _checkpoint_name(row, role)
        if _given_name(settings, role) is not None:
            name = checkpoint_names.get(row.get("checkpoints", {}).get(role), name)
        config[f"{role}_model"] = name
    config = {name: config[name] for name in settings if name in config}  # in the order of the command line
    config["training format"] = row.get("training_format")
    if "fingerprint" not in row["rows"] and settings["dataset_path"] is not None:
        config["rows dataset_path"] = local_path(settings["dataset_path"])
    for field in ENVIRONMENT_FIELDS:
        for name, value in row.get(field, {}).items():
            entries = value if isinstance(value, dict) else {"": value}
            config |= {f"{field} {name} {key}".rstrip(): entry for key, entry in entries.items()}
    # Which rows these are follows from flags and the rows that were read; how many, also from a seed's hold-out.
    config.pop("rows student unlabelled", None)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def _checkpoint_names(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """One name for each checkpoint's fingerprint: the first that it was given."""
    names: dict[str, str] = {}
    for row in rows:
        for role, fingerprint in row.get("checkpoints", {}).items():
            if _given_name(row["settings"], role) is not None:
                names.setdefault(fingerprint, _checkpoint_name(row, role))
    return names


def _checkpoint_name(row: Mapping[str, Any], role: str) -> str:
    """As its flag gives it, with the layers that a student keeps; of the fine-tuned teacher's see ``student_name``."""
    model = _given_name(row["settings"], role)
    place = None if model is None else local_path(model)
    return student_name(place, row.get("student_layers", ()) if role == "student" else ())


def _given_name(settings: Mapping[str, Any], role: str) -> str | None:
    """What a flag says of a role's checkpoint, or of a teacher that was finished before; None where none does."""
    flag = chosen_flag(settings) if role == "teacher" else "student_model"
    return None if flag is None else settings[flag]


def _group_key(run: Run) -> frozenset[tuple[str, Any]]:
    return frozenset(run.config.items())


def _by_task(runs: Iterable[Run], stopped: Sequence[tuple[Mapping[str, Any], Config]]) -> tuple[TaskRuns, ...]:
    by_task: dict[tuple[str, bool], dict[frozenset[tuple[str, Any]], list[Run]]] = {}
    for run in runs:
        groups = by_task.setdefault((run.row["task"], run.row["demonstration"]), {})
        groups.setdefault(_group_key(run), []).append(run)
    return tuple(
        _task_runs(
            *task,
            by_task[task].values(),
            [pair for pair in stopped if (pair[0]["task"], pair[0]["demonstration"]) == task],
        )
        for task in sorted(by_task)
    )


def _stopped_configs(
    stopped: Iterable[tuple[Mapping[str, Any], Config]], groups: Sequence[RunGroup]
) -> tuple[StoppedConfig, ...]:
    """The configurations that no group has. Their rows do not know the device: any will do."""
    by_config: dict[frozenset[tuple[str, Any]], list[Mapping[str, Any]]] = {}
    configs: dict[frozenset[tuple[str, Any]], Config] = {}
    for row, config in stopped:
        known = {name: value for name, value in config.items() if not name.startswith("device ")}
        if not any(all(group.config.get(name) == value for name, value in known.items()) for group in groups):
            key = frozenset(known.items())
            by_config.setdefault(key, []).append(row)
            configs[key] = known
    return tuple(StoppedConfig(tuple(rows), configs[key]) for key, rows in by_config.items())


def _task_runs(
    task: str,
    demonstration: bool,
    grouped: Iterable[Sequence[Run]],
    stopped_rows: Sequence[tuple[Mapping[str, Any], Config]],
) -> TaskRuns:
    groups = [RunGroup(tuple(sorted(runs, key=lambda run: run.seed))) for runs in grouped]
    names = dict.fromkeys(name for group in groups for name in group.config)
    differing = [name for name in names if _distinct(groups, [name]) > 1]
    varied = [name for name in differing if _varies(name, [group.config for group in groups])]
    flags = [name for name in varied if " " not in name]
    stopped = _stopped_configs(stopped_rows, groups)
    tried = [*(group.config for group in groups), *(each.config for each in stopped)]
    environment = [name for name in differing if " " in name]
    columns = [name for name in dict.fromkeys(itertools.chain(*tried)) if " " not in name and _varies(name, tried)]
    others = [name for name in differing if name not in columns]
    for name in sorted(others, key=lambda name: name != "device name"):  # the rest in its order
        if _distinct(groups, [*columns, name]) > _distinct(groups, columns):
            columns.append(name)
    groups.sort(key=lambda group: [sortable(group.config.get(name)) for name in columns])
    return TaskRuns(task, demonstration, tuple(groups), tuple(flags), tuple(environment), tuple(columns), stopped)


def _varies(name: str, configs: Iterable[Config]) -> bool:
    """Whether a setting has several values; one without the name does not use it: its loss has no weight, say."""
    return len({config[name] for config in configs if name in config}) > 1


def _distinct(groups: Iterable[RunGroup], names: Sequence[str]) -> int:
    return len({tuple((name in group.config, group.config.get(name)) for name in names) for group in groups})
