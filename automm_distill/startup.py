"""The first thing that a command does, before its imports: its standard streams, and Ctrl-C until it can answer it.

Imported by the scripts at once, so nothing is imported here that takes time, as contextlib, pathlib and typing do.
"""

import errno
import io
import os
import signal
import sys

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any


INTERRUPTED = 130  # exit status: 128 and the number of SIGINT, as shells have it
AGAIN_AFTER_S = 0.05
_READER_GONE = {errno.EPIPE, errno.EIO}  # of a pipe, or a terminal that was closed


def start(prog: str = "") -> None:
    """Make the streams safe to write to, and let Ctrl-C end the process in one line instead of a traceback.

    :param prog: how the command is called, if not by the name of its file.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            _open_nowhere(name, number, mode)
        elif mode == "w" and getattr(sys, name) is getattr(sys, f"__{name}__"):  # else it belongs to somebody else
            _make_safe(name)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _interrupt_again
    end_on_interrupt(f"{prog or os.path.basename(sys.argv[0])}: interrupted\n")  # noqa: PTH119


def end_on_interrupt(line: str = "") -> None:
    """From now on Ctrl-C ends the process at once, with ``line`` on standard error and status 130.

    For when there is nothing to clean up: while modules are imported, and after the work.
    """

    def end(signal_number: int, frame: "FrameType | None") -> None:
        try:
            os.write(2, line.encode(errors="replace"))
        finally:
            os._exit(INTERRUPTED)

    _on_interrupt(end)


def raise_on_interrupt() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt again."""
    _on_interrupt(signal.default_int_handler)


def _on_interrupt(handler: "Callable[[int, FrameType | None], object]") -> None:
    """Stay deaf where the process was started so, as in the background of a script."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python drops a KeyboardInterrupt that comes in a ``__del__``: it is raised once more when that has ended."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    import threading

    main = threading.main_thread().ident
    threading.Timer(AGAIN_AFTER_S, signal.pthread_kill, (main, signal.SIGINT)).start()


class _Output(io.FileIO):
    """A stream whose reader may go away (``| head``, a closed terminal): the rest goes nowhere, the work goes on."""

    def write(self, data: "Any", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno not in _READER_GONE:  # a full disk, say: that is told once
                raise
            return memoryview(data).nbytes


def _make_safe(name: str) -> None:
    """A standard output or error that puts a ``?`` where the terminal lacks a character."""
    stream = getattr(sys, name)
    stream.flush()
    safe = io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering or stream.write_through,
    )
    setattr(sys, name, safe)


def _open_nowhere(name: str, number: int, mode: str) -> None:
    """In place of a stream that was closed by the caller, whose number the next file would get."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    else:
        os.set_inheritable(number, True)
    setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
