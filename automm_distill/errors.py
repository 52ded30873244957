"""What the command line turns into one line on the screen instead of a traceback."""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice


class UserError(Exception):
    """A mistake in what the user asked for: reported as one line, exit status 2."""


class RowFileError(UserError):
    """A file of rows that cannot be read; the line begins with its path, :func:`blamed_on` puts the flag before it."""


class NoRowsError(RowFileError):
    """A file of rows without any."""


@contextmanager
def blamed_on(flag: str) -> Iterator[None]:
    """Say which flag led to the files that are read in this block.

    :raises UserError: in place of a :class:`RowFileError`.
    """
    try:
        yield
    except RowFileError as error:
        raise UserError(f"{flag}: {error}") from error


class TrainingError(Exception):
    """A fit that ended without a usable model: reported as one line, exit status 1."""


class NotFiniteError(TrainingError):
    """A model of which numbers are NaN or infinite; the message says which numbers, after the model's name."""


def first_line(error: BaseException) -> str:
    """What ``error`` says in one line, or its type where it says nothing.

    A line that ends in a colon goes on in the next one.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[:1] or [type(error).__name__]
    while said[-1].endswith(":") and len(said) < len(lines):
        said.append(lines[len(said)])
    return " ".join(said)


def some_of(names: Iterable[object], most: int = 8) -> str:
    """The names in one line, however many there are: "a, b, c and 12 more"."""
    rest = map(str, names)
    shown = ", ".join(islice(rest, most))
    more = sum(1 for _ in rest)
    return f"{shown} and {more:,} more" if more else shown


OUT_OF_MEMORY_REMEDY = (
    "try a smaller --per_gpu_batch_size (with the same --batch_size the optimizer steps stay the same)"
)
DISK_FULL_REMEDY = "free some room, or point --finetuned_model_cache_folder and --output_folder at another disk"

# How libraries name a failed allocation, or a failed write, in exceptions that have no type of their own.
_ALLOCATION_TEXTS = (
    *(
        "can't allocate memory",
        "cannot allocate memory",
        "not enough memory",
        "out of memory",
        "cublas_status_alloc_failed",
    ),
    *("killed by signal: killed", "terminated with signal sigkill"),  # the kernel ends a process of ours
)
_WRITE_TEXTS = (
    *("no space left on device", "file too large", "disk quota exceeded"),
    *("pytorchstreamwriter failed", "inline_container.cc"),  # PyTorch's writer of checkpoints
    r"\d+ requested and \d+ written",  # NumPy
)
# safetensors' writer, and what PyTorch raises for one of several processes: its text holds that process's traceback.
_TYPES_WITH_TEXTS = {"SafetensorError", "ProcessRaisedException", "ProcessExitedException"}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def machine_limit(error: BaseException) -> str | None:
    """What a person can do about ``error`` if this machine's memory or disk was too small; None for any other error.

    PyTorch raises ``torch.OutOfMemoryError`` on a GPU but a bare ``RuntimeError`` on a CPU, and its writer a
    ``RuntimeError`` on a full disk, so types alone do not tell.
    """
    text = str(error).lower()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory on the {'CPU' if isinstance(error, MemoryError) else 'GPU'}; {OUT_OF_MEMORY_REMEDY}"
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}; {DISK_FULL_REMEDY}"
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return f"out of memory on the CPU; {OUT_OF_MEMORY_REMEDY}"
    if not isinstance(error, RuntimeError | OSError) and type(error).__name__ not in _TYPES_WITH_TEXTS:
        return None
    if any(re.search(wording, text) for wording in _ALLOCATION_TEXTS):
        return f"out of memory on the {'GPU' if 'cuda' in text else 'CPU'}; {OUT_OF_MEMORY_REMEDY}"
    if any(re.search(wording, text) for wording in _WRITE_TEXTS):
        return f"the disk is full; {DISK_FULL_REMEDY}"
    return None
