"""What a person sees while a run goes on: one line per step, warnings, and nothing of the libraries' chatter.

Messages and progress go to standard error, the answer alone to standard output.
"""

import functools
import logging
import os
import sys
import warnings
from types import ModuleType
from typing import Any

from rich.console import Console

LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
FILE_WIDTH = 120  # columns of a table in a file or a pipe
# Warnings of other libraries that a user cannot act on.
_NOISY_LIBRARIES = (
    *(
        "autogluon",
        "lightning",
        "lightning_fabric",
        "lightning_utilities",
        "pytorch_lightning",
        "torch",
        "torchmetrics",
    ),
    *("transformers", "tokenizers", "huggingface_hub", "datasets", "timm", "nlpaug", "nltk"),
    *("numpy", "pandas", "scipy", "sklearn", "statsmodels", "omegaconf"),
)


class _LineHandler(logging.Handler):
    """One line for each message, whole, above the bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        message_console().out(self.format(record))


def set_up(verbosity: str) -> None:
    """Send this package's messages to standard error, and keep the libraries' bars off it where they have no place.

    To be called before the libraries are imported, which read the variables then.
    """
    log = logging.getLogger(__package__)
    handler = _LineHandler()
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(LEVELS[verbosity])
    log.propagate = False
    if verbosity == "quiet" or not on_terminal():
        hide_download_bars()


def hide_download_bars() -> None:
    """Of ``huggingface_hub`` and ``datasets``, which read the variables when they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def quieten_libraries(verbosity: str) -> None:
    """Silence what a user cannot act on: banners, tips, "saving model to", deprecations between libraries.

    It imports the libraries, since they set up their loggers when imported; "verbose" leaves them as they are.
    """
    if verbosity == "verbose":
        return
    import lightning.pytorch  # noqa: F401
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else each data loading process complains of its fork
    for library in _NOISY_LIBRARIES:
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "torch", "autogluon.multimodal"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def quieten_downloads(library: ModuleType) -> None:
    """Silence the warnings of ``huggingface_hub`` or ``datasets``, whose gist our own lines give; all if quiet.

    As the messages of this package are: "verbose" leaves the library as it is, "quiet" has no progress bars.
    """
    log = logging.getLogger(__package__)
    if not log.isEnabledFor(logging.DEBUG):
        library.utils.logging.set_verbosity_error()
    if not log.isEnabledFor(logging.INFO):
        library.utils.disable_progress_bars()


@functools.cache
def message_console() -> Console:
    """Standard error: one console for messages and bars, which would overwrite each other."""
    return _console(stderr=True)


def result_console() -> Console:
    """Standard output, wide enough for a table also when it is a file or a pipe."""
    console = _console()
    return console if console.is_terminal or "COLUMNS" in os.environ else _console(width=FILE_WIDTH)


def on_terminal() -> bool:
    """Whether standard error is a terminal that can show a bar."""
    console = message_console()
    # Rich takes a file for a terminal where FORCE_COLOR is set.
    return sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal


def _console(**how: Any) -> Console:
    """A console that shows texts as they are: in a path, ``[v2]`` is no markup and ``:fire:`` no emoji."""
    return Console(markup=False, emoji=False, highlight=False, **how)
