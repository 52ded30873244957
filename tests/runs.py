"""Results of made-up runs, left as the scripts leave theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.devices import Device
from automm_distill.evaluation.scores import VALIDATION, compare, intervals
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.rows.splits import Splits, TrainValidation
from automm_distill.predictions import PREDICTIONS, write_predictions
from automm_distill.result_row import make_row
from automm_distill.results import append_row
from automm_distill.run_context import RunContext
from automm_distill.settings import Settings
from automm_distill.tasks import GLUE_TASKS, pawsx_task

SKILLS = {"teacher": 0.9, "baseline": 0.75, "student": 0.8}
SPEED_UP = {"forward": {"ratio": 2.0}}


@dataclass
class FittedModel:
    """What a row says of a trained model."""

    parameters: int
    bytes: int
    training_info: Mapping[str, Any] = field(default_factory=lambda: {"seconds": 1.0})
    seconds: Mapping[str, float] = field(default_factory=dict)


def leave_run(
    folder: Path,
    settings: Settings,
    name: str,
    *,
    skills: Mapping[str, float | None] | None = None,
    languages: Sequence[str] | None = None,
    test_rows: int = 400,
    validation_score: float | None = 0.5,
    exactly: bool = False,
    **parts: Any,
) -> dict[str, Any]:
    """A row in ``folder``, and the predictions of models that are right as often as ``skills`` (None: no model) say.

    Test rows do not depend on the seed; which of them a model gets right does, unless it is ``exactly`` that share, the
    first ones. ``parts`` replace those of the row.
    """
    task = pawsx_task(languages[0]) if languages else GLUE_TASKS["rte"]
    frame = pd.DataFrame(
        {
            "id": [str(number) for number in range(test_rows)],
            "label": np.random.default_rng(1).integers(0, 2, test_rows),
        }
    )
    tests = dict.fromkeys(languages or ["test"], frame)
    random = np.random.default_rng([settings.seed, *name.encode()])
    outputs = {
        role: {language: predicted(frame["label"].to_numpy(), skill, None if exactly else random) for language in tests}
        for role, skill in (SKILLS | (skills or {})).items()
        if skill is not None
    }
    (folder / name).mkdir(parents=True)
    write_predictions(folder / name / PREDICTIONS, tests, outputs)
    fold = TrainValidation(frame.iloc[20:], frame.iloc[:20])
    context = RunContext(
        settings,
        task,
        Splits(task, fold, fold, tests, fingerprint=f"{len(frame)} rows"),
        *(Checkpoint(Path(str(model)), f"of {model}", 1) for model in (settings.teacher_model, settings.student_model)),
        Device(0, "32", "CPU", 1),
        started=0.0,
    )
    validation = fold.validation["label"].to_numpy()
    outputs = {role: sets | {VALIDATION: predicted(validation, 1.0, None)} for role, sets in outputs.items()}
    compared = (task, tests | {VALIDATION: fold.validation}, outputs)
    pool = len(tests) > 1
    models = {
        role: FittedModel(*((4_000_000, 16_000_000) if role == "teacher" else (1_000_000, 4_000_000)))
        for role in outputs
    }
    row = make_row(context, folder / name, models, compare(*compared, pool=pool)) | {
        "bootstrap": intervals(*compared, pool=pool),
        "finished": f"2026-11-22T00:00:{settings.seed:02d}+00:00",
        "validation": {"accuracy": dict.fromkeys(outputs, validation_score)},
        "speed_up": SPEED_UP,
    }
    row |= parts
    append_row(folder, row)
    return row


def predicted(labels: np.ndarray, skill: float, random: np.random.Generator | None) -> np.ndarray:
    """Probabilities of a model that is right with probability ``skill``; without ``random`` on the first rows.

    :return: shape (rows, 2).
    """
    right = np.arange(len(labels)) < round(skill * len(labels))
    if random is not None:
        right = random.uniform(size=len(labels)) < skill
    return np.eye(2)[np.where(right, labels, 1 - labels)]
