"""Do students beat their baselines? Over tasks, ways of making a student, and seeds.

    python -m benchmarks.student_scores --dataset_path data --english minilm-l6 --rows qnli stsb --ways strong

Every unit is a run of a script, one thread each, ``--jobs`` side by side. What it leaves is kept in ``--results`` at
once, one JSON file of scores and one Parquet file of predictions, and a later call takes up what is missing. Gains are
those over the better of two baselines by the hold-out, where there are unlabelled rows: of as many steps as the
student, or of fewer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from automm_distill.cli import parse_settings
from automm_distill.command import DONE, Parser, guarded
from automm_distill.errors import TrainingError
from automm_distill.evaluation.bootstrap import BootstrapResult, RunPredictions, bootstrap_mean
from automm_distill.evaluation.metrics import named
from automm_distill.evaluation.scores import POOLED
from automm_distill.report.seeds import Spread, over_seeds
from automm_distill.results import RESULTS, read_rows
from automm_distill.versions import TRAINING_FORMAT, library_versions
from benchmarks.command_line import KEPT, ROOT, add_both_tasks, machine, make_parser
from benchmarks.student_units import ROWS, TABLE, WAYS, Unit, arguments

ROLES = ("teacher", "baseline", "student")
TRAINING_FIELDS = ("optimizer_steps", "epochs", "seconds", "loss_terms", "diverged_at", "weights_hash")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = get_parser()
    args = parser.parse_args(argv)
    needed = {TABLE[row].checkpoint for row in args.rows}
    for checkpoint in sorted(needed):
        if getattr(args, checkpoint) is None:
            parser.error(f"--{checkpoint} is needed for these rows")
    return guarded(parser.prog, lambda: benchmark(args), "interrupted; the same command goes on from there")


def get_parser() -> Parser:
    """The command line."""
    parser = make_parser("student_scores", __doc__)
    add_both_tasks(parser, required=False)
    parser.add_argument("--rows", nargs="+", choices=TABLE, default=list(ROWS), help="rows of the table")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["published", "strong"], help="ways of a student")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=2, help="units side by side, of one thread each")
    parser.add_argument("--num_gpu", type=int, default=0, help="of each unit; they share the GPUs")
    parser.add_argument("--scratch", help="folder for caches and students, to go on with; a temporary one if left out")
    parser.add_argument("--results", default=str(KEPT / "student_scores"))
    return parser


def benchmark(args: argparse.Namespace) -> int:
    """Run what is missing, print the table, write it as JSON."""
    kept = Path(args.results)
    kept.mkdir(parents=True, exist_ok=True)
    # Way by way: units side by side would wait for the same teacher.
    units = [Unit(row, way, seed) for seed, way, row in product(args.seeds, args.ways, args.rows)]
    missing = [unit for unit in units if not is_done(unit, args, kept)]
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="student-scores-") as temporary:
        scratch = Path(args.scratch or temporary)
        with ThreadPoolExecutor(args.jobs) as pool:
            for line in pool.map(lambda unit: run(unit, args, scratch, kept), missing):
                console.print(line)
    summary = summarize(kept)
    (kept / "summary.json").write_text(json.dumps(summary, indent=1))
    console.print(table(summary))
    return DONE


def is_done(unit: Unit, args: argparse.Namespace, kept: Path) -> bool:
    """Whether a unit was run as it would be now."""
    file = file_of(kept, unit)
    return file.exists() and json.loads(file.read_text())["made_by"] == made_by(unit, args)


def made_by(unit: Unit, args: argparse.Namespace) -> dict[str, Any]:
    """All that a unit's result follows from, but rows and checkpoints."""
    settings = parse_settings(TABLE[unit.row].script, flags_of(unit, args))
    found = {"settings": settings.identity, "layers": settings.student_layers, "training_format": TRAINING_FORMAT}
    return dict(json.loads(json.dumps(found | {"versions": library_versions()})))


def flags_of(unit: Unit, args: argparse.Namespace) -> Sequence[str]:
    """The flags of a unit's command, but for its folders."""
    where = {"glue": f"{args.dataset_path}/glue", "pawsx": f"{args.dataset_path}/paws-x"}
    return arguments(unit, where, {"english": args.english, "multilingual": args.multilingual}, args.num_gpu)


