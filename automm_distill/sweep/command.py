"""The command line of a sweep."""

import argparse
import logging
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from automm_distill.command import DONE, FAILED, Parser, guarded, path_argument
from automm_distill.errors import UserError
from automm_distill.settings import SCRIPT_DEFAULTS

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
    from automm_distill.sweep import checks, grid, progress, ray_runner

    _check(args)
    written = grid.read_file(args.file) if args.file else grid.SweepFile(grid={}, seeds=[], flags=[])
    points = written["grid"] | grid.read_grid(args.grid)
    seeds = args.seeds or written["seeds"] or [DEFAULT_SEED]
    planned = grid.plan(args.benchmark, points, seeds, [*written["flags"], *flags])

    on_cluster = args.ray_address is not None
    gpus = grid.gpus_per_trial(args.gpus_per_trial, planned, None if on_cluster else _gpus_here())
    logs.set_up("quiet")  # the trials' own logs hold the rest
    say = logs.message_console().out
    logging.getLogger("automm_distill").handlers[0].addFilter(_first_time())
    checked = checks.check([grid.with_gpus(trial, gpus) for trial in planned], on_cluster=on_cluster)
    if len(checked) < len(planned):
        repeated = len(planned) - len(checked)
        say(f"{repeated} of {len(planned)} trials would repeat another: left out")
    pending = checks.pending(checked)
    say(f"{len(checked)} trials, {len(checked) - len(pending)} of them done before")

    failed = []
    if pending:
        estimated = max(each.memory for each in pending)
        memory = estimated if args.memory_per_trial is None else int(args.memory_per_trial * 1e9)
        how = "about " if args.memory_per_trial is None else ""
        say(f"each with {args.cpus_per_trial:g} CPU, {gpus:g} GPU and {how}{memory / 1e9:.1f} GB of memory")
        failed = progress.run(
            [each.trial for each in pending],
            args.benchmark,
            address=args.ray_address,
            resources=ray_runner.Resources(args.cpus_per_trial, gpus, memory),
        )
    if failed:
        say(f"{len(failed)} of {len(checked)} trials failed; the same command again runs them once more")
    answer = logs.result_console().out
    for folder in dict.fromkeys(Path(trial.settings.output_folder).resolve() for trial in planned):
        answer(f"results      {folder / 'results.jsonl'}")
        report = f"python automm_distillation_report.py {shlex.quote(str(folder))}"
        answer(f"report       {report}")
    return FAILED if failed else DONE


def _first_time() -> Callable[[logging.LogRecord], bool]:
    """A filter that lets each message through once, however many trials it is about."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        new = record.getMessage() not in seen
        seen.add(record.getMessage())
        return new

    return is_new


def _check(args: argparse.Namespace) -> None:
    """Refuse amounts that cannot be scheduled.

    :raises UserError: naming the flag.
    """
    for name in ("cpus_per_trial", "memory_per_trial"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value:g}: needs a number above 0")
    gpus = args.gpus_per_trial
    if gpus is not None and not (0 <= gpus < math.inf and (gpus <= 1 or gpus == int(gpus))):
        raise UserError(f"--gpus_per_trial {gpus:g}: needs a whole number, or a part of one GPU such as 0.5")


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
