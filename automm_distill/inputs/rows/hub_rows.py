"""Rows from the Hugging Face hub, kept in the data folder for the next run."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from automm_distill import cache, logs
from automm_distill.errors import UserError
from automm_distill.inputs import hub, hub_errors
from automm_distill.tasks import Task

if TYPE_CHECKING:
    import datasets

log = logging.getLogger(__name__)


def download(local: Path, task: Task) -> None:
    """Fetch the splits from the hub (or from its caches on this machine) to ``local``: all or none.

    All, because other tasks read other splits of the same configuration (mnlim and mnlimm), and a later run may want
    the test rows, which have no labels.

    :raises UserError: when the rows are nowhere to be found, or lack a split, or cannot be written.
    """
    splits = _load(local, task)
    missing = [split for split in task.splits if split not in splits]
    if missing:
        raise UserError(
            f"{task.hub_id} ({task.config}) has no split {missing[0]!r} on the hub; it has {', '.join(sorted(splits))}"
        )
    try:
        with cache.locked(local):
            if local.is_dir():  # another run was faster
                return
            with cache.staged(local) as partial:
                partial.mkdir()
                for split, rows in splits.items():
                    rows.to_parquet(partial / f"{split}.parquet")
    except OSError as error:
        raise UserError(f"--dataset_path: cannot write to {local.parent}: {error.strerror}") from error


def _load(local: Path, task: Task) -> "datasets.DatasetDict":
    import datasets

    logs.quieten_downloads(datasets)
    where = f"{task.hub_id} ({task.config})"
    reason = ""
    for load in (_from_hub, _from_snapshot):
        try:
            splits = load(task)
        except (*hub_errors.ERRORS, datasets.exceptions.DatasetsError) as error:
            reason = reason or _explain(error)
            continue
        if reason:
            log.info("%s: %s; using the copy in the hub's cache on this machine", where, reason)
        return splits
    state = "is no folder" if os.path.lexists(local) else "does not exist"
    raise UserError(
        f"no rows for {task.config}: {local} {state}, and {where} cannot be loaded: {reason}; nor is it in the "
        f"hub's cache on this machine ({datasets.config.HF_CACHE_HOME}); give --dataset_path a folder with "
        f"{task.config}/{task.splits[0]}.parquet, or try --demo"
    )


def _from_hub(task: Task) -> "datasets.DatasetDict":
    """From the hub; where that fails, datasets itself looks for what an earlier load_dataset left on this machine."""
    import datasets

    with hub.connected():
        return datasets.load_dataset(task.hub_id, task.config)


def _from_snapshot(task: Task) -> "datasets.DatasetDict":
    """From the repository's files in huggingface_hub's cache, as ``hf download`` leaves them there."""
    import datasets
    import huggingface_hub

    folder = huggingface_hub.snapshot_download(
        task.hub_id,
        repo_type="dataset",
        local_files_only=True,
        allow_patterns=["README.md", f"{task.config}/*"],
    )
    return datasets.load_dataset(folder, task.config)


def _explain(error: BaseException) -> str:
    """As :func:`hub_errors.explain`; datasets drops the causes of some of its errors."""
    import datasets

    match error:
        case datasets.exceptions.SplitsVerificationError():
            return "its splits on the hub are not those that its card lists"
        case datasets.exceptions.DatasetNotFoundError():
            return hub_errors.GATED if "gated" in str(error) else hub_errors.NO_REPOSITORY
    return hub_errors.OFFLINE if datasets.config.HF_HUB_OFFLINE else hub_errors.explain(error)
