"""One timed fit in a process of its own, so that its peak memory is its own: run by ``distillation_speed.py``."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from lightning.pytorch.strategies import Strategy

from automm_distill import automm, teacher_outputs
from automm_distill.automm.fit_options import AUTOGLUON_LOSSES
from automm_distill.automm.lightning_modules import FineTuneModule
from automm_distill.defaults import defaults
from automm_distill.devices import choose_device, prepare_arithmetic
from automm_distill.evaluation.metrics import predicted_labels
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.settings import LOSS_WEIGHTS, Settings
from automm_distill.tasks import GLUE_TASKS, Task
from benchmarks import bare_loop, phases
from benchmarks.variants import VARIANTS, Variant

TEACHER = "teacher"  # the fit that comes first, and is not timed
Job = dict[str, Any]  # what the driver asks for: see distillation_speed.timed_runs


def settings_for(job: Job, variant: Variant) -> Settings:
    """Of one fit, from what the driver wrote down."""
    changes = {
        "glue_task": job["task"],
        "teacher_model": job["teacher_model"],
        "student_model": job["student_model"],
        "max_epochs": job["epochs"],
        "teacher_max_epochs": 1,
        "batch_size": job["batch_size"],
        "per_gpu_batch_size": job["per_gpu_batch_size"],
        "student_learning_rate": job["learning_rate"],
        "seed": job["seed"],
        "num_gpu": job["num_gpu"],
        "verbosity": "quiet",
    }
    if job["all_losses"]:
        weights = [name for name, term in LOSS_WEIGHTS.items() if term in AUTOGLUON_LOSSES]
        changes |= dict.fromkeys(weights, 0.1)
    return Settings(benchmark="glue", **(defaults("glue") | changes | dict(variant.settings)))


def run(job: Job) -> dict[str, Any]:
    """Fit as the job says; seconds, tokens, peak memory, checkpoint size."""
    task = GLUE_TASKS[job["task"]]
    variant = VARIANTS.get(job["variant"], Variant("the teacher"))
    settings = settings_for(job, variant)
    device = choose_device(settings.num_gpu, settings.precision)
    data = TrainValidation(pd.read_parquet(job["train"]), pd.read_parquet(job["validation"]))
    folder = Path(tempfile.mkdtemp(prefix="fit-", dir=job["folder"])) / "model"
    if job["variant"] == TEACHER:
        options = automm.fit_options(settings, device, job["teacher_model"], "teacher")
        automm.fit(Path(job["teacher"]), data, task, options)
        return {}
    losses = automm.distillation_spec(settings, task) if variant.distils else None
    options = automm.fit_options(settings, device, job["student_model"], "student", losses)
    if settings.compile:
        options = replace(options, compile=True)  # also on a CPU, where a run would not
    teacher = automm.load(Path(job["teacher"]), task, verbosity="quiet") if variant.distils else None
    if variant.stock is None:
        prepare_arithmetic(on_gpu=device.num_gpus > 0)

    with ExitStack() as measures:
        tokens, checkpoint = (measures.enter_context(m) for m in (counted_tokens(), largest_checkpoint()))
        by_phase = measures.enter_context(phases.timed_phases())
        if variant.torchs_dropout:
            measures.enter_context(mock.patch.object(FineTuneModule, "_random_numbers", return_value=nullcontext()))
        start = time.perf_counter()
        pass_seconds = 0.0
        if variant.stock is not None:
            hyperparameters = dict(options.hyperparameters) | dict(variant.stock)
            fit_stock(folder, data, task, hyperparameters, settings.seed, teacher)
        elif variant.bare:
            tokens = bare_loop.train(folder, data.train, task, options)
        else:
            targets = teacher_targets(job, folder, data, task, teacher) if teacher is not None else None
            del teacher  # as in a run: its weights take no memory while the student learns
            pass_seconds = time.perf_counter() - start
            automm.fit(folder, data, task, options, targets)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return predictions(job, folder, task, device.precision) | {
        "seconds": seconds,
        "pass_seconds": pass_seconds,
        "step_seconds": seconds - sum(by_phase[phase] for phase in phases.VALIDATING),
        "phases": dict(by_phase),
        "tokens": tokens["useful"],
        "padding": tokens["padded"] / tokens["useful"],
        "peak_bytes": peak,
        "checkpoint_bytes": checkpoint["bytes"],
    }


def teacher_targets(
    job: Job, folder: Path, data: TrainValidation, task: Task, teacher: automm.Predictor
) -> automm.Teacher:
    """The teacher with its outputs: computed now for ``cold``, else on disk since an earlier fit."""
    variant = job["variant"]
    place = folder.with_name("outputs") if variant == "cold" else Path(f"{job['outputs']}-{variant}")
    recipe = {"columns": task.model_columns, "precision": "16" if variant == "warm_half" else "32"}
    precision = choose_device(job["num_gpu"], "auto").precision
    outputs = teacher_outputs.get_or_compute(place, recipe, data.train, lambda rows: teacher.outputs(rows, precision))
    return automm.Teacher(teacher, outputs)


def predictions(job: Job, folder: Path, task: Task, precision: str) -> dict[str, Any]:
    """What is true of each test row and what the student says, a class or a value; nothing without test rows.

    Where finished models predict in another precision than they train in, also how far the two differ.
    """
    if not job.get("test") or VARIANTS[job["variant"]].bare:
        return {}
    test, student = pd.read_parquet(job["test"]), automm.load(folder, task, verbosity="quiet")
    found = {"truth": test["label"].tolist(), "predicted": predicted_labels(student.predict(test)).tolist()}
    if precision != "32":
        logits, mixed = student.outputs(test, "32")[0], student.outputs(test, precision)[0]
        found["logits"] = {
            "largest": float(abs(logits).max()),
            "largest difference": float(abs(logits - mixed).max()),
            "median difference": float(np.median(abs(logits - mixed))),
            "other answers": int((logits.argmax(axis=1) != mixed.argmax(axis=1)).sum()),
        }
    return found


def fit_stock(
    folder: Path,
    data: TrainValidation,
    task: Task,
    hyperparameters: dict[str, Any],
    seed: int,
    teacher: automm.Predictor | None,
) -> None:
    """AutoGluon's own fit, as its documentation has it; columns declared, as its guesses would not be comparable."""
    from autogluon.multimodal import MultiModalPredictor

    predictor = MultiModalPredictor(
        label="label",
        problem_type=task.problem_type,
        eval_metric=task.selection_metric,
        path=str(folder),
        verbosity=1,
        enable_progress_bar=False,
    )
    columns = [*task.model_columns, "label"]
    predictor.fit(
        train_data=data.train[columns],
        tuning_data=data.validation[columns],
        hyperparameters=hyperparameters,
        column_types=dict.fromkeys(task.model_columns, "text"),
        teacher_predictor=teacher.automm if teacher else None,
        seed=seed,
    )


