"""Why did students of STS-B do worse than their baselines? Our fits, changed term by term, beside a bare PyTorch loop.

    python -m benchmarks.stsb_terms --dataset_path data/glue --english minilm-l6

For each seed a teacher is trained for as few epochs as in that example, and for longer. Students and baselines learn
from the same 1,500 rows under each of :data:`CHANGES`, and in the loop. Pearson correlations on the test rows; the test
rows choose nothing here, the hold-out picks checkpoints in our fits alone.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from automm_distill import automm
from automm_distill.automm import FitOptions, Teacher
from automm_distill.cli import parse_settings
from automm_distill.command import DONE, guarded
from automm_distill.evaluation.metrics import named
from automm_distill.preflight import preflight
from automm_distill.run_context import RunContext
from automm_distill.teaching import teacher_targets
from automm_distill.training import finetune_or_load
from benchmarks import bare_loop
from benchmarks.command_line import KEPT, machine, make_parser

ROWS, BATCH = 1500, 32
TEACHER_EPOCHS, EPOCHS = (2, 8), (4, 12)
# What differs from AutoGluon's values; "loop" is the bare loop.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "ours": {},
    "one learning rate for all layers": {"optim.lr_choice": "single_stage"},
    "no average of checkpoints": {"optim.top_k": 1},
    "loop": {},
}
LOOP = "loop"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = make_parser("stsb_terms", __doc__)
    parser.add_argument("--dataset_path", required=True, help="folder with STS-B's rows, as the scripts read it")
    parser.add_argument("--english", required=True, help="the teacher's checkpoint: all-MiniLM-L6")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--scratch", help="folder of the cache; a temporary one if left out")
    parser.add_argument("--json", default=str(KEPT / "stsb_terms.json"))
    args = parser.parse_args(argv)
    return guarded(parser.prog, lambda: benchmark(args), "interrupted")


def benchmark(args: argparse.Namespace) -> int:
    """Fit everything, print the table, write the JSON."""
    fits: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="stsb-terms-") as temporary:
        folder = Path(args.scratch or temporary)
        for seed in args.seeds:
            for teacher_epochs in TEACHER_EPOCHS:
                fits += with_teacher(args, seed, teacher_epochs, folder)
                report = {"rows": ROWS, "machine": machine(), "fits": fits}
                Path(args.json).write_text(json.dumps(report, indent=1))
    Console(width=120).print(table(fits))
    return DONE


def with_teacher(args: argparse.Namespace, seed: int, epochs: int, folder: Path) -> list[dict[str, Any]]:
    """All fits of one seed and one teacher; ``pearson`` of each on the test rows."""
    argv = ["--dataset_path", args.dataset_path, "--glue_task", "stsb", "--max_train_rows", str(ROWS), "--resume"]
    argv += ["--teacher_model", args.english, "--student_model", args.english, "--student_layers", "3", "--quiet"]
    argv += ["--teacher_max_epochs", str(epochs), "--student_learning_rate", "2e-4", "--batch_size", str(BATCH)]
    argv += ["--output_feature_loss_weight", "0", "--seed", str(seed), "--num_gpu", "0"]
    argv += ["--output_folder", str(folder / "results"), "--finetuned_model_cache_folder", str(folder / "cache")]
    context = preflight(parse_settings("glue", argv))
    with context.entries_in_use:
        teacher = finetune_or_load("teacher", context)
        targets = teacher_targets(teacher, context)
        assert isinstance(targets, Teacher)
        about = {"seed": seed, "teacher_epochs": epochs}
        found = [about | {"role": "teacher", "pearson": _pearson(context, teacher.predictions["test"])}]
        for student_epochs in EPOCHS:
            for change, hyperparameters in CHANGES.items():
                for role in ("baseline", "student"):
                    options = _options(context, role, student_epochs, hyperparameters)
                    predicted = _fit(context, options, targets, in_loop=change == LOOP)
                    found.append(
                        about
                        | {"role": role, "change": change, "epochs": student_epochs}
                        | {"pearson": _pearson(context, predicted)}
                    )
    return found


def table(fits: Sequence[Mapping[str, Any]]) -> Table:
    """Gains, the mean over the seeds and each, in points."""
    shown = Table("teacher's epochs", "epochs", "fit", "teacher", "baseline", "student", "gain", "by seed")
    for teacher_epochs in TEACHER_EPOCHS:
        own = [fit for fit in fits if fit["teacher_epochs"] == teacher_epochs]
        teachers = [fit["pearson"] for fit in own if fit["role"] == "teacher"]
        for epochs in EPOCHS:
            for change in CHANGES:
                baseline, student = (
                    np.array([fit["pearson"] for fit in own if _is(fit, role, change, epochs)])
                    for role in ("baseline", "student")
                )
                gains = 100 * (student - baseline)
                shown.add_row(
                    *(str(teacher_epochs), str(epochs), change, f"{np.mean(teachers):.3f}"),
                    *(f"{np.mean(scores):.3f}" for scores in (baseline, student)),
                    f"{gains.mean():+.1f}",
                    " ".join(f"{gain:+.1f}" for gain in gains),
                )
    return shown


def _is(fit: Mapping[str, Any], role: str, change: str, epochs: int) -> bool:
    return fit["role"] == role and fit.get("change") == change and fit.get("epochs") == epochs


def _options(context: RunContext, role: str, epochs: int, changes: Mapping[str, Any]) -> FitOptions:
    losses = automm.distillation_spec(context.settings, context.task) if role == "student" else None
    settings = replace(context.settings, max_epochs=epochs)
    options = automm.fit_options(settings, context.device, str(context.student.path), role, losses)
    return replace(options, hyperparameters={**options.hyperparameters, **changes})


def _fit(context: RunContext, options: FitOptions, targets: Teacher, *, in_loop: bool) -> np.ndarray:
    """Predictions for the test rows."""
    data, test = context.splits.student, context.splits.tests["test"]
    distils = options.losses is not None
    with tempfile.TemporaryDirectory(prefix="stsb-terms-") as folder:
        model = Path(folder) / "model"
        if not in_loop:
            automm.fit(model, data, context.task, options, targets if distils else None)
            return automm.load(model, context.task, verbosity="quiet").predict(test)
        logits = None
        if distils:
            of_rows = targets.targets_for(data.train)
            logits = of_rows.batch_targets(of_rows.batch(range(len(data.train)))).logits
        bare_loop.train(model, data.train, context.task, options, logits)
        return bare_loop.predict(model, test, context.task, options)


def _pearson(context: RunContext, predicted: np.ndarray) -> float:
    return float(named("pearson").score(context.splits.tests["test"]["label"].to_numpy(), predicted) or 0.0)


if __name__ == "__main__":
    sys.exit(main())
