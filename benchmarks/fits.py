"""One timed fit in a process of its own, so that its peak memory is its own: run by ``distillation_speed.py``.

Variants: ``stock`` is AutoGluon's distiller as it is, ``stock_ours`` the same at our micro-batch, ``cold`` and ``warm``
are ours with the teacher's outputs still to be made or on disk (``warm_half``: in half precision), ``plain`` and
``plain_stock`` fine-tune the student without a teacher, by our loader and by AutoGluon's.
"""

import json
import resource
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from automm_distill import automm, teacher_outputs
from automm_distill.cli import DEFAULTS
from automm_distill.devices import choose_device, prepare_arithmetic
from automm_distill.inputs.splits import TrainValidation
from automm_distill.settings import WEIGHTS, Settings
from automm_distill.tasks import GLUE_TASKS

TASK = GLUE_TASKS["qnli"]
STOCK = {
    "env.per_gpu_batch_size": 8,
    "env.num_workers": 2,
    "env.num_workers_inference": 2,
    "optim.log_every_n_steps": 10,
}


def settings_for(job: dict) -> Settings:
    """Of one fit, from what the driver wrote down."""
    own = dict(
        benchmark="glue",
        dataset_path=None,
        glue_task="qnli",
        teacher_model=job["teacher_model"],
        student_model=job["student_model"],
        student_learning_rate=1e-4,
        student_weight_decay=1e-3,
        max_epochs=job["epochs"],
        teacher_max_epochs=1,
        per_gpu_batch_size=job["per_gpu_batch_size"],
        seed=job["seed"],
        num_gpu=job["num_gpu"],
    )
    if job["all_losses"]:
        own |= dict.fromkeys(WEIGHTS, 0.1)
    return Settings(**(DEFAULTS | own))


def run(job: dict) -> dict:
    """Fit as the job says; seconds, tokens, peak memory, checkpoint size."""
    settings = settings_for(job)
    device = choose_device(settings.num_gpu, settings.precision)
    fold = TrainValidation(pd.read_parquet(job["train"]), pd.read_parquet(job["validation"]))
    folder = Path(tempfile.mkdtemp(prefix="fit-", dir=job["folder"])) / "model"
    variant = job["variant"]
    if variant == "teacher":
        parameters = automm.hyperparameters(settings, device, settings.teacher_model, role="teacher")
        automm.fit(Path(job["teacher"]), fold, TASK, parameters, seed=1, time_limit=None, verbosity="quiet")
        return {}
    parameters = automm.hyperparameters(settings, device, settings.student_model, role="student")
    distils = not variant.startswith("plain")
    teacher = automm.load(Path(job["teacher"]), TASK, verbosity="quiet") if distils else None
    if variant in ("cold", "warm", "warm_half", "plain"):
        prepare_arithmetic(on_gpu=device.num_gpus > 0)

    with counted_tokens() as tokens, largest_checkpoint(folder) as checkpoint, timed_account() as account:
        start = time.perf_counter()
        pass_seconds = 0.0
        if variant in ("stock", "stock_ours", "plain_stock"):
            changes = STOCK if variant != "stock_ours" else {k: v for k, v in STOCK.items() if "batch" not in k}
            parameters |= changes | (automm.distiller_hyperparameters(settings) if distils else {})
            fit_stock(folder, fold, parameters, settings.seed, teacher)
        else:
            taught = None
            if teacher is not None:
                place = folder.with_name("outputs") if variant == "cold" else Path(f"{job['outputs']}-{variant}")
                precision = "16" if variant == "warm_half" else "32"
                recipe = {"columns": TASK.model_columns, "precision": precision}
                outputs = teacher_outputs.obtain(place, recipe, fold.train, teacher.outputs)
                taught = automm.Teacher(teacher, outputs)
                del teacher  # as in a run: its weights take no memory while the student learns
                parameters |= automm.distiller_hyperparameters(settings)
            pass_seconds = time.perf_counter() - start
            automm.fit(
                folder,
                fold,
                TASK,
                parameters,
                seed=settings.seed,
                time_limit=None,
                teacher=taught,
                recipe=automm.distillation_spec(settings, TASK),
                verbosity="quiet",
            )
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    scores = {}
    if job.get("test"):
        test = pd.read_parquet(job["test"])
        predicted = automm.load(folder, TASK, verbosity="quiet").predict(test).argmax(axis=1)
        scores["correct"] = "".join(map(str, (predicted == test["label"].to_numpy()).astype(int)))  # "0110...", short
    return scores | {
        "seconds": seconds,
        "pass_seconds": pass_seconds,
        "account_seconds": account["seconds"],
        "tokens": tokens["useful"],
        "padding": tokens["padded"] / tokens["useful"],
        "peak_bytes": peak,
        "checkpoint_bytes": checkpoint["bytes"],
    }


def fit_stock(
    folder: Path, fold: TrainValidation, parameters: dict, seed: int, teacher: automm.Predictor | None
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
        train_data=fold.train[columns],
        tuning_data=fold.validation[columns],
        hyperparameters=parameters,
        column_types=dict.fromkeys(TASK.model_columns, "text"),
        teacher_predictor=teacher.automm if teacher else None,
        seed=seed,
    )


@contextmanager
def counted_tokens():
    """Tokens, with and without padding, that networks in training mode read."""
    from autogluon.multimodal.models.hf_text import HFAutoModelForTextPrediction

    forward, tokens = HFAutoModelForTextPrediction.forward, {"padded": 0, "useful": 0}

    def counting(self, token_ids, segment_ids, lengths, *rest):
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
def timed_account():
    """Seconds spent on the diagnostics of our losses: means, gradient shares, and writing them to TensorBoard."""
    from lightning.pytorch.loggers import TensorBoardLogger

    from automm_distill.automm.lightning_modules import DistillModule

    spent = {"seconds": 0.0}
    places = [(DistillModule, "_keep_account"), (TensorBoardLogger, "log_metrics")]
    originals = [getattr(owner, name) for owner, name in places]

    def timed(original):
        def call(*args, **kwargs):
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
def largest_checkpoint(folder: Path):
    """Bytes of the largest checkpoint that a fit writes to ``folder`` while it trains; they are gone afterwards."""
    seen, over = {"bytes": 0}, threading.Event()

    def watch():
        while not over.wait(0.2):
            for path in folder.glob("*.ckpt"):
                try:
                    if path.name != "model.ckpt":
                        seen["bytes"] = max(seen["bytes"], path.stat().st_size)
                except FileNotFoundError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    from automm_distill import logs

    logs.quieten_libraries("quiet")
    wanted = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(run(wanted)))
