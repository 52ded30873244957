"""How small, how fast and how good is what leaves: the exported forms of a student, beside the models in PyTorch.

    python -m benchmarks.shipping --dataset_path data --english minilm-l6 --multilingual e5-l12 --scratch scratch

Students of three of the teacher's layers for QNLI and PAWS-X (en, de, zh, ja; its vocabulary is cut, too), those of
``benchmarks.student_scores``: trained, on one thread, unless ``--scratch`` has them. They are then exported in all
forms, which are timed on as many threads as torch has: nothing else should run. Three layers do not learn PAWS-X; size
and speed do not depend on it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from automm_distill.command import DONE, guarded
from automm_distill.errors import TrainingError
from automm_distill.export_formats import HF, INT8, LATENCY
from automm_distill.export_table import sentence, table
from automm_distill.results import RESULTS, read_rows
from automm_distill.text_table import as_text
from benchmarks.command_line import KEPT, ROOT, add_both_tasks, machine, make_parser
from benchmarks.student_scores import train
from benchmarks.student_units import Unit

RUNS: Mapping[str, tuple[Unit, Sequence[str]]] = {
    "qnli": (Unit("qnli", "strong", 1), ()),
    "pawsx": (Unit("pawsx-3", "strong", 1), ("--trim_vocabulary", "0")),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = make_parser("shipping", __doc__)
    add_both_tasks(parser)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--scratch", required=True, help="folder for caches and students")
    parser.add_argument("--json", default=str(KEPT / "shipping.json"))
    parser.set_defaults(num_gpu=0)
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def benchmark(args: argparse.Namespace) -> int:
    """Train what is missing, export, print the tables, write the JSON."""
    file, console = Path(args.json), Console(width=120)
    found = json.loads(file.read_text()) if file.exists() else {}
    for name in args.runs:
        row = exported(name, args)
        found[name] = {"machine": machine(), "rows": row["rows"], "ratios": ratios(row["export"])}
        found[name]["scores"], found[name]["export"] = row["scores"], without_paths(row["export"])
        file.write_text(json.dumps(found, indent=1))
        console.print(f"{name}\n{as_text(table(row), 120)}\n{sentence(row['export'])}\n{found[name]['ratios']}\n")
    return DONE


def exported(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The row of one run, with what its export measured.

    :raises TrainingError: when it failed.
    """
    unit, flags = RUNS[name]
    scratch = Path(args.scratch)
    results = scratch / unit.name / RESULTS
    row = read_rows(results)[0][-1] if results.exists() else train(unit, args, scratch)
    command = [sys.executable, "automm_distillation_export.py", str(Path(row["paths"]["student"]).parent), *flags]
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise TrainingError(f"{name} ended with status {status}")
    return dict(read_rows(results)[0][-1])


def ratios(exported: Mapping[str, Any]) -> dict[str, float | None]:
    """How much faster the 8-bit form is than the models in PyTorch, and what it and the Hugging Face form change."""
    forms, models = exported["forms"], exported["models"]
    int8, gain = forms[INT8], next(iter(forms[INT8]["gains"].values()))["value"]
    return {
        "student / int8, one row": models["student"][LATENCY] / int8[LATENCY],
        "teacher / int8, one row": models["teacher"][LATENCY] / int8[LATENCY],
        "int8 - student, points": None if gain is None else 100 * gain,
        "hf, largest difference of a logit": forms[HF]["largest_difference"],
    }


def without_paths(exported: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the folders of the machine."""
    forms = {
        form: {name: value for name, value in found.items() if name != "path"}
        for form, found in exported["forms"].items()
    }
    return {**exported, "forms": forms}


if __name__ == "__main__":
    sys.exit(main())
