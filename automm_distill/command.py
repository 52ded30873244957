"""What all commands share: one line and an exit status for whatever a person can mend."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from automm_distill.errors import TrainingError, UserError, machine_limit
from automm_distill.flag import local_path
from automm_distill.startup import INTERRUPTED, end_on_interrupt, raise_on_interrupt

DONE, FAILED, REFUSED = 0, 1, 2  # exit statuses


class Parser(argparse.ArgumentParser):
    """argparse without the usage block in front of every error: one line says what is wrong."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        self.exit(REFUSED, f"{self.prog}: error: {message}\n")


def path_argument(text: str) -> Path:
    """An argument that is a path, as the flags of the scripts take it."""
    try:
        return Path(local_path(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def guarded(prog: str, work: Callable[[], int], when_interrupted: str) -> int:
    """``work()``, with one line on standard error in place of a traceback for whatever a person can mend.

    :return: the exit status.
    """
    try:
        raise_on_interrupt()
        return work()
    except UserError as error:
        return _say(f"{prog}: error: {error}", REFUSED)
    except TrainingError as error:
        return _say(f"{prog}: {error}", FAILED)
    except Exception as error:
        limit = machine_limit(error)
        if limit is None:
            raise
        return _say(f"{prog}: {limit}", FAILED)
    except (KeyboardInterrupt, SystemExit) as end:
        # Lightning turns Ctrl-C during a fit or a prediction into exit(1).
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        return _say(f"{prog}: {when_interrupted}", INTERRUPTED)
    finally:
        end_on_interrupt()  # while the libraries clean up; all that matters has been said


def _say(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status
