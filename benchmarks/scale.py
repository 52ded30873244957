"""How long a run of full size takes until it trains, and how that grows with the rows.

    python -m benchmarks.scale --dataset_path data

As many rows as MNLI and PAWS-X have, and tiny models, so that all but the training counts: seconds from the start of
the process to the first optimizer step, cold and with the caches of an earlier run, peak memory, and the intervals of
the test scores. The rows are made of real sentences, paired anew so that no two rows are the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from automm_distill import logs
from automm_distill.command import DONE, Parser, guarded
from automm_distill.defaults import defaults
from automm_distill.errors import TrainingError
from automm_distill.evaluation import scores
from automm_distill.inputs.demo import TEACHER, Shape, make_checkpoint
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.settings import Settings
from automm_distill.tasks import GLUE_TASKS, PAWSX_LANGUAGES, Task, pawsx_task
from benchmarks.command_line import KEPT, ROOT, machine, make_parser
from benchmarks.first_step import PHASES

SHARES = [1 / 16, 1 / 4, 1.0]  # of the training rows
# Languages that may not be at hand: sentences of another one, each behind its name.
STAND_INS = {"es": "en", "fr": "en", "ko": "ja"}

Run = dict[str, Any]  # one measurement: see first_step.main, with benchmark, share and state


@dataclass(frozen=True)
class Size:
    """Rows of each split of each configuration, at full size."""

    tasks: Sequence[Task]
    rows: dict[str, int]


SIZES = {
    "glue": Size([GLUE_TASKS["mnli"]], {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832}),
    "pawsx": Size(
        [pawsx_task(language) for language in PAWSX_LANGUAGES], {"train": 49401, "validation": 2000, "test": 2000}
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = get_parser()
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def get_parser() -> Parser:
    """The command line."""
    parser = make_parser("scale", __doc__)
    parser.add_argument("--dataset_path", type=Path, required=True, help="folder with glue/mnli and paws-x/en, de, ...")
    parser.add_argument("--benchmarks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the training rows")
    parser.add_argument("--scratch", help="where temporary files go")
    parser.add_argument("--json", type=Path, default=KEPT / "scale.json")
    return parser


def benchmark(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    console = Console(width=120)
    logs.quieten_libraries("quiet")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(), "runs": [], "intervals": {}}
    with tempfile.TemporaryDirectory(prefix="scale-", dir=args.scratch) as scratch:
        for name in args.benchmarks:
            folder = Path(scratch) / name
            for run in first_steps(name, args.dataset_path, folder, args.shares):
                report["runs"].append(run)
                args.json.write_text(json.dumps(report, indent=1))
            report["intervals"][name] = interval_seconds(name, folder / f"rows-{args.shares[-1]:g}")
            args.json.write_text(json.dumps(report, indent=1))
            show(name, report, console)
    return DONE


def first_steps(name: str, source: Path, folder: Path, shares: Sequence[float]) -> Iterator[Run]:
    """A cold and a warm run for each share of the rows."""
    sentences = make_rows(name, source, folder, shares)
    for model, shape, seed in (("teacher", TEACHER, 1), ("student", Shape(layers=1, width=32, heads=4), 2)):
        make_checkpoint(folder / model, sentences, shape, seed)
    for share in shares:
        for state, rate in (("cold", "1e-4"), ("warm", "2e-4")):
            found = first_step(name, folder, folder / f"rows-{share:g}", rate)
            yield {"benchmark": name, "share": share, "state": state} | found


def make_rows(name: str, source: Path, folder: Path, shares: Sequence[float]) -> list[str]:
    """Write the rows of each share below ``folder``.

    :return: some of the sentences, to learn a tokenizer from.
    """
    size, some = SIZES[name], []
    for task in size.tasks:
        language = STAND_INS.get(task.config, task.config)
        known = next(known for known in size.tasks if known.config == language)
        prefix = f"{task.config} " if task.config != language else ""
        read = read_splits(source / {"glue": "glue", "pawsx": "paws-x"}[name], known, tuple(size.rows))
        for split, raw in read.items():
            for share in shares:
                rows = round(size.rows[split] * (share if split == "train" else 1))
                paired = pair_anew(raw, task, rows, prefix)
                path = folder / f"rows-{share:g}" / task.config / f"{split}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                paired.to_parquet(path, index=False)
            if split == "train":
                some += paired[list(task.text_columns)].head(5000).to_numpy().ravel().tolist()
    return some


def pair_anew(raw: pd.DataFrame, task: Task, rows: int, prefix: str) -> pd.DataFrame:
    """``rows`` different pairs of a first and a second sentence of ``raw``, in random order."""
    first, second = (raw[column].unique() for column in task.text_columns)
    turns, place = np.divmod(np.random.default_rng(1).permutation(rows), len(first))
    texts = [prefix + first[place], prefix + second[(place + turns) % len(second)]]
    frame = pd.DataFrame(dict(zip(task.text_columns, texts, strict=True)))
    return frame.assign(label=raw["label"].to_numpy()[np.arange(rows) % len(raw)], id=np.arange(rows))


def first_step(name: str, folder: Path, rows: Path, teacher_learning_rate: str) -> Run:
    """One run in a process of its own."""
    measured = folder / "measured.json"
    measured.unlink(missing_ok=True)
    flags = {
        "--dataset_path": rows,
        "--teacher_model": folder / "teacher",
        "--student_model": folder / "student",
        "--teacher_learning_rate": teacher_learning_rate,
        "--output_folder": rows.with_name(f"{rows.name}-results"),
        "--finetuned_model_cache_folder": rows.with_name(f"{rows.name}-cache"),
        "--num_gpu": 0,
    }
    argv = [str(part) for flag in flags.items() for part in flag]
    for flag, values in chosen_rows(name).items():
        argv += [f"--{flag}", *values]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_step", str(measured), repr(time.time()), name, *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if not measured.exists():
        raise TrainingError(f"the run on {rows.name} failed:\n{done.stderr[-3000:]}")
    run: Run = json.loads(measured.read_text())
    return run


def chosen_rows(name: str) -> dict[str, tuple[str, ...]]:
    """The flags that say which rows are read, and their values."""
    configs = tuple(task.config for task in SIZES[name].tasks)
    flags = ("glue_task",) if name == "glue" else ("pawsx_teacher_tasks", "pawsx_student_tasks")
    return dict.fromkeys(flags, configs)


def interval_seconds(name: str, rows: Path) -> dict[str, Any]:
    """Seconds that the intervals of the test scores take, for models that are right on 8 or 9 of 10 rows."""
    benchmark: Any = name
    chosen: dict[str, Any] = {**chosen_rows(name)}
    if name == "glue":
        (chosen["glue_task"],) = chosen["glue_task"]
    settings = Settings(benchmark=benchmark, **(defaults(benchmark) | chosen))
    splits = load_splits(settings, rows)
    random, task = np.random.default_rng(0), settings.tasks[0]
    predictions: dict[str, dict[str, np.ndarray]] = {}
    for role, share in (("teacher", 0.9), ("baseline", 0.8), ("student", 0.85)):
        predictions[role] = {}
        for test_set, frame in splits.tests.items():
            right = random.random(len(frame)) < share
            guess = np.where(right, frame["label"], (frame["label"] + 1) % len(task.classes))
            predictions[role][test_set] = np.eye(len(task.classes))[guess]
    start = time.perf_counter()
    scores.intervals(task, splits.tests, predictions, pool=name == "pawsx")
    return {"test_rows": sum(map(len, splits.tests.values())), "seconds": time.perf_counter() - start}


def show(name: str, report: dict[str, Any], console: Console) -> None:
    """The tables."""
    runs = [run for run in report["runs"] if run["benchmark"] == name]
    table = Table(title=f"{name}: seconds to the first step", title_justify="left")
    table.add_column("rows")
    for run in runs:
        rows = round(SIZES[name].rows["train"] * run["share"]) * len(SIZES[name].tasks)
        table.add_column(f"{rows:,} {run['state']}", justify="right")
    for phase in PHASES:
        table.add_row(phase, *(f"{run['phases'][phase]:.1f}" for run in runs))
    table.add_row("all", *(f"{run['seconds']:.1f}" for run in runs))
    table.add_row("of a CPU", *(f"{run['cpu_seconds']:.1f}" for run in runs))
    table.add_row("peak memory", *(f"{run['peak_bytes'] / 1e9:.2f} GB" for run in runs))
    console.print(table)
    intervals = report["intervals"][name]
    console.print(f"intervals of {intervals['test_rows']:,} test rows: {intervals['seconds']:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
