"""Commands run side by side by Ray: on this machine, or on the nodes of a cluster that share its file system."""

import importlib
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from automm_distill.errors import UserError
from automm_distill.memory import available_memory
from automm_distill.sweep.processes import Command, start
from automm_distill.sweep.warm_worker import GPUS

log = logging.getLogger(__name__)

POLL_S = 0.05  # whether a command has ended
RETRIES = 3  # of a command whose node is lost
CONNECT_TIMEOUT_S = 5  # for a cluster to answer
ASK_EVERY_S = 0.5  # which commands are to end
OBJECT_STORE_BYTES = 100_000_000  # Ray's shared memory, 30 % of the machine's unless told; commands exchange nothing


@dataclass(frozen=True)
class Resources:
    """What one command needs: ``cpus``, which is also its number of threads, ``gpus``, fractions too, and bytes."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0


@dataclass(frozen=True)
class Finished:
    """``status`` is the exit status, negative for a signal, None when Ray lost the command for good or ended it."""

    command: Command
    status: int | None
    seconds: float


@contextmanager
def ray_session(address: str | None, resources: Resources | None = None) -> Iterator[None]:
    """Connected to the Ray cluster at ``address``, or to one on this machine that ends with the block.

    :param resources: what one command will need; a cluster may yet grow, this machine does not.
    :raises UserError: when Ray is not installed or does not start, when there is no cluster there, or this machine has
        not what is needed.
    """
    require("ray")
    import ray

    try:
        _start(address)
        if address is None and resources is not None:
            _require(resources.cpus, "CPU", "--cpus_per_trial")
            _require(resources.gpus, "GPU", "--gpus_per_trial")
        yield
    finally:
        ray.shutdown()


def require(module: str) -> None:
    """Import a part of Ray.

    :raises UserError: where Ray is not installed, or not whole.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"a sweep needs Ray, which is not installed ({error}): pip install 'ray[tune]'") from error


def run(
    commands: Sequence[Command], resources: Resources, to_end: Callable[[], Collection[str]] | None = None
) -> Iterator[Finished]:
    """Each command as soon as it has finished. As many run at once as there are CPUs, GPUs and memory for.

    A command that fails or is killed does not stop the others. When the caller stops early, all end at once. A command
    sees the GPUs that Ray gives it, and without one sees none. One that needs more memory than any node has gets a
    node's whole memory: one at a time.

    :param to_end: asked again and again for the names of commands to end at once, begun or not.
    """
    import ray

    task = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
        memory=_fitting(resources.memory),
        max_retries=RETRIES,
        max_calls=0,  # also with GPUs: the next command finds the worker, and what it keeps warm
    )(_run_here)
    # Ray tells a task that has GPUs which ones, but hides none from a task without.
    shared = {"OMP_NUM_THREADS": str(max(1, int(resources.cpus)))} | ({} if resources.gpus else {GPUS: ""})
    running = {
        task.remote(replace(command, environment={**shared, **command.environment})): command for command in commands
    }
    ended: set[Any] = set()
    try:
        while running:
            finished, _ = ray.wait(list(running), num_returns=1, timeout=None if to_end is None else ASK_EVERY_S)
            for each in finished:
                command = running.pop(each)
                try:
                    status, seconds = ray.get(each)
                except ray.exceptions.RayError as error:
                    log.debug("Ray lost %s: %s", command.name, error)
                    status, seconds = None, 0.0
                yield Finished(command, status, seconds)
            unwanted = to_end() if to_end is not None else ()
            for each in [each for each, command in running.items() if command.name in unwanted and each not in ended]:
                ray.cancel(each)  # without force: the command is gone when Ray says so, and the worker takes the next
                ended.add(each)
    finally:
        for unfinished in running:
            ray.cancel(unfinished, force=True)


def _start(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = dict(log_to_driver=False, logging_level=logging.ERROR)
    try:
        if address is None:
            ray.init(
                address="local",  # without an address it would join whatever cluster of somebody else runs here
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _memory=max(1, available_memory()),
                **quiet,
            )
        else:
            _require_listener(address)
            ray.init(address=address, **quiet)
    # Ray gives up with whatever it meets: OSError, ValueError, RuntimeError, also a bare Exception.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if address is not None:
            raise UserError(
                f"--ray_address {address}: no Ray cluster there ({reason}); start one with ray start --head, and give "
                "the address that it prints"
            ) from error
        raise UserError(
            f"Ray does not start on this machine ({reason}); see that it has free memory and room in "
            f"{os.environ.get('RAY_TMPDIR', tempfile.gettempdir())}, and try again, best when it is less busy"
        ) from error


def _require(needed: float, kind: str, flag: str) -> None:
    """Ray itself would wait for a machine that has it."""
    import ray

    available = ray.cluster_resources().get(kind, 0)
    if needed > available:
        raise UserError(f"{flag} {needed:g}: this machine has {available:g}")


def _require_listener(address: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # "auto" has none
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()


def _fitting(memory: int) -> int:
    """``memory``, or that of the largest node where none has so much; Ray would wait for one that has."""
    import ray

    largest = max(int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"])
    if memory <= largest:
        return memory
    log.warning(
        "a trial may need %.1f GB of memory and %.1f GB are free: trials run one at a time, and may run out of memory",
        memory / 1e9,
        largest / 1e9,
    )
    return largest


def _run_here(command: Command) -> tuple[int, float]:
    """On the node that Ray chose: its exit status, and its seconds."""
    begun = time.monotonic()
    process = start(command)
    try:
        while process.poll() is None:  # and not wait(), in which Ray's KeyboardInterrupt would not be noticed
            time.sleep(POLL_S)
    finally:
        process.kill()
        status = process.wait()
    return status, time.monotonic() - begun
