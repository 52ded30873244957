"""How fast each form is: one row at a time, and in batches, on the CPU.

By the protocol of :mod:`automm_distill.speed`: the same rows, tokenised beforehand, passes of all forms
interleaved, medians over the repeats, on as many threads as torch has.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from automm_distill import speed
from automm_distill.automm import Predictor
from automm_distill.export.exported import Exported
from automm_distill.export_formats import LATENCY, THROUGHPUT

Passes = Callable[[pd.DataFrame, int], Callable[[], object]]


def measure(
    models: Mapping[str, Passes], frame: pd.DataFrame, batch_size: int, budget: float
) -> dict[str, dict[str, float]]:
    """Of each model ``latency``, seconds for one row by itself, and ``throughput``, rows per second in batches.

    :param models: by name, what makes a pass over rows in batches of a size; the first one is the slowest.
    :param frame: the test rows, of which some are taken.
    :param budget: seconds for all, about.
    """
    share = budget / 2
    slowest = next(iter(models.values()))
    of_row = len(models) * _seconds_of_row(slowest, frame)
    single = speed.evenly_spaced_rows(frame, speed.affordable_rows(of_row, share, 1, speed.LATENCY_ROWS))
    many = speed.evenly_spaced_rows(frame, speed.affordable_rows(of_row, share, speed.MIN_ROWS, speed.MAX_ROWS))
    found: dict[str, dict[str, float]] = {name: {} for name in models}
    for kind, rows, size in ((LATENCY, single, 1), (THROUGHPUT, many, batch_size)):
        passes = {name: make(rows, size) for name, make in models.items()}
        repeats = speed.affordable_repeats(of_row * len(rows), share)
        seconds = speed.interleaved(passes, lambda: None, repeats=repeats)
        for name, each in seconds.items():
            of_pass = float(np.median(each))
            found[name][kind] = of_pass / len(rows) if kind == LATENCY else len(rows) / of_pass
    return found


def passes_of_predictor(predictor: Predictor, precision: str) -> Passes:
    """Of a fitted model, on the CPU."""
    return lambda rows, size: predictor.forward_passes(rows, size, precision=precision, on_cpu=True)


def passes_of_export(exported: Exported, columns: tuple[str, ...]) -> Passes:
    """Of an exported one.

    :param columns: of the rows, with their texts.
    """

    def make(rows: pd.DataFrame, size: int) -> Callable[[], object]:
        texts = rows[list(columns)].to_numpy().tolist()
        lengths = exported.encode(texts)["attention_mask"].sum(axis=1)  # batches of the same rows as those of PyTorch
        texts = [texts[row] for row in np.argsort(-lengths, kind="stable")]
        batches = [exported.encode(texts[start : start + size]) for start in range(0, len(texts), size)]
        return lambda: [exported.run(batch) for batch in batches]

    return make


def threads() -> int:
    """That every form may use."""
    return torch.get_num_threads()


def _seconds_of_row(make: Passes, frame: pd.DataFrame) -> float:
    pilot = speed.evenly_spaced_rows(frame, speed.PILOT_ROWS)
    (seconds,) = speed.interleaved({"pilot": make(pilot, 1)}, lambda: None, warm_ups=1, repeats=1).values()
    return float(seconds[0]) / len(pilot)
