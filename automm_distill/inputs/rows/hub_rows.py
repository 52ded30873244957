"""Rows from the Hugging Face hub, kept in the data folder for the next run."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from automm_distill import cache, logs
from automm_distill.errors import UserError, some_of
from automm_distill.inputs import hub, hub_errors

if TYPE_CHECKING:
    import datasets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubRows:
    """A configuration of a data set on the hub; None for the only one. ``splits`` are those that it must have."""

    hub_id: str
    config: str | None
    splits: Sequence[str]

    def __str__(self) -> str:
        return self.hub_id if self.config is None else f"{self.hub_id} ({self.config})"


def download(local: Path, source: HubRows, *, missing: str, remedy: str) -> None:
    """Fetch the splits from the hub (or from its caches on this machine) to ``local``: all or none.

    All, because other tasks read other splits of the same configuration (mnlim and mnlimm), and a later run may want
    the test rows, which have no labels.

    :param missing: what is not there, how a message begins; ``remedy``: what would work, how it ends.
    :raises UserError: when the rows are nowhere to be found, or lack a split, or cannot be written.
    """
    splits = _load(source, missing, remedy)
    lacking = [split for split in source.splits if split not in splits]
    if lacking:
        raise UserError(f"{source} has no split {lacking[0]!r} on the hub; it has {', '.join(sorted(splits))}")
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


def _load(source: HubRows, missing: str, remedy: str) -> "datasets.DatasetDict":
    import datasets

    logs.quieten_downloads(datasets)
    reason = ""
    for load in (_from_hub, _from_snapshot):
        try:
            splits = load(source)
        except (*hub_errors.ERRORS, datasets.exceptions.DatasetsError) as error:
            reason = reason or _explain(error)
            continue
        if reason:
            log.info("%s: %s; using the copy in the hub's cache on this machine", source, reason)
        return splits
    raise UserError(
        f"{missing} {source} cannot be loaded: {reason}; nor is it in the hub's cache on this machine "
        f"({datasets.config.HF_CACHE_HOME}); {remedy}"
    )


def _from_hub(source: HubRows) -> "datasets.DatasetDict":
    """From the hub; where that fails, datasets itself looks for what an earlier load_dataset left on this machine."""
    import datasets

    with hub.connected():
        return datasets.load_dataset(source.hub_id, source.config)


def _from_snapshot(source: HubRows) -> "datasets.DatasetDict":
    """From the repository's files in huggingface_hub's cache, as ``hf download`` leaves them there."""
    import datasets
    import huggingface_hub

    folder = huggingface_hub.snapshot_download(
        source.hub_id,
        repo_type="dataset",
        local_files_only=True,
        allow_patterns=None if source.config is None else ["README.md", f"{source.config}/*"],
    )
    return datasets.load_dataset(folder, source.config)


def _explain(error: BaseException) -> str:
    """As :func:`hub_errors.explain`; datasets drops the causes of some of its errors."""
    import datasets

    match error:
        case datasets.exceptions.SplitsVerificationError():
            return "its splits on the hub are not those that its card lists"
        case datasets.exceptions.DatasetNotFoundError():
            return hub_errors.GATED if "gated" in str(error) else hub_errors.NO_REPOSITORY
        case ValueError() if listed := re.search(r"[Aa]vailable(?: configs)?: \[(.*?)\]", str(error)):
            return "its configurations are " + some_of(re.findall("'(.*?)'", listed[1]))
    return hub_errors.OFFLINE if datasets.config.HF_HUB_OFFLINE else hub_errors.explain(error)
