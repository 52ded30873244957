"""How far a long piece of work is: a bar on a terminal, elsewhere a line now and then. Both go to standard error.

Nothing is shown where the package's log is quiet.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from automm_distill import logs

LINE_EVERY_S = 60.0  # at the least, where there is no terminal
REDRAW_EVERY_S = 0.2  # at the most, on a terminal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """``done`` of ``total`` steps or rows of a piece of work; ``seconds_left`` is None before anything is done."""

    name: str
    done: int
    total: int
    details: str
    seconds_left: float | None

    def as_line(self) -> str:
        """For a log file."""
        return f"{self.name}: {', '.join(filter(None, (self.details, self._left())))}"

    def as_bar(self) -> Group:
        """For a terminal: a bar as wide as that, and the details under it."""
        bar = Table.grid(expand=True, padding=(0, 1))
        for ratio in (None, 1, None, None):
            bar.add_column(ratio=ratio, no_wrap=True)
        share = f"{math.floor(100 * self.done / self.total)} %" if self.total else ""
        bar.add_row(self.name, ProgressBar(total=self.total, completed=self.done), share, self._left())
        return Group(bar, Text(self.details))

    def _left(self) -> str:
        return "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"


class Display:
    """Shows one piece of work, from now to ``stop``; work that is done at once shows nothing.

    :param stays: leave the bar on the screen when the work is done.
    """

    def __init__(self, *, stays: bool) -> None:
        self._stays = stays
        self._enabled = log.isEnabledFor(logging.INFO)
        self._has_bar = self._enabled and logs.on_terminal()
        self._started = self._shown = time.monotonic()
        self._live: Live | None = None

    def stop(self, last: Status | None = None) -> None:
        """Give the terminal back, with the bar as it was at the ``last``."""
        if last is not None and self._has_bar:
            self.show(last)
        if self._live is not None:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._started

    def is_due(self) -> bool:
        """Whether it is time to show something again."""
        every = REDRAW_EVERY_S if self._has_bar else LINE_EVERY_S
        return self._enabled and time.monotonic() - self._shown >= every

    def show(self, status: Status) -> None:
        """Redraw the bar, or write a line."""
        self._shown = time.monotonic()
        if not self._has_bar:
            log.info("%s", status.as_line())
            return
        if self._live is None:
            # Drawn by the work itself: a thread would be copied into the processes that load rows.
            self._live = Live(
                console=logs.message_console(), auto_refresh=False, redirect_stdout=False, transient=not self._stays
            )
            self._live.start()
        self._live.update(status.as_bar(), refresh=True)

    def seconds_left(self, done: int, total: int) -> float | None:
        """As long as the rest takes at the pace so far."""
        return self.seconds * (total - done) / done if done else None


def batch_starts(name: str, count: int, size: int) -> Iterator[int]:
    """The first row of each batch of ``size`` rows of ``count``, while the display says how far the caller is."""
    return shown(name, count, range(0, count, size))


def shown(name: str, count: int, done: Iterable[int]) -> Iterator[int]:
    """Pass on how many rows of ``count`` are done, while the display says the same."""
    display = Display(stays=False)
    try:
        for rows in done:
            if display.is_due():
                details = f"{rows:,} of {count:,} rows"
                display.show(Status(name, rows, count, details, display.seconds_left(rows, count)))
            yield rows
    finally:
        display.stop()


def duration(seconds: float) -> str:
    """A time for people, in its two largest units at the most: "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
