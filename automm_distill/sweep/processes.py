"""Commands as processes; runs of the scripts are forked off a warm worker where the system can do that."""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Protocol

from automm_distill.sweep.warm_worker import GPUS, KILL, RUN_MODULE, Run, end_with_parent

_PYTHON = (sys.executable, "-P", "-m")
RUN = (*_PYTHON, RUN_MODULE)  # how a command begins that is a run of a script
ON_LINUX = sys.platform == "linux"
# pyarrow's jemalloc, which is not its default, would start a thread when it is imported.
_NO_ARROW_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
_idle: list["_Worker"] = []  # the warm workers of this process that wait for a run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """``argv`` is run in ``folder``, with ``environment`` added to the starter's; what it prints goes to ``log``."""

    name: str
    argv: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Process(Protocol):
    """A command that was started, as ``subprocess.Popen`` has it."""

    pid: int

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """The exit status, once it has ended."""

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""


def start(command: Command) -> Process:
    """Start ``command``; it ends with this process, or with the thread that called this, whichever ends first.

    A command that begins with ``RUN`` is forked off a warm worker. That is a worker that an earlier command has left,
    or else a new one, which takes the seconds of the imports.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    command.log.touch()  # whoever looks sees that it has begun, though a worker may have to import first
    environment = {**os.environ, **command.environment}
    if ON_LINUX and tuple(command.argv[: len(RUN)]) == RUN:
        try:
            return _WarmRun(command, _idle_worker(environment, command.folder), environment.get(GPUS))
        except (EOFError, OSError) as error:
            log.warning("no warm worker for %s, which gets a process of its own: %r", command.name, error)
    with command.log.open("ab") as output:
        return subprocess.Popen(
            command.argv,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=end_with_parent if ON_LINUX else None,
        )


class _Worker:
    """A warm worker that is ready; it ends, and so does its run, when this object is dropped.

    :raises EOFError: when it ended before it was ready.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.connection, other_end = Pipe()
        with other_end:
            self.process = subprocess.Popen(
                (*_PYTHON, "automm_distill.sweep.warm_worker", str(other_end.fileno())),
                cwd=folder,  # which relative entries of PYTHONPATH are meant from
                stdin=subprocess.DEVNULL,
                env={**environment, **_NO_ARROW_THREAD},
                pass_fds=[other_end.fileno()],
                preexec_fn=end_with_parent,
            )
        self._imported_with = _all_but_gpus(environment)
        self.connection.recv()  # READY

    def can_run_with(self, environment: Mapping[str, str]) -> bool:
        """Whether it is alive, and its libraries have read the same variables as those of a new process would."""
        return self.process.poll() is None and self._imported_with == _all_but_gpus(environment)


class _WarmRun:
    """A run that a warm worker has forked, and that leaves the worker to the next run."""

    def __init__(self, command: Command, worker: _Worker, gpus: str | None) -> None:
        self._worker = worker
        self._status: int | None = None
        arguments = tuple(command.argv[len(RUN) :])
        worker.connection.send(tuple(Run(arguments, str(command.folder.absolute()), str(command.log.absolute()), gpus)))
        self.pid: int = worker.connection.recv()

    def poll(self) -> int | None:
        if self._status is None and self._worker.connection.poll():
            return self.wait()
        return self._status

    def wait(self) -> int:
        if self._status is None:
            try:
                self._status = int(self._worker.connection.recv())
                _idle.append(self._worker)
            except (EOFError, OSError):  # the worker ended, and the run with it
                self._status = self._worker.process.wait()
        return self._status

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(OSError):
                self._worker.connection.send(KILL)


def _idle_worker(environment: Mapping[str, str], folder: Path) -> _Worker:
    """One that is idle and fits, or a new one in place of those that do not."""
    while _idle:
        worker = _idle.pop()
        if worker.can_run_with(environment):
            return worker
    return _Worker(environment, folder)


def _all_but_gpus(environment: Mapping[str, str]) -> dict[str, str]:
    """What libraries may read when they are imported; which GPUs there are is read when the first is used."""
    return {name: value for name, value in environment.items() if name != GPUS}
