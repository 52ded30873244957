"""The pending trials of a sweep, run, and a screen that shows how far they are."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.table import Table

import automm_distill
from automm_distill import logs
from automm_distill.flag import Benchmark
from automm_distill.sweep import processes, ray_runner
from automm_distill.sweep.grid import Trial


def run(
    trials: Sequence[Trial],
    benchmark: Benchmark,
    *,
    address: str | None,
    resources: ray_runner.Resources,
) -> list[ray_runner.Finished]:
    """Run the trials, show how far they are, and return those that failed.

    :param resources: what each of them needs.
    :raises UserError: when Ray does not start, or this machine has not what one trial needs.
    """
    commands = [trial_command(trial, benchmark) for trial in trials]
    finished: dict[str, ray_runner.Finished] = {}
    started = time.time()
    console = logs.message_console()
    table = Live(
        get_renderable=lambda: _table(commands, finished, started),
        console=console,
        refresh_per_second=1,
        redirect_stdout=False,
    )
    with ray_runner.ray_session(address, resources), table if logs.on_terminal() else nullcontext():
        for each in ray_runner.run(commands, resources):
            finished[each.command.name] = each
            if not logs.on_terminal():
                console.out(f"{each.command.name}: {_state(each)}")
    return [each for each in finished.values() if each.status != 0]


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


def _state(finished: ray_runner.Finished) -> str:
    if finished.status == 0:
        return f"done in {finished.seconds:.0f} s"
    how = "lost" if finished.status is None else f"failed (status {finished.status})"
    return f"{how}; see {finished.command.log}"


def _table(commands: Sequence[processes.Command], finished: Mapping[str, ray_runner.Finished], started: float) -> Table:
    table = Table(title=f"{len(finished)} of {len(commands)} trials", title_justify="left")
    table.add_column("Trial")
    table.add_column("State")
    for command in commands:
        if command.name in finished:
            state = _state(finished[command.name])
        else:  # the log of an earlier sweep is older
            has_begun = command.log.exists() and command.log.stat().st_mtime >= started
            state = "running" if has_begun else "waiting"
        table.add_row(command.name, state)
    return table
