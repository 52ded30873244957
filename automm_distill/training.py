"""The models that a run fits: teacher and baseline from the cache or trained into it, the student trained anew."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill import __version__, automm, cache, kept_predictions
from automm_distill.automm import FitOptions, OutputsTeacher, Predictor, Teacher
from automm_distill.divergence import explained, warn_if_diverged
from automm_distill.evaluation import scores
from automm_distill.given_outputs import GivenOutputs
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.run_context import RunContext
from automm_distill.tasks import Task
from automm_distill.versions import TRAINING_FORMAT, library_versions

log = logging.getLogger(__name__)


@dataclass
class TrainedModel:
    """A fitted model and what a run keeps of it; of some teachers there are only ``outputs``.

    ``training_info`` has seconds, steps, path and whether it came from the cache; ``predictions`` is one array per
    evaluation set, see :meth:`Predictor.predict`; ``seconds`` are those of this run. ``parameters`` and ``bytes`` are
    None where there is no model.
    """

    predictor: Predictor | None
    training_info: dict[str, Any]
    predictions: dict[str, np.ndarray]
    seconds: dict[str, float]
    outputs: GivenOutputs | None = None
    parameters: int | None = field(init=False, default=None)
    bytes: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.predictor is not None:
            self.parameters, self.bytes = self.predictor.parameters, self.predictor.bytes

    def release(self) -> None:
        """Free its memory for the next fit."""
        self.predictor = None


def finetune_or_load(role: str, context: RunContext) -> TrainedModel:
    """The teacher or the baseline: from the cache with ``--resume``, else trained and put there."""
    settings = context.settings
    options, recipe, path = _entry(role, context)
    context.entries_in_use.enter_context(cache.in_use(path))
    name = context.model_name(role)
    rows = f"{len(context.data(role).train):,}"

    def build(folder: Path) -> Mapping[str, Any]:
        log.info("training the %s: %s, %s rows", role, name, rows)
        with explained(role, settings, context.device.precision):
            training_info, seconds = timed(lambda: automm.fit(folder, context.data(role), context.task, options))
        warn_if_diverged(role, training_info, settings, context.device.precision)
        about = {"task": context.task_name, "checkpoint": name, "version": __version__}
        return training_info | {"seconds": seconds} | about

    start = time.monotonic()
    (predictor, training_info), from_cache = cache.get_or_build(
        path,
        recipe,
        not_before=0 if settings.resume else context.started,
        build=build,
        load=lambda folder, manifest: load_entry(folder, manifest, context),
    )
    if from_cache:
        log.info("loaded the %s: %s", role, path)
    training_info = training_info | {"from_cache": from_cache, "path": str(path.resolve())}
    seconds = time.monotonic() - start

    model = {"entry": path.name, "weights": training_info["weights_hash"]}
    return score_kept(role, predictor, model, training_info, context, seconds)


def score_kept(
    role: str,
    predictor: Predictor,
    model: Mapping[str, Any],
    training_info: dict[str, Any],
    context: RunContext,
    seconds: float,
) -> TrainedModel:
    """Its predictions for the rows that it is scored on, from the cache or put there.

    :param model: what tells it from all others, as plain values.
    :param training_info: gets the place of the predictions.
    :param seconds: that it took this run to have the model.
    """

    def predict(rows: pd.DataFrame) -> np.ndarray:
        recipe = kept_predictions.recipe_of(model, rows, context.task.model_columns)
        folder = context.cache_folder / f"predictions-{cache.fingerprint(recipe)}"
        context.entries_in_use.enter_context(cache.in_use(folder))
        training_info["predictions_path"] = str(folder.resolve())
        about = {"task": f"{context.task_name}, {role}"}
        return kept_predictions.get_or_predict(folder, recipe, rows, predictor.predict, about)

    return _score(role, predictor, training_info, context, seconds, predict)


def is_cached(role: str, context: RunContext) -> bool:
    """Whether :func:`finetune_or_load` will find the model in the cache, unless it turns out to be damaged."""
    if role == "student" or not context.settings.resume:
        return False
    _, _, path = _entry(role, context)
    return (path / cache.MANIFEST).exists()


def distill(targets: Teacher | OutputsTeacher, run_folder: Path, context: RunContext) -> TrainedModel:
    """The student, trained anew in every run and left in ``run_folder``."""
    settings = context.settings
    losses = automm.distillation_spec(settings, context.task, context.hidden_layers)
    options = automm.fit_options(
        settings,
        context.device,
        str(context.student.path),
        "student",
        losses,
        max_tokens=context.student.max_tokens,
        token_cache=context.cache_folder,
    )
    data = context.data("student")
    unlabelled = context.splits.unlabelled
    rows = f"{len(data.train):,} rows" + (f" and {len(unlabelled):,} unlabelled" if unlabelled is not None else "")
    log.info("distilling the student: %s, %s", context.model_name("student"), rows)
    with (
        explained("student", settings, context.device.precision),
        cache.locked(run_folder, disposable=True),
        cache.staged(run_folder) as partial,
    ):
        training_info, seconds = timed(
            lambda: automm.fit(partial / "student", data, context.task, options, targets, unlabelled)
        )
    warn_if_diverged("student", training_info, settings, context.device.precision)
    student = _load_predictor(run_folder / "student", context)
    training_info |= {"seconds": seconds, "path": str((run_folder / "student").resolve())}
    return _score("student", student, training_info, context, seconds, student.predict)


def cache_recipe(
    role: str, task: Task, data: TrainValidation, checkpoint: Checkpoint, options: FitOptions
) -> dict[str, Any]:
    """All that shapes a fine-tuned model; its fingerprint is part of the model's name in the cache."""
    return {
        "role": role,
        "problem_type": task.problem_type,
        "classes": task.classes,
        "selection_metric": task.selection_metric,
        "columns": task.model_columns,
        "rows": data.fingerprint,
        "checkpoint": checkpoint.fingerprint,
        "fit": options.training_key,
        "training_format": TRAINING_FORMAT,
        "versions": library_versions(),
    }


