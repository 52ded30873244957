"""The teacher of a run, whichever kind it is: trained, loaded, or given; and what the student learns from it."""

import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill import automm, cache, teacher_outputs
from automm_distill.automm import OutputsTeacher, Predictor, Teacher
from automm_distill.divergence import explained
from automm_distill.evaluation.scores import VALIDATION
from automm_distill.given_outputs import GivenOutputs, as_outputs
from automm_distill.run_context import RunContext
from automm_distill.teachers import classifier, saving
from automm_distill.teachers.classifier import Classifier
from automm_distill.teachers.kinds import why_no_network
from automm_distill.teachers.prediction_file import PredictionFile
from automm_distill.teachers.row_index import HOLD_OUT, TRAIN, UNLABELLED
from automm_distill.teachers.saved_predictor import SavedPredictor
from automm_distill.training import TrainedModel, finetune_or_load, load_entry, score_kept, timed
from automm_distill.versions import TRAINING_FORMAT, library_versions

log = logging.getLogger(__name__)


def obtain_teacher(context: RunContext) -> TrainedModel:
    """The teacher with its predictions for the rows that models are scored on."""
    source = context.teacher
    if isinstance(source, SavedPredictor):
        return _finished(source, context)
    if isinstance(source, Classifier):
        return _computed(source, context)
    if isinstance(source, PredictionFile):
        return _given(source.outputs, {"path": str(source.path.resolve())}, {}, context)
    return finetune_or_load("teacher", context)


def teacher_targets(teacher: TrainedModel, context: RunContext) -> Teacher | OutputsTeacher:
    """The teacher as the student's fit takes it: with its outputs for the training rows, from disk or put there."""
    if teacher.outputs is not None:
        return OutputsTeacher(context.task, context.distillation_rows, teacher.outputs.distillation)
    assert teacher.predictor is not None
    layers = context.student.layers if context.settings.student_model is None else ()
    compared = [layer for _, layer in context.hidden_layers]
    if context.settings.teacher_outputs == "online":
        return Teacher(teacher.predictor, layers=layers, compared_layers=compared)
    precision = context.device.precision
    recipe = {
        "teacher": teacher.training_info["weights_hash"],
        "columns": context.task.model_columns,
        "arithmetic": precision,
        "precision": context.settings.teacher_outputs_precision,
        "training_format": TRAINING_FORMAT,
        "versions": library_versions(),
        **({"layers": compared} if compared else {}),
    }
    path = context.cache_folder / f"outputs-{cache.fingerprint(recipe)}"
    context.entries_in_use.enter_context(cache.in_use(path))
    with explained("teacher", context.settings, precision):
        outputs, seconds = timed(
            lambda: teacher_outputs.get_or_compute(
                path,
                recipe,
                context.distillation_rows,
                lambda rows: teacher.predictor.outputs(rows, precision, compared),  # type: ignore[union-attr]
            )
        )
    teacher.seconds["teacher_outputs"] = seconds
    teacher.training_info["outputs_path"] = str(path.resolve())
    return Teacher(teacher.predictor, outputs, layers=layers, compared_layers=compared)


def load_teacher_now(teacher: TrainedModel, context: RunContext) -> Predictor:
    """The teacher of this run once more, from where it is kept; neither trained nor waited for.

    :raises cache.NotAvailable: when there is no model of it, or it cannot be loaded at once.
    """
    reason = why_no_network(context.teacher)
    if reason is not None:
        raise cache.NotAvailable(reason)
    if isinstance(context.teacher, SavedPredictor):
        return _load_saved(context.teacher, context)
    path = Path(teacher.training_info["path"])
    return cache.load_now(path, lambda folder, manifest: load_entry(folder, manifest, context)[0])


def save_predictions(teacher: TrainedModel, targets: Teacher | OutputsTeacher, context: RunContext) -> None:
    """Leave the file that ``--save_teacher_predictions`` asks for."""
    assert context.settings.save_teacher_predictions is not None
    path, splits, task = Path(context.settings.save_teacher_predictions), context.splits, context.task
    learnt = (
        targets.given_outputs(context.distillation_rows) if teacher.outputs is None else teacher.outputs.distillation
    )
    count = len(splits.student.train)
    parts = [(TRAIN, splits.student.train, learnt[:count])]
    if splits.unlabelled is not None:
        parts.append((UNLABELLED, splits.unlabelled, learnt[count:]))
    scored = {name: as_outputs(each) for name, each in teacher.predictions.items()}
    if teacher.outputs is not None:
        scored = dict(teacher.outputs.eval_sets)
    parts += [
        (HOLD_OUT if name == VALIDATION else name, context.eval_sets[name], each) for name, each in scored.items()
    ]
    written = saving.save_predictions(path, task, parts)
    log.info("wrote the teacher's predictions for %s rows: %s", f"{written:,}", path)


def _finished(source: SavedPredictor, context: RunContext) -> TrainedModel:
    predictor, seconds = timed(lambda: _load_saved(source, context))
    log.info("loaded the teacher: %s", source.path)
    training_info = {"path": str(source.path), "weights_hash": source.fingerprint}
    device = context.device
    model = {"saved": source.fingerprint, "device": device.accelerator, "precision": device.prediction_precision}
    return score_kept("teacher", predictor, model, training_info, context, seconds)


def _computed(source: Classifier, context: RunContext) -> TrainedModel:
    """All rows at once, so that their batches hold rows of about the same length."""
    columns = list(context.task.model_columns)
    sets = [context.distillation_rows, *(frame[columns] for frame in context.eval_sets.values())]
    start = time.monotonic()
    with explained("teacher", context.settings, context.device.precision):
        logits, folder = classifier.logits_of(
            source,
            pd.concat(sets, ignore_index=True),
            context.task,
            context.device,
            context.settings.per_gpu_batch_size,
            context.cache_folder,
        )
    context.entries_in_use.enter_context(cache.in_use(folder))
    learnt, *scored = np.split(logits, np.cumsum([len(frame) for frame in sets])[:-1])
    outputs = GivenOutputs(learnt, dict(zip(context.eval_sets, scored, strict=True)))
    info = {"path": str(source.path), "weights_hash": source.fingerprint, "outputs_path": str(folder.resolve())}
    return _given(outputs, info, {"teacher_outputs": time.monotonic() - start}, context)


def _given(outputs: GivenOutputs, info: dict[str, str], seconds: dict[str, float], context: RunContext) -> TrainedModel:
    predictions = {name: automm.as_predictions(each, context.task) for name, each in outputs.whole_sets.items()}
    return TrainedModel(None, info, predictions, seconds, outputs)


def _load_saved(source: SavedPredictor, context: RunContext) -> Predictor:
    return automm.load_finished(
        source.path,
        context.task,
        context.device,
        columns=source.columns,
        classes=source.classes,
        verbosity=context.settings.verbosity,
        token_cache=context.cache_folder,
    )
