"""What makes two cache entries different, and what does not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from automm_distill import automm, cache, training
from automm_distill.devices import Device
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.tasks import GLUE_TASKS

from .conftest import make_settings

FRAME = pd.DataFrame({"id": ["1", "2"], "sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]})
SAME: dict[str, Any] = {
    "role": "teacher",
    "task": GLUE_TASKS["rte"],
    "data": TrainValidation(FRAME, FRAME),
    "checkpoint": Checkpoint(Path("/here"), "abc", 1),
    "device": Device(0, "32", "CPU", 2),
    "settings": make_settings(),
}


def key(**changes: Any) -> str:
    """The fingerprint of a teacher's cache entry, made with ``changes``."""
    given = SAME | changes
    settings, device = given.pop("settings"), given.pop("device")
    options = automm.fit_options(settings, device, str(given["checkpoint"].path), given["role"])
    return cache.fingerprint(training.cache_recipe(options=options, **given))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "baseline"},
        {"task": GLUE_TASKS["stsb"]},
        {"data": TrainValidation(FRAME.assign(label=[1, 0]), FRAME)},
        {"data": TrainValidation(FRAME, FRAME.assign(sentence1=["a", "x"]))},
        {"checkpoint": Checkpoint(Path("/here"), "abd", 1)},
        {"device": Device(1, "32", "GPU", 2)},
        {"device": Device(0, "bf16", "CPU", 2)},
        *(
            {"settings": make_settings(**{setting: value})}
            for setting, value in {
                "seed": 1,
                "teacher_max_epochs": 3,
                "teacher_learning_rate": 1e-3,
                "teacher_weight_decay": 0.0,
                "batch_size": 64,
                "per_gpu_batch_size": 16,
                "length_grouping": False,
                "validations_per_epoch": 1,
                "aug_scale": 0.1,
                "time_limit": 60,
            }.items()
        ),
    ],
)
def test_anything_that_shapes_the_model_makes_another_entry(change: dict[str, Any]) -> None:
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": Checkpoint(Path("/elsewhere"), "abc", 1)},
        {"settings": make_settings(temperature=1.0, output_feature_loss_weight=0.5, max_epochs=3)},
        {"settings": make_settings(student_learning_rate=1.0, output_folder="other", resume=True, verbosity="quiet")},
        {"settings": make_settings(num_workers=4)},
        {"data": TrainValidation(FRAME.assign(id=["8", "9"]), FRAME)},
        {"task": replace(GLUE_TASKS["rte"], name="other")},
    ],
)
def test_what_does_not_shape_the_teacher_finds_the_same_entry(change: dict[str, Any]) -> None:
    assert key(**change) == key()


@pytest.mark.parametrize(
    ("name", "value"), [("TRAINING_FORMAT", 10**6), ("library_versions", lambda: {"torch": "another"})]
)
def test_another_version_of_ours_or_of_a_library_makes_another_entry(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int | Callable[[], dict[str, str]]
) -> None:
    before = key()
    monkeypatch.setattr(training, name, value)
    assert key() != before
