#!/usr/bin/env python3
"""Tables and plots of many runs, from the results.jsonl that they left.

    python automm_distillation_report.py results
    python automm_distillation_report.py results/results.jsonl other/results.jsonl --output_folder report

Runs that differ in nothing but the seed are averaged, and nothing else is. The best setting is chosen by its validation
score; its test score is what it is.
"""

import argparse
import sys
from pathlib import Path

from automm_distill.cli import Parser
from automm_distill.errors import UserError


def get_parser() -> Parser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS", help="results.jsonl files, or folders with one"
    )
    parser.add_argument(
        "--output_folder",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="where report.md, settings.csv and the plots go [default: %(default)s; unit: folder; off: none]",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = get_parser()
    args = parser.parse_args(argv)
    from automm_distill import logs, results

    logs.set_up("normal")
    console = logs.result_console()
    try:
        collected = runs.load_runs(args.results)
        results.require_writable(args.output_folder, "--output_folder")
        from automm_distill.report import tables

        judged = markdown.evaluate(collected)
        markdown.write(judged, collected.left_out, args.output_folder)
    except UserError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    for line in collected.left_out:
        console.print(f"left out: {line}")
    for each in judged:
        sheet = tables.verdicts(each.study, each.decisions, each.chosen)
        console.print(tables.rich_table(sheet, f"{each.study.name}: {sheet.title}"))
    for what, name in (("report", markdown.REPORT), ("numbers", markdown.NUMBERS)):
        path = (args.output_folder / name).resolve()
        console.print(f"{what:<12} {path}", soft_wrap=True, highlight=False, markup=False)
    for each in judged:
        for sentence in markdown.sentences(each):
            console.print(f"\n{each.study.name}: {sentence}", style="bold", highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
