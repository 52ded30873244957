"""One run, top to bottom: teacher, baseline, student, predictions, scores, speed-up, result row, table."""

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from . import automm, evaluation, report, results, screen, store, timing
from .automm import Predictor
from .checkpoints import Checkpoint
from .data import Fold
from .devices import keep_freed_memory
from .preparation import Prepared

POOLED = "all"  # the union of the test sets of several languages

log = logging.getLogger(__name__)


def run(prepared: Prepared) -> dict[str, Any]:
    """Train (or load) the three models, compare them, and leave the result on disk and on screen.

    :return: the row that was appended to ``results.jsonl``.
    :raises TrainingFailed: when a fit ended without a usable model.
    """
    settings, splits = prepared.settings, prepared.splits
    screen.quieten_libraries(settings.verbosity)
    if not prepared.device.num_gpus:
        keep_freed_memory()
    clock = _Clock()
    training: dict[str, dict[str, Any]] = {}
    run_folder = Path(settings.output_folder) / _run_name(prepared)

    with clock("teacher"):
        teacher, training["teacher"] = _finetuned("teacher", prepared.teacher, splits.teacher, prepared)
    with clock("prediction"):
        log.info("scoring the teacher on %s test rows", f"{sum(map(len, splits.tests.values())):,}")
        outputs = {"teacher": _predict(teacher, splits.tests)}
    _warn_about_a_useless_teacher(prepared, outputs["teacher"])
    baseline = None
    if settings.train_nodistill:
        with clock("baseline"):
            baseline, training["baseline"] = _finetuned("baseline", prepared.student, splits.student, prepared)
        with clock("prediction"):
            outputs["baseline"] = _predict(baseline, splits.tests)
    with clock("student"):
        student, training["student"] = _distilled(teacher, run_folder, prepared)
    with clock("prediction"):
        outputs["student"] = _predict(student, splits.tests)
    results.write_predictions(run_folder / results.PREDICTIONS, splits.tests, outputs)
    with clock("speed_up"):
        log.info("timing teacher against student")
        for model in (teacher, student):
            model.hide_progress()
        speed_up = timing.compare(
            teacher,
            student,
            pd.concat(splits.tests.values(), ignore_index=True),
            settings.per_gpu_batch_size,
            torch.cuda.synchronize if prepared.device.num_gpus else lambda: None,
        )

    scores = _scores(prepared, outputs)
    row = {
        "run": run_folder.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": _task_name(prepared),
        "demonstration": settings.demo,
        "settings": asdict(settings),
        "scores": scores,
        "distillation_ratio": _ratios(scores),
        "speed_up": {kind: measured.as_row() for kind, measured in speed_up.items()},
        "rows": _row_counts(prepared),
        "seconds": clock.seconds,
        "training": training,
        "parameters": {role: model.parameters for role, model in (("teacher", teacher), ("student", student))},
        "text_columns": list(prepared.task.model_columns),
        "device": asdict(prepared.device) | {"machine": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **automm.versions()},
        "paths": {
            "student": str((run_folder / "student").resolve()),
            "predictions": str((run_folder / results.PREDICTIONS).resolve()),
            "results": str((Path(settings.output_folder) / results.RESULTS).resolve()),
            "cache": str(Path(settings.finetuned_model_cache_folder).resolve()),
        },
    }
    results.append_row(Path(settings.output_folder), row)
    report.show(row, screen.result_console())
    return row


def _finetuned(role: str, checkpoint: Checkpoint, fold: Fold, prepared: Prepared) -> tuple[Predictor, dict[str, Any]]:
    """The teacher or the baseline: from the cache with ``--resume``, else trained and put there."""
    settings, task = prepared.settings, prepared.task
    parameters = automm.hyperparameters(settings, prepared.device, str(checkpoint.path), role=role)
    recipe = {
        "role": role,
        "problem_type": task.problem_type,
        "classes": task.classes,
        "selection_metric": task.selection_metric,
        "columns": task.model_columns,
        "rows": fold.fingerprint,
        "checkpoint": checkpoint.fingerprint,
        # The checkpoint's place on this machine does not shape the model; its content does.
        "hyperparameters": {name: value for name, value in parameters.items() if "checkpoint_name" not in name},
        "seed": settings.seed,
        "time_limit": settings.time_limit,
        "versions": automm.versions(),
    }
    place = Path(settings.finetuned_model_cache_folder) / f"{role}-{task.name}-{store.fingerprint(recipe)}"

    def build(folder: Path) -> Mapping[str, Any]:
        name = settings.teacher_model if role == "teacher" else settings.student_model
        log.info("training the %s: %s, %s rows", role, name, f"{len(fold.train):,}")
        return _timed(lambda: _fit(folder, fold, parameters, prepared))

    def load(folder: Path, facts: Mapping[str, Any]) -> tuple[Predictor, dict[str, Any]]:
        return automm.load(folder, task, verbosity=settings.verbosity), dict(facts)

    (predictor, facts), found = store.obtain(
        place, recipe, since=0 if settings.resume else prepared.started, build=build, load=load
    )
    if found:
        log.info("loaded the %s: %s", role, place)
    return predictor, facts | {"from_cache": found, "path": str(place.resolve())}


