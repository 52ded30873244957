"""What a person sees while a run goes on: one line per step, warnings, and nothing of the libraries' chatter."""

import logging
import os
import sys
import warnings
from types import ModuleType

from rich.console import Console
from rich.logging import RichHandler

LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
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


def set_up(verbosity: str) -> None:
    """Send this package's messages to standard error: one line each, whole, where that is a file."""
    log = logging.getLogger(__package__)
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=Console(stderr=True), show_level=False, show_path=False, log_time_format="[%X]"
        )
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(LEVELS[verbosity])
    log.propagate = False


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


def result_console() -> Console:
    """Standard output, wide enough for a table also when it is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
