"""Pretrained checkpoints: found, fetched and identified by content before anything is trained."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from automm_distill.cache.entries import fingerprint, hash_folder
from automm_distill.errors import UserError
from automm_distill.inputs import hub
from automm_distill.inputs.checkpoint_files import require_network

# AutoGluon reads the PyTorch weights only; a hub repository often carries the same weights for other frameworks too.
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.bpe")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
AUTOGLUON_MAX_TOKENS = 512  # of a row: its model.hf_text.max_text_len (configs/model/default.yaml)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    ``fingerprint`` depends on the content of its files, not on their name or place; ``bytes`` is the weights' size;
    ``max_tokens`` is the longest row that it takes, for AutoGluon's limit until the checkpoint was opened.
    """

    path: Path
    fingerprint: str
    bytes: int
    max_tokens: int = AUTOGLUON_MAX_TOKENS


def find_checkpoint(flag: str, name: str) -> Checkpoint:
    """The local folder ``name``, or the hub's repository of that name, downloaded.

    :param flag: the command-line flag that ``name`` came from, for messages.
    :raises UserError: when there is no such checkpoint, it cannot be fetched, or it lacks weights or a configuration.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        path = _download(flag, name)
    require_network(f"{flag} {name}", path)
    config = path / "config.json"
    if not config.is_file():
        raise UserError(f"{flag} {name}: no config.json in {path}; needs the folder of a Hugging Face checkpoint")
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{flag} {name}: {config} is not JSON") from error
    weights = [file for pattern in _WEIGHTS for file in path.glob(pattern)]
    if not weights:
        raise UserError(f"{flag} {name}: no model.safetensors or pytorch_model.bin in {path}")
    digest = fingerprint(hash_folder(path, (*_SMALL_FILES, *_WEIGHTS)))
    return Checkpoint(path.resolve(), digest, sum(file.stat().st_size for file in weights))


def _download(flag: str, name: str) -> Path:
    reachable = hub.is_reachable()
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    reason = "the Hugging Face hub cannot be reached"
    try:
        if reachable:
            return _fetch(name)
    except HFValidationError as error:
        raise UserError(f"{flag} {name}: there is no such folder, and it is not a name on the hub either") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = f"the hub says: {(str(error).splitlines() or [type(error).__name__])[0]}"
    try:
        path = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
        log.info("%s: %s; using the copy in its cache on this machine", name, reason)
        return path
    except (HFValidationError, OSError) as error:
        raise UserError(
            f"{flag} {name}: there is no such folder, {reason}, and the hub's cache on this machine "
            f"({huggingface_hub.constants.HF_HUB_CACHE}) does not have it"
        ) from error


def _fetch(name: str) -> Path:
    import huggingface_hub

    files = huggingface_hub.list_repo_files(name)
    weights = _WEIGHTS[:1] if any(file.endswith(".safetensors") for file in files) else _WEIGHTS[1:]
    return Path(huggingface_hub.snapshot_download(name, allow_patterns=[*_SMALL_FILES, *weights]))
