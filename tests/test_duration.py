"""How long a run will take: worked by hand, and timed on real networks."""

import random
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from automm_distill import duration
from automm_distill.automm import TimedNetwork
from automm_distill.duration import PassSeconds, estimate, in_words, measure, tell
from automm_distill.inputs import demo
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.rows.splits import Splits
from automm_distill.run_context import RunContext
from automm_distill.training import finetune_or_load, is_cached

from .conftest import SENTENCES, make_settings
from .fits import CPU, FRAME, RTE, rows_of


def context(checkpoints: Path, folder: Path, **settings: Any) -> RunContext:
    """A run on 64 training, 32 validation and 50 test rows."""
    short = {"glue_task": "rte", "batch_size": 32, "max_epochs": 1, "teacher_max_epochs": 1, "verbosity": "quiet"}
    places = {"output_folder": str(folder / "o"), "finetuned_model_cache_folder": str(folder / "c")}
    data = rows_of("rte")
    return RunContext(
        make_settings(**(short | places | settings)),
        RTE,
        Splits(RTE, data, data, {"test": FRAME[100:150]}, ""),
        *(Checkpoint(checkpoints / role, role, 1, max_tokens=64) for role in ("teacher", "student")),
        CPU,
        started=0.0,
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 min"),
        (100, "2 min"),
        (3540, "59 min"),
        (3590, "1 h"),
        (6060, "1 h 40 min"),
        (35_990, "10 h"),
        (172_000, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_time_as_people_say_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("role", "gpus", "settings", "expected"),
    [
        # 3 epochs of 64 rows in 2 steps, 2 * 32 rows validated; 2 more validations; 50 + 32 rows predicted.
        ("student", 0, {}, 3 * (64 + 2 * 5 + 2 * 3.2) + 2 * 3.2 + 8.2),
        ("student", 2, {}, 3 * (32 + 2 * 5 + 2 * 1.6) + 2 * 1.6 + 8.2),
        ("student", 0, {"validations_per_epoch": 1}, 3 * (64 + 2 * 5 + 3.2) + 2 * 3.2 + 8.2),
        ("student", 0, {"time_limit": 100}, 100 + 8.2),
        # The teacher reads the student's 64 rows too: once, or in each of the student's 3 epochs.
        ("teacher", 0, {}, (64 + 2 * 5 + 2 * 3.2) + 2 * 3.2 + 6.4 + 8.2),
        ("teacher", 0, {"teacher_outputs": "online"}, (64 + 2 * 5 + 2 * 3.2) + 2 * 3.2 + 3 * 6.4 + 8.2),
    ],
)
def test_seconds_of_a_model_by_hand(checkpoints, tmp_path, role, gpus, settings, expected):
    run = context(checkpoints, tmp_path, max_epochs=3, **settings)
    run = replace(run, device=replace(CPU, num_gpus=gpus))
    assert estimate(run, role, PassSeconds(training=1.0, forward=0.1, step=5.0)) == pytest.approx(expected)


def test_short_run_is_not_timed_and_a_long_one_is_told_in_one_line(checkpoints, tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    tell(context(checkpoints, tmp_path))
    assert not caplog.records
    tell(context(checkpoints, tmp_path, max_epochs=10**6, teacher_max_epochs=10**6))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("at most about ")
    assert " for 3 fits at batch 32 on this CPU with 2 threads (teacher " in line
    tell(context(checkpoints, tmp_path, max_epochs=10**6, teacher_max_epochs=10**6, train_nodistill=False))
    assert " for 2 fits at batch 32" in caplog.records[1].getMessage()


def test_what_resume_finds_is_left_out(checkpoints, tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    run = context(checkpoints, tmp_path, resume=True, max_epochs=10**6)
    assert not is_cached("teacher", run)
    finetune_or_load("teacher", run)
    assert is_cached("teacher", run)
    assert not is_cached("baseline", run)
    assert not is_cached("teacher", context(checkpoints, tmp_path, max_epochs=10**6)), "it would be trained anew"
    caplog.clear()
    tell(run)
    assert " for 2 fits at batch 32 on this CPU with 2 threads (baseline " in caplog.records[-1].getMessage()


def test_timing_leaves_random_numbers_and_gradients_as_they_are(checkpoints, tmp_path):
    """What a fit computes must not depend on whether its network was timed before."""
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    measure(context(checkpoints, tmp_path), "teacher")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), repr(np.random.get_state()))  # noqa: NPY002
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("model_type", ["canine", "ibert"])
def test_network_whose_embeddings_are_its_own_invention_is_timed(tmp_path, model_type):
    """CANINE has no vocabulary, and I-BERT embeddings of another class."""
    config = transformers.AutoConfig.for_model(
        model_type, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    network = TimedNetwork(tmp_path, CPU, 64)
    assert network.training_seconds(2, 20) > 0
    assert network.forward_seconds(2, 20) > 0


def test_batches_are_as_long_as_their_longest_rows():
    lengths = np.array([5, 40] * 64)
    grouped = duration._batch_lengths(lengths, 32, grouped=True)
    assert sorted(grouped.tolist()) == [5, 5, 40, 40]
    assert duration._batch_lengths(lengths, 32, grouped=False).tolist() == [40] * 4


def test_a_timed_pass_is_that_of_a_larger_network_or_of_longer_rows(tmp_path):
    """Forward and backward of networks that compute long enough to be told apart."""
    demo.make_checkpoint(tmp_path / "m", SENTENCES["sentence1"], demo.Shape(2, 256, 4, longest=128), seed=1)
    network = TimedNetwork(tmp_path / "m", CPU, 128)
    best: dict[tuple[str, int], float] = {}
    for _ in range(10):  # in turn, so that a busy moment meets all of them
        for kind, tokens in product(("training", "forward"), (16, 128)):
            seconds = getattr(network, f"{kind}_seconds")(8, tokens)
            best[kind, tokens] = min(seconds, best.get((kind, tokens), seconds))
    assert best["training", 128] > 2 * best["training", 16]
    assert best["training", 128] > 1.5 * best["forward", 128]
    assert network.step_seconds() > 0


@pytest.mark.slow
def test_estimate_is_that_of_a_real_fit_within_a_factor_of_two(tmp_path):
    """The training alone: what a process needs to start and to write a model is not a part of it."""
    for role in ("teacher", "student"):
        demo.make_checkpoint(tmp_path / role, SENTENCES["sentence1"], demo.Shape(6, 384, 6, longest=128), seed=1)
    run = context(tmp_path, tmp_path, max_epochs=20, teacher_max_epochs=20)
    teacher = finetune_or_load("teacher", run)
    estimated = estimate(run, "teacher", measure(run, "teacher"))
    assert estimated / 2 < teacher.seconds["teacher"] + teacher.seconds["prediction"] < estimated * 2
