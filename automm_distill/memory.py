"""How much memory a run takes, estimated before it starts, and how much this machine has to give."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.run_context import RunContext

LIBRARIES = 1.1e9  # bytes of a process that has imported PyTorch and AutoGluon and fitted a tiny model; measured
FLOAT = 4  # bytes of a number in single precision
TRAINED = 4  # numbers for each parameter: weight, gradient, AdamW's two moments
CHARACTERS_PER_TOKEN = 3  # a low guess for English word pieces, so that a row's length is rather over-estimated
SPECIAL_TOKENS = 3  # [CLS] one [SEP] other [SEP]
DEFAULT_MAX_TOKENS = 512
# The names that other architectures than BERT have for the same sizes, and what is taken where none is there.
_SIZES = {
    "hidden": (("hidden_size", "dim", "d_model"), 768),
    "layers": (("num_hidden_layers", "n_layers", "num_layers"), 12),
    "heads": (("num_attention_heads", "n_heads", "num_heads"), 12),
    "vocabulary": (("vocab_size",), 30522),
    "max_tokens": (("max_position_embeddings",), DEFAULT_MAX_TOKENS),
}


@dataclass(frozen=True)
class NetworkSize:
    """The sizes of a transformer encoder that its memory depends on."""

    hidden: int
    layers: int
    heads: int
    vocabulary: int
    max_tokens: int
    feed_forward: int

    @property
    def parameters(self) -> int:
        """Embeddings and layers; biases are left out."""
        return (self.vocabulary + self.max_tokens) * self.hidden + self.layer_parameters

    @property
    def layer_parameters(self) -> int:
        """Per layer four attention matrices and two of the feed-forward block: what is multiplied with every token."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.feed_forward)

    def activation_bytes(self, rows: int, tokens: int) -> int:
        """What one training pass over ``rows`` rows of ``tokens`` tokens keeps for the backward pass, in float32.

        Per layer s*b*h*(34 + 5*a*s/h) bytes in half precision (Korthikanti et al. 2022, arXiv 2205.05198, section 4.1),
        twice that in single precision; 16 of the 34 are the feed-forward block's at its usual width of 4*h.
        """
        s, b, h, a = tokens, rows, self.hidden, self.heads
        half = s * b * h * (18 + 4 * self.feed_forward / h + 5 * a * s / h)
        return int(2 * half * self.layers)


def read_network_size(checkpoint: Path) -> NetworkSize:
    """From the checkpoint's ``config.json``; a size that is not there is taken to be BERT-base's."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config = config if isinstance(config, dict) else {}
    sizes = {
        name: int(next((config[key] for key in keys if isinstance(config.get(key), int) and config[key] > 0), usual))
        for name, (keys, usual) in _SIZES.items()
    }
    feed_forward = config.get("intermediate_size") or config.get("hidden_dim") or 4 * sizes["hidden"]
    return NetworkSize(**sizes, feed_forward=int(feed_forward))


def estimate_peak(context: RunContext, *, on_gpu: bool) -> int:
    """Bytes of main memory that a run takes at its peak.

    On a CPU that is the larger of the teacher's fit and the student's, beside which the teacher's weights are kept:
    weights, gradients, AdamW's two moments and the activations of one pass over the longest rows, all in float32,
    plus :data:`LIBRARIES`. On a GPU all of these lie there instead, and main memory holds the libraries and both
    models' weights, twice while they are loaded.

    It is an estimate, meant to decide how many runs fit side by side: within a factor of two of what was measured for
    BERTs on a CPU (tests/test_memory.py); never measured on a GPU. Rows themselves, which take far less, are not
    counted.
    """
    student, rows = read_network_size(context.student.path), context.settings.per_gpu_batch_size
    if isinstance(context.teacher, Checkpoint):
        teacher = read_network_size(context.teacher.path)
        weights = FLOAT * teacher.parameters
        teacher_fit = _fit_bytes(teacher, rows, longest_row(context.splits.teacher.train), context.teacher.max_tokens)
    else:  # it is finished, and none is made
        weights, teacher_fit = context.teacher.bytes, 0
    if on_gpu:
        return int(LIBRARIES) + 2 * (weights + FLOAT * student.parameters)
    student_rows = pd.concat([context.splits.student.train, context.splits.unlabelled])
    student_fit = _fit_bytes(student, rows, longest_row(student_rows), context.student.max_tokens)
    return int(LIBRARIES) + max(teacher_fit, weights + student_fit)


def longest_row(frame: pd.DataFrame) -> int:
    """Tokens of the longest row of ``frame``, guessed from its characters."""
    return int(_characters(frame).max() / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS


def mean_row(frame: pd.DataFrame) -> float:
    """Tokens of a row of ``frame`` in the mean, guessed from its characters."""
    return float(_characters(frame).mean() / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new processes can take: what the system has to give, within the limit of the container we are in."""
    return min([int(psutil.virtual_memory().available), *_left_in_container(cgroup)])


def _characters(frame: pd.DataFrame) -> pd.Series:
    texts = frame.drop(columns=["id", "label"])
    return pd.Series(sum(texts[column].str.len() for column in texts))


def _fit_bytes(network: NetworkSize, rows: int, tokens: int, max_tokens: int) -> int:
    """:param max_tokens: at which rows are cut, see ``--max_text_length``."""
    activations = network.activation_bytes(rows, min(tokens, network.max_tokens, max_tokens))
    return TRAINED * FLOAT * network.parameters + activations


def _left_in_container(cgroup: Path) -> Iterator[int]:
    """Of version 2 and of version 1 of Linux's control groups; nothing where there is no limit, or another system."""
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            allowed, taken = int((cgroup / limit).read_text()), int((cgroup / used).read_text())
            statistics = (cgroup / limit).with_name("memory.stat").read_text().split()
        except (OSError, ValueError):  # ValueError: "max"
            continue
        # File pages that nobody uses count as taken, but are given back on demand.
        pages = int(statistics[statistics.index(reclaimable) + 1]) if reclaimable in statistics else 0
        yield max(0, allowed - taken + pages)
