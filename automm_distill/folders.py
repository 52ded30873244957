"""Can a folder be written to? Asked before there is something to lose."""

import tempfile
from pathlib import Path

from automm_distill.errors import UserError


def require_writable(folder: Path, flag: str) -> None:
    """Make ``folder`` and refuse one that cannot be written to.

    :raises UserError: naming ``flag`` and the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room for one block")
    except OSError as error:
        raise UserError(f"{flag} {folder}: cannot be written to: {error.strerror}") from error
