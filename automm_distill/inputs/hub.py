"""The line to the Hugging Face hub: waits that end, and a first Ctrl-C that ends a download.

huggingface_hub and datasets send every request through one HTTP client, which huggingface_hub lets its users make. Its
own has no time limit for some requests, and repeats others for minutes; the one made here gives up on a hub that is
silent for longer than ``HF_HUB_ETAG_TIMEOUT`` or ``HF_HUB_DOWNLOAD_TIMEOUT`` (10 s each), and asks it nothing more.
"""

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import httpx
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import parse_ratelimit_headers

from automm_distill import logs
from automm_distill.inputs import hub_errors

SAID_EVERY_S = 60.0

log = logging.getLogger(__name__)


class _Line:
    """What this process knows of the hub: whether it ever answered, how often it failed since, and why it is given up.

    One silence is enough if there was never an answer; a hub that has answered may fail twice in a row before.
    """

    def __init__(self) -> None:
        self.given_up = ""
        self._answered = False
        self._failures = 0
        self._in_trouble = False

    @property
    def patience_s(self) -> float:
        return max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def note_failure(self, error: httpx.TransportError) -> None:
        self._failures += 1
        if self._failures >= (3 if self._answered else 1):
            self.given_up = hub_errors.explain(error)

    def note_answer(self, response: httpx.Response) -> None:
        self._answered = True
        self._failures = 0
        wait_s = _asked_wait(response)
        if wait_s > self.patience_s:
            self.given_up = f"{hub_errors.TOO_MANY_REQUESTS}, and the hub asks to wait {wait_s} s"
        elif response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            self._note_trouble(response.status_code)

    def _note_trouble(self, status: int) -> None:
        """Say once that the libraries may be waiting: they try up to six times, with longer and longer pauses."""
        if not self._in_trouble:
            log.info("the hub answers with status %d: trying again, for up to half a minute", status)
        self._in_trouble = True


class _Client(httpx.Client):
    def __init__(self, line: _Line, **options: Any) -> None:
        super().__init__(**options)
        self._line = line

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send ``request``, for no longer than the patience.

        :raises hub_errors.GivenUp: which, other than httpx's errors, makes the libraries' own repetitions end.
        """
        self._refuse_if_given_up()
        patience = self._line.patience_s
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            phase: min(limits.get(phase) or patience, patience) for phase in ("connect", "read", "write", "pool")
        }
        try:
            response = super().send(request, **options)
        except (httpx.ConnectError, httpx.TimeoutException) as error:
            if limits.get("read") is None or limits["read"] >= patience:  # not a question that may go unanswered
                self._line.note_failure(error)
            self._refuse_if_given_up()
            raise
        self._line.note_answer(response)
        if self._line.given_up:
            response.close()
        self._refuse_if_given_up()
        return response

    def _refuse_if_given_up(self) -> None:
        if self._line.given_up:
            raise hub_errors.GivenUp(self._line.given_up)


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Let huggingface_hub and datasets use the hub while the block runs; Ctrl-C ends a download in it at once.

    Left alone, the libraries' threads would first fetch the files in hand to their end.
    """
    line = _open_line()
    previous = signal.getsignal(signal.SIGINT)

    def hang_up(number: int, frame: FrameType | None) -> None:
        line.given_up = "interrupted"
        # Not here: this thread may hold the lock that closing takes.
        threading.Thread(target=huggingface_hub.close_session, daemon=True).start()
        raise KeyboardInterrupt

    with _said_each_minute():
        if previous is not signal.default_int_handler:  # ignored, as of a job in the background
            yield
            return
        signal.signal(signal.SIGINT, hang_up)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _said_each_minute() -> Iterator[None]:
    """In a log, say each minute how much has come: the libraries' bars are for terminals."""
    if logs.on_terminal() or not log.isEnabledFor(logging.INFO):
        yield
        return
    is_done, before = threading.Event(), _cached_bytes()

    def say() -> None:
        while not is_done.wait(SAID_EVERY_S):
            log.info("waiting for the hub: %.1f MB so far", (_cached_bytes() - before) / 1e6)

    threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        is_done.set()


def _cached_bytes() -> int:
    """Of all files in the hub's cache, those that are still coming included."""
    total = 0
    for folder, _, names in os.walk(constants.HF_HUB_CACHE):
        for name in names:
            with contextlib.suppress(OSError):  # moved into its place meanwhile
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  of thousands of files
    return total


@functools.cache
def _open_line() -> _Line:
    logs.quieten_downloads(huggingface_hub)
    # hf_xet 1.8.0 has a client of its own, which else tries for minutes to reach a storage behind a firewall.
    os.environ.setdefault("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    line = _Line()
    hooks = huggingface_hub.get_session().event_hooks  # they keep offline mode, among others
    huggingface_hub.set_client_factory(lambda: _Client(line, event_hooks=hooks, follow_redirects=True))
    return line


def _asked_wait(response: httpx.Response) -> int:
    """For how many seconds the hub wants no more requests."""
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return 0
    limit = parse_ratelimit_headers(response.headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    asked = response.headers.get("Retry-After", "")
    return int(asked) if asked.isdigit() else 0
