"""What makes two cache entries different, and what does not."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from automm_distill import automm, cache
from automm_distill.devices import Device
from automm_distill.inputs.checkpoints import Checkpoint
from automm_distill.inputs.splits import TrainValidation
from automm_distill.tasks import GLUE_TASKS
from automm_distill.training import cache_recipe

from .conftest import make_settings

FRAME = pd.DataFrame({"id": ["1", "2"], "sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]})
SAME = {
    "role": "teacher",
    "task": GLUE_TASKS["rte"],
    "fold": TrainValidation(FRAME, FRAME),
    "checkpoint": Checkpoint(Path("/here"), "abc", 1),
    "device": Device(0, "32", "CPU", 2),
    "settings": make_settings(),
    "versions": {"torch": "2.12.1"},
}


def name(**changes):
    made = SAME | changes
    device = made.pop("device")
    parameters = automm.hyperparameters(made["settings"], device, str(made["checkpoint"].path), role=made["role"])
    return cache.fingerprint(cache_recipe(parameters=parameters, **made))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "baseline"},
        {"task": GLUE_TASKS["stsb"]},
        {"fold": TrainValidation(FRAME.assign(label=[1, 0]), FRAME)},
        {"fold": TrainValidation(FRAME, FRAME.assign(sentence1=["a", "x"]))},
        {"checkpoint": Checkpoint(Path("/here"), "abd", 1)},
        {"device": Device(1, "32", "GPU", 2)},
        {"device": Device(0, "bf16-mixed", "CPU", 2)},
        {"versions": {"torch": "2.13.0"}},
        *(
            {"settings": make_settings(**{setting: value})}
            for setting, value in {
                "seed": 1,
                "teacher_max_epochs": 3,
                "teacher_learning_rate": 1e-3,
                "teacher_weight_decay": 0.0,
                "batch_size": 64,
                "per_gpu_batch_size": 16,
                "num_workers": 2,
                "length_grouping": False,
                "compile": True,
                "aug_scale": 0.1,
                "time_limit": 60,
            }.items()
        ),
    ],
)
def test_anything_that_shapes_the_model_makes_another_entry(change):
    assert name(**change) != name()


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": Checkpoint(Path("/elsewhere"), "abc", 1)},
        {"settings": make_settings(temperature=1.0, output_feature_loss_weight=0.5, max_epochs=3)},
        {"settings": make_settings(student_learning_rate=1.0, output_folder="other", resume=True)},
        {"fold": TrainValidation(FRAME.assign(id=["8", "9"]), FRAME)},
        {"task": replace(GLUE_TASKS["rte"], name="other")},
    ],
)
def test_what_does_not_shape_the_teacher_finds_the_same_entry(change):
    assert name(**change) == name()
