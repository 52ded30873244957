"""One timed fit in a process of its own, so that its peak memory is its own: run by ``distillation_speed.py``.

Variants: ``stock`` is AutoGluon's distiller as it is, ``stock_ours`` the same at our micro-batch, ``cold`` and ``warm``
are ours with the teacher's outputs still to be made or on disk (``warm_half``: in half precision), ``plain`` and
``plain_stock`` fine-tune the student without a teacher, by our loader and by AutoGluon's.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.strategies import Strategy

from automm_distill import automm, teacher_outputs
from automm_distill.devices import choose_device, prepare_arithmetic
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.settings import LOSS_WEIGHTS, Settings, defaults
from automm_distill.tasks import GLUE_TASKS

TASK = GLUE_TASKS["qnli"]
STOCK_LOADING = {"env.num_workers": 2, "env.num_workers_inference": 2, "optim.log_every_n_steps": 10}
STOCK_BATCH = {"env.per_gpu_batch_size": 8}
# What AutoGluon's own fits have in place of ours.
STOCK = {
    "stock": STOCK_LOADING | STOCK_BATCH,
    "stock_ours": STOCK_LOADING,
    "plain_stock": STOCK_LOADING | STOCK_BATCH,
}
Job = dict[str, Any]  # what the driver asks for: see distillation_speed.timed_runs


def settings_for(job: Job) -> Settings:
    """Of one fit, from what the driver wrote down."""
    changes = {
        "glue_task": "qnli",
        "teacher_model": job["teacher_model"],
        "student_model": job["student_model"],
        "max_epochs": job["epochs"],
        "teacher_max_epochs": 1,
        "per_gpu_batch_size": job["per_gpu_batch_size"],
        "seed": job["seed"],
        "num_gpu": job["num_gpu"],
        "verbosity": "quiet",
    }
    if job["all_losses"]:
        changes |= dict.fromkeys(LOSS_WEIGHTS, 0.1)
    return Settings(benchmark="glue", **(defaults("glue") | changes))


def run(job: Job) -> dict[str, Any]:
    """Fit as the job says; seconds, tokens, peak memory, checkpoint size."""
    settings = settings_for(job)
    device = choose_device(settings.num_gpu, settings.precision)
    data = TrainValidation(pd.read_parquet(job["train"]), pd.read_parquet(job["validation"]))
    folder = Path(tempfile.mkdtemp(prefix="fit-", dir=job["folder"])) / "model"
    variant = job["variant"]
    if variant == "teacher":
        options = automm.fit_options(settings, device, settings.teacher_model, "teacher")
        automm.fit(Path(job["teacher"]), data, TASK, options)
        return {}
    distils = not variant.startswith("plain")
    losses = automm.distillation_spec(settings, TASK) if distils else None
    options = automm.fit_options(settings, device, settings.student_model, "student", losses)
    teacher = automm.load(Path(job["teacher"]), TASK, verbosity="quiet") if distils else None
    if variant not in STOCK:
        prepare_arithmetic(on_gpu=device.num_gpus > 0)

    with counted_tokens() as tokens, largest_checkpoint() as checkpoint, timed_loss_log() as loss_log:
        start = time.perf_counter()
        pass_seconds = 0.0
        if variant in STOCK:
            fit_stock(folder, data, dict(options.hyperparameters) | STOCK[variant], settings.seed, teacher)
        else:
            targets = teacher_targets(job, folder, data, teacher) if teacher is not None else None
            del teacher  # as in a run: its weights take no memory while the student learns
            pass_seconds = time.perf_counter() - start
            automm.fit(folder, data, TASK, options, targets)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return correct_rows(job, folder) | {
        "seconds": seconds,
        "pass_seconds": pass_seconds,
        "loss_log_seconds": loss_log["seconds"],
        "tokens": tokens["useful"],
        "padding": tokens["padded"] / tokens["useful"],
        "peak_bytes": peak,
        "checkpoint_bytes": checkpoint["bytes"],
    }


def teacher_targets(job: Job, folder: Path, data: TrainValidation, teacher: automm.Predictor) -> automm.Teacher:
    """The teacher with its outputs: computed now for ``cold``, else on disk since an earlier fit."""
    variant = job["variant"]
    place = folder.with_name("outputs") if variant == "cold" else Path(f"{job['outputs']}-{variant}")
    recipe = {"columns": TASK.model_columns, "precision": "16" if variant == "warm_half" else "32"}
    outputs = teacher_outputs.get_or_compute(place, recipe, data.train, teacher.outputs)
    return automm.Teacher(teacher, outputs)


def correct_rows(job: Job, folder: Path) -> dict[str, str]:
    """Which test rows the student has right, as "0110..."; nothing where the job has no test rows."""
    if not job.get("test"):
        return {}
    test = pd.read_parquet(job["test"])
    predicted = automm.load(folder, TASK, verbosity="quiet").predict(test).argmax(axis=1)
    return {"correct": "".join(map(str, (predicted == test["label"].to_numpy()).astype(int)))}


def fit_stock(
    folder: Path,
    data: TrainValidation,
    hyperparameters: dict[str, Any],
    seed: int,
    teacher: automm.Predictor | None,
) -> None:
    """AutoGluon's own fit, as its documentation has it; columns declared, as its guesses would not be comparable."""
    from autogluon.multimodal import MultiModalPredictor

    predictor = MultiModalPredictor(
        label="label",
        problem_type=TASK.problem_type,
        eval_metric="accuracy",
        path=str(folder),
        verbosity=1,
        enable_progress_bar=False,
    )
    columns = [*TASK.model_columns, "label"]
    predictor.fit(
        train_data=data.train[columns],
        tuning_data=data.validation[columns],
        hyperparameters=hyperparameters,
        column_types=dict.fromkeys(TASK.model_columns, "text"),
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
def timed_loss_log() -> Iterator[dict[str, float]]:
    """Seconds spent on logging our losses: means, gradient shares, and writing them to TensorBoard."""
    from lightning.pytorch.loggers import TensorBoardLogger

    from automm_distill.automm.lightning_modules import DistillModule

    spent = {"seconds": 0.0}
    places = [(DistillModule, "_log_losses"), (TensorBoardLogger, "log_metrics")]
    originals = [getattr(owner, name) for owner, name in places]

    def timed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent["seconds"] += time.perf_counter() - start

        return call

    for (owner, name), original in zip(places, originals, strict=True):
        setattr(owner, name, timed(original))
    try:
        yield spent
    finally:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


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
