"""Results of made-up runs, left as the scripts leave theirs."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from automm_distill.evaluation.scores import bootstrap_all, pooled, ratios, score_all
from automm_distill.results import PREDICTIONS, append_row, write_predictions
from automm_distill.tasks import GLUE_TASKS, pawsx_task

SKILLS = {"teacher": 0.9, "baseline": 0.75, "student": 0.8}


def leave_run(
    folder, settings, name, *, skills=None, languages=None, rows=400, validation_score=0.5, exactly=False, **parts
):
    """A row in ``folder``, and the predictions of models that are right as often as ``skills`` (None: no model) say.

    Test rows do not depend on the seed; which of them a model gets right does, unless it is ``exactly`` that share, the
    first ones. ``parts`` replace those of the row.
    """
    task = pawsx_task(languages[0]) if languages else GLUE_TASKS["rte"]
    frame = pd.DataFrame(
        {"id": [str(number) for number in range(rows)], "label": np.random.default_rng(1).integers(0, 2, rows)}
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
    labels = pooled({language: frame["label"].to_numpy() for language in tests})
    ids = pooled({language: frame["id"].to_numpy() for language in tests})
    outputs = {role: pooled(sets) for role, sets in outputs.items()}
    scores = score_all(task, labels, outputs)
    row = {
        "run": name,
        "finished": f"2026-11-22T00:00:{settings.seed:02d}+00:00",
        "task": task.name,
        "problem_type": task.problem_type,
        "demonstration": False,
        "settings": asdict(settings),
        "scores": scores,
        "validation": {"accuracy": dict.fromkeys(outputs, validation_score)},
        "distillation_ratio": ratios(scores),
        "uncertainty": bootstrap_all(task, labels, outputs, ids),
        "speed_up": {"forward": {"ratio": 2.0}},
        "rows": {
            "student": {"train": 100, "validation": 20},
            "test": {name: len(truth) for name, truth in labels.items()},
        },
        "training": {"student": {"seconds": 1.0}},
        "size": {role: {"parameters": 4_000_000 if role == "teacher" else 1_000_000} for role in outputs},
        "device": {"name": "CPU", "precision": "32"},
        "versions": {"torch": "2.12.1"},
        "paths": {"predictions": str(folder / name / PREDICTIONS), "student": str(folder / name / "student")},
    } | parts
    append_row(folder, row)
    return row


def predicted(labels, skill, random):
    """Probabilities of a model that is right with probability ``skill``; without ``random`` on the first rows."""
    right = np.arange(len(labels)) < round(skill * len(labels))
    if random is not None:
        right = random.uniform(size=len(labels)) < skill
    return np.eye(2)[np.where(right, labels, 1 - labels)]
