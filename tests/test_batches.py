"""The order in which training rows come, and how little of a batch is padding."""

import numpy as np
import pytest

from automm_distill.automm.batches import LengthGroupedSampler


def lengths_per_batch(sampler, lengths, batch):
    order = sampler.order()
    return [lengths[order[start : start + batch]] for start in range(0, len(order), batch)]


@pytest.mark.parametrize("rows", [1, 7, 8, 100, 1003])
@pytest.mark.parametrize("grouped", [True, False])
def test_every_row_comes_once_per_epoch_in_another_order(rows, grouped):
    lengths = np.random.default_rng(0).integers(5, 100, rows)
    sampler = LengthGroupedSampler(lengths, 8, seed=1, grouped=grouped)
    first = sampler.order().tolist()
    assert sorted(first) == list(range(rows))
    assert list(sampler) == [(0, row) for row in first]
    sampler.set_epoch(1)
    second = sampler.order().tolist()
    assert sorted(second) == list(range(rows))
    assert list(sampler) == [(1, row) for row in second]
    if rows > 8:
        assert second != first


@pytest.mark.parametrize("size", [100, 250, 1000])
@pytest.mark.parametrize("grouped", [True, False])
def test_in_a_longer_epoch_every_row_comes_equally_often(size, grouped):
    """But for the last round, which takes as many as are missing."""
    lengths = np.random.default_rng(0).integers(5, 100, 100)
    sampler = LengthGroupedSampler(lengths, 8, seed=1, grouped=grouped, size=size)
    order = sampler.order()
    assert len(order) == len(sampler) == size
    counts = np.bincount(order, minlength=100)
    assert (counts.min(), counts.max()) == (size // 100, -(-size // 100))
    repeats = [8 - len({*order[start : start + 8].tolist()}) for start in range(0, size - size % 8, 8)]
    assert np.mean(repeats) < 0.15, "a batch of which half is the same row teaches less"
    same = LengthGroupedSampler(lengths, 8, seed=1, grouped=grouped, size=50)
    assert sorted(same.order()) == list(range(100)), "no row is left out"


def test_grouped_batches_need_little_padding_and_come_in_random_order():
    lengths = np.random.default_rng(0).geometric(0.02, 2000) + 3
    padded = {}
    for grouped in (True, False):
        batches = lengths_per_batch(LengthGroupedSampler(lengths, 8, seed=1, grouped=grouped), lengths, 8)
        padded[grouped] = sum(len(batch) * batch.max() for batch in batches) / lengths.sum()
        means = np.array([batch.mean() for batch in batches])
        assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.2, "long and short batches alternate"
    assert padded[True] < 1.1
    assert padded[False] > 2


def test_several_devices_share_the_rows_and_get_batches_of_similar_length():
    lengths = np.random.default_rng(0).geometric(0.02, 403) + 3
    shares = [LengthGroupedSampler(lengths, 8, seed=1, grouped=True, replicas=2, rank=rank) for rank in (0, 1)]
    orders = [share.order().tolist() for share in shares]
    assert len(orders[0]) == len(orders[1]) == 202
    assert set(orders[0]) | set(orders[1]) == set(range(403))
    both = [lengths_per_batch(share, lengths, 8)[:25] for share in shares]
    differences = [abs(one.mean() - other.mean()) for one, other in zip(*both, strict=True)]
    assert np.median(differences) < 2, "random batches would be about 20 tokens apart"
