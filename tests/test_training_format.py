"""What a fit computes from given rows and settings, pinned to ``TRAINING_FORMAT``.

Cached models and finished sweep trials are reused as long as that number stays the same. Whoever changes a value below
raises it (automm_distill/versions.py), and then puts the new number and the new values here.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from automm_distill import automm, cache, training
from automm_distill.automm.batches import LengthGroupedSampler
from automm_distill.automm.lightning_modules import FineTuneModule
from automm_distill.automm.random_numbers import CpuDropout, pass_seed, seed_torch
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.losses import HIDDEN_STATES, TERMS, DistillationLoss, DistillationSpec, LogitMapping, States
from automm_distill.versions import TRAINING_FORMAT

from .fits import RTE, cached, load, make_options, rows_of

FORMAT_OF_THESE_VALUES = 3

ORDER = {
    "first epoch": [1, 10, 17, 5, 15, 7, 14, 2, 8, 4, 16, 11, 6, 13, 0, 9, 12, 3],
    "second epoch": [12, 3, 7, 15, 10, 1, 5, 17, 8, 4, 16, 11, 6, 0, 13, 9, 14, 2],
    "not grouped": [2, 17, 10, 8, 4, 15, 7, 12, 0, 16, 9, 14, 1, 5, 6, 11, 3, 13],
    "second device": [13, 9, 4, 11, 5, 3, 7, 2, 10],
    "checksum of many rows": 3017566216,
}
TOKENS = ["[CLS]", "the", "pilot", "[SEP]", "the", "nurse", "[SEP]", "[PAD]", [0, 0, 0, 0, 1, 1, 1, 0], 7, 64, 64]
LOSSES = {
    "hard_label": 1.5302,
    "soft_label": 1.1038,
    "softmax_regression": 0.47509,
    "output_feature": 1.5624,
    "rkd_distance": 0.010882,
    "rkd_angle": 0.013261,
    "hidden_states": 2.0064,
    "total": 4.6956,
}
OTHER_FORMS = LOSSES | {"soft_label": 0.86376, "softmax_regression": 1.091, "output_feature": 0.54886, "total": 4.058}
REGRESSION = LOSSES | {"hard_label": 0.73053, "soft_label": 2.9288, "softmax_regression": 2.4405, "total": 7.6864}
LEARNING_RATES = [0, 1e-4, 9.6985e-5, 8.8302e-5, 7.5e-5, 5.8682e-5, 4.1318e-5, 2.5e-5, 1.1698e-5, 3.0154e-6]
OPTIMIZER = {
    "type": "AdamW",
    "share of the learning rate, weight decay": [
        (0.81, 0.0),
        (0.81, 0.001),
        (0.9, 0.0),
        (0.9, 0.001),
        (1.0, 0.0),
        (1.0, 0.001),
    ],
    "betas": (0.9, 0.999),
    "eps": 1e-6,
    "amsgrad": False,
    "fused": True,
}
# Which of 16 elements a pass drops, and what torch itself draws in it.
DROPPED = [0, 2, 3, 4, 5, 6, 8, 10, 14, 15]
DRAWN = 0.91999
TRAINING_LOOP = {
    "clip": (1, "norm"),
    "passes": 2,
    "validate every": 0.5,
    "patience": 10,
    "checkpoints": 3,
    "loss": "CrossEntropyLoss",
}


def unchanged(what: str, value: Any, expected: Any) -> None:
    """Compare, and say what to do about a difference."""
    assert value == expected, (
        f"{what} changed, and with it what a fit computes: raise TRAINING_FORMAT in automm_distill/versions.py (now "
        f"{TRAINING_FORMAT}), then put the new number and values into tests/test_training_format.py"
    )


def five_digits(number: torch.Tensor | float) -> float:
    """Rounded to what every machine agrees on."""
    return float(f"{float(number):.5g}")


def test_values_belong_to_the_training_format():
    assert TRAINING_FORMAT == FORMAT_OF_THESE_VALUES, "TRAINING_FORMAT was raised: put its values here"


def test_another_training_format_is_another_cache_entry(monkeypatch):
    arguments = ("teacher", RTE, rows_of("rte"), Checkpoint(Path("/here"), "abc", 1))
    options = automm.FitOptions("teacher", {"env.num_gpus": 0, "model.hf_text.text_trivial_aug_maxscale": 0.0}, seed=1)
    before = cache.fingerprint(training.cache_recipe(*arguments, options))
    assert cache.fingerprint(training.cache_recipe(*arguments, options)) == before
    monkeypatch.setattr(training, "TRAINING_FORMAT", TRAINING_FORMAT + 1)
    assert cache.fingerprint(training.cache_recipe(*arguments, options)) != before


def test_order_of_rows():
    lengths = np.array([9, 3, 7, 5, 12, 4, 8, 6, 11, 10, 3, 14, 5, 9, 7, 6, 13, 4])
    grouped = LengthGroupedSampler(lengths, 4, seed=123, grouped=True)
    order: dict[str, Any] = {"first epoch": grouped.order().tolist()}
    grouped.set_epoch(1)
    order["second epoch"] = grouped.order().tolist()
    order["not grouped"] = LengthGroupedSampler(lengths, 4, seed=123, grouped=False).order().tolist()
    second_device = LengthGroupedSampler(lengths, 4, seed=123, grouped=True, replicas=2, rank=1)
    order["second device"] = second_device.order().tolist()
    many = np.arange(2000) * 37 % 101 + 3  # several pools of batches
    rows = LengthGroupedSampler(many, 4, seed=123, grouped=True).order().astype("<i8")
    order["checksum of many rows"] = zlib.crc32(rows.tobytes())
    unchanged("the order of rows", order, ORDER)


def test_random_numbers():
    source = pass_seed(123, epoch=4, number=5, device=1)
    with CpuDropout(source):
        dropped = (torch.nn.functional.dropout(torch.ones(16), 0.4) == 0).nonzero().flatten().tolist()
    unchanged("dropout", dropped, DROPPED)
    seed_torch(source)
    unchanged("the seed of a pass", five_digits(torch.rand(())), DRAWN)


def losses_of(labels: torch.Tensor, mapping: LogitMapping, **spec: Any) -> dict[str, float]:
    """All, rounded, for numbers that no random generator makes."""
    classes = 1 if spec["is_regression"] else 3
    rows = len(labels)

    def numbers(columns: int, step: float) -> torch.Tensor:
        return torch.sin(step * torch.arange(rows * columns, dtype=torch.float64)).view(rows, columns)

    head = numbers(5, 0.7)[:classes]
    adaptor = numbers(4, 1.1)[:5]
    loss = DistillationLoss(
        DistillationSpec(weights=dict.fromkeys(TERMS, 1.0), **spec),
        adaptor=lambda feature: feature @ adaptor.T,
        teacher_head=lambda feature: feature @ head.T,
        map_logits=mapping,
    )
    outputs = numbers(classes, 0.9), numbers(4, 1.3), numbers(classes, 1.7), numbers(5, 2.3)
    states = States(*(numbers(10, step).view(rows, 2, 5) for step in (1.9, 2.9)))
    terms = loss.terms(*outputs, labels, states=states)
    without_states = {name: term for name, term in terms.items() if name != HIDDEN_STATES}
    return {name: five_digits(term) for name, term in (terms | {"total": loss.total(without_states)}).items()}


def test_losses():
    forms = {"temperature": 5.0, "squared_temperature": False, "is_regression": False}
    default = {"soft_label": "cross_entropy", "softmax_regression": "mean_square_error"}
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    values = losses_of(labels, LogitMapping(columns=[0, 1, 2]), **forms, **default, output_feature="mean_square_error")
    unchanged("a loss", values, LOSSES)
    other = {"soft_label": "mean_square_error", "softmax_regression": "cross_entropy"}
    values = losses_of(
        labels,
        LogitMapping(columns=[2, 0, 1]),
        **(forms | {"squared_temperature": True}),
        **other,
        output_feature="cosine_distance",
    )
    unchanged("the other form of a loss", values, OTHER_FORMS)
    regression = forms | {"is_regression": True} | other | {"softmax_regression": "mean_square_error"}
    values = losses_of(
        labels.double() / 2, LogitMapping(factor=2.0, shift=-0.5), **regression, output_feature="mean_square_error"
    )
    unchanged("a loss of a regression", values, REGRESSION)


@pytest.fixture(scope="module")
def teacher(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "teacher"
    automm.fit(folder, rows_of("rte"), RTE, make_options(checkpoints, "teacher"))
    return load(folder)


def test_tokens(teacher):
    frame = pd.DataFrame({"sentence1": ["the pilot", "the nurse"], "sentence2": ["the nurse", "the pilot " * 400]})
    rows = teacher._rows(frame)
    batch = rows.batch([0, 1])
    tokens, segments = (
        batch[key][0] for key in (rows.processor.text_token_ids_key, rows.processor.text_segment_ids_key)
    )
    words = rows.processor.tokenizer.convert_ids_to_tokens(tokens[:8])
    unchanged("the tokens", [*words, segments[:8].tolist(), *rows.lengths.tolist(), tokens.shape[0]], TOKENS)


@pytest.mark.parametrize("role", ["baseline", "student"])
def test_schedule_and_optimizer(teacher, checkpoints, tmp_path, monkeypatch, role):
    """Of ten optimizer steps, each of two passes."""
    seen: dict[str, Any] = {"rates": []}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx % 2 == 0:
            seen["rates"].append(five_digits(max(group["lr"] for group in self.optimizers().param_groups)))

    def on_train_end(self):
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizers().param_groups]
        of_weights = {(five_digits(group["initial_lr"] / 1e-4), group["weight_decay"]) for group in groups}
        seen["optimizer"] = {
            "type": type(self.optimizers().optimizer).__name__,
            "share of the learning rate, weight decay": sorted(of_weights),
            **{name: groups[0][name] for name in ("betas", "eps", "amsgrad", "fused")},
        }
        (stopping,) = (c for c in self.trainer.callbacks if isinstance(c, EarlyStopping))
        (saving,) = (c for c in self.trainer.callbacks if isinstance(c, ModelCheckpoint))
        seen["trainer"] = {
            "clip": (self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm.value),
            "passes": self.trainer.accumulate_grad_batches,
            "validate every": self.trainer.val_check_interval,
            "patience": stopping.patience,
            "checkpoints": saving.save_top_k,
            "loss": type(self.loss_func).__name__,
        }
        write_progress(self)

    write_progress = FineTuneModule.on_train_end
    monkeypatch.setattr(FineTuneModule, "on_train_batch_end", on_train_batch_end)
    monkeypatch.setattr(FineTuneModule, "on_train_end", on_train_end)
    options = make_options(checkpoints, role, max_epochs=5, batch_size=32, per_gpu_batch_size=16)
    targets = cached(teacher, rows_of("rte"), tmp_path) if role == "student" else None
    automm.fit(tmp_path / "model", rows_of("rte"), RTE, options, targets)
    unchanged("the learning rate's schedule", seen["rates"], LEARNING_RATES)
    unchanged("the optimizer", seen["optimizer"], OPTIMIZER)
    unchanged("the training loop", seen["trainer"], TRAINING_LOOP)
