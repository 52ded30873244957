"""Which rows make a batch, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from automm_distill.automm.random_numbers import seeded_python
from automm_distill.automm.targets import TargetSource
from automm_distill.automm.tokenized_rows import Rows

POOL_BATCHES = 50
# Lengths are multiplied by 1 +- this before sorting, so that even a small training set, which is a single pool, gives
# other batches in each epoch.
LENGTH_NOISE = 0.05


Sample = tuple[int, int]  # an epoch and a row: all that the numbers which augment the row may follow from


class LengthGroupedSampler(DistributedSampler[Sample]):
    """A new random order in each epoch, in which a batch holds rows of about the same length and needs little padding.

    The rows are shuffled and divided into pools of :data:`POOL_BATCHES` batches. Each pool is sorted by length, with
    some noise (:data:`LENGTH_NOISE`), and cut into batches; then all batches are shuffled. With several devices, the
    batches that they process at the same time have similar lengths too. The order depends on lengths, seed and epoch
    only, so baseline and student see the same rows in the same order.

    :param lengths: tokens of each row, shape (rows,).
    :param batch_size: rows of one forward pass on one device.
    :param grouped: False for a plain random order.
    :param size: rows of an epoch, if there are to be more than there are: all of them come again and again, each time
        in a new order.
    :param replicas: number of devices; ``rank`` is the number of this one.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        grouped: bool,
        size: int | None = None,
        replicas: int = 1,
        rank: int = 0,
    ) -> None:
        # Lightning calls a DistributedSampler's set_epoch, and does not replace it when there are several devices.
        size = max(len(lengths), size or 0)
        super().__init__(range(size), num_replicas=replicas, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.size = size
        self.lengths = lengths
        self.step = batch_size * replicas  # rows that all devices process at the same time
        self.grouped = grouped

    def __iter__(self) -> Iterator[Sample]:
        return iter([(self.epoch, row) for row in self.order().tolist()])

    def order(self) -> np.ndarray:
        """The rows of this epoch for this device, shape (rows,)."""
        random = np.random.default_rng((self.seed, self.epoch))
        rounds, missing = [], self.size
        while missing:
            rounds.append(random.permutation(len(self.lengths))[:missing])
            missing -= len(rounds[-1])
        order = self._group(rounds, random) if self.grouped else np.concatenate(rounds)
        order = np.resize(order, self.total_size)  # each device gets as many: the first rows come twice
        ours: np.ndarray = order[self.rank :: self.num_replicas]
        return ours

    def _group(self, rounds: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
        """:param rounds: random orders of different rows. No pool has rows of two, where copies of a row would meet.

        What is left of each round is too little for a batch; the last batches are made of it, whatever its lengths.
        """
        batches: list[np.ndarray] = []
        left: list[np.ndarray] = []
        size = POOL_BATCHES * self.step
        for rows in (order[start : start + size] for order in rounds for start in range(0, len(order), size)):
            rows = rows[np.argsort(self.lengths[rows] * random.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(rows)))]
            short = len(rows) % self.step
            if short:  # incomplete batches have to be the epoch's last; which lengths they hold is left to chance
                start_of_last = self.step * int(random.integers(len(rows) // self.step + 1))
                left.append(rows[start_of_last : start_of_last + short])
                rows = np.delete(rows, slice(start_of_last, start_of_last + short))
            batches.extend(rows.reshape(-1, self.step))
        random.shuffle(batches)
        return np.concatenate([*batches, *left])


class TrainRows(LightningDataModule):
    """Training and validation batches of one fit; with ``targets``, training batches carry the teacher's targets.

    :param batch_size: rows of one forward pass on one device.
    :param workers: processes that load training rows.
    :param rows_per_epoch: as ``size`` of :class:`LengthGroupedSampler`.
    """

    def __init__(
        self,
        train: Rows,
        validation: Rows,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        grouped: bool,
        on_gpu: bool,
        rows_per_epoch: int | None = None,
        targets: TargetSource | None = None,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.targets = train, validation, targets
        self.batch_size, self.workers = batch_size, workers
        self.seed, self.grouped, self.on_gpu = seed, grouped, on_gpu
        self.rows_per_epoch = rows_per_epoch

    def train_dataloader(self) -> DataLoader[Any]:
        """Called by Lightning in each process that trains."""
        trainer = self.trainer
        sampler = LengthGroupedSampler(
            self.train.lengths,
            self.batch_size,
            self.seed,
            grouped=self.grouped,
            size=self.rows_per_epoch,
            replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
        )
        return _loader(
            _Itself(),
            self.train_batch,
            self.batch_size,
            self.on_gpu,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Called by Lightning in each process that trains."""
        return _loader(range(len(self.validation)), self.validation.batch, self.batch_size, self.on_gpu)

    def train_batch(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Tokens and labels of these rows and, under "teacher", what its targets are computed from."""
        indices = [row for _, row in samples]
        if self.train.augmented:
            with seeded_python(self.seed, *samples[0]):
                batch: dict[str, Any] = self.train.batch(indices)
        else:
            batch = self.train.batch(indices)
        if self.targets is not None:
            batch["teacher"] = self.targets.batch(indices)
        return batch


class _Itself:
    """A data set whose elements are their own indices."""

    def __getitem__(self, index: Sample) -> Sample:
        return index


def _loader(
    rows: Any, batch: Callable[[Sequence[Any]], dict[str, torch.Tensor]], batch_size: int, on_gpu: bool, **kwargs: Any
) -> DataLoader[Any]:
    return DataLoader(rows, batch_size=batch_size, collate_fn=batch, pin_memory=on_gpu, **kwargs)
