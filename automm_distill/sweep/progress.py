"""The pending trials of a sweep, run, and a screen that shows how far they are."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.table import Table

import automm_distill
from automm_distill import logs
from automm_distill.flag import Benchmark
from automm_distill.sweep import processes, ray_runner
from automm_distill.sweep.grid import Trial


class Follower:
    """Looks at the trials while they run; this one lets all run to their end."""

    def to_end(self) -> Collection[str]:
        """The names of trials to end at once, asked again and again."""
        return ()

    def running(self, name: str) -> str:
        """How far a trial that has begun is."""
        return "running"

    def ended(self, finished: ray_runner.Finished) -> str:
        """Called once for each trial: how it ended."""
        if finished.status == 0:
            return f"done in {finished.seconds:.0f} s"
        how = "lost" if finished.status is None else f"failed (status {finished.status})"
        return f"{how}; see {finished.command.log}"


def run(
    trials: Sequence[Trial],
    benchmark: Benchmark,
    *,
    resources: ray_runner.Resources,
    follower: Follower | None = None,
) -> list[ray_runner.Finished]:
    """Run the trials in a Ray session, show how far they are, and return those that failed, or were ended early.

    :param resources: what each of them needs.
    """
    commands = [trial_command(trial, benchmark) for trial in trials]
    follower = follower or Follower()
    failed: list[ray_runner.Finished] = []
    ended: dict[str, str] = {}
    started = time.time()
    console = logs.message_console()
    table = Live(
        get_renderable=lambda: _table(commands, ended, follower, started),
        console=console,
        refresh_per_second=1,
        redirect_stdout=False,
    )
    with table if logs.on_terminal() else nullcontext():
        for each in ray_runner.run(commands, resources, follower.to_end):
            ended[each.command.name] = follower.ended(each)
            if each.status != 0:
                failed.append(each)
            if not logs.on_terminal():
                console.out(f"{each.command.name}: {ended[each.command.name]}")
    return failed


def trial_command(trial: Trial, benchmark: Benchmark) -> processes.Command:
    """The script's work, in the folder that the sweep was started from.

    Its process imports this very package, whatever lies in that folder and whether the package is installed or not.
    """
    package_parent = str(Path(automm_distill.__file__).resolve().parent.parent)
    search_path = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return processes.Command(
        name=trial.name,
        argv=(*processes.RUN, benchmark, *trial.argv),
        folder=Path.cwd(),
        log=Path(trial.settings.output_folder).resolve() / "logs" / f"{trial.name}.log",
        environment={"PYTHONPATH": os.pathsep.join(search_path)},
    )


def _table(
    commands: Sequence[processes.Command], ended: Mapping[str, str], follower: Follower, started: float
) -> Table:
    table = Table(title=f"{len(ended)} of {len(commands)} trials", title_justify="left")
    table.add_column("Trial")
    table.add_column("State")
    for command in commands:
        if command.name in ended:
            state = ended[command.name]
        else:  # the log of an earlier sweep is older
            has_begun = command.log.exists() and command.log.stat().st_mtime >= started
            state = follower.running(command.name) if has_begun else "waiting"
        table.add_row(command.name, state)
    return table
