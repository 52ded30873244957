"""The files that hold a checkpoint's weights: which they are, and how large their network is in single precision."""

import json
import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
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


def weight_files(where: str, folder: Path) -> list[Path]:
    """The files of weights that transformers reads from ``folder``; none when it has none.

    :param where: flag and value, for messages.
    :raises UserError: when a shard is missing, or the list of them cannot be read.
    """
    found = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    files = [folder / part for part in parts(where, folder, found)] if found else []
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of the {len(files)} files of its weights are not in {folder}, such as "
            f"{missing[0]}"
        )
    return files


def parts(where: str, folder: Path, name: str) -> list[str]:
    """The files that ``name``, one of ``WEIGHTS``, stands for: itself, or the shards that the index lists.

    :raises UserError: when the index cannot be read.
    """
    if not name.endswith(_INDEX) or not (folder / name).is_file():
        return [name]
    return sorted(set(_weight_map(where, folder / name).values()))


def file_of(where: str, files: Sequence[Path], weight: str) -> Path:
    """The one of ``files``, those of :func:`weight_files`, that holds ``weight``; their folder if that cannot be told.

    :param weight: its name in the network, which a name in the index ends in.
    """
    if len(files) == 1:
        return files[0]
    folder = files[0].parent
    index = next(folder / name for name in WEIGHTS if name.endswith(_INDEX) and (folder / name).is_file())
    shards = [shard for key, shard in _weight_map(where, index).items() if key.endswith(weight)]
    return folder / shards[0] if shards else folder


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


def _weight_map(where: str, index: Path) -> Mapping[str, str]:
    try:
        files = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: {index} is no index of weights; get it again") from error
    if not files or not all(isinstance(name, str) for name in files.values()):
        raise UserError(f"{where}: {index} is no index of weights; get it again")
    return files


def _safetensors_sizes(file: Path) -> Iterator[int]:
    with safetensors.safe_open(file, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118  not a dictionary
            yield math.prod(tensors.get_slice(name).get_shape())


def _growth(file: Path) -> float:
    """How many times larger the tensors of a file by ``torch.save`` are in float32.

    A ratio, because tied weights are one tensor in the file and several in what it holds.
    """
    import torch

    content = torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
    values = content.values() if isinstance(content, dict) else ()
    tensors = [tensor for tensor in values if isinstance(tensor, torch.Tensor)]
    stored = sum(tensor.nbytes for tensor in tensors)
    return _BYTES_PER_NUMBER * sum(tensor.numel() for tensor in tensors) / stored if stored else 1.0
