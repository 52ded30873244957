"""A process that has imported all that a run needs, and forks a child for each: a run without seconds of imports.

    python -P -m automm_distill.sweep.warm_worker FD    # started by sweep/processes.py, which talks to it through FD

A child finds the modules as ``python -m automm_distill.cli`` has them after its own imports, and goes on as that
command does. So nothing happens here before the fork that a run could notice: no CUDA, no random number, no handler of
a signal, no thread but OpenBLAS's, which it ends before each fork and starts again when needed.
"""

import atexit
import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

RUN_MODULE = "automm_distill.cli"
GPUS = "CUDA_VISIBLE_DEVICES"  # PyTorch on AMD's GPUs follows it too
READY = "ready"  # the first message, when all is imported
KILL = "kill"  # the message that ends a run; one that comes too late does nothing


class Run(NamedTuple):
    """The arguments of a run, its folder and its log file, and the GPUs that it may see (None: all)."""

    arguments: tuple[str, ...]
    folder: str
    log: str
    gpus: str | None


def serve(connection: Connection) -> Run | None:
    """Fork a child for each :class:`Run` that comes, and answer with its process number, then its exit status.

    :return: in a child what it has to do; in the process itself None, once the other end is closed.
    """
    os.close(os.pidfd_open(os.getpid()))  # a system without them is found out before the imports
    _import_libraries()
    connection.send(READY)
    worker = os.getpid()
    while (message := _receive(connection)) is not None:
        if message == KILL:
            continue
        child = os.fork()
        if child == 0:
            connection.close()
            end_with_parent()
            if os.getppid() != worker:  # it ended before this process asked to end with it
                os._exit(1)
            return Run(*message)
        connection.send(child)
        connection.send(_exit_status(child, connection))
    return None


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, however it does."""
    pr_set_pdeathsig = 1  # sys/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _import_libraries() -> None:
    """All that a run imports, in the same order."""
    from automm_distill import logs

    logs.hide_download_bars()  # as every run does whose standard error is a file
    import automm_distill.preflight  # noqa: I001
    import automm_distill.experiment  # noqa: F401

    sys.stdout.flush()  # else each child would write once more what a library has printed
    gc.collect()
    gc.freeze()  # children's collections leave all this alone, and so its pages shared


def _receive(connection: Connection) -> Any:
    """A message; None once the other end is closed."""
    try:
        return connection.recv()
    except EOFError:
        return None


def _exit_status(child: int, connection: Connection) -> int:
    """Wait for ``child``; negative for a signal. It is killed when that is asked for, or the other end closed."""
    process = os.pidfd_open(child)
    try:
        while process not in wait([process, connection]):
            ended = _receive(connection) is None
            signal.pidfd_send_signal(process, signal.SIGKILL)
            if ended:
                break
    finally:
        os.close(process)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _go_on(run: Run) -> None:
    """Be ``python -P -m automm_distill.cli``, started in its folder with its log file for output."""
    log = os.open(run.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.chdir(run.folder)
    if run.gpus is None:
        os.environ.pop(GPUS, None)
    else:
        os.environ[GPUS] = run.gpus
    sys.argv[1:] = run.arguments
    try:
        runpy.run_module(RUN_MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            _end_at_once(end.code)
        raise


def _end_at_once(status: int) -> NoReturn:
    """As Python ends on ``sys.exit(status)``, but for taking all modules apart, which takes most of a second.

    The first two calls are what CPython itself makes (pylifecycle.c, Py_FinalizeEx); multiprocessing's children use
    them too.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    requested = serve(Connection(int(sys.argv[1])))
    if requested is not None:
        _go_on(requested)
