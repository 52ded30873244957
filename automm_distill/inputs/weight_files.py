"""The files that hold a checkpoint's weights: which they are, and how large their network is in single precision."""

import json
import math
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import safetensors

from automm_distill.errors import UserError

# In the order in which transformers 5.14.1 looks for them (modeling_utils.py, _get_resolved_checkpoint_files).
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_INDEX = ".index.json"
_BYTES_PER_NUMBER = 4


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that transformers reads from ``folder``; none when it has none.

    :raises UserError: when a shard is missing.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            files = [folder / part for part in parts(folder, name)]
            for file in files:
                if not file.is_file():
                    raise UserError(f"{folder}: {file.name} is missing, which {name} names")
            return files
    return []


def parts(folder: Path, name: str) -> list[str]:
    """The files that ``name``, one of ``WEIGHTS``, stands for: itself, or the shards that the index lists.

    :raises UserError: when the index cannot be read.
    """
    if not name.endswith(_INDEX) or not (folder / name).is_file():
        return [name]
    try:
        return sorted(set(json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / name} is not an index of weights") from error


def single_precision_bytes(file: Path) -> int:
    """The size that the weights in ``file`` have in float32, as they are trained; half of them may be kept in 16 bits.

    A file that cannot be read counts as it is: whatever opens it says what is wrong.
    """
    try:
        if file.suffix == ".safetensors":
            return _BYTES_PER_NUMBER * sum(_safetensors_sizes(file))
        return round(file.stat().st_size * _growth(file))
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError):
        return file.stat().st_size


def _safetensors_sizes(file: Path) -> Iterator[int]:
    with safetensors.safe_open(file, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118  not a dictionary
            yield math.prod(tensors.get_slice(name).get_shape())


def _growth(file: Path) -> float:
    """How many times larger the tensors of a file by ``torch.save`` are in float32.

    A ratio, because tied weights are one tensor in the file and several in what it holds.
    """
    import torch

    tensors = [
        tensor
        for tensor in torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file)).values()
        if isinstance(tensor, torch.Tensor)
    ]
    stored = sum(tensor.nbytes for tensor in tensors)
    return _BYTES_PER_NUMBER * sum(tensor.numel() for tensor in tensors) / stored if stored else 1.0
