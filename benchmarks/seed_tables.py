"""AutoGluon's two published tables, on rows and checkpoints for a small machine, beside the published figures.

    python -m benchmarks.seed_tables --dataset_path data --english minilm-l6 --multilingual e5-l12

The students' checkpoints are layers of the teachers'. Teachers and baselines are trained once, students once for each
setting, with one seed. Units are run and kept as those of ``benchmarks.student_scores``.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from automm_distill.command import DONE, guarded
from benchmarks.command_line import KEPT, add_both_tasks, make_parser
from benchmarks.student_scores import file_of, is_done, run
from benchmarks.student_units import FEATURE_WAYS, PAWSX_WEIGHTS, Unit

SEED = 123
# Published: teacher, baseline, student, ratio; google/bert_uncased_L-12 to -L-6 on all of QNLI, 12 epochs;
# mdeberta-v3-base to mMiniLMv2-L6-H384 on all of PAWS-X, 10 epochs.
PUBLISHED = {
    "qnli": (0.91726, 0.89401, dict(zip(FEATURE_WAYS, (0.89713, 0.90298, 0.89365), strict=True))),
    "pawsx": (
        0.91293,
        0.88493,
        dict(zip(PAWSX_WEIGHTS, (0.88857, 0.8855, 0.89093, 0.89264, 0.891, 0.88971), strict=True)),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = make_parser("seed_tables", __doc__)
    add_both_tasks(parser)
    parser.add_argument("--tables", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--jobs", type=int, default=2, help="units side by side, of one thread each")
    parser.add_argument("--num_gpu", type=int, default=0, help="of each unit; they share the GPUs")
    parser.add_argument("--scratch", required=True, help="folder for caches and students")
    parser.add_argument("--results", default=str(KEPT / "seed_tables"))
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted; the same command goes on from there")


def benchmark(args: argparse.Namespace) -> int:
    """Run what is missing, and print both tables."""
    kept = Path(args.results)
    kept.mkdir(parents=True, exist_ok=True)
    units = [Unit(table, way, SEED) for table in args.tables for way in PUBLISHED[table][2]]
    console = Console(width=120)
    missing = [unit for unit in units if not is_done(unit, args, kept)]
    with ThreadPoolExecutor(args.jobs) as pool:
        for line in pool.map(lambda unit: run(unit, args, Path(args.scratch), kept), missing):
            console.print(line)
    for table in args.tables:
        found = {unit.way: json.loads(file_of(kept, unit).read_text()) for unit in units if unit.row == table}
        console.print(compared(table, found))
    return DONE


def compared(name: str, found: dict[str, dict[str, Any]]) -> Table:
    """Ours and the published figures of one table; accuracies."""
    teacher, baseline, students = PUBLISHED[name]
    shown = Table(name, "teacher", "baseline", "student", "ratio", "speed-up", "published student", "published ratio")
    for way, content in found.items():
        scores = next(iter(next(iter(content["scores"].values())).values()))
        gap = scores["teacher"] - scores["baseline"]
        ratio = f"{(scores['student'] - scores['baseline']) / gap:.2f}" if gap > 0 else "n/a"
        speed = content["speed_up"].get("forward", {}).get("ratio")
        shown.add_row(
            way.partition("-")[2].replace("-", " "),
            *(f"{scores[role]:.4f}" for role in ("teacher", "baseline", "student")),
            ratio,
            f"{speed:.2f}x" if speed else "",
            f"{students[way]:.4f}",
            f"{(students[way] - baseline) / (teacher - baseline):.2f}",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
