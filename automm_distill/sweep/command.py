"""The command line of a sweep."""

import argparse
import logging
import math
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from automm_distill.command import DONE, FAILED, Parser, guarded, path_argument
from automm_distill.defaults import SCRIPT_DEFAULTS
from automm_distill.errors import UserError

if TYPE_CHECKING:
    from automm_distill.sweep.checks import CheckedTrial
    from automm_distill.sweep.ray_runner import Resources

DEFAULT_SEED = 123


def make_parser(description: str | None) -> Parser:
    """The sweep's own flags; it passes on all others."""
    parser = Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("benchmark", choices=tuple(SCRIPT_DEFAULTS), help="benchmark: which script to run")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="FLAG=VALUE,VALUE",
        help="values of one flag of the script; with several --grid, all combinations",
    )
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help=f"each point runs with each [{DEFAULT_SEED}]")
    parser.add_argument(
        "--search",
        choices=("grid", "asha"),
        default="grid",
        help="grid runs all points with all seeds; asha stops bad points early (asynchronous successive halving) and "
        "runs only the best with more than the first seed [%(default)s]",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="asha: points to try, at random [all]")
    parser.add_argument(
        "--max_hours", type=float, metavar="X", help="asha: when to end; the same command again goes on [no limit]"
    )
    parser.add_argument("--file", type=path_argument, metavar="YAML", help="a file with grid, seeds and flags")
    parser.add_argument(
        "--cpus_per_trial", type=float, default=1, metavar="X", help="CPUs, and threads, of one trial [1]"
    )
    parser.add_argument(
        "--gpus_per_trial",
        type=float,
        metavar="X",
        help="GPUs of one trial, which sees no other; 0.5 shares one between two [1 where this machine has any; with "
        "--ray_address 0]",
    )
    parser.add_argument(
        "--memory_per_trial",
        type=float,
        metavar="GB",
        help="main memory of one trial; no more run at once than fit [estimated from checkpoints and rows]",
    )
    parser.add_argument(
        "--ray_address", metavar="ADDRESS", help="run on this Ray cluster, whose nodes share this file system [here]"
    )
    return parser


def main(argv: Sequence[str] | None = None, description: str | None = None) -> int:
    """Check all trials, run those that are pending, say where the results are.

    :param description: the head of ``--help``.
    :return: the exit status: 0 done, 1 a trial failed, 2 the user's mistake, 130 interrupted.
    :raises SystemExit: with status 2 for a flag that the sweep or the script refuses, or 0 after ``--help``.
    """
    parser = make_parser(description)
    args, flags = parser.parse_known_args(argv)
    return guarded(parser.prog, lambda: _sweep(args, flags), "interrupted; the same command again runs what is missing")


def _sweep(args: argparse.Namespace, flags: Sequence[str]) -> int:
    from automm_distill import logs
    from automm_distill.sweep import checks, grid, search

    started = time.monotonic()
    _check(args)
    logs.set_up("quiet")  # the trials' own logs hold the rest
    logging.getLogger("automm_distill").handlers[0].addFilter(_first_time())
    written = grid.read_file(args.file) if args.file else grid.SweepFile(grid={}, seeds=[], flags=[])
    points = written["grid"] | grid.read_grid(args.grid)
    seeds = args.seeds or written["seeds"] or [DEFAULT_SEED]
    planned = grid.plan(args.benchmark, points, seeds, [*written["flags"], *flags])
    if planned[0].settings.validation_log is not None:
        raise UserError(
            f"--validation_log {planned[0].settings.validation_log}: all trials would write to that file; leave it out"
        )
    if args.search == "asha":
        planned = search.choose_points(planned, points, args.trials)

    on_cluster = args.ray_address is not None
    gpus = grid.gpus_per_trial(args.gpus_per_trial, planned, None if on_cluster else _gpus_here())
    say = logs.message_console().out
    checked = checks.check([grid.with_gpus(trial, gpus) for trial in planned], on_cluster=on_cluster)
    if len(checked) < len(planned):
        repeated = len(planned) - len(checked)
        say(f"{repeated} of {len(planned)} trials would repeat another: left out")
    failed = _search(args, checked, gpus, started) if args.search == "asha" else _grid(args, checked, gpus)
    if failed:
        say(f"{failed} of {len(checked)} trials failed; the same command again runs them once more")
    answer = logs.result_console().out
    for folder in dict.fromkeys(Path(trial.settings.output_folder).resolve() for trial in planned):
        answer(f"results      {folder / 'results.jsonl'}")
        report = f"python automm_distillation_report.py {shlex.quote(str(folder))}"
        answer(f"report       {report}")
    return FAILED if failed else DONE


