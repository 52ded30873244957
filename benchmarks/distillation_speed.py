"""What distilling costs: AutoGluon's distiller, ours, and fine-tuning the student alone, side by side.

    python -m benchmarks.distillation_speed --dataset_path data/glue --teacher_model T --student_model S

Each fit runs in a process of its own; the variants take turns, round by round, so that a machine that gets slower slows
all of them. Ratios are medians over the rounds of the ratios within a round.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from automm_distill import logs
from automm_distill.command import DONE, Parser, guarded
from automm_distill.errors import TrainingError, UserError
from automm_distill.inputs.demo import Shape, make_checkpoint
from automm_distill.inputs.rows import splits
from automm_distill.inputs.rows.cleaning import clean
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.tasks import GLUE_TASKS

ROOT = Path(__file__).parent.parent
TASK = GLUE_TASKS["qnli"]
VARIANTS = {
    "stock": "AutoGluon's distiller, its micro-batch of 8",
    "stock_ours": "AutoGluon's distiller, our micro-batch",
    "cold": "ours, the teacher's outputs computed",
    "warm": "ours, the teacher's outputs on disk",
    "warm_half": "ours, the same in half precision",
    "plain": "the student fine-tuned, our loader",
    "plain_stock": "the student fine-tuned, AutoGluon's loader",
}
DEFAULT_VARIANTS = [variant for variant in VARIANTS if variant != "warm_half"]
RATIOS = [
    ("stock", "cold"),
    ("stock", "warm"),
    ("stock_ours", "warm"),
    ("warm", "plain"),
    ("plain_stock", "plain"),
]

Job = dict[str, Any]  # what fits.py is asked for
Run = dict[str, Any]  # one measurement: see fits.run, with rows, round and variant


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = get_parser()
    args = parser.parse_args(argv)
    if not args.wide and not (args.teacher_model and args.student_model):
        parser.error("--teacher_model and --student_model, or --wide, are needed")
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def benchmark(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    console = Console(width=120)
    logs.quieten_libraries("quiet")
    path = Path(args.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Folders of this machine say nothing to a reader of the report.
    known = {name: Path(value).name if isinstance(value, str) else value for name, value in vars(args).items()}
    runs: list[Run] = []
    report = {"settings": known, "machine": machine(), "runs": runs}
    with tempfile.TemporaryDirectory(prefix="distillation-speed-", dir=args.scratch) as folder:
        for run in timed_runs(args, Path(folder)):
            runs.append(run)
            console.print(
                f"{run['rows']:>6} rows  round {run['round'] + 1}  {run['variant']:<12} {run['seconds']:7.1f} s"
            )
            path.write_text(json.dumps(report, indent=1))
    report["summary"] = summarize(runs, args)
    path.write_text(json.dumps(report, indent=1))
    show(report, console)
    return DONE


def timed_runs(args: argparse.Namespace, folder: Path) -> Iterator[Run]:
    """The measurements, one after the other, after the teacher that all of them share has been trained."""
    train = read_rows(args, folder)
    teacher_model, student_model = args.teacher_model, args.student_model
    if args.wide:
        teacher_model, student_model = wide_pair(train, folder)
    base = dict(
        teacher_model=teacher_model,
        student_model=student_model,
        epochs=args.epochs,
        per_gpu_batch_size=args.per_gpu_batch_size,
        num_gpu=args.num_gpu,
        all_losses=args.all_losses,
        folder=str(folder),
        teacher=str(folder / "teacher"),
        validation=str(folder / "validation.parquet"),
    )
    if args.scores:
        base["test"] = str(folder / "test.parquet")
    run_one(base | dict(variant="teacher", seed=1, train=write(train, folder, "teacher-train")), folder)
    for times in args.growth:
        rows = train.iloc[: args.rows * times]
        job = base | dict(train=write(rows, folder, f"train-{times}"), outputs=str(folder / f"outputs-{times}"))
        for variant in {"warm", "warm_half"} & set(args.variants):
            run_one(job | dict(variant=variant, seed=1, epochs=1), folder)  # puts the outputs there
        for number in range(args.rounds):
            for variant in args.variants:
                measured = run_one(job | dict(variant=variant, seed=args.seed + number), folder)
                yield dict(times=times, rows=len(rows), round=number, variant=variant) | measured


def get_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="python -m benchmarks.distillation_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dataset_path", required=True, help="folder with qnli/train.parquet and validation.parquet")
    parser.add_argument("--teacher_model", help="checkpoint folder")
    parser.add_argument("--student_model", help="checkpoint folder")
    parser.add_argument("--wide", action="store_true", help="random BERTs instead, 12 x 768 and 6 x 384")
    parser.add_argument("--rows", type=int, default=2000, help="training rows")
    parser.add_argument("--validation_rows", type=int, default=300)
    parser.add_argument("--test_rows", type=int, default=None, help="rows for --scores (all)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=int, nargs="+", default=[1], help="multiples of --rows")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=DEFAULT_VARIANTS)
    parser.add_argument("--scores", action="store_true", help="compare the students' accuracy too; a seed a round")
    parser.add_argument("--all_losses", action="store_true", help="all six instead of the default three")
    parser.add_argument("--per_gpu_batch_size", type=int, default=32)
    parser.add_argument("--num_gpu", type=int, default=0)
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--scratch", help="where temporary files go")
    parser.add_argument("--json", default=str(ROOT / "benchmarks" / "results" / "distillation_speed.json"))
    return parser


def read_rows(args: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """The same random rows for all variants; a smaller set is part of a larger one."""
    raw = read_splits(Path(args.dataset_path), TASK, ("train", "validation"))
    needed = args.validation_rows + args.rows * max(args.growth)
    rows = clean(raw["train"], TASK, "qnli/train").sample(frac=1, random_state=7).iloc[:needed]
    if len(rows) < needed:
        raise UserError(f"--rows {args.rows} --growth {max(args.growth)}: only {len(rows)} rows there")
    write(rows.iloc[: args.validation_rows], folder, "validation")
    write(splits.cut(clean(raw["validation"], TASK, "qnli/validation"), args.test_rows, 1), folder, "test")
    return rows.iloc[args.validation_rows :].reset_index(drop=True)


def write(frame: pd.DataFrame, folder: Path, name: str) -> str:
    """Where a fit's process finds the rows."""
    frame.reset_index(drop=True).to_parquet(folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def wide_pair(train: pd.DataFrame, folder: Path) -> tuple[str, str]:
    """Random BERTs, 12 layers of 768 and 6 of 384, with a tokenizer learnt from the rows."""
    texts = [text for column in TASK.model_columns for text in train[column]]
    make_checkpoint(folder / "wide-teacher", texts, Shape(layers=12, width=768, heads=12, longest=512), seed=1)
    make_checkpoint(folder / "wide-student", texts, Shape(layers=6, width=384, heads=12, longest=512), seed=2)
    return str(folder / "wide-teacher"), str(folder / "wide-student")


def run_one(job: Job, folder: Path) -> Run:
    """One fit in its own process."""
    asked, measured = folder / "job.json", folder / "measured.json"
    asked.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fits", str(asked), str(measured)], cwd=ROOT, capture_output=True, text=True
    )
    for leftover in folder.glob("fit-*"):
        shutil.rmtree(leftover)
    if done.returncode:
        raise TrainingError(f"the fit {job['variant']} failed:\n{done.stderr[-3000:]}")
    run: Run = json.loads(measured.read_text())
    return run


