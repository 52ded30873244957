"""Pretrained checkpoints: found, fetched and identified by content before anything is trained."""

import fnmatch
import glob
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError, IncompleteSnapshotError

from automm_distill.cache.entries import fingerprint, hash_folder
from automm_distill.errors import UserError
from automm_distill.inputs import hub, hub_errors
from automm_distill.inputs.checkpoints.folder_files import require_network, require_whole_files
from automm_distill.inputs.checkpoints.weight_files import WEIGHTS, parts, single_precision_bytes, weight_files

# What no tokenizer or configuration is in: sub-folders; weights, which are chosen one by one, and those of other
# frameworks; a training's own records; documents. Naming what is wanted instead would miss the next bpe.codes.
_LEFT_OUT = (
    *("*/*", ".*"),
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.h5", "*.msgpack", "*.ot", "*.onnx"),
    *("*.onnx_data", "*.tflite", "*.gguf", "*.mlmodel", "*.npz", "*.pb", "*.pkl", "*.tar", "*.gz", "*.zip"),
    *("events.out.tfevents.*", "*.log", "*.md", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.py"),
    *("LICENSE*", "NOTICE*", "generation_config.json", "generator_config.json", "trainer_state.json", "*_results.json"),
)
_PREDICTOR = "assets.json"  # written by MultiModalPredictor.save
AUTOGLUON_MAX_TOKENS = 512  # of a row: its model.hf_text.max_text_len (configs/model/default.yaml)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    ``fingerprint`` depends on the content of the files that are used, not on their name or place; ``bytes`` is the
    weights' size in single precision; ``max_tokens`` is the longest row that it takes, for AutoGluon's limit until the
    checkpoint was opened. ``layers`` are those of another checkpoint that this one was cut from, none if it was not.
    """

    path: Path
    fingerprint: str
    bytes: int
    max_tokens: int = AUTOGLUON_MAX_TOKENS
    layers: tuple[int, ...] = ()


def find_checkpoint(flag: str, name: str) -> Checkpoint:
    """The local folder ``name``, or the hub's repository of that name (``owner/name`` or ``owner/name@revision``).

    :param flag: the command-line flag that ``name`` came from, for messages.
    :raises UserError: when there is no such checkpoint, it cannot be fetched, or it lacks weights or a configuration.
    """
    where, path = f"{flag} {name}", _local_folder(flag, name)
    if path is None:
        path = _from_hub(where, name)
    _require_no_predictor(where, path)
    require_network(where, path)
    config = path / "config.json"
    if not config.is_file():
        inside = sorted(found.parent.name for found in path.glob("*/config.json"))
        hint = f"; is it {path / inside[0]}?" if inside else "; needs the folder of a Hugging Face checkpoint"
        raise UserError(f"{where}: no config.json in {path}{hint}")
    require_whole_files(where, path)
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{where}: {config} is not JSON") from error
    weights = weight_files(where, path)
    used = [glob.escape(file.name) for file in (*small_files(path), *weights)]
    digest = fingerprint(hash_folder(path, used))
    return Checkpoint(path.resolve(), digest, sum(map(single_precision_bytes, weights)))


def small_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that are used, but for its weights: those of the tokenizer and the configurations."""
    left_out = [file for file in folder.iterdir() if any(fnmatch.fnmatch(file.name, each) for each in _LEFT_OUT)]
    return [file for file in folder.iterdir() if file.is_file() and file not in left_out]


def _local_folder(flag: str, name: str) -> Path | None:
    """The folder of that name on this machine, if there is one.

    :raises UserError: when it is a file.
    """
    try:
        path = Path(name).expanduser()
        if path.is_file():
            raise UserError(f"{flag} {name}: a file; needs the folder that it is in")
        return path if path.is_dir() else None
    except (OSError, RuntimeError):  # longer than a path may be; a home folder of nobody
        return None


def _require_no_predictor(where: str, path: Path) -> None:
    """Refuse what AutoGluon saved, as the student's folder of an earlier run is; its ``hf_text`` has no weights."""
    for folder in (path, path.parent):
        if (folder / _PREDICTOR).is_file() and not weight_files(where, path):
            raise UserError(
                f"{where}: an AutoGluon predictor, not a Hugging Face checkpoint; "
                f"MultiModalPredictor.load({str(folder)!r}).dump_model() makes one of it"
            )


def _from_hub(where: str, name: str) -> Path:
    if re.match(r"\w+://|(www\.)?huggingface\.co/|hf\.co/", name, re.IGNORECASE):
        raise UserError(f"{where}: needs a name on the hub (owner/name), not an address")
    repository, _, revision = name.rstrip("/").partition("@")
    try:
        with hub.connected():
            return _snapshot(where, repository, revision or None)
    except HFValidationError as error:
        raise UserError(f"{where}: there is no such folder, and it is not a name on the hub either") from error
    except hub_errors.ERRORS as error:
        reason, says_no = hub_errors.explain(error), hub_errors.says_no(error)
        if isinstance(error, IncompleteSnapshotError):
            reason = hub_errors.OFFLINE if huggingface_hub.constants.HF_HUB_OFFLINE else "the hub cannot be asked"
    try:
        path = _snapshot(where, repository, revision or None, cached=True)
    except hub_errors.ERRORS as error:
        part = "only a part of it is" if isinstance(error, IncompleteSnapshotError) else "nor is it"
        cache = f"; {part} in the hub's cache on this machine ({huggingface_hub.constants.HF_HUB_CACHE})"
        raise UserError(f"{where}: there is no such folder, and {reason}{'' if says_no else cache}") from error
    log.info("%s: %s; using the copy in the hub's cache on this machine", name, reason)
    return path


def _snapshot(where: str, repository: str, revision: str | None, *, cached: bool = False) -> Path:
    """The folder of ``repository`` in the hub's cache, with the files that are used; only looked for if ``cached``.

    Weights come after the rest, so that an index of shards is there to be read. The commit of the first call is asked
    for again, which needs no request for what is there already.
    """

    def fetch(revision: str | None, *, only: list[str] | None = None, without: Sequence[str] = ()) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=only,
                ignore_patterns=list(without),
                local_files_only=cached,
            )
        )

    folder = fetch(revision, without=_LEFT_OUT)
    try:
        names = {file.path for file in huggingface_hub.get_cached_repo_tree(repository, revision=folder.name)}
    except CachedRepoTreeNotFoundError:  # another tool, or an older version, filled the cache
        names = {file.name for file in folder.iterdir()}
        if names.isdisjoint(WEIGHTS):  # a tool that wanted only the tokenizer, say; the hub was not asked
            raise IncompleteSnapshotError("no weights", str(folder)) from None
    weights = next((name for name in WEIGHTS if name in names), None)
    if weights:
        fetch(folder.name, only=parts(where, folder, weights))
    return folder