def _grid(args: argparse.Namespace, checked: Sequence["CheckedTrial"], gpus: float) -> int:
    """Run all that is pending; how many failed."""
    from automm_distill import logs
    from automm_distill.sweep import checks, progress, ray_runner

    pending = checks.pending(checked)
    say = logs.message_console().out
    say(f"{len(checked)} trials, {len(checked) - len(pending)} of them done before")
    if lacking := checks.lacking_exports(checked):
        say(
            f"--export {' '.join(lacking[0].trial.settings.export)}: {len(lacking)} of those were done without; "
            "automm_distillation_export.py makes the forms from their folders"
        )
    if not pending:
        return 0
    trials = [each.trial for each in pending]
    resources = _resources(args, pending, gpus)
    with ray_runner.ray_session(args.ray_address, resources):
        return len(progress.run(trials, args.benchmark, resources=resources))


def _search(args: argparse.Namespace, checked: Sequence["CheckedTrial"], gpus: float, started: float) -> int:
    """Search until the time is over; how many trials failed."""
    from automm_distill import logs
    from automm_distill.sweep import search

    outcome = search.run(
        checked,
        args.benchmark,
        address=args.ray_address,
        resources=_resources(args, checked, gpus),
        deadline=math.inf if args.max_hours is None else started + 3600 * args.max_hours,
    )
    if outcome.unfinished:
        logs.message_console().out(
            f"--max_hours {args.max_hours:g}: the time is over, {outcome.unfinished} trials did not get their turn or "
            "were ended; the same command again goes on"
        )
    return outcome.failed


def _resources(args: argparse.Namespace, trials: Sequence["CheckedTrial"], gpus: float) -> "Resources":
    """What each of the trials gets."""
    from automm_distill import logs
    from automm_distill.sweep import ray_runner

    estimated = max(each.memory for each in trials)
    memory = estimated if args.memory_per_trial is None else int(args.memory_per_trial * 1e9)
    about = "about " if args.memory_per_trial is None else ""
    logs.message_console().out(
        f"each with {args.cpus_per_trial:g} CPU, {gpus:g} GPU and {about}{memory / 1e9:.1f} GB of memory"
    )
    return ray_runner.Resources(args.cpus_per_trial, gpus, memory)


def _first_time() -> Callable[[logging.LogRecord], bool]:
    """A filter that lets each message through once, however many trials it is about."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        new = record.getMessage() not in seen
        seen.add(record.getMessage())
        return new

    return is_new


def _check(args: argparse.Namespace) -> None:
    """Refuse amounts that cannot be scheduled, or do not belong to this kind of search.

    :raises UserError: naming the flag.
    """
    for name in ("trials", "max_hours"):
        if getattr(args, name) is not None and args.search != "asha":
            raise UserError(f"--{name} {getattr(args, name):g}: a grid runs all of its trials; needs --search asha")
    if args.trials is not None and args.trials < 2:
        raise UserError(f"--trials {args.trials}: needs 2 or more, which can be compared")
    for name in ("cpus_per_trial", "memory_per_trial", "max_hours"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value:g}: needs a number above 0")
    gpus = args.gpus_per_trial
    if gpus is not None and not (0 <= gpus < math.inf and (gpus <= 1 or gpus == int(gpus))):
        raise UserError(f"--gpus_per_trial {gpus:g}: needs a whole number, or a part of one GPU such as 0.5")


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
