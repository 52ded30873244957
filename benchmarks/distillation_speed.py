"""What distilling costs: AutoGluon's distiller, ours, and fine-tuning the student alone, side by side.

    python -m benchmarks.distillation_speed --dataset_path data/glue --teacher_model T --student_model S

Each fit runs in a process of its own; the variants take turns, round by round, so that a machine that gets slower slows
all of them. Ratios are medians over the rounds of the ratios within a round.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
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
from automm_distill.evaluation import bootstrap, metrics
from automm_distill.inputs.demo import Shape, make_checkpoint
from automm_distill.inputs.rows import splits
from automm_distill.inputs.rows.cleaning import clean
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.tasks import GLUE_TASKS, Task
from benchmarks.command_line import KEPT, ROOT, machine, make_parser
from benchmarks.variants import DEFAULT_VARIANTS, DIFFERENCES, RATIOS, VARIANTS

TASKS = [name for name, task in GLUE_TASKS.items() if task.test_splits == (("test", "validation"),)]

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
    report: dict[str, Any] = {"settings": known, "machine": machine(), "runs": []}
    with tempfile.TemporaryDirectory(prefix="distillation-speed-", dir=args.scratch) as folder:
        for run in timed_runs(args, Path(folder)):
            runs.append(run)
            report["runs"].append({key: value for key, value in run.items() if key not in ("truth", "predicted")})
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
    task = GLUE_TASKS[args.task]
    train = read_rows(args, task, folder)
    teacher_model, student_model = args.teacher_model, args.student_model
    if args.wide:
        teacher_model, student_model = wide_pair(train, task, folder)
    base = dict(
        task=args.task,
        teacher_model=teacher_model,
        student_model=student_model,
        epochs=args.epochs,
        batch_size=args.batch_size,
        per_gpu_batch_size=args.per_gpu_batch_size,
        learning_rate=args.learning_rate,
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
    parser = make_parser("distillation_speed", __doc__)
    parser.add_argument("--dataset_path", required=True, help="folder with the task's rows, as the scripts read it")
    parser.add_argument("--task", choices=TASKS, default="qnli")
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
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--per_gpu_batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--num_gpu", type=int, default=0)
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--scratch", help="where temporary files go")
    parser.add_argument("--json", default=str(KEPT / "distillation_speed.json"))
    return parser


def read_rows(args: argparse.Namespace, task: Task, folder: Path) -> pd.DataFrame:
    """The same random rows for all variants; a smaller set is part of a larger one."""
    raw = read_splits(Path(args.dataset_path), task, ("train", "validation"))
    needed = args.validation_rows + args.rows * max(args.growth)
    rows = clean(raw["train"], task, f"{task.name}/train").sample(frac=1, random_state=7).iloc[:needed]
    if len(rows) < needed:
        raise UserError(f"--rows {args.rows} --growth {max(args.growth)}: only {len(rows)} rows there")
    write(rows.iloc[: args.validation_rows], folder, "validation")
    write(splits.cut(clean(raw["validation"], task, f"{task.name}/validation"), args.test_rows, 1), folder, "test")
    return rows.iloc[args.validation_rows :].reset_index(drop=True)


def write(frame: pd.DataFrame, folder: Path, name: str) -> str:
    """Where a fit's process finds the rows."""
    frame.reset_index(drop=True).to_parquet(folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def wide_pair(train: pd.DataFrame, task: Task, folder: Path) -> tuple[str, str]:
    """Random BERTs, 12 layers of 768 and 6 of 384, with a tokenizer learnt from the rows."""
    texts = [text for column in task.model_columns for text in train[column]]
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
        entry = dict(rows=here[0]["rows"], ratios=ratios(here, args), variants={})
        for variant in args.variants:
            of_variant = [run for run in here if run["variant"] == variant]
            middle: dict[str, Any] = {key: statistics.median(run[key] for run in of_variant) for key in MEASURES}
            phases = dict.fromkeys(phase for run in of_variant for phase in run["phases"])
            middle["phases"] = {
                phase: statistics.median(run["phases"].get(phase, 0.0) for run in of_variant) for phase in phases
            }
            seconds = middle["seconds"]
            entry["variants"][variant] = middle | dict(
                rows_per_second=here[0]["rows"] * args.epochs / seconds, tokens_per_second=middle["tokens"] / seconds
            )
        if args.scores:
            entry["scores"] = compare_scores(here, args)
        summary.append(entry)
    return summary


MEASURES = ("seconds", "pass_seconds", "step_seconds", "tokens", "padding", "peak_bytes", "checkpoint_bytes")


def ratios(runs: list[Run], args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """``{"slow/fast": median, low and high}``; of step_seconds too, which leave out validation."""
    by_round = [{run["variant"]: run for run in runs if run["round"] == number} for number in range(args.rounds)]
    found = {}
    for slow, fast in RATIOS:
        if {slow, fast} <= set(args.variants):
            for measure, suffix in (("seconds", ""), ("step_seconds", ", validation not counted")):
                values = [one[slow][measure] / one[fast][measure] for one in by_round]
                found[f"{slow}/{fast}{suffix}"] = dict(
                    median=statistics.median(values), low=min(values), high=max(values)
                )
    return found


def compare_scores(runs: list[Run], args: argparse.Namespace) -> dict[str, Any]:
    """Scores of each variant's students, and differences of their means, paired by seed and row.

    With two 95 % intervals: over test rows by the bootstrap, over seeds by Student's t.
    """
    task = GLUE_TASKS[args.task]
    metric, truth = (
        metrics.named(task.metrics[0], task.classes),
        np.array(next(run["truth"] for run in runs if "truth" in run)),
    )
    made = {
        variant: [np.array(run["predicted"]) for run in runs if run["variant"] == variant]
        for variant in args.variants
        if not VARIANTS[variant].bare
    }
    scores = {
        variant: [metric.score(truth, predicted) for predicted in of_variant] for variant, of_variant in made.items()
    }
    found: dict[str, Any] = {"metric": metric.name, "by_seed": scores, "differences": {}}
    for one, other in DIFFERENCES:
        if {one, other} <= set(args.variants):
            rows = [
                bootstrap.RunPredictions(
                    truth, {"teacher": truth, "baseline": theirs, "student": ours}, np.arange(len(truth))
                )
                for ours, theirs in zip(made[one], made[other], strict=True)
            ]
            gain = bootstrap.bootstrap_mean(metric, rows).gain
            assert gain is not None  # there are both
            differences = np.array(scores[one], dtype=float) - np.array(scores[other], dtype=float)
            seeds = stats.ttest_1samp(differences, 0).confidence_interval() if len(differences) > 1 else (None, None)
            found["differences"][f"{one} - {other}"] = dict(
                mean=gain.value, rows=[gain.low, gain.high], seeds=list(seeds)
            )
    return found


def show(report: dict[str, Any], console: Console) -> None:
    """The tables."""
    for entry in report["summary"]:
        table = Table(title=f"{entry['rows']:,} rows, {report['settings']['epochs']} epochs", title_justify="left")
        table.add_column("fit")
        for heading in ("seconds", "rows/s", "tokens/s", "padding", "peak memory", "checkpoint"):
            table.add_column(heading, justify="right")
        for variant, made in entry["variants"].items():
            table.add_row(
                VARIANTS[variant].about,
                f"{made['seconds']:.1f}" + (f" ({made['pass_seconds']:.1f})" if variant == "cold" else ""),
                f"{made['rows_per_second']:.1f}",
                f"{made['tokens_per_second']:,.0f}",
                f"{made['padding']:.2f}x",
                f"{made['peak_bytes'] / 1e6:,.0f} MB",
                f"{made['checkpoint_bytes'] / 1e6:,.0f} MB",
            )
        console.print(table)
        for name, ratio in entry["ratios"].items():
            console.print(f"{name:<45} {ratio['median']:.2f}  ({ratio['low']:.2f} to {ratio['high']:.2f})")
        console.print(phase_table(entry["variants"]))
        if "scores" in entry:
            show_scores(entry["scores"], console)


def phase_table(variants: dict[str, Any]) -> Table:
    """Seconds by phase and variant, largest first."""
    table = Table(title="where the seconds go", title_justify="left")
    table.add_column("phase")
    for variant in variants:
        table.add_column(variant, justify="right")
    totals: Counter[str] = Counter()
    for made in variants.values():
        totals.update(made["phases"])
    for phase, _ in totals.most_common():
        table.add_row(phase, *(f"{made['phases'].get(phase, 0.0):.1f}" for made in variants.values()))
    return table


def show_scores(scores: dict[str, Any], console: Console) -> None:
    """Scores of the students, and the differences that matter."""
    for variant, of_seeds in scores["by_seed"].items():
        console.print(f"{scores['metric']}, {VARIANTS[variant].about}: {', '.join(f'{v:.4f}' for v in of_seeds)}")
    for name, found in scores["differences"].items():
        over = ", ".join(
            f"over {what} {100 * low:+.2f} to {100 * high:+.2f}"
            for what, (low, high) in (("rows", found["rows"]), ("seeds", found["seeds"]))
            if low is not None
        )
        console.print(f"{name}: {100 * found['mean']:+.2f} points (95 %: {over})")


if __name__ == "__main__":
    sys.exit(main())
