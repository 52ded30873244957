"""The value of each flag that is not given: of each script, of ``--demo``, and of what other flags imply."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from automm_distill.flag import Benchmark
from automm_distill.presets import PRESETS
from automm_distill.settings import Settings, flags_of
from automm_distill.tasks import DEMO_LANGUAGES, PAWSX_LANGUAGES
from automm_distill.teacher_choice import FLAGS, MODEL, is_finished, losses_off

SCRIPT_DEFAULTS: dict[Benchmark, dict[str, Any]] = {
    "glue": {
        "dataset_path": "data/glue",
        "teacher_model": "google/bert_uncased_L-12_H-768_A-12",
        "student_model": "google/bert_uncased_L-6_H-768_A-12",
        "student_learning_rate": 1e-4,
        "student_weight_decay": 1e-3,
    },
    "pawsx": {
        "dataset_path": "data/paws-x",
        "teacher_model": "microsoft/mdeberta-v3-base",
        "student_model": "nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large",
        "student_learning_rate": 2e-4,
        "student_weight_decay": 2e-3,
        "pawsx_teacher_tasks": PAWSX_LANGUAGES,
        "pawsx_student_tasks": PAWSX_LANGUAGES,
    },
    "own": {
        "dataset_path": "data/hub",
        "teacher_model": "google/bert_uncased_L-12_H-768_A-12",
        "student_model": "google/bert_uncased_L-6_H-768_A-12",
        "student_learning_rate": 1e-4,
        "student_weight_decay": 1e-3,
    },
}

# What --demo puts in place of the defaults: a checkpoint of its own, whose first layer is the student, a schedule for
# networks that start from noise, and single precision, in which networks of this size train faster on a CPU.
DEMO_DEFAULTS: dict[str, Any] = {
    "dataset_path": None,
    "precision": "32",
    "teacher_model": "demo-teacher",
    "student_model": None,
    "student_layers": "1",
    "teacher_learning_rate": 1e-3,
    "student_learning_rate": 1e-3,
    "batch_size": 32,
    "max_epochs": 5,
    "teacher_max_epochs": 16,
    "output_folder": "results/demo",
}


def defaults(benchmark: Benchmark, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """``{field: value}`` of a script that is called with the flags ``given``, some of which change others' defaults.

    Flags that were given have theirs too, which :func:`with_defaults` replaces by what was given.
    """
    shared = {item.name: item.default for item in fields(Settings) if item.name in flags_of(benchmark)}
    values = shared | SCRIPT_DEFAULTS[benchmark]
    if given.get("demo"):
        values |= DEMO_DEFAULTS
        if is_finished(given):  # the student is made of the first layer of the demo's own checkpoint
            values["student_model"] = values[MODEL]
        if "student_model" in given:
            values["student_layers"] = None
        if benchmark == "pawsx":
            values |= {"pawsx_teacher_tasks": DEMO_LANGUAGES, "pawsx_student_tasks": DEMO_LANGUAGES}
    values |= PRESETS.get(given.get("preset", "published"), {})
    if given.get("student_layers") is not None:
        values["student_model"] = None
    if is_finished(given):
        values[MODEL] = None
    return values | dict.fromkeys(losses_off(values, given), 0.0)


def losses_left_out(benchmark: Benchmark, given: Mapping[str, Any]) -> dict[str, float]:
    """``{flag: weight}`` of the losses that would be on, had the teacher more than outputs; see ``losses_off``."""
    return losses_off(defaults(benchmark, {name: given[name] for name in given if name not in FLAGS}), given)


def with_defaults(benchmark: Benchmark, given: Mapping[str, Any]) -> Settings:
    """The settings of a script that is called with the flags ``given``: what was given wins over every default.

    :raises UserError: see :class:`Settings`.
    """
    return Settings(benchmark=benchmark, **{**defaults(benchmark, given), **given})
