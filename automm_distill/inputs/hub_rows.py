"""Rows from the Hugging Face hub, kept in the data folder for the next run."""

import logging
from pathlib import Path

from automm_distill import cache
from automm_distill.errors import UserError, first_line
from automm_distill.inputs import hub
from automm_distill.tasks import Task

log = logging.getLogger(__name__)


def download(local: Path, task: Task) -> None:
    """Fetch the splits from the hub (or from its own offline cache) and keep them under ``local``, all or none."""
    reachable = hub.is_reachable()
    import datasets
    import httpx

    try:
        splits = datasets.load_dataset(task.hub_id, task.config, split=list(task.splits))
    except (OSError, ValueError, httpx.HTTPError, datasets.exceptions.DatasetsError) as error:
        if reachable:
            raise UserError(f"{task.hub_id} ({task.config}) cannot be loaded: {first_line(error)}") from error
        raise UserError(
            f"no rows for {task.config}: {local} does not exist, the Hugging Face hub cannot be reached and its cache "
            f"({datasets.config.HF_CACHE_HOME}) has no {task.hub_id}; give --dataset_path a folder with "
            f"{task.config}/{task.splits[0]}.parquet, or try --demo"
        ) from error
    if not reachable:
        log.info(
            "the Hugging Face hub cannot be reached; using the copy of %s in its cache on this machine", task.config
        )
    try:
        with cache.locked(local):
            if local.is_dir():  # another run was faster
                return
            with cache.staged(local) as partial:
                partial.mkdir()
                for split, rows in zip(task.splits, splits, strict=True):
                    rows.to_parquet(partial / f"{split}.parquet")
    except OSError as error:
        raise UserError(f"--dataset_path: cannot write to {local.parent}: {error.strerror}") from error
