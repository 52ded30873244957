#!/usr/bin/env python3
"""Run a script over a grid of its flags and several seeds, side by side, and only what is not done yet.

    python automm_distillation_sweep.py glue --grid output_feature_loss_weight=0,0.01,0.1 --seeds 1 2 3 \\
        --glue_task rte --max_epochs 3

Flags that the sweep does not know go to the script as they are. Every trial is a run of the script with --resume: it
appends its row to the same results.jsonl, and teachers, baselines and the teachers' outputs are made once, in the cache
folder. The same command again runs what is missing.
"""

import argparse
import shlex
import sys
from pathlib import Path

from automm_distill.cli import Parser
from automm_distill.errors import UserError


def get_parser() -> Parser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("benchmark", choices=("glue", "pawsx"), help="which script")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="FLAG=VALUE,VALUE",
        help="values of one flag; with several --grid, all combinations [default: none; unit: text]",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="each point is run with each [default: 123; unit: integers]"
    )
    parser.add_argument(
        "--file", type=Path, help="a YAML file with grid, seeds and flags instead [default: none; unit: path]"
    )
    parser.add_argument(
        "--cpus_per_trial", type=float, default=1, help="CPUs, and threads, of one trial [default: 1; unit: CPUs]"
    )
    parser.add_argument(
        "--gpus_per_trial", type=float, default=0, help="GPUs of one trial, also 0.5 [default: 0; unit: GPUs]"
    )
    parser.add_argument(
        "--ray_address",
        help="run on the Ray cluster there, whose nodes share this file system [default: this machine; unit: address]",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = get_parser()
    args, flags = parser.parse_known_args(argv)
    from automm_distill import logs
    from automm_distill.sweep import grid

    console = logs.result_console()
    try:
        for name in ("cpus_per_trial", "gpus_per_trial"):
            if not 0 <= getattr(args, name) < float("inf"):
                raise UserError(f"--{name} {getattr(args, name)}: needs 0 or more")
        written = grid.read_file(args.file) if args.file else {"grid": {}, "seeds": [], "flags": []}
        points = written["grid"] | grid.read_grid(args.grid)
        trials = grid.plan(args.benchmark, points, args.seeds or written["seeds"] or [123], [*written["flags"], *flags])
        left = grid.missing(trials)
        console.print(f"{len(trials)} trials, {len(trials) - len(left)} of them done before")
        failed = []
        if left:
            failed = grid.run(
                left,
                args.benchmark,
                address=args.ray_address,
                cpus=args.cpus_per_trial,
                gpus=args.gpus_per_trial,
                console=console,
            )
    except UserError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        console.print("interrupted: the same command again runs what is missing")
        return 130
    if failed:
        console.print(f"{len(failed)} of {len(trials)} trials failed; the same command again runs them once more")
    folder = Path(trials[0].settings.output_folder).resolve()
    console.print(f"results      {folder / 'results.jsonl'}", soft_wrap=True, highlight=False)
    quoted = shlex.quote(str(folder))
    console.print(f"report       python automm_distillation_report.py {quoted}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