def summarize(runs: list[Run], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Per multiple of the rows: medians, and ratios within the rounds with their range."""
    summary = []
    for times in args.growth:
        here = [run for run in runs if run["times"] == times]
        by_round = {
            number: {run["variant"]: run for run in here if run["round"] == number} for number in range(args.rounds)
        }
        ratios = {}
        for slow, fast in RATIOS:
            if slow in args.variants and fast in args.variants:
                values = [one[slow]["seconds"] / one[fast]["seconds"] for one in by_round.values()]
                ratios[f"{slow}/{fast}"] = dict(median=statistics.median(values), low=min(values), high=max(values))
        entry = dict(rows=here[0]["rows"], ratios=ratios, variants={})
        for variant in args.variants:
            of_variant = [run for run in here if run["variant"] == variant]
            middle = {
                key: statistics.median(run[key] for run in of_variant)
                for key in (
                    "seconds",
                    "pass_seconds",
                    "loss_log_seconds",
                    "tokens",
                    "padding",
                    "peak_bytes",
                    "checkpoint_bytes",
                )
            }
            seconds = middle["seconds"]
            entry["variants"][variant] = middle | dict(
                rows_per_second=here[0]["rows"] * args.epochs / seconds, tokens_per_second=middle["tokens"] / seconds
            )
        if args.scores:
            entry["scores"] = compare_scores(here, args)
        summary.append(entry)
    return summary


def compare_scores(runs: list[Run], args: argparse.Namespace) -> dict[str, Any]:
    """Accuracy of each variant's student, and differences, paired by seed and row, with a 95 % interval.

    The interval resamples rows (all seeds of a row together).
    """
    correct = {
        variant: np.array([[int(right) for right in run["correct"]] for run in runs if run["variant"] == variant])
        for variant in args.variants
    }
    scores = {"accuracy": {variant: made.mean(axis=1).tolist() for variant, made in correct.items()}}
    for other in ("stock", "warm_half"):
        if {"warm", other} <= set(args.variants):
            difference = (correct["warm"] - correct[other]).mean(axis=0)
            interval = stats.bootstrap((difference,), np.mean, n_resamples=2000, method="percentile", rng=1)
            low, high = interval.confidence_interval
            scores[f"warm - {other}"] = dict(mean=float(difference.mean()), low=float(low), high=float(high))
    return scores


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    import torch

    from automm_distill.versions import library_versions

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return dict(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        machine=platform.machine(),
        threads=torch.get_num_threads(),
        gpu=gpu,
        versions=library_versions(),
    )


def show(report: dict[str, Any], console: Console) -> None:
    """The tables."""
    for entry in report["summary"]:
        table = Table(title=f"{entry['rows']:,} rows, {report['settings']['epochs']} epochs", title_justify="left")
        table.add_column("fit")
        for heading in ("seconds", "rows/s", "tokens/s", "padding", "peak memory", "checkpoint"):
            table.add_column(heading, justify="right")
        for variant, made in entry["variants"].items():
            table.add_row(
                VARIANTS[variant],
                f"{made['seconds']:.1f}" + (f" ({made['pass_seconds']:.1f})" if variant == "cold" else ""),
                f"{made['rows_per_second']:.1f}",
                f"{made['tokens_per_second']:,.0f}",
                f"{made['padding']:.2f}x",
                f"{made['peak_bytes'] / 1e6:,.0f} MB",
                f"{made['checkpoint_bytes'] / 1e6:,.0f} MB",
            )
        console.print(table)
        for name, ratio in entry["ratios"].items():
            console.print(f"{name:<20} {ratio['median']:.2f}  ({ratio['low']:.2f} to {ratio['high']:.2f})")
        if "warm" in entry["variants"]:
            warm = entry["variants"]["warm"]
            console.print(f"logging the losses: {warm['loss_log_seconds'] / warm['seconds']:.2%} of the warm fit")
        if "scores" in entry:
            show_scores(entry["scores"], console)


def show_scores(scores: dict[str, Any], console: Console) -> None:
    """Accuracies of the students, and the differences that matter."""
    for variant, accuracies in scores["accuracy"].items():
        console.print(f"accuracy, {VARIANTS[variant]}: {', '.join(f'{value:.4f}' for value in accuracies)}")
    for name in scores.keys() - {"accuracy"}:
        mean, low, high = (100 * scores[name][key] for key in ("mean", "low", "high"))
        console.print(f"{name}: {mean:+.2f} points (95 %: {low:+.2f} to {high:+.2f})")


if __name__ == "__main__":
    sys.exit(main())
