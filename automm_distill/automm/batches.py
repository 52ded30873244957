"""Which rows make a batch, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from automm_distill.automm.tokenized_rows import Rows

POOL_BATCHES = 50  # batches
LENGTH_NOISE = 0.05  # of a row's length: what a batch is made of differs from epoch to epoch even in a small set


class LengthGroupedSampler(DistributedSampler):
    """Rows in an order that is random from epoch to epoch, but fills each batch with rows of about the same length.

    The shuffled rows are taken in pools of :data:`POOL_BATCHES` batches; each pool is sorted by length, blurred by
    :data:`LENGTH_NOISE`, and cut into batches; all batches are shuffled. On several devices, the batches that they take at the
    same time are alike as well. Baseline and student, with the same seed, see the same rows in the same order.

    :param grouped: False for the plain random order.
    :param replicas: devices; ``rank`` is this one's number.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, seed: int, *, grouped: bool, replicas: int = 1, rank: int = 0
    ):
        # Lightning tells a DistributedSampler the epoch, and leaves it as it is on several devices.
        super().__init__(range(len(lengths)), num_replicas=replicas, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.lengths = lengths
        self.step = batch_size * replicas
        self.grouped = grouped

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.lengths))
        if self.grouped:
            order = self._group(order, random)
        order = np.resize(order, self.total_size)  # as many for each device, by beginning again
        return iter(order[self.rank :: self.num_replicas].tolist())

    def _group(self, order: np.ndarray, random: np.random.Generator) -> np.ndarray:
        batches: list[np.ndarray] = []
        last = order[:0]
        for start in range(0, len(order), POOL_BATCHES * self.step):
            rows = order[start : start + POOL_BATCHES * self.step]
            rows = rows[np.argsort(self.lengths[rows] * random.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(rows)))]
            short = len(rows) % self.step
            if short:  # it has to be the epoch's last batch, but can be of any length
                start_of_last = self.step * int(random.integers(len(rows) // self.step + 1))
                last = rows[start_of_last : start_of_last + short]
                rows = np.delete(rows, slice(start_of_last, start_of_last + short))
            batches.extend(rows.reshape(-1, self.step))
        random.shuffle(batches)
        return np.concatenate([*batches, last])


class TrainRows(LightningDataModule):
    """Train and tuning rows of one fit; with ``targets``, what the teacher has to say of the training rows too."""

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
        targets: Any = None,
    ):
        super().__init__()
        self.train, self.validation, self.targets = train, validation, targets
        self.batch_size, self.workers = batch_size, workers
        self.seed, self.grouped, self.on_gpu = seed, grouped, on_gpu

    def train_dataloader(self) -> DataLoader:
        """Called by Lightning in each process that trains."""
        trainer = self.trainer
        sampler = LengthGroupedSampler(
            self.train.lengths,
            self.batch_size,
            self.seed,
            grouped=self.grouped,
            replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
        )
        return _loader(
            len(self.train),
            self.train_batch,
            self.batch_size,
            self.on_gpu,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """Called by Lightning in each process that trains."""
        return _loader(len(self.validation), self.validation.batch, self.batch_size, self.on_gpu)

    def train_batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """A training batch."""
        batch: dict[str, Any] = self.train.batch(indices)
        if self.targets is not None:
            batch["teacher"] = self.targets.batch(indices)
        return batch


class PredictRows(LightningDataModule):
    """Rows in the order in which predictions are wanted."""

    def __init__(self, rows: Rows, *, batch_size: int, on_gpu: bool):
        super().__init__()
        self.rows, self.batch_size, self.on_gpu = rows, batch_size, on_gpu

    def predict_dataloader(self) -> DataLoader:
        """Called by Lightning."""
        return _loader(len(self.rows), self.rows.batch, self.batch_size, self.on_gpu)


def _loader(
    count: int,
    batch: Callable[[Sequence[int]], dict[str, torch.Tensor]],
    batch_size: int,
    on_gpu: bool,
    **kwargs: Any,
) -> DataLoader:
    return DataLoader(range(count), batch_size=batch_size, collate_fn=batch, pin_memory=on_gpu, **kwargs)  # type: ignore[arg-type]
