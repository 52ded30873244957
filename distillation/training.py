"""The three models of a run: teacher and baseline from the cache or trained into it, the student trained anew."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import automm, store, teacher_outputs
from .automm import Predictor, Teacher
from .checkpoints import Checkpoint
from .data import Fold
from .preparation import Prepared
from .settings import Settings
from .tasks import Task

SHAPES_OUTPUTS = ("model.ckpt", "hf_text/")  # of a saved predictor's files

log = logging.getLogger(__name__)


def finetuned(role: str, checkpoint: Checkpoint, fold: Fold, prepared: Prepared) -> tuple[Predictor, dict[str, Any]]:
    """The teacher or the baseline: from the cache with ``--resume``, else trained and put there.

    :return: the model, and the facts of its training (seconds, steps, whether it came from the cache, path, and a
        fingerprint of its ``content``: weights and tokenizer).
    """
    settings, task = prepared.settings, prepared.task
    parameters = automm.hyperparameters(settings, prepared.device, str(checkpoint.path), role=role)
    recipe = cache_recipe(role, task, fold, checkpoint, parameters, settings, automm.versions())
    config = task.name if settings.benchmark == "pawsx" else task.config  # mnlim and mnlimm share mnli's models
    place = Path(settings.finetuned_model_cache_folder) / f"{role}-{config}-{store.fingerprint(recipe)}"

    def build(folder: Path) -> Mapping[str, Any]:
        name = settings.teacher_model if role == "teacher" else settings.student_model
        log.info("training the %s: %s, %s rows", role, name, f"{len(fold.train):,}")
        return _timed(lambda: _fit(folder, fold, parameters, prepared))

    def load(folder: Path, manifest: Mapping[str, Any]) -> tuple[Predictor, dict[str, Any]]:
        content = {name: digest for name, digest in manifest["files"].items() if name.startswith(SHAPES_OUTPUTS)}
        predictor = automm.load(folder, task, verbosity=settings.verbosity)
        return predictor, manifest["facts"] | {"content": store.fingerprint(content)}

    since = 0 if settings.resume else prepared.started
    (predictor, facts), found = store.obtain(place, recipe, since=since, build=build, load=load)
    if found:
        log.info("loaded the %s: %s", role, place)
    return predictor, facts | {"from_cache": found, "path": str(place.resolve())}


def consulted(predictor: Predictor, content: str, prepared: Prepared) -> Teacher:
    """The teacher as the student's fit takes it: with its outputs for the training rows, from disk or put there.

    :param content: the fingerprint that :func:`finetuned` gave.
    """
    settings, fold, columns = prepared.settings, prepared.splits.student, prepared.task.model_columns
    if settings.teacher_outputs == "online":
        return Teacher(predictor)
    recipe = {
        "teacher": content,
        "columns": columns,
        "arithmetic": prepared.device.precision,
        "precision": settings.teacher_outputs_precision,
    }
    folder = Path(settings.finetuned_model_cache_folder) / f"outputs-{store.fingerprint(recipe)}"
    outputs = teacher_outputs.obtain(folder, recipe, fold.train, predictor.outputs)
    return Teacher(predictor, outputs)


def distilled(teacher: Teacher, run_folder: Path, prepared: Prepared) -> tuple[Predictor, dict[str, Any]]:
    """The student, trained anew in every run and left in ``run_folder``; and the facts of its training."""
    settings, fold = prepared.settings, prepared.splits.student
    parameters = automm.hyperparameters(settings, prepared.device, str(prepared.student.path), role="student")
    parameters |= automm.distiller_hyperparameters(settings)
    log.info("distilling the student: %s, %s rows", settings.student_model, f"{len(fold.train):,}")
    with store.locked(run_folder, disposable=True), store.staged(run_folder) as partial:
        recipe = automm.loss_recipe(settings, prepared.task)
        facts = _timed(lambda: _fit(partial / "student", fold, parameters, prepared, teacher=teacher, recipe=recipe))
    student = automm.load(run_folder / "student", prepared.task, verbosity=settings.verbosity)
    return student, facts | {"path": str((run_folder / "student").resolve())}


def cache_recipe(
    role: str,
    task: Task,
    fold: Fold,
    checkpoint: Checkpoint,
    parameters: Mapping[str, Any],
    settings: Settings,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """All that shapes a fine-tuned model; its fingerprint is the model's name in the cache."""
    return {
        "role": role,
        "problem_type": task.problem_type,
        "classes": task.classes,
        "selection_metric": task.selection_metric,
        "columns": task.model_columns,
        "rows": fold.fingerprint,
        "checkpoint": checkpoint.fingerprint,
        # The checkpoint's place on this machine does not shape the model; its content does.
        "hyperparameters": {name: value for name, value in parameters.items() if "checkpoint_name" not in name},
        "length_grouping": settings.length_grouping,
        "compile": settings.compile,
        "seed": settings.seed,
        "time_limit": settings.time_limit,
        "versions": dict(versions),
    }


def _fit(
    folder: Path, fold: Fold, parameters: Mapping[str, Any], prepared: Prepared, **distillation: Any
) -> dict[str, Any]:
    settings = prepared.settings
    return automm.fit(
        folder,
        fold,
        prepared.task,
        parameters,
        seed=settings.seed,
        time_limit=settings.time_limit,
        length_grouping=settings.length_grouping,
        compiled=settings.compile,
        verbosity=settings.verbosity,
        **distillation,
    )


def _timed(fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    start = time.monotonic()
    facts = fit()
    return facts | {"seconds": time.monotonic() - start}
