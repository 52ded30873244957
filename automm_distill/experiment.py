"""One run, top to bottom."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from automm_distill import cache, duration, logs, results, run_summary, speed, teacher_diagnosis
from automm_distill.devices import prepare_arithmetic
from automm_distill.errors import TrainingError, UserError, machine_limit
from automm_distill.evaluation import floor, scores
from automm_distill.export.exporting import export
from automm_distill.export.source import Source
from automm_distill.predictions import PREDICTIONS, write_predictions
from automm_distill.result_row import make_row
from automm_distill.run_context import RunContext
from automm_distill.teachers.kinds import why_no_network
from automm_distill.teaching import load_teacher_now, obtain_teacher, save_predictions, teacher_targets
from automm_distill.training import TrainedModel, distill, finetune_or_load

log = logging.getLogger(__name__)


def run(context: RunContext) -> dict[str, Any]:
    """Train (or load) the three models, compare them, and leave the result on disk and on screen.

    :return: the row that was written to ``results.jsonl``.
    :raises TrainingError: when a fit ended without a usable model.
    """
    settings = context.settings
    logs.quieten_libraries(settings.verbosity)
    prepare_arithmetic(on_gpu=context.device.num_gpus > 0)
    if settings.compile and not context.device.num_gpus:
        log.warning("--compile: left out on a CPU, where compiled networks train slower")
    run_folder, started = context.output_folder / _run_name(context), time.monotonic()
    duration.tell(context)
    with context.entries_in_use:
        models = {"teacher": obtain_teacher(context)}
        scores.warn_if_no_better_than_constant(
            context.task,
            context.splits.tests,
            models["teacher"].predictions,
            trained="teacher" in context.trained_roles,
        )
        if settings.train_nodistill:
            models["baseline"] = finetune_or_load("baseline", context)
            models["baseline"].release()
        targets = teacher_targets(models["teacher"], context)
        if settings.save_teacher_predictions is not None:
            save_predictions(models["teacher"], targets, context)
        diagnosis = teacher_diagnosis.diagnose(targets, models["teacher"].predictions.get(scores.VALIDATION), context)
        models["teacher"].release()
        models["student"] = distill(targets, run_folder, context)
        del targets
        predictions = {role: model.predictions for role, model in models.items()}
        compared = (context.task, context.eval_sets, predictions)
        row = make_row(context, run_folder, models, scores.compare(*compared, pool=context.pools_test_sets))
        row["teacher_diagnosis"] = diagnosis
        results.append_row(context.output_folder, row)  # nothing after this line can lose the result
        write_predictions(run_folder / PREDICTIONS, context.splits.tests, predictions, context.task.classes)
        row["bootstrap"] = scores.intervals(*compared, pool=context.pools_test_sets)
        try:
            budget = speed.budget_seconds(time.monotonic() - started)
            row["floor"], row["seconds"]["floor"] = _or_reason(lambda: _floor(context))
            row["speed_up"], row["seconds"]["speed_up"] = _or_reason(
                lambda: _speed_up(models["teacher"], models["student"], context, budget)
            )
            if settings.export:
                row["export"], row["seconds"]["export"] = _or_reason(
                    lambda: _export(models, run_folder, row, context, budget)
                )
        finally:  # also when interrupted: what is known is shown
            results.complete_row(context.output_folder, row)
            run_summary.write_summary(row, run_folder)
            everything = settings.verbosity == "verbose"
            run_summary.print_summary(row, run_folder, logs.result_console(), everything=everything)
    return row


def _floor(context: RunContext) -> dict[str, Any]:
    log.info("scoring a floor: TF-IDF and a linear model")
    rows = context.splits
    return dict(floor.floor_scores(context.task, rows.student.train, rows.tests, pool=context.pools_test_sets))


def _or_reason(work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """What comes of ``work``, ``{"reason": why}`` if nothing does, and the seconds it took.

    A result is worth more than its speed-up and its exports: no limit of the machine ends the run here.
    """
    start = time.monotonic()
    try:
        found = work()
    except (UserError, TrainingError) as error:
        log.warning("%s", error)
        found = {"reason": str(error)}
    except Exception as error:
        limit = machine_limit(error)
        if limit is None:
            raise
        found = {"reason": limit}
    return found, time.monotonic() - start


def _export(
    models: Mapping[str, TrainedModel], run_folder: Path, row: Mapping[str, Any], context: RunContext, budget: float
) -> dict[str, Any]:
    """What came of ``--export``.

    :raises UserError: when no form of those asked for can be made.
    :raises TrainingError: when files that were written do not work.
    """
    settings = context.settings
    student = models["student"].predictor
    assert student is not None
    predictors = {"student": student}
    if not settings.no_timing:
        with contextlib.suppress(cache.NotAvailable):
            predictors = {"teacher": load_teacher_now(models["teacher"], context), **predictors}
    return export(
        Source("student", predictors, context.task, context.splits, context.pools_test_sets),
        settings.export,
        run_folder,
        row,
        margin=settings.export_margin,
        most_frequent=settings.trim_vocabulary,
        batch_size=settings.per_gpu_batch_size,
        budget=None if settings.no_timing else budget,
    )


def _run_name(context: RunContext) -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{context.task.name}-{os.urandom(3).hex()}"


def _speed_up(teacher: TrainedModel, student: TrainedModel, context: RunContext, budget: float) -> dict[str, Any]:
    """``{kind: measurement}``, or ``{"reason": why there is none}``.

    :param budget: seconds that it may take, about.
    """
    if context.settings.no_timing:
        return {"reason": "--no_timing was given"}
    if (reason := why_no_network(context.teacher)) is not None:
        return {"reason": reason}
    assert student.predictor is not None
    log.info("timing teacher against student")
    start = time.monotonic()
    try:
        loaded = load_teacher_now(teacher, context)
    except cache.NotAvailable as error:
        return {"reason": f"the teacher could not be loaded ({error})"}
    return dict(
        speed.compare(
            loaded,
            student.predictor,
            pd.concat(context.splits.tests.values(), ignore_index=True),
            context.settings.per_gpu_batch_size,
            torch.cuda.synchronize if context.device.num_gpus else lambda: None,
            budget - (time.monotonic() - start),
        )
    )
