"""The command line of the scripts, made from the fields of ``Settings``."""

import argparse
import gc
import logging
import shutil
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from automm_distill.command import DONE, Parser, guarded
from automm_distill.defaults import SCRIPT_DEFAULTS, defaults, losses_left_out, with_defaults
from automm_distill.errors import UserError
from automm_distill.flag import Benchmark, Flag
from automm_distill.settings import FLAGS, Settings, flags_of
from automm_distill.startup import start
from automm_distill.teacher_choice import chosen_flag

log = logging.getLogger(__name__)


def parse_bool(text: str) -> bool:
    """``true``/``false`` and their usual spellings; ``type=bool`` would take "false" for true."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def make_parser(benchmark: Benchmark) -> Parser:
    """The command line of one script, made from the fields of :class:`Settings`.

    Flags that were not given are not in the parsed namespace: :func:`parse_settings` adds their defaults.
    """
    name = {"glue": "a GLUE task", "pawsx": "PAWS-X", "own": "your own rows"}[benchmark]
    parser = Parser(
        usage="%(prog)s [flags]",
        description=f"Distil a large text model into a smaller one on {name}.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=help_width()),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    field_types = {field.name: _base_type(field.type) for field in fields(Settings)}
    groups: dict[str, Any] = {}
    values = defaults(benchmark)
    for flag_name, flag in flags_of(benchmark).items():
        group = groups.setdefault(flag.group, None) or parser.add_argument_group(flag.group)
        groups[flag.group] = group
        _add_flag(group, flag_name, flag, field_types[flag_name], describe_default(flag, values[flag_name]))
    return parser


def parse_settings(benchmark: Benchmark, argv: Sequence[str] | None = None) -> Settings:
    """argv -> checked settings; a bad value ends the program with one line and status 2.

    Own rows that no flag names are those of GLUE: the settings are its script's.

    :raises SystemExit: with status 2, or 0 after ``--help``.
    """
    given = [*(sys.argv[1:] if argv is None else argv)]
    if benchmark == "own" and not _names_own_rows(given):
        benchmark = "glue"
    parser = make_parser(benchmark)
    try:
        return with_defaults(benchmark, _given(parser, argv))
    except UserError as error:
        parser.error(str(error))


def _names_own_rows(argv: Sequence[str]) -> bool:
    """Whether a flag of own rows alone is among them, or help is asked for."""
    own = {f"--{name}" for name, flag in FLAGS.items() if flag.only == "own"} | {"-h", "--help"}
    return any(word.partition("=")[0] in own for word in argv)


def flags_without_effect(settings: Settings, argv: Sequence[str] | None = None) -> list[str]:
    """A line for each flag in ``argv`` that changes nothing beside the others."""
    given = _given(make_parser(settings.benchmark), argv)
    return [
        f"--{name}: has no effect, since {reason}" for name, reason in settings.without_effect.items() if name in given
    ]


def losses_of_outputs_alone(settings: Settings, argv: Sequence[str] | None = None) -> list[str]:
    """A line where defaults were changed, since nothing is known of the teacher but its outputs."""
    off = losses_left_out(settings.benchmark, _given(make_parser(settings.benchmark), argv))
    if not off:
        return []
    weights = ", ".join(f"--{name} {weight:g}" for name, weight in off.items())
    return [f"0 in place of {weights}: of --{chosen_flag(vars(settings))} only the outputs are known"]


def help_width() -> int:
    """Columns of ``--help``, as argparse counts them: those of the terminal, up to 120."""
    return min(120, shutil.get_terminal_size((122, 24)).columns - 2)


def describe_default(flag: Flag, value: Any) -> str:
    """The default as ``--help`` and docs/flags.md show it, with its unit."""
    if isinstance(value, bool):
        shown = "true" if value else "false"
    else:
        shown = flag.shown_default or f"{value:g}" if isinstance(value, float) else flag.shown_default or str(value)
    return f"{shown} {flag.unit}" if flag.unit and not flag.shown_default else shown


def run_script(benchmark: Benchmark, argv: Sequence[str] | None = None) -> int:
    """The whole life of a script: parse, check, run.

    :return: the exit status: 0 done, 1 training failed or the machine was too small, 2 the user's mistake, 130
        interrupted.
    """
    settings = parse_settings(benchmark, argv)

    def work() -> int:
        # Nothing heavy before this line, so that --help and a bad flag answer at once; torch only once rows are there.
        with no_garbage_collection():
            from automm_distill import logs
            from automm_distill.preflight import preflight

            logs.set_up(settings.verbosity)
            for line in flags_without_effect(settings, argv):
                log.warning(line)
            for line in losses_of_outputs_alone(settings, argv):
                log.info(line)
            context = preflight(settings)
            from automm_distill.experiment import run

        run(context)
        return DONE

    prog = Path(sys.argv[0]).name  # of the script, or of the installed command
    return guarded(
        prog, work, "interrupted; finished models are kept: the same command with --resume goes on from there"
    )


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """While libraries are imported and rows read: a million objects would be gone through again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _given(parser: Parser, argv: Sequence[str] | None) -> dict[str, Any]:
    """The values of the flags that were given, by field."""
    given = vars(parser.parse_args(argv))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _base_type(annotation: Any) -> type:
    """``int`` of ``int | None``, ``tuple`` of ``tuple[str, ...]``."""
    if isinstance(annotation, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    base: type = typing.get_origin(annotation) or annotation
    return base


def _add_flag(group: Any, name: str, flag: Flag, kind: type, default: str) -> None:
    if flag.switches:
        exclusive = group.add_mutually_exclusive_group()
        for value, meaning in flag.switches.items():
            exclusive.add_argument(f"--{value}", dest=name, action="store_const", const=value, help=meaning)
        return
    names = [f"--{spelling}" for spelling in (name, *flag.aliases)]
    options: dict[str, Any] = {"help": f"{flag.help} [{default}]".replace("%", "%%"), "dest": name}
    if kind is bool:
        options |= {"nargs": "?", "const": True, "type": parse_bool, "metavar": "BOOL"}
    elif kind is tuple:
        options |= {"nargs": "+", "metavar": flag.metavar}
        if flag.choices:
            options["choices"] = tuple(flag.choices)
            options["help"] = f"{flag.help}: one or more of {' '.join(flag.choices)} [{default}]"
    elif flag.choices:
        options["choices"] = tuple(flag.choices)
    else:
        shown = {"folder": "DIR"}.get(flag.kind, "N" if kind is int else "X")
        options |= {"type": kind, "metavar": flag.metavar or shown}
    group.add_argument(*names, **options)


if __name__ == "__main__":  # python -m automm_distill.cli glue|pawsx [flags]: how a sweep starts its trials
    start()
    if not sys.argv[1:] or sys.argv[1] not in SCRIPT_DEFAULTS:
        Parser(prog="automm_distill.cli").error(f"the first argument must be one of {', '.join(SCRIPT_DEFAULTS)}")
    sys.exit(run_script(sys.argv[1], sys.argv[2:]))
