"""Every test row through an exported form, in a process that has nothing of AutoGluon, against the PyTorch model."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

import automm_distill
from automm_distill import progress
from automm_distill.errors import TrainingError
from automm_distill.evaluation import scores
from automm_distill.evaluation.metrics import of_task, predicted_labels
from automm_distill.export_table import judged_changes
from automm_distill.tasks import Task

OURS, EXPORTED = "baseline", "student"  # as ``evaluation`` names two models whose difference is wanted


@dataclass(frozen=True)
class Reference:
    """What the exported forms are held against.

    :param frames: rows with ``id``, ``label`` and the task's columns, by test set.
    :param logits: of the PyTorch model in single precision, for all of them one after the other, (rows, classes); of a
        regression its values, (rows, 1).
    :param pool: the test sets are one task in several languages: score their union too.
    """

    task: Task
    frames: Mapping[str, pd.DataFrame]
    logits: np.ndarray
    pool: bool


def check(form: str, folder: Path, reference: Reference) -> dict[str, Any]:
    """How a form does on every row.

    :return: ``rows``; ``agreement``, the share of rows with the same label, None for a regression;
        ``largest_difference`` of a logit; ``scores`` by test set and metric; ``gains`` over the PyTorch model by the
        task's first metric, by test set, each with its paired 95 % interval.
    :raises TrainingError: when the files do not work.
    """
    task = reference.task
    frame = pd.concat(reference.frames.values(), ignore_index=True)
    logits = logits_of(form, folder, frame[list(task.model_columns)])
    ours, theirs = (_outputs(values, task) for values in (reference.logits, logits))
    ends = np.cumsum([len(each) for each in reference.frames.values()])[:-1]
    predictions = {
        role: dict(zip(reference.frames, np.split(values, ends), strict=True))
        for role, values in ((OURS, ours), (EXPORTED, theirs))
    }
    intervals = scores.intervals(task, reference.frames, predictions, pool=reference.pool)
    return {
        "rows": len(frame),
        "agreement": None if task.is_regression else float(np.mean(predicted_labels(ours) == predicted_labels(theirs))),
        "largest_difference": float(np.abs(logits - reference.logits).max()),
        "scores": {
            test_set: {
                metric: estimate["scores"][EXPORTED] and estimate["scores"][EXPORTED]["value"]
                for metric, estimate in metrics.items()
            }
            for test_set, metrics in intervals.items()
        },
        "gains": {test_set: metrics[task.metrics[0]]["gain"] for test_set, metrics in intervals.items()},
    }


def is_recommended(found: Mapping[str, Any], task: Task, margin: float) -> bool:
    """Whether a form is on no test set worse by more than ``margin``, as far as there are scores.

    :param found: of :func:`check`.
    :param margin: points; percent of the PyTorch model's, if the task's first metric is an error.
    """
    return min(judged_changes(found, of_task(task)[0]).values(), default=0.0) >= -margin


def logits_of(form: str, folder: Path, texts: pd.DataFrame) -> np.ndarray:
    """The logits of all rows, (rows, classes), in a process of their own.

    :param texts: the texts of a row in one or two columns.
    :raises TrainingError: when the files do not work.
    """
    with tempfile.TemporaryDirectory() as temporary:
        rows, logits = Path(temporary) / "rows.parquet", Path(temporary) / "logits.npy"
        texts.to_parquet(rows, index=False)
        command = [sys.executable, "-m", "automm_distill.export.exported", *map(str, (rows, logits)), form, str(folder)]
        search_path = [str(Path(automm_distill.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(search_path)}
        with tempfile.TemporaryFile("w+") as said:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as process:
                assert process.stdout is not None
                done = (int(line) for line in process.stdout if line.strip().isdigit())
                for _ in progress.shown(f"checking {form}", len(texts), done):
                    pass
            if process.returncode:
                said.seek(0)
                reason = (said.read().strip().splitlines() or [f"status {process.returncode}"])[-1]
                raise TrainingError(f"export {form}: the exported files cannot be used: {reason}")
        values: np.ndarray = np.load(logits)
    return values


def _outputs(logits: np.ndarray, task: Task) -> np.ndarray:
    """As ``Predictor.predict`` gives them."""
    outputs: np.ndarray = logits[:, 0].astype(float) if task.is_regression else softmax(logits, axis=1)
    return outputs