def _distilled(teacher: Predictor, run_folder: Path, prepared: Prepared) -> tuple[Predictor, dict[str, Any]]:
    """The student, trained anew in every run and left in ``run_folder``."""
    settings, fold = prepared.settings, prepared.splits.student
    parameters = automm.hyperparameters(settings, prepared.device, str(prepared.student.path), role="student")
    parameters |= automm.distiller_hyperparameters(settings)
    log.info("distilling the student: %s, %s rows", settings.student_model, f"{len(fold.train):,}")
    with store.locked(run_folder, disposable=True), store.staged(run_folder) as partial:
        facts = _timed(lambda: _fit(partial / "student", fold, parameters, prepared, teacher))
    student = automm.load(run_folder / "student", prepared.task, verbosity=settings.verbosity)
    return student, facts | {"path": str((run_folder / "student").resolve())}


def _fit(
    folder: Path, fold: Fold, parameters: Mapping[str, Any], prepared: Prepared, teacher: Predictor | None = None
) -> dict[str, Any]:
    settings = prepared.settings
    return automm.fit(
        folder,
        fold,
        prepared.task,
        parameters,
        seed=settings.seed,
        time_limit=settings.time_limit,
        teacher=teacher,
        verbosity=settings.verbosity,
    )


def _predict(model: Predictor, tests: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Outputs per test set, each row read once."""
    together = model.predict(pd.concat(tests.values(), ignore_index=True))
    ends = np.cumsum([len(frame) for frame in tests.values()])
    return dict(zip(tests, np.split(together, ends[:-1]), strict=True))


def _scores(
    prepared: Prepared, outputs: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """``{test set: {metric: {role: score}}}``; several languages come with their union as ``all``."""
    truths = {name: frame["label"].to_numpy() for name, frame in prepared.splits.tests.items()}
    if prepared.settings.benchmark == "pawsx" and len(truths) > 1:
        outputs = {role: {POOLED: np.concatenate(list(sets.values())), **sets} for role, sets in outputs.items()}
        truths = {POOLED: np.concatenate(list(truths.values())), **truths}
    return {
        name: evaluation.scores_by_role(
            prepared.task.metrics, truth, {role: sets[name] for role, sets in outputs.items()}
        )
        for name, truth in truths.items()
    }


def _ratios(scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        test_set: {
            metric: asdict(
                evaluation.distillation_ratio(by_role["teacher"], by_role.get("baseline"), by_role["student"])
            )
            for metric, by_role in metrics.items()
        }
        for test_set, metrics in scores.items()
    }


def _warn_about_a_useless_teacher(prepared: Prepared, outputs: Mapping[str, np.ndarray]) -> None:
    """Say loudly that a teacher has learnt nothing, before the student's time is spent on it."""
    metric = prepared.task.metrics[0]
    truth = np.concatenate([frame["label"].to_numpy() for frame in prepared.splits.tests.values()])
    predicted = evaluation.predicted_labels(np.concatenate(list(outputs.values())))
    reached = evaluation.score(metric, truth, predicted)
    guess = evaluation.majority_score(metric, prepared.splits.teacher.train["label"].to_numpy(), truth)
    log.info("the teacher's %s is %s", metric, report.number(reached, ".5f"))
    if reached is None or reached <= guess:
        log.warning(
            "THE TEACHER HAS LEARNT NOTHING: its %s of %s is no better than the %.5f of always giving the same answer; "
            "what it teaches is noise. More epochs, more rows or another learning rate?",
            metric,
            report.number(reached, ".5f"),
            guess,
        )


def _row_counts(prepared: Prepared) -> dict[str, Any]:
    splits = prepared.splits
    tests = {name: len(frame) for name, frame in splits.tests.items()}
    if prepared.settings.benchmark == "pawsx" and len(tests) > 1:
        tests = {POOLED: sum(tests.values()), **tests}
    return {
        "teacher": {"train": len(splits.teacher.train), "tune": len(splits.teacher.tune)},
        "student": {"train": len(splits.student.train), "tune": len(splits.student.tune)},
        "test": tests,
    }


def _task_name(prepared: Prepared) -> str:
    settings = prepared.settings
    if settings.benchmark != "pawsx":
        return prepared.task.name
    return f"pawsx {'+'.join(settings.pawsx_teacher_tasks)} -> {'+'.join(settings.pawsx_student_tasks)}"


def _run_name(prepared: Prepared) -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}-{prepared.task.name}-{os.urandom(3).hex()}"


def _timed(build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    start = time.monotonic()
    facts = build()
    return facts | {"seconds": time.monotonic() - start}


class _Clock:
    """Seconds spent per phase of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start
