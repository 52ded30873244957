"""Means and gradient shares of the losses, against values worked out by hand."""

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
    loss_log = LossLog({"soft_label": 0.5, "output_feature": 3.0})
    batch_terms = terms(feature, logits)
    loss_log.add(0, batch_terms)
    shares = loss_log.add_gradient_shares(batch_terms, logits, feature)
    at_logits = 0.5 * 2 * (FEATURE @ HEAD.numpy()) / 15
    soft = np.linalg.norm(at_logits @ HEAD.numpy().T)
    feature_only = 3.0 * np.linalg.norm(np.full((5, 4), 1 / 20))
    assert shares["logits"] == {"soft_label": 1.0, "output_feature": 0.0}
    assert shares["feature"] == pytest.approx(
        {"soft_label": soft / (soft + feature_only), "output_feature": feature_only / (soft + feature_only)}
    )
    summary = loss_log.summary()
    assert {name: row["feature_share"] for name, row in summary.items()} == shares["feature"]
    assert summary["soft_label"]["weight"] == 0.5
    assert summary["soft_label"]["first_epoch"] == pytest.approx(np.mean((FEATURE @ HEAD.numpy()) ** 2))


def test_epochs_are_averaged_apart_and_batches_that_overflowed_left_out():
    loss_log = LossLog({"hard_label": 1.0})
    for epoch, value in [(0, 1.0), (0, float("inf")), (0, 3.0), (1, 7.0), (2, float("nan"))]:
        loss_log.add(epoch, {"hard_label": torch.tensor(value)})
    assert loss_log.summary()["hard_label"]["first_epoch"] == 2.0
    assert loss_log.summary()["hard_label"]["last_epoch"] is None


def test_gradient_that_overflows_is_not_counted():
    loss_log = LossLog({"hard_label": 1.0, "soft_label": 1.0})
    for factor in (float("inf"), 2.0):
        feature = torch.ones(2, 3, requires_grad=True)
        batch_terms = dict.fromkeys(loss_log.weights, factor * feature.sum())
        loss_log.add(0, batch_terms)
        assert bool(loss_log.add_gradient_shares(batch_terms, feature, feature)) == np.isfinite(factor)
    assert {row["feature_share"] for row in loss_log.summary().values()} == {0.5}


def test_half_precision_gradients_too_small_for_it_are_seen():
    feature = torch.ones(2, 3, dtype=torch.float16, requires_grad=True)
    loss_log = LossLog({"hard_label": 1e-4, "soft_label": 3e-4})
    batch_terms = dict.fromkeys(loss_log.weights, feature.float().mean() * 1e-3)
    loss_log.add(0, batch_terms)
    shares = loss_log.add_gradient_shares(batch_terms, feature, feature)
    assert shares["feature"]["hard_label"] == pytest.approx(0.25, rel=0.1)


def test_nothing_trained_is_an_empty_summary():
    assert LossLog({"hard_label": 1.0}).summary() == {}