@contextmanager
def counted_tokens() -> Iterator[dict[str, int]]:
    """Tokens, with and without padding, that networks in training mode read."""
    from autogluon.multimodal.models.hf_text import HFAutoModelForTextPrediction

    forward, tokens = HFAutoModelForTextPrediction.forward, {"padded": 0, "useful": 0}

    def counting(self: Any, token_ids: Any, segment_ids: Any, lengths: Any, *rest: Any) -> Any:
        if self.training:
            tokens["padded"] += token_ids.numel()
            tokens["useful"] += int(lengths.sum())
        return forward(self, token_ids, segment_ids, lengths, *rest)

    HFAutoModelForTextPrediction.forward = counting
    try:
        yield tokens
    finally:
        HFAutoModelForTextPrediction.forward = forward


@contextmanager
def largest_checkpoint() -> Iterator[dict[str, int]]:
    """Bytes of the largest checkpoint that a fit writes while it trains; they are gone afterwards."""
    seen, save = {"bytes": 0}, Strategy.save_checkpoint

    def save_and_measure(self: Strategy, checkpoint: dict[str, Any], filepath: Any, *args: Any, **kwargs: Any) -> None:
        save(self, checkpoint, filepath, *args, **kwargs)
        seen["bytes"] = max(seen["bytes"], Path(filepath).stat().st_size)

    Strategy.save_checkpoint = save_and_measure  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Strategy.save_checkpoint = save  # type: ignore[method-assign]


if __name__ == "__main__":
    from automm_distill import logs

    logs.quieten_libraries("quiet")
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
