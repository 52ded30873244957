"""How small, how fast and how good is what leaves: the exported forms of a student, beside the models in PyTorch.

    python -m benchmarks.shipping --dataset_path data --english minilm-l6 --multilingual e5-l12

Trains a student of three of the teacher's layers on QNLI and on PAWS-X (en, de, zh, ja; its vocabulary is cut, too),
exports it in all forms, and times them on as many threads as torch has; nothing else should run. PAWS-X is trained for
an epoch only: three layers do not learn it, and size and speed do not depend on it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from automm_distill.command import DONE, guarded
from automm_distill.errors import TrainingError
from automm_distill.export_formats import FORMATS, HF, INT8, LATENCY
from automm_distill.export_table import sentence, table
from automm_distill.results import RESULTS, read_rows
from automm_distill.text_table import as_text
from benchmarks.command_line import KEPT, ROOT, add_both_tasks, machine, make_parser

_COMMON = ("--student_layers", "3", "--preset", "strong", "--batch_size", "32", "--num_gpu", "0", "--export", *FORMATS)
_LANGUAGES = ("en", "de", "zh", "ja")
RUNS: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "qnli": (
        "glue",
        "english",
        ("--glue_task", "qnli", "--teacher_max_epochs", "3", "--max_epochs", "4", "--student_learning_rate", "2e-4"),
    ),
    "pawsx": (
        "pawsx",
        "multilingual",
        (
            *("--pawsx_teacher_tasks", *_LANGUAGES, "--pawsx_student_tasks", *_LANGUAGES),
            *("--teacher_max_epochs", "1", "--max_epochs", "1", "--train_nodistill", "false"),
            *("--trim_vocabulary", "0"),
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = make_parser("shipping", __doc__)
    add_both_tasks(parser)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--max_train_rows", help="for a quick look")
    parser.add_argument("--json", default=str(KEPT / "shipping.json"))
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def benchmark(args: argparse.Namespace) -> int:
    """Train, export, print the tables, write the JSON."""
    file, console = Path(args.json), Console(width=120)
    found = json.loads(file.read_text()) if file.exists() else {}
    for name in args.runs:
        row = run(name, args)
        found[name] = {"machine": machine(), "rows": row["rows"], "ratios": ratios(row["export"])}
        found[name]["scores"], found[name]["export"] = row["scores"], without_paths(row["export"])
        file.write_text(json.dumps(found, indent=1))
        console.print(f"{name}\n{as_text(table(row), 120)}\n{sentence(row['export'])}\n{found[name]['ratios']}\n")
    return DONE


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The row of one run.

    :raises TrainingError: when it failed.
    """
    script, checkpoint, flags = RUNS[name]
    folder = {"glue": "glue", "pawsx": "paws-x"}[script]
    with tempfile.TemporaryDirectory(prefix="shipping-") as temporary:
        command = [sys.executable, "-m", "automm_distill.cli", script, *_COMMON, *flags]
        command += ["--dataset_path", f"{args.dataset_path}/{folder}", "--teacher_model", getattr(args, checkpoint)]
        command += ["--output_folder", temporary, "--finetuned_model_cache_folder", f"{temporary}/cache"]
        command += ["--max_train_rows", args.max_train_rows] if args.max_train_rows else []
        if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise TrainingError(f"{name} ended with status {status}")
        ((row,), _) = read_rows(Path(temporary) / RESULTS)
    return row


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
