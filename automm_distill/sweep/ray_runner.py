"""Commands run side by side by Ray: on this machine, or on the nodes of a cluster that share its file system."""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm_distill.errors import UserError

log = logging.getLogger(__name__)

RETRIES = 3  # of a command whose node is lost
CONNECT_TIMEOUT_S = 5  # seconds for a cluster to answer


@dataclass(frozen=True)
class Command:
    """``argv`` is run in ``folder``; what it prints goes to ``log``."""

    name: str
    argv: Sequence[str]
    folder: Path
    log: Path


@dataclass(frozen=True)
class Finished:
    """``status`` is the exit status, negative for a signal, None when Ray lost the command for good."""

    command: Command
    status: int | None
    seconds: float


@contextmanager
def ray_session(address: str | None, *, cpus: float = 0, gpus: float = 0) -> Iterator[None]:
    """Connected to the Ray cluster at ``address``, or to one on this machine that ends with the block.

    :param cpus: and ``gpus``: what one command will need; a cluster may yet grow, this machine does not.
    :raises UserError: when there is no cluster there, or this machine has not what is needed.
    """
    import ray

    quiet: dict[str, Any] = dict(log_to_driver=False, logging_level=logging.ERROR)
    try:
        if address is None:
            # Without an address it would join whatever cluster of somebody else runs on this machine.
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            _require_listener(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError) as error:
        where = "Ray does not start here" if address is None else f"--ray_address {address}: no Ray cluster there"
        raise UserError(f"{where}: {error}") from error
    try:
        if address is None:
            _require(cpus, "CPU", "--cpus_per_trial")
            _require(gpus, "GPU", "--gpus_per_trial")
        yield
    finally:
        ray.shutdown()


def run(commands: Sequence[Command], *, cpus: float, gpus: float) -> Iterator[Finished]:
    """Each command as soon as it is over. As many run at once as the cluster has CPUs and GPUs for.

    A command that fails or is killed does not stop the others. When the caller stops early, all end at once.

    :param cpus: CPUs for each, which is also its number of threads; ``gpus``: GPUs for each, fractions too.
    """
    import ray

    submit = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_run_here).remote
    running = {
        submit(list(command.argv), str(command.folder), str(command.log), max(1, int(cpus))): command
        for command in commands
    }
    try:
        while running:
            (over,), _ = ray.wait(list(running), num_returns=1)
            command = running.pop(over)
            try:
                status, seconds = ray.get(over)
            except ray.exceptions.RayError as error:
                log.debug("Ray lost %s: %s", command.name, error)
                status, seconds = None, 0.0
            yield Finished(command, status, seconds)
    finally:
        for left in running:
            ray.cancel(left, force=True)


def _require(wanted: float, kind: str, flag: str) -> None:
    """Ray itself would wait for a machine that has it."""
    import ray

    there = ray.cluster_resources().get(kind, 0)
    if wanted > there:
        raise UserError(f"{flag} {wanted:g}: this machine has {there:g}")


def _require_listener(address: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # "auto" has none
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()


def _run_here(argv: list[str], folder: str, log_file: str, threads: int) -> tuple[int, float]:
    """On the node that Ray chose: its exit status, and its seconds."""
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with Path(log_file).open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        return process.wait(), time.monotonic() - start


def _end_with_parent() -> None:
    """Ray kills its worker to cancel a command; the kernel then ends the command too."""
    pr_set_pdeathsig = 1  # sys/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
