"""What a trial of a sweep costs beside its student's fit, once teacher, baseline and their predictions are there.

    python -m benchmarks.sweep_cost --dataset_path data/glue --teacher_model T --student_model S

One sweep of a single point makes what all points share. A second one, of --points further points, is timed, one trial
after the other: as a whole, with Ray's start and all checks, and from the end of its first point on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from automm_distill.command import DONE, guarded
from automm_distill.errors import TrainingError
from automm_distill.results import RESULTS, read_rows
from benchmarks.command_line import KEPT, ROOT, machine, make_parser

PHASES = ("teacher", "baseline", "teacher_outputs", "student", "prediction")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = make_parser("sweep_cost", __doc__)
    parser.add_argument("--dataset_path", required=True, help="folder with QNLI's rows, as the scripts read it")
    parser.add_argument("--teacher_model", required=True, help="checkpoint folder")
    parser.add_argument("--student_model", required=True, help="checkpoint folder")
    parser.add_argument("--rows", type=int, default=2000, help="training rows, the hold-out included")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--points", type=int, default=9)
    parser.add_argument("--cpus_per_trial", type=int, default=2)
    parser.add_argument("--json", default=str(KEPT / "sweep_cost.json"))
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def benchmark(args: argparse.Namespace) -> int:
    """Measure, print the ratio, write the JSON."""
    with tempfile.TemporaryDirectory(prefix="sweep-cost-") as folder:
        sweep(args, Path(folder), ["0.005"])
        seconds = sweep(args, Path(folder), [f"{0.01 * number:g}" for number in range(1, args.points + 1)])
        rows = read_rows(Path(folder) / "results" / RESULTS)[0][1:]
    sums = seconds_by_phase(rows)
    later = seconds_by_phase(rows[1:])
    first, last = (datetime.fromisoformat(rows[number]["finished"]) for number in (0, -1))
    report: dict[str, Any] = {
        "settings": {name: Path(value).name if isinstance(value, str) else value for name, value in vars(args).items()},
        "machine": machine(),
        "points": len(rows),
        "sweep_seconds": seconds,
        "seconds": sums,
        "student_fits_each": ((last - first).total_seconds() - later["prediction"]) / later["student"],
        "with_the_start": (seconds - sums["prediction"]) / sums["student"],
    }
    path = Path(args.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    console = Console(width=120)
    console.print(f"{len(rows)} points in {seconds:.1f} s, of them {sums['student']:.1f} s of students' fits")
    console.print(
        f"a further point costs {report['student_fits_each']:.3f} fits of its student, its predictions not counted; "
        f"all of them, with the sweep's start, {report['with_the_start']:.3f} each"
    )
    return DONE


def seconds_by_phase(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What runs with these rows spent on each phase."""
    return {phase: sum(row["seconds"].get(phase, 0.0) for row in rows) for phase in PHASES}


def sweep(args: argparse.Namespace, folder: Path, weights: list[str]) -> float:
    """Seconds of one sweep over weights of the feature loss."""
    command = [
        *(sys.executable, str(ROOT / "automm_distillation_sweep.py"), "glue", "--glue_task", "qnli", "--no_timing"),
        *("--grid", f"output_feature_loss_weight={','.join(weights)}", "--cpus_per_trial", str(args.cpus_per_trial)),
        *("--dataset_path", args.dataset_path, "--max_train_rows", str(args.rows), "--max_epochs", str(args.epochs)),
        *("--max_test_rows", "1000"),  # whose prediction is not counted
        *("--teacher_max_epochs", "1", "--teacher_model", args.teacher_model, "--student_model", args.student_model),
        *("--finetuned_model_cache_folder", str(folder / "cache"), "--output_folder", str(folder / "results")),
    ]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise TrainingError(f"the sweep failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
