"""The command line of the export of a model that is there already."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from automm_distill.command import DONE, Parser, guarded, path_argument
from automm_distill.errors import UserError
from automm_distill.export_formats import FORMATS
from automm_distill.flag import check_range
from automm_distill.folders import require_writable
from automm_distill.settings import FLAGS

DESCRIPTION = """\
Leave a trained model as files that run without AutoGluon, checked on every test row.

The forms go into RUN/export/: hf for transformers, onnx, and onnx-int8 with 8-bit weights."""
BUDGET_S = 60.0  # for timing, about


def make_parser() -> Parser:
    """Which run, which of its models, and in which forms."""
    parser = Parser(description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("run", type=path_argument, metavar="RUN", help="folder of a run, as the run printed it")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=list(FORMATS), help="the forms [all of them]")
    parser.add_argument(
        "--model", choices=("student", "teacher", "baseline"), default="student", help="which of its models [student]"
    )
    parser.add_argument(
        "--export_margin",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="a form whose score is worse by more than this is kept, but not recommended [1 point]",
    )
    parser.add_argument(
        "--trim_vocabulary",
        type=int,
        metavar="PIECES",
        help="export only the pieces of the vocabulary that the run's rows use, single characters, and this many of "
        "the most frequent others [all pieces]",
    )
    parser.add_argument("--dataset_path", metavar="DIR", help="where the rows lie now [where they were]")
    parser.add_argument("--no_timing", action="store_true", help="leave out the speeds, which take up to a minute")
    return parser


def run_export(argv: Sequence[str] | None = None) -> int:
    """Parse, find the run, export, and print what came of it.

    :return: the exit status: 0 done, 1 the files do not work or the machine was too small, 2 the user's mistake, 130
        interrupted.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        for name in ("export_margin", "trim_vocabulary"):
            check_range(name, FLAGS[name], getattr(args, name))
    except UserError as error:
        parser.error(str(error))

    def work() -> int:
        # Nothing heavy before this line: --help and a mistake answer at once.
        from automm_distill.export.past_run import find_run

        run = find_run(Path(args.run), args.dataset_path)
        from automm_distill import logs, results, run_summary
        from automm_distill.export.exporting import export
        from automm_distill.export.past_run import opened
        from automm_distill.export.requirements import require_exportable

        logs.set_up("normal")
        logs.quieten_libraries("normal")
        require_writable(run.folder, "RUN")
        with opened(run, args.model, with_teacher=not args.no_timing) as source:
            trims = args.trim_vocabulary is not None
            require_exportable("--format", args.format, source.predictor.tokenizer, trims=trims)
            exported = export(
                source,
                args.format,
                run.folder,
                run.row,
                margin=args.export_margin,
                most_frequent=args.trim_vocabulary,
                batch_size=run.settings.per_gpu_batch_size,
                budget=None if args.no_timing else BUDGET_S,
            )
        row = {**run.row, "export": exported}
        if args.model == "student":
            results.complete_row(run.folder.parent, row)
            run_summary.write_summary(row, run.folder)
        run_summary.print_export(row, run.folder, logs.result_console())
        return DONE

    return guarded(parser.prog, work, "interrupted; each form is there whole, or as it was before")
