"""The command line of the report."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from automm_distill.command import DONE, Parser, guarded, path_argument

DESCRIPTION = """\
Tables and plots of many runs, from their results.jsonl.

Runs that differ only in their seed are averaged. The best configuration is the one with the best validation score; its
test score is reported and never used for selection."""


def make_parser() -> Parser:
    """Which results to read, and where the report goes."""
    parser = Parser(description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "results", type=path_argument, nargs="+", metavar="RESULTS", help="results.jsonl files, or folders with one"
    )
    parser.add_argument(
        "--output_folder",
        type=path_argument,
        default=Path("report"),
        metavar="DIR",
        help="where report.md, settings.csv and the plots go [%(default)s]",
    )
    return parser


def run_report(argv: Sequence[str] | None = None) -> int:
    """Parse, read the rows, write the report and print its conclusions.

    :return: the exit status: 0 done, 1 the machine was too small, 2 the user's mistake, 130 interrupted.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    return guarded(
        parser.prog, lambda: _report(args.results, args.output_folder), "interrupted; the report is incomplete"
    )


def _report(places: Sequence[Path], folder: Path) -> int:
    # Nothing heavy before this line, and no plots before there are rows: --help and a mistake answer at once.
    from automm_distill import logs
    from automm_distill.folders import require_writable
    from automm_distill.report.runs import load_runs

    logs.set_up("normal")
    loaded = load_runs(places)
    require_writable(folder, "--output_folder")
    from automm_distill.report import markdown, tables
    from automm_distill.text_table import NARROW, as_blocks, as_rich

    results = markdown.evaluate(loaded)
    markdown.write(results, loaded.left_out, folder)
    console = logs.result_console()
    for line in loaded.left_out:
        console.out(f"left out: {line}")
    for result in results:
        table = tables.verdicts(result.task_runs, result.decisions, result.chosen)
        title = f"{result.task_runs.name}: {table.title}"
        if console.width < NARROW:
            console.out(f"{title}\n{as_blocks(table)}")
        else:
            console.print(as_rich(table, title))
    for what, name in (("report", markdown.REPORT), ("numbers", markdown.NUMBERS)):
        console.out(f"{what:<12} {(folder / name).resolve()}")
    for result in results:
        for sentence in markdown.sentences(result):
            console.print(f"\n{result.task_runs.name}: {sentence}", style="bold")
        shipped = markdown.shipping(result)
        if shipped:  # as it is, so that the command can be copied
            console.out("\n{}: {}:\n{}".format(result.task_runs.name, *shipped))
    return DONE
