"""Everything kept on disk for later runs: whole or not there, found by what made it.

``python -m automm_distill.cache list|prune`` shows what a cache folder holds and removes what no result refers to.
"""

TYPE_CHECKING = False  # type checkers know the name; typing takes time to import
if TYPE_CHECKING:
    from typing import Any

    from automm_distill.cache.entries import (
        MANIFEST,
        DamagedEntry,
        NotAvailable,
        file_system_time,
        fingerprint,
        get_or_build,
        hash_folder,
        in_use,
        load_now,
        locked,
        mark_in_use,
        quarantine,
        remove,
        remove_unfinished,
        staged,
        verified_manifest,
        write_manifest,
    )

__all__ = [
    "MANIFEST",
    "DamagedEntry",
    "NotAvailable",
    "file_system_time",
    "fingerprint",
    "get_or_build",
    "hash_folder",
    "in_use",
    "load_now",
    "locked",
    "mark_in_use",
    "quarantine",
    "remove",
    "remove_unfinished",
    "staged",
    "verified_manifest",
    "write_manifest",
]


def __getattr__(name: str) -> "Any":
    """These names, when first asked for: ``python -m`` imports this file before the command can answer Ctrl-C."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from automm_distill.cache import entries

    return getattr(entries, name)
