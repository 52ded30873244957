"""What is compared: ways to fit one student on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STOCK_LOADING = {"env.num_workers": 2, "env.num_workers_inference": 2, "optim.log_every_n_steps": 10}
STOCK_BATCH = {"env.per_gpu_batch_size": 8}


@dataclass(frozen=True)
class Variant:
    """One way to fit the student.

    :param about: in a few words, for the tables.
    :param distils: with a teacher.
    :param stock: AutoGluon's own hyperparameters in place of ours, for its own fit; None for ours.
    :param settings: what differs from the scripts' defaults.
    :param torchs_dropout: with torch's own masks and attention, in place of :class:`CpuDropout`.
    :param bare: the bare PyTorch loop.
    """

    about: str
    distils: bool = False
    stock: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    torchs_dropout: bool = False
    bare: bool = False


VARIANTS = {
    "stock": Variant("AutoGluon's distiller, its micro-batch of 8", distils=True, stock=STOCK_LOADING | STOCK_BATCH),
    "stock_ours": Variant("AutoGluon's distiller, our micro-batch", distils=True, stock=STOCK_LOADING),
    "cold": Variant("ours, the teacher's outputs computed", distils=True),
    "warm": Variant("ours, the teacher's outputs on disk", distils=True),
    "warm_half": Variant(
        "ours, the same in half precision", distils=True, settings={"teacher_outputs_precision": "16"}
    ),
    "plain": Variant("the student fine-tuned, ours"),
    "plain_once": Variant("the same, one validation an epoch", settings={"validations_per_epoch": 1}),
    "plain_torch": Variant("the same, torch's dropout", torchs_dropout=True),
    "plain_compile": Variant("the same, compiled", settings={"compile": True}),
    "plain_32": Variant("the same, in single precision", settings={"precision": "32"}),
    "plain_stock": Variant("the student fine-tuned, AutoGluon's loader", stock=STOCK_LOADING | STOCK_BATCH),
    "bare": Variant("the student fine-tuned, a bare PyTorch loop", bare=True),
}
DEFAULT_VARIANTS = ["stock", "stock_ours", "cold", "warm", "plain", "plain_stock", "bare"]
# Seconds of the first, divided by those of the second.
RATIOS = [
    ("stock", "cold"),
    ("stock", "warm"),
    ("stock_ours", "warm"),
    ("warm", "plain"),
    ("plain_stock", "plain"),
    ("plain", "bare"),
    ("plain_32", "plain"),
    ("plain_torch", "plain"),
    ("plain_compile", "plain"),
    ("plain_once", "plain"),
]
# Scores of the first, less those of the second.
DIFFERENCES = [("warm", "stock"), ("warm", "warm_half"), ("plain", "plain_32"), ("plain", "plain_torch")]
