"""The command line of the cache."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from automm_distill import logs
from automm_distill.cache import entries, pruning
from automm_distill.command import DONE, FAILED, Parser, guarded, path_argument

DESCRIPTION = """\
Show what a cache folder holds, and remove what no result refers to.

    python -m automm_distill.cache list
    python -m automm_distill.cache prune --results results other/results

``prune`` asks before it removes anything, and never removes what a running process uses. Tokens, which all runs share,
go when none has used them for a week."""


def get_parser() -> Parser:
    """The command line of ``python -m automm_distill.cache``."""
    parser = Parser(
        prog="python -m automm_distill.cache",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=("list", "prune"))
    parser.add_argument(
        "--finetuned_model_cache_folder",
        "--save_path",
        type=path_argument,
        default=Path("cache"),
        metavar="DIR",
        help="the cache folder [cache]",
    )
    parser.add_argument(
        "--results",
        type=path_argument,
        nargs="+",
        metavar="DIR",
        help="result folders; prune removes what none of their rows refers to, list says which entries they use",
    )
    parser.add_argument("--yes", action="store_true", help="prune without asking")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    :return: the exit status.
    """
    parser = get_parser()
    args = parser.parse_args(argv)
    if args.action == "prune" and not args.results:
        parser.error("prune needs --results DIR: what their rows refer to stays")
    logs.set_up("normal")
    console = logs.result_console()

    def work() -> int:
        found = pruning.entries_in(args.finetuned_model_cache_folder)
        names = pruning.referenced_names(args.results or [])
        if args.action == "list":
            _show(console, found, names if args.results else None)
            return DONE
        if _confirmed(console, pruning.unreferenced(found, names), ask=not args.yes):
            # Once more: a run may have ended while the question stood.
            names = pruning.referenced_names(args.results)
            return _remove(console, pruning.unreferenced(found, names))
        return DONE

    return guarded(parser.prog, work, "interrupted")


def _show(console: Console, found: Sequence[pruning.CacheEntry], names: set[str] | None) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("entry", "what it is", "MB", "age", *([] if names is None else ["used"])):
        table.add_column(heading, justify="right" if heading in ("MB", "age") else "left", overflow="fold")
    for entry in found:
        used = [] if names is None else ["yes" if entry.path.name in names else "no"]
        table.add_row(entry.path.name, entry.about, f"{entry.bytes / 1e6:,.1f}", pruning.age(entry), *used)
    console.print(table)
    console.print(f"{len(found)} entries, {sum(entry.bytes for entry in found) / 1e6:,.1f} MB")


def _confirmed(console: Console, unused: Sequence[pruning.CacheEntry], *, ask: bool) -> bool:
    if not unused:
        console.print("nothing to remove: the results refer to every entry, or it was used lately")
        return False
    _show(console, unused, None)
    if not ask:
        return True
    logs.message_console().out("remove them? [y/N] ", end="")
    confirmed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not confirmed:
        console.print("nothing was removed")
    return confirmed


def _remove(console: Console, unused: Sequence[pruning.CacheEntry]) -> int:
    kept = [entry.path.name for entry in unused if not entries.remove(entry.path)]
    console.print(f"removed {len(unused) - len(kept)} entries")
    if kept:
        console.out(f"in use, so they stay: {', '.join(kept)}")
    return FAILED if kept else DONE
