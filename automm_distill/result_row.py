"""What a row of results.jsonl holds: everything that is known of one run."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automm_distill import __version__
from automm_distill.predictions import PREDICTIONS
from automm_distill.results import RESULTS, ROW_FORMAT
from automm_distill.run_context import RunContext
from automm_distill.teachers import kinds
from automm_distill.versions import TRAINING_FORMAT, library_versions

if TYPE_CHECKING:
    from automm_distill.training import TrainedModel

NOT_MEASURED = {"reason": "the run ended before it was measured"}


def planned_row(context: RunContext) -> dict[str, Any]:
    """What a row says of a run that has not begun: all that makes it the run that it is, but its device."""
    return {
        "format": ROW_FORMAT,
        "version": __version__,
        "training_format": TRAINING_FORMAT,
        "identity": context.identity,
        "task": context.task_name,
        "problem_type": context.task.problem_type,
        "classes": list(context.task.classes),
        "demonstration": context.settings.demo,
        "settings": asdict(context.settings),
        "rows": {"fingerprint": context.rows_fingerprint},
        "checkpoints": {"teacher": context.teacher.fingerprint, "student": context.student.fingerprint},
        "student_layers": list(context.student.layers),
        **kinds.about(context.teacher),
        "versions": {"python": platform.python_version(), **library_versions()},
    }


def make_row(
    context: RunContext, run_folder: Path, models: Mapping[str, "TrainedModel"], comparison: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of a run whose intervals (``bootstrap``) and speed-up are still to come.

    :param comparison: see :func:`automm_distill.evaluation.scores.compare`.
    """
    task, splits = context.task, context.splits
    seconds: dict[str, float] = {}
    for model in models.values():
        for phase, spent in model.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + spent
    training = {role: model.training_info for role, model in models.items()}
    cached = [info.get(key) for info in training.values() for key in ("outputs_path", "predictions_path")]
    cached += [info["path"] for info in training.values() if "from_cache" in info]
    if context.student.layers:
        cached.append(str(context.student.path))
    planned = planned_row(context)
    return planned | {
        "run": run_folder.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **comparison,
        "bootstrap": {},
        "speed_up": NOT_MEASURED,
        "rows": planned["rows"]
        | {
            "teacher": {"train": len(splits.teacher.train), "validation": len(splits.teacher.validation)},
            "student": {
                "train": len(splits.student.train),
                "validation": len(splits.student.validation),
                **({} if splits.unlabelled is None else {"unlabelled": len(splits.unlabelled)}),
            },
            "test": {name: sum(counts) for name, counts in _test_counts(context, comparison).items()},
        },
        **({} if splits.unlabelled is None else {"unlabelled_left_out": dict(splits.left_out)}),
        "cache_entries": [Path(path).name for path in cached if path],
        "seconds": seconds,
        "training": training,
        "size": {
            role: {"parameters": model.parameters, "bytes": model.bytes}
            for role, model in models.items()
            if model.bytes is not None
        },
        "text_columns": list(task.model_columns),
        "device": asdict(context.device)
        | {
            "prediction_precision": context.device.prediction_precision,
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "paths": {
            "student": str((run_folder / "student").resolve()),
            "predictions": str((run_folder / PREDICTIONS).resolve()),
            "results": str((context.output_folder / RESULTS).resolve()),
            "cache": str(context.cache_folder.resolve()),
        },
    }


def _test_counts(context: RunContext, comparison: Mapping[str, Any]) -> dict[str, list[int]]:
    """The rows of each test set that was scored; of their union, those of all."""
    sizes = {name: len(frame) for name, frame in context.splits.tests.items()}
    return {name: [sizes[name]] if name in sizes else list(sizes.values()) for name in comparison["scores"]}
