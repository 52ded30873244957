"""A grid of settings times seeds: which trials it takes."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from automm_distill import cache
from automm_distill.cli import parse_settings
from automm_distill.errors import UserError
from automm_distill.flag import Benchmark
from automm_distill.settings import FLAGS, Settings

# Part of what makes two trials different ones, but not of ``Settings.identity``, which tells what they are by content.
_BY_NAME = (
    *("dataset_path", "unlabelled_path", "teacher_model", "teacher_predictor", "teacher_predictions"),
    *("student_model", "student_layers", "precision"),
)

MAX_NAME_BYTES = 200  # of a trial's values; file systems allow names of 255 bytes


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
        short = values.replace("/", "_").encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        return f"{short}-{cache.fingerprint(self.compared_settings)[:6]}"

    @property
    def compared_settings(self) -> dict[str, Any]:
        """Two trials with the same ones are the same run."""
        return self.settings.identity | {name: getattr(self.settings, name) for name in _BY_NAME}


class SweepFile(TypedDict):
    """What a sweep's YAML file says; ``flags`` as on the command line."""

    grid: dict[str, list[str]]
    seeds: list[int]
    flags: list[str]


def plan(
    benchmark: Benchmark, grid: Mapping[str, Sequence[str]], seeds: Sequence[int], flags: Sequence[str]
) -> list[Trial]:
    """All trials, their flags checked as the script itself would; a point that is written twice is one trial.

    The seeds of a point come one after the other: their teachers differ, so that these can be trained at once.

    :param grid: values by flag, without the dashes; ``flags`` are the same for all trials.
    :raises UserError: when the seed is set in two ways, or a flag of the grid makes no difference.
    :raises SystemExit: with status 2 and the script's own line, when it would refuse a trial.
    """
    if "seed" in grid or any(flag.partition("=")[0] == "--seed" for flag in flags):
        raise UserError("seed: use --seeds (in a file: seeds), which takes one or more")
    trials: dict[str, Trial] = {}
    for values in itertools.product(*grid.values()):
        for seed in seeds:
            point = dict(zip(grid, values, strict=True)) | {"seed": str(seed)}
            varied_flags = [part for name, value in point.items() for part in _flag_parts(name, value)]
            argv = (*flags, *varied_flags, "--resume")
            trial = Trial(point, argv, parse_settings(benchmark, argv))
            trials.setdefault(cache.fingerprint(trial.compared_settings), trial)
    for name, varied in grid.items():
        _require_difference(name, varied, list(trials.values()))
    return list(trials.values())


def gpus_per_trial(requested: float | None, trials: Sequence[Trial], gpus_here: int | None) -> float:
    """The GPUs of one trial: as requested, else as ``--num_gpu`` says, else one where this machine has any.

    :param gpus_here: None where the trials run elsewhere.
    :raises UserError: when there are not as many, or ``--num_gpu`` says something else.
    """
    num_gpu = trials[0].settings.num_gpu
    if requested is None:
        return min(1, gpus_here or 0) if num_gpu == -1 else num_gpu
    if gpus_here is not None and requested > gpus_here:
        raise UserError(f"--gpus_per_trial {requested:g}: this machine has {gpus_here}")
    if num_gpu not in (-1, math.ceil(requested)):
        raise UserError(
            f"--num_gpu {num_gpu}: contradicts --gpus_per_trial {requested:g}; leave out --num_gpu, and each trial "
            "uses the GPUs that it gets"
        )
    return requested


def with_gpus(trial: Trial, gpus: float) -> Trial:
    """``trial`` told to use exactly the GPUs that it gets; a part of a GPU is seen as one."""
    visible = math.ceil(gpus)
    argv = (*trial.argv, "--num_gpu", str(visible))
    return replace(trial, argv=argv, settings=replace(trial.settings, num_gpu=visible))


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
        if name in grid:
            raise UserError(f"--grid {entry}: comes twice")
        grid[name] = values.split(",")
    return grid


def read_file(path: Path) -> SweepFile:
    """A sweep written down as YAML: ``grid`` (flag: [values]), ``seeds``, ``flags`` (flag: value).

    :raises UserError: when it is not there, not YAML, or holds anything else.
    """
    import yaml

    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(written, dict) or not set(written) <= {"grid", "seeds", "flags"}:
        raise UserError(f"--file {path}: needs grid, seeds and flags, and nothing else")
    grid, seeds, flags = written.get("grid") or {}, written.get("seeds") or [], written.get("flags") or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in (*grid.values(), seeds)):
        raise UserError(f"--file {path}: seeds, and each flag of the grid, need a list: [1, 2, 3]")
    if not all(grid.values()):
        raise UserError(f"--file {path}: a flag of the grid has no values; needs a list: [1, 2, 3]")
    if not isinstance(flags, dict):
        raise UserError(f"--file {path}: flags need the form flag: value, one a line")
    return {
        "grid": {name: [_text(value) for value in values] for name, values in grid.items()},
        "seeds": seeds,
        "flags": [part for name, value in flags.items() for part in _flag_parts(name, _text(value))],
    }


def _require_difference(name: str, values: Sequence[str], trials: Sequence[Trial]) -> None:
    """Refuse a grid over a flag that changes no result: all its trials would be one run."""
    field = _field(name)
    if len(set(values)) == 1 or field == "preset" or any(field in trial.compared_settings for trial in trials):
        return
    where = "use --gpus_per_trial" if field == "num_gpu" else f"give --{name} once, outside the grid"
    raise UserError(f"--grid {name}={','.join(values)}: makes no difference to any result here; {where}")


def _flag_parts(name: str, value: str) -> list[str]:
    """A flag as on the command line; several words are several values, unless the flag takes one path."""
    field = _field(name)
    if field in FLAGS and FLAGS[field].kind not in ("", "paths"):
        return [f"--{name}={value}"]  # in one piece, since a path may also begin with a dash
    return [f"--{name}", *value.split()]


def _field(name: str) -> str:
    """The field of the settings that a flag sets, which may be called by an alias."""
    return next((field for field, flag in FLAGS.items() if name in (field, *flag.aliases)), name)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return json.dumps(value) if isinstance(value, bool) else str(value)
