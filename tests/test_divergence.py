"""A model of numbers that are not finite: whose it is, what was seen, and which of its own flags to change."""

import pytest
import torch

from automm_distill import automm
from automm_distill.cli import run_script
from automm_distill.divergence import explained, remedy, warn_if_diverged
from automm_distill.errors import TrainingError

from .conftest import make_settings
from .fits import FRAME, RTE, load, make_options, rows_of


@pytest.mark.parametrize(
    ("role", "settings", "precision", "expected"),
    [
        ("teacher", {"teacher_learning_rate": 0.5}, "32", "try a lower --teacher_learning_rate than 0.5"),
        ("baseline", {"student_learning_rate": 0.5}, "32", "try a lower --student_learning_rate than 0.5"),
        (
            "student",
            {"student_learning_rate": 0.5},
            "16",
            "try a lower --student_learning_rate than 0.5 or --precision bf16 or 32",
        ),
        (
            "student",
            {"student_learning_rate": 1},
            "bf16",
            "try a lower --student_learning_rate than 1 or --precision 32",
        ),
        ("teacher", {"output_feature_loss_weight": 1e300}, "32", "try a lower --teacher_learning_rate than 0.0001"),
        ("baseline", {"output_feature_loss_weight": 1e300}, "32", "try a lower --student_learning_rate than 0.0001"),
        ("student", {"rkd_angle_loss_weight": 1e9}, "32", "try a lower --rkd_angle_loss_weight than 1e+09"),
        ("student", {"temperature": 1e-30}, "32", "try a higher --temperature than 1e-30"),
        ("teacher", {"teacher_weight_decay": 1e9}, "32", "try a lower --teacher_weight_decay than 1e+09"),
    ],
)
def test_flags_to_change_are_those_of_the_model(role, settings, precision, expected):
    assert remedy(role, make_settings(**settings), precision) == expected


def test_other_errors_of_a_fit_are_left_as_they_are():
    with pytest.raises(TrainingError, match=r"^too short$"), explained("teacher", make_settings(), "32"):
        raise TrainingError("too short")


def test_model_from_before_the_divergence_is_said(checkpoints, tmp_path, caplog):
    """Of two passes each: the first step has a learning rate of zero, the second spoils the weights."""
    options = make_options(
        checkpoints, "teacher", teacher_learning_rate=1e30, teacher_max_epochs=5, batch_size=32, per_gpu_batch_size=16
    )
    progress = automm.fit(tmp_path / "t", rows_of("rte"), RTE, options)
    assert progress == {"optimizer_steps": 10, "epochs": 5, "diverged_at": 3}
    warn_if_diverged("teacher", progress, make_settings(), "32")
    assert "the teacher diverged: its loss was not finite first at optimizer step 3 of 10" in caplog.text


def test_fit_that_did_not_diverge_says_nothing(caplog):
    warn_if_diverged("teacher", {"optimizer_steps": 10}, make_settings(), "32")
    assert not caplog.text


def test_outputs_that_are_not_finite_are_refused(checkpoints, tmp_path):
    automm.fit(tmp_path / "t", rows_of("rte"), RTE, make_options(checkpoints, "teacher"))
    teacher = load(tmp_path / "t")
    with torch.no_grad():
        teacher.automm._learner._model.head.bias[0] = float("inf")
    message = r"the teacher diverged: its logits are not finite; try a lower --teacher_learning_rate than 0\.0001"
    with pytest.raises(TrainingError, match=message), explained("teacher", make_settings(), "32"):
        teacher.outputs(FRAME[:4])


@pytest.mark.parametrize(
    ("task", "flag", "value", "line"),
    [
        ("rte", "--teacher_learning_rate", "1e30", "the teacher diverged: its "),
        ("stsb", "--student_learning_rate", "1e30", "the baseline diverged: its "),
        (
            "rte",
            "--output_feature_loss_weight",
            "1e300",
            "its weights are not finite after training, its loss first at optimizer step 1;",
        ),
    ],
)
def test_run_that_diverges_ends_in_one_line(datasets_folder, checkpoints, tmp_path, capfd, task, flag, value, line):
    argv = [
        *("--glue_task", task, "--dataset_path", str(datasets_folder), "--num_gpu", "0", "--batch_size", "32"),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *("--teacher_max_epochs", "2", "--max_epochs", "2", "--num_workers", "0", flag, value),
    ]
    assert run_script("glue", argv) == 1
    error = capfd.readouterr().err
    (message,) = (text for text in error.splitlines() if "diverged" in text)
    assert line in message
    assert f"; try a lower {flag} than {float(value):g}" in message
    assert "Traceback" not in error