def _entry(role: str, context: RunContext) -> tuple[FitOptions, dict[str, Any], Path]:
    """How the teacher or the baseline is fitted, the recipe of its cache entry, and where that is."""
    task, checkpoint = context.task, context.checkpoint(role)
    options = automm.fit_options(
        context.settings,
        context.device,
        str(checkpoint.path),
        role,
        max_tokens=checkpoint.max_tokens,
        rows_per_epoch=rows if (rows := context.epoch_rows(role)) > len(context.data(role).train) else None,
        token_cache=context.cache_folder,
    )
    recipe = cache_recipe(role, task, context.data(role), checkpoint, options)
    config = task.name if context.settings.benchmark == "pawsx" else task.config  # mnlim and mnlimm share mnli's models
    return options, recipe, context.cache_folder / f"{role}-{config}-{cache.fingerprint(recipe)}"


def load_entry(folder: Path, manifest: Mapping[str, Any], context: RunContext) -> tuple[Predictor, dict[str, Any]]:
    """The model in a cache entry, and its training info with a fingerprint of what its outputs depend on."""
    weights = {name: digest for name, digest in manifest["files"].items() if name.startswith(automm.WEIGHT_FILES)}
    return _load_predictor(folder, context), manifest["training_info"] | {"weights_hash": cache.fingerprint(weights)}


def _load_predictor(folder: Path, context: RunContext) -> Predictor:
    return automm.load(folder, context.task, verbosity=context.settings.verbosity, token_cache=context.cache_folder)


def _score(
    role: str,
    predictor: Predictor,
    training_info: dict[str, Any],
    context: RunContext,
    seconds: float,
    predict: Callable[[pd.DataFrame], np.ndarray],
) -> TrainedModel:
    log.info("scoring the %s on %s rows", role, f"{sum(map(len, context.eval_sets.values())):,}")
    with explained(role, context.settings, context.device.precision):
        predictions, prediction_seconds = timed(lambda: scores.predict(predict, context.eval_sets))
    return TrainedModel(predictor, training_info, predictions, {role: seconds, "prediction": prediction_seconds})


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes of ``work``, and the seconds that it took."""
    start = time.monotonic()
    done = work()
    return done, time.monotonic() - start
