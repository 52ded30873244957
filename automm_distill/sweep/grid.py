"""A grid of settings times seeds: which runs it takes, which of them are done, and the rest run side by side."""

import importlib
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from automm_distill import cache, results
from automm_distill.cli import parse_settings
from automm_distill.errors import UserError
from automm_distill.settings import FIELDS_NOT_IN_IDENTITY, Settings
from automm_distill.sweep import ray_runner

SCRIPTS = {"glue": "automm_distillation_glue", "pawsx": "automm_distillation_pawsx"}
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Trial:
    """One run of a script; ``point`` is its place in the grid, for people."""

    point: Mapping[str, str]
    argv: tuple[str, ...]
    settings: Settings

    @property
    def name(self) -> str:
        """Short, unique in its sweep, and fit for a file."""
        values = "-".join(f"{name}={value}" for name, value in self.point.items())
        return f"{values.replace('/', '_')}-{self.identity[:6]}"

    @property
    def identity(self) -> str:
        """The same for two runs that must come out the same."""
        return identity(asdict(self.settings))


def identity(settings: Mapping[str, Any]) -> str:
    """Of the settings in a row of ``results.jsonl``."""
    return cache.fingerprint({name: value for name, value in settings.items() if name not in FIELDS_NOT_IN_IDENTITY})


def plan(benchmark: str, grid: Mapping[str, Sequence[str]], seeds: Sequence[int], flags: Sequence[str]) -> list[Trial]:
    """All trials, checked as the script itself would; those of other seeds first, since their teachers differ.

    :param grid: values by flag, without the dashes; ``flags`` are the same for all trials.
    :raises SystemExit: with status 2 and the script's own line, when it would refuse a trial.
    """
    parser = importlib.import_module(SCRIPTS[benchmark]).get_parser()
    trials: dict[str, Trial] = {}
    for values in itertools.product(*grid.values()):
        for seed in seeds:
            point = dict(zip(grid, values, strict=True)) | {"seed": str(seed)}
            varied_flags = [part for name, value in point.items() for part in (f"--{name}", *value.split())]
            argv = (*flags, *varied_flags, "--resume")
            trial = Trial(point, argv, parse_settings(parser, benchmark, argv))
            trials.setdefault(trial.identity, trial)
    return list(trials.values())


def missing(trials: Sequence[Trial]) -> list[Trial]:
    """Those without a row in their ``results.jsonl``."""
    done = {
        identity(row["settings"])
        for folder in {trial.settings.output_folder for trial in trials}
        for row in results.read_rows(Path(folder) / results.RESULTS)[0]
    }
    return [trial for trial in trials if trial.identity not in done]


def run(
    trials: Sequence[Trial], benchmark: str, *, address: str | None, cpus: float, gpus: float, console: Console
) -> list[ray_runner.Finished]:
    """Run the trials, show how far they are, and return those that failed."""
    logs = Path(trials[0].settings.output_folder).resolve() / "logs"
    script = str(ROOT / f"{SCRIPTS[benchmark]}.py")
    commands = [
        ray_runner.Command(trial.name, (sys.executable, script, *trial.argv), Path.cwd(), logs / f"{trial.name}.log")
        for trial in trials
    ]
    over: dict[str, ray_runner.Finished] = {}
    since = time.time()
    table = Live(get_renderable=lambda: _table(commands, over, since), console=console, refresh_per_second=1)
    with ray_runner.ray_session(address, cpus=cpus, gpus=gpus), table if console.is_terminal else nullcontext():
        for finished in ray_runner.run(commands, cpus=cpus, gpus=gpus):
            over[finished.command.name] = finished
            if not console.is_terminal:
                console.print(f"{finished.command.name}: {_state(finished)}")
    return [finished for finished in over.values() if finished.status != 0]


def _state(finished: ray_runner.Finished) -> str:
    if finished.status == 0:
        return f"done in {finished.seconds:.0f} s"
    how = "lost" if finished.status is None else f"failed (status {finished.status})"
    return f"{how}; see {finished.command.log}"


def _table(commands: Sequence[ray_runner.Command], over: Mapping[str, ray_runner.Finished], not_before: float) -> Table:
    table = Table(title=f"{len(over)} of {len(commands)} trials", title_justify="left")
    table.add_column("Trial")
    table.add_column("State")
    for command in commands:
        finished = over.get(command.name)
        begun = command.log.exists() and command.log.stat().st_mtime >= not_before  # an earlier sweep's log is older
        unfinished = "running" if begun else "waiting"
        table.add_row(command.name, unfinished if finished is None else _state(finished))
    return table


def read_grid(entries: Sequence[str]) -> dict[str, list[str]]:
    """``name=value,value`` as on the command line; a value of several words is quoted there.

    :raises UserError: when an entry is not of that form, or a flag comes twice.
    """
    grid: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, values = entry.partition("=")
        name = name.lstrip("-")
        if not (name and equals and all(values.split(","))):
            raise UserError(f"--grid {entry}: needs the form flag=value,value")
        if name in grid or name == "seed":
            raise UserError(f"--grid {entry}: {'use --seeds' if name == 'seed' else 'comes twice'}")
        grid[name] = values.split(",")
    return grid


def read_file(path: Path) -> dict[str, Any]:
    """A sweep written down as YAML: ``grid`` (flag: [values]), ``seeds``, ``flags`` (flag: value).

    :raises UserError: when it is not there, not YAML, or holds anything else.
    """
    import yaml

    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--file {path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(written, dict) or not set(written) <= {"grid", "seeds", "flags"}:
        raise UserError(f"--file {path}: needs grid, seeds and flags, and nothing else")
    grid, seeds = written.get("grid") or {}, written.get("seeds") or []
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in (*grid.values(), seeds)):
        raise UserError(f"--file {path}: seeds, and each flag of the grid, need a list: [1, 2, 3]")
    texts = {name: [_text(value) for value in values] for name, values in grid.items()}
    flags = [
        part for name, value in (written.get("flags") or {}).items() for part in (f"--{name}", *_text(value).split())
    ]
    return {"grid": texts, "seeds": seeds, "flags": flags}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return json.dumps(value) if isinstance(value, bool) else str(value)
