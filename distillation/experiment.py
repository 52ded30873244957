"""One run, top to bottom: teacher, baseline, student, predictions, scores, speed-up, result row, table."""

import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from . import automm, comparison, results, screen, timing
from .automm import Predictor
from .devices import prepare_arithmetic
from .preparation import Prepared
from .report.run import show
from .training import consulted, distilled, finetuned

VALIDATION = "validation"

log = logging.getLogger(__name__)


def run(prepared: Prepared) -> dict[str, Any]:
    """Train (or load) the three models, compare them, and leave the result on disk and on screen.

    :return: the row that was appended to ``results.jsonl``.
    :raises TrainingFailed: when a fit ended without a usable model.
    """
    settings, task, splits = prepared.settings, prepared.task, prepared.splits
    screen.quieten_libraries(settings.verbosity)
    prepare_arithmetic(on_gpu=prepared.device.num_gpus > 0)
    output = Path(settings.output_folder)
    run_folder = output / f"{datetime.now():%Y%m%d-%H%M%S}-{task.name}-{os.urandom(3).hex()}"
    test_rows = pd.concat(splits.tests.values(), ignore_index=True)
    # The hold-out's scores are what settings may be chosen by; they are no part of the comparison.
    judged = {**splits.tests, VALIDATION: splits.student.tune}
    clock = _Clock()
    outputs: dict[str, dict[str, np.ndarray]] = {}
    training: dict[str, dict[str, Any]] = {}
    size: dict[str, dict[str, int]] = {}

    def measure(role: str, model: Predictor) -> None:
        with clock("prediction"):
            outputs[role] = comparison.predict(model, judged)
        size[role] = {"parameters": model.parameters, "bytes": model.bytes}

    with clock("teacher"):
        teacher, training["teacher"] = finetuned("teacher", prepared.teacher, splits.teacher, prepared)
    log.info("scoring the teacher on %s test rows", f"{len(test_rows):,}")
    measure("teacher", teacher)
    comparison.report_teacher(
        task.metrics[0],
        test_rows["label"].to_numpy(),
        np.concatenate([outputs["teacher"][name] for name in splits.tests]),
    )
    if settings.train_nodistill:
        with clock("baseline"):
            baseline, training["baseline"] = finetuned("baseline", prepared.student, splits.student, prepared)
        measure("baseline", baseline)
        del baseline
    with clock("teacher_outputs"):
        lessons = consulted(teacher, training["teacher"]["content"], prepared)
    del teacher  # its weights take no memory while the student learns
    with clock("student"):
        student, training["student"] = distilled(lessons, run_folder, prepared)
    measure("student", student)
    validation = comparison.score_all(
        task,
        {VALIDATION: splits.student.tune["label"].to_numpy()},
        {role: {VALIDATION: sets.pop(VALIDATION)} for role, sets in outputs.items()},
    )[VALIDATION]
    results.write_predictions(run_folder / results.PREDICTIONS, splits.tests, outputs)
    with clock("speed_up"):
        log.info("timing teacher against student")
        synchronize = torch.cuda.synchronize if prepared.device.num_gpus else lambda: None
        # Under the cache's lock, since other runs may replace it; the row must not be lost on it.
        teacher, _ = finetuned("teacher", prepared.teacher, splits.teacher, prepared)
        speed_up = timing.compare(teacher, student, test_rows, settings.per_gpu_batch_size, synchronize)

    labels = {name: frame["label"].to_numpy() for name, frame in splits.tests.items()}
    ids = {name: frame["id"].to_numpy() for name, frame in splits.tests.items()}
    if settings.benchmark == "pawsx":
        labels, ids = comparison.pooled(labels), comparison.pooled(ids)
        outputs = {role: comparison.pooled(sets) for role, sets in outputs.items()}
    scores = comparison.score_all(task, labels, outputs)
    row = {
        "run": run_folder.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": _task_name(prepared),
        "problem_type": task.problem_type,
        "demonstration": settings.demo,
        "settings": asdict(settings),
        "scores": scores,
        "validation": validation,
        "distillation_ratio": comparison.ratios(scores),
        "uncertainty": comparison.judge_all(task, labels, outputs, ids),
        "speed_up": {kind: asdict(measured) for kind, measured in speed_up.items()},
        "rows": {
            "teacher": {"train": len(splits.teacher.train), "tune": len(splits.teacher.tune)},
            "student": {"train": len(splits.student.train), "tune": len(splits.student.tune)},
            "test": {name: len(truth) for name, truth in labels.items()},
        },
        "seconds": clock.seconds,
        "training": training,
        "size": size,
        "text_columns": list(task.model_columns),
        "device": asdict(prepared.device) | {"machine": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **automm.versions()},
        "paths": {
            "student": str((run_folder / "student").resolve()),
            "predictions": str((run_folder / results.PREDICTIONS).resolve()),
            "results": str((output / results.RESULTS).resolve()),
            "cache": str(Path(settings.finetuned_model_cache_folder).resolve()),
        },
    }
    results.append_row(output, row)
    show(row, screen.result_console())
    return row


def _task_name(prepared: Prepared) -> str:
    settings = prepared.settings
    if settings.benchmark != "pawsx":
        return prepared.task.name
    return f"pawsx {'+'.join(settings.pawsx_teacher_tasks)} -> {'+'.join(settings.pawsx_student_tasks)}"


class _Clock:
    """Seconds spent per phase of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start
