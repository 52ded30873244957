import numpy as np
import pytest
import torch

from automm_distill.loss_log import LossLog

GENERATOR = np.random.default_rng(0)
HEAD = torch.from_numpy(GENERATOR.normal(size=(4, 3)))
FEATURE = GENERATOR.normal(size=(5, 4))


def terms(feature, logits):
    """Terms whose gradients can be written down: 2 * logits / 15, and 1 / 20 for each number of the feature."""
    return {"soft_label": logits.pow(2).mean(), "output_feature": feature.mean()}


def test_gradient_shares_are_those_worked_out_by_hand():
    feature = torch.from_numpy(FEATURE).requires_grad_()
    logits = feature @ HEAD
    account = LossLog({"soft_label": 0.5, "output_feature": 3.0})
    made = terms(feature, logits)
    account.add(0, made)
    shares = account.measure(made, logits, feature)
    at_logits = 0.5 * 2 * (FEATURE @ HEAD.numpy()) / 15
    soft = np.linalg.norm(at_logits @ HEAD.numpy().T)
    feature_only = 3.0 * np.linalg.norm(np.full((5, 4), 1 / 20))
    assert shares["logits"] == {"soft_label": 1.0, "output_feature": 0.0}
    assert shares["feature"] == pytest.approx(
        {"soft_label": soft / (soft + feature_only), "output_feature": feature_only / (soft + feature_only)}
    )
    table = account.table()
    assert {name: row["feature_share"] for name, row in table.items()} == shares["feature"]
    assert table["soft_label"]["weight"] == 0.5
    assert table["soft_label"]["first_epoch"] == pytest.approx(np.mean((FEATURE @ HEAD.numpy()) ** 2))


def test_epochs_are_averaged_apart_and_batches_that_overflowed_left_out():
    account = LossLog({"hard_label": 1.0})
    for epoch, value in [(0, 1.0), (0, float("inf")), (0, 3.0), (1, 7.0), (2, float("nan"))]:
        account.add(epoch, {"hard_label": torch.tensor(value)})
    assert account.table()["hard_label"]["first_epoch"] == 2.0
    assert account.table()["hard_label"]["last_epoch"] is None


def test_gradient_that_overflows_is_not_counted():
    account = LossLog({"hard_label": 1.0, "soft_label": 1.0})
    for factor in (float("inf"), 2.0):
        feature = torch.ones(2, 3, requires_grad=True)
        made = dict.fromkeys(account.weights, factor * feature.sum())
        account.add(0, made)
        assert bool(account.measure(made, feature, feature)) == np.isfinite(factor)
    assert {row["feature_share"] for row in account.table().values()} == {0.5}


def test_half_precision_gradients_too_small_for_it_are_seen():
    feature = torch.ones(2, 3, dtype=torch.float16, requires_grad=True)
    account = LossLog({"hard_label": 1e-4, "soft_label": 3e-4})
    made = dict.fromkeys(account.weights, feature.float().mean() * 1e-3)
    account.add(0, made)
    shares = account.measure(made, feature, feature)
    assert shares["feature"]["hard_label"] == pytest.approx(0.25, rel=0.1)


def test_nothing_trained_is_an_empty_table():
    assert LossLog({"hard_label": 1.0}).table() == {}
