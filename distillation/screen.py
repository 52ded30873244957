"""What a person sees while a run goes on: one line per step, warnings, and nothing of the libraries' chatter."""

import logging
import warnings

from rich.console import Console
from rich.logging import RichHandler

LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
_CHATTY = ("lightning", "lightning.pytorch", "lightning.fabric", "torch", "datasets", "filelock")


def set_up(verbosity: str) -> None:
    """Send this package's messages to standard error, and quieten the libraries unless ``verbosity`` is "verbose".

    What is silenced is what a user cannot act on: banners, tips, "saving model to", deprecations between libraries.
    """
    log = logging.getLogger(__package__)
    handler = RichHandler(console=Console(stderr=True), show_level=False, show_path=False, log_time_format="[%X]")
    log.handlers = [handler]
    log.setLevel(LEVELS[verbosity])
    log.propagate = False
    if verbosity == "verbose":
        return
    warnings.filterwarnings("ignore")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


def quieten_transformers(verbosity: str) -> None:
    """The same for ``transformers``, which is heavy to import: call it once it is needed anyway."""
    if verbosity != "verbose":
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