def train(unit: Unit, args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The result row of a unit, which is trained.

    :raises TrainingError: when its run failed.
    """
    folder, flags = scratch / unit.name, flags_of(unit, args)
    command = [sys.executable, "-m", "automm_distill.cli", TABLE[unit.row].script, *flags, "--quiet"]
    command += ["--output_folder", str(folder), "--finetuned_model_cache_folder", str(scratch / "cache")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        raise TrainingError(f"{unit.name}: {reason}")
    return dict(read_rows(folder / RESULTS)[0][-1])


def run(unit: Unit, args: argparse.Namespace, scratch: Path, kept: Path) -> str:
    """Train a unit, keep what it left, and say in a line how it went.

    :raises TrainingError: when its run failed.
    """
    started = time.monotonic()
    row = train(unit, args, scratch)
    roles = [role for role in ROLES if role in row["training"]]
    predictions = pd.read_parquet(row["paths"]["predictions"])[["test_set", "id", "label", *roles]]
    predictions.to_parquet(file_of(kept, unit).with_suffix(".parquet"), index=False, compression="zstd")
    content = {
        "row": unit.row,
        "way": unit.way,
        "seed": unit.seed,
        "flags": [Path(value).name if "/" in value else value for value in flags_of(unit, args)],
        "made_by": made_by(unit, args),
        "machine": machine() | {"threads": 1},
        "minutes": (time.monotonic() - started) / 60,
        **{
            name: row[name]
            for name in ("scores", "validation", "rows", "seconds", "size", "versions", "speed_up", "teacher_diagnosis")
        },
        "training": {
            role: {name: value for name, value in info.items() if name in TRAINING_FIELDS}
            for role, info in row["training"].items()
        },
    }
    partial = file_of(kept, unit).with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(file_of(kept, unit))
    scores = ", ".join(f"{role} {score:.4f}" for role, score in _headline(content["scores"]).items())
    return f"{unit.name}: {scores} ({content['minutes']:.0f} min)"


def summarize(kept: Path) -> list[dict[str, Any]]:
    """Each row and way over all seeds that are there: scores, the gain with its intervals and p-values, the ratio."""
    units: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted(kept.glob("*-*.json")):
        content = json.loads(file.read_text())
        units.setdefault((content["row"], content["way"]), []).append(content | {"file": file})
    order = {name: place for place, name in enumerate([*TABLE, *WAYS])}
    pairs = sorted(units, key=lambda pair: [order[name] for name in pair])
    return [_summary(row, way, units[row, way], _short_baselines(row, way, units)) for row, way in pairs]


def table(summary: Sequence[Mapping[str, Any]]) -> Table:
    """The same for people; scores and gains in points."""
    shown = Table(
        "row",
        "way",
        "seeds",
        "teacher",
        "baseline",
        "student",
        "gain",
        "over rows",
        "p",
        "by seed",
        "ratio",
        "hold-out",
    )
    for entry in summary:
        rows = entry["gain_over_rows"]
        shown.add_row(
            entry["row"],
            entry["way"],
            str(len(entry["seeds"])),
            *(_points(entry["scores"].get(role)) for role in ROLES),
            _points(rows.get("value"), "+"),
            f"{_points(rows.get('low'), '+')} {_points(rows.get('high'), '+')}",
            "" if entry["p"] is None else f"{entry['p']:.1g}",
            " ".join(_points(gain, "+") for gain in entry["gains"]),
            "" if entry["ratio"] is None else f"{entry['ratio']:.2f}",
            " ".join(_points(entry["validation"].get(role)) for role in ("student", "baseline")),
        )
    return shown


def _points(score: float | None, sign: str = "") -> str:
    return "" if score is None else f"{100 * score:{sign}.1f}"


def _summary(
    row: str, way: str, units: Sequence[Mapping[str, Any]], short: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """:param short: by seed, the units whose baselines took fewer steps."""
    baselines = [_better_baseline(unit, short.get(unit["seed"])) for unit in units]
    runs = [_predictions(unit, baseline) for unit, baseline in zip(units, baselines, strict=True)]
    test_set, metric = next((name, next(iter(scores))) for name, scores in units[0]["scores"].items())
    of_rows: BootstrapResult = bootstrap_mean(named(metric), runs)
    gains = [
        unit["scores"][test_set][metric]["student"] - baseline["scores"][test_set][metric]["baseline"]
        for unit, baseline in zip(units, baselines, strict=True)
        if "baseline" in baseline["training"]  # the curve over the depth does without
    ]
    of_seeds: Spread | None = over_seeds(gains) if gains else None
    return {
        "row": row,
        "way": way,
        "seeds": [unit["seed"] for unit in units],
        "test_set": test_set,
        "metric": metric,
        "scores": {role: interval.value for role, interval in of_rows.scores.items()},
        "gain_over_rows": vars(of_rows.gain) if of_rows.gain is not None else {},
        "p": of_rows.p,
        "gains": gains,
        "gain_over_seeds": vars(of_seeds) if of_seeds is not None else {},
        "ratio": of_rows.ratio.value if of_rows.ratio is not None else None,
        "ratio_over_rows": vars(of_rows.ratio) if of_rows.ratio is not None else None,
        "short_baselines": sum(baseline is not unit for unit, baseline in zip(units, baselines, strict=True)),
        "validation": {
            role: sum(unit["validation"][metric][role] for unit in source) / len(units)
            for role, source in (("teacher", units), ("baseline", baselines), ("student", units))
            if role in source[0]["training"]
        },
        "minutes": sum(unit["minutes"] for unit in units),
    }


def _short_baselines(
    row: str, way: str, units: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> dict[int, Mapping[str, Any]]:
    """By seed, the runs without unlabelled rows; all ways of one row share their baselines."""
    short = TABLE[row].short
    found = [units.get((short, other), []) for other in (way, *WAYS)] if short else []
    return {unit["seed"]: unit for group in reversed(found) for unit in group}


def _better_baseline(unit: Mapping[str, Any], short: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Of the two, that whose baseline is better on the hold-out, which is the same."""
    if short is None or "baseline" not in unit["training"]:
        return unit
    metric = next(iter(unit["validation"]))
    return max(unit, short, key=lambda each: each["validation"][metric]["baseline"])


def _predictions(unit: Mapping[str, Any], baseline: Mapping[str, Any]) -> RunPredictions:
    frames = [pd.read_parquet(source["file"].with_suffix(".parquet")) for source in (unit, baseline)]
    test_set = next(iter(unit["scores"]))
    if test_set != POOLED:
        frames = [frame[frame["test_set"] == test_set].reset_index(drop=True) for frame in frames]
    frame, other = frames
    predicted = {role: frame[role].to_numpy() for role in ROLES if role in frame}
    if "baseline" in other:
        predicted["baseline"] = other["baseline"].to_numpy()
    return RunPredictions(frame["label"].to_numpy(), predicted, frame["id"].astype(str).to_numpy())


def _headline(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Mapping[str, float]:
    return next(iter(next(iter(scores.values())).values()))


def file_of(kept: Path, unit: Unit) -> Path:
    """Where the scores of a unit are kept; its predictions are beside, as .parquet."""
    return kept / f"{unit.name}.json"


if __name__ == "__main__":
    sys.exit(main())
