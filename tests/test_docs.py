"""Documents against the code: docs/flags.md is generated, no page names a flag that is not there, commands parse."""

import re
import shlex
from pathlib import Path

import pytest

import automm_distill.cache.command
import automm_distillation
import automm_distillation_export
import automm_distillation_glue
import automm_distillation_pawsx
import automm_distillation_report
import automm_distillation_sweep
from automm_distill.cache import command as cache_command
from automm_distill.cli import make_parser, parse_settings
from automm_distill.defaults import DEMO_DEFAULTS
from automm_distill.export import command as export_command
from automm_distill.flag_table import SCRIPTS, flags_page
from automm_distill.report import command as report_command
from automm_distill.sweep import command as sweep_command
from automm_distill.sweep import grid
from benchmarks import distillation_speed

ROOT = Path(__file__).parent.parent
OTHER_PROGRAMS = {"--help", "--logdir"}  # the second is TensorBoard's
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def table_rows(page: str) -> dict[str, list[str]]:
    """``{flag: [default, meaning]}`` of the tables above "What --demo changes", one entry for each spelling."""
    lines = page.partition("## What")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return {flag: rest for names, *rest in cells for flag in FLAG.findall(names)}


def test_flags_page_is_the_generated_one():
    written = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    assert written == flags_page() + "\n", "python -m automm_distill.flag_table > docs/flags.md"


def test_flags_page_has_the_flags_of_all_scripts_and_no_other():
    offered = {flag for script in SCRIPTS for flag in FLAG.findall(make_parser(script).format_help())} - {"--help"}
    assert set(table_rows(flags_page())) == offered


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--glue_task", "`qnli`"),
        ("--pawsx_teacher_tasks", "all seven"),
        ("--student_learning_rate", "GLUE: `0.0001`, PAWS-X: `0.0002`, Own rows: `0.0001`"),
        ("--max_epoch", "`10` epochs"),
        ("--resume", "`false`"),
        ("--verbose", "off"),
        ("--soft_label_loss_type", "`cross_entropy` for classes, `mean_square_error` for a regression"),
    ],
)
def test_flags_page_says_which_default_is_whose(flag, default):
    assert table_rows(flags_page())[flag][0] == default


def test_flags_page_says_what_can_be_chosen_and_by_whom():
    meanings = {flag: meaning for flag, (_, meaning) in table_rows(flags_page()).items()}
    assert meanings["--output_feature_loss_type"].endswith(
        "One of `mean_square_error` (`mse`), `cosine_distance` (`cosine`)."
    )
    assert meanings["--pawsx_student_tasks"].endswith("Any of `en`, `de`, `es`, `fr`, `ja`, `ko`, `zh`. PAWS-X only.")


def test_flags_page_is_valid_markdown():
    for line in flags_page().splitlines():
        outside_code = re.sub(r"`[^`]*`", "", line)
        assert not re.search(r"<|(?<!\w)[*_]", outside_code), line  # would be taken for HTML, or for emphasis
        assert line.count("`") % 2 == 0, line


def test_flags_page_lists_what_the_demo_changes():
    demo = flags_page().partition("## What `--demo` changes")[2]
    assert {f"--{name}" for name in DEMO_DEFAULTS} <= set(FLAG.findall(demo))
    assert "| `--batch_size` | `32` |" in demo
    assert "| `--pawsx_student_tasks` | `en de` |" in demo


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_documents_name_only_flags_that_exist(path, monkeypatch, capsys):
    commands = [
        automm_distillation.main,
        automm_distillation_glue.main,
        automm_distillation_pawsx.main,
        automm_distillation_sweep.main,
        automm_distillation_report.main,
        automm_distillation_export.main,
        automm_distill.cache.command.main,
        distillation_speed.main,
    ]
    monkeypatch.setattr("sys.argv", ["command", "--help"])
    for command in commands:
        with pytest.raises(SystemExit):
            command()
    exist = set(FLAG.findall(capsys.readouterr().out)) | OTHER_PROGRAMS
    unknown = set(FLAG.findall(path.read_text(encoding="utf-8"))) - exist
    assert not unknown


def commands() -> list[str]:
    """Every command line of ours in a code block or code span of the README and of docs/."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages).replace("\\\n", " ")
    found = re.findall(
        r"(?:python3?|\.venv/bin/python) ((?:automm_distillation_\w+\.py|-m automm_distill\.\w+)[^`\n|']*)", text
    )
    return sorted({command.partition(" > ")[0].split(" #")[0].strip() for command in found})


@pytest.mark.parametrize("command", commands())
def test_commands_in_the_documents_are_understood(command):
    """They parse, with every value in range; shell variables stand for numbers."""
    program, *arguments = shlex.split(re.sub(r"\$\w+|\.\.\.", "1", command))
    program, arguments = (arguments[0], arguments[1:]) if program == "-m" else (program, arguments)
    match program:
        case "automm_distillation_glue.py":
            parse_settings("glue", arguments)
        case "automm_distillation_pawsx.py":
            parse_settings("pawsx", arguments)
        case "automm_distillation_sweep.py":
            args, flags = sweep_command.make_parser(None).parse_known_args(arguments)
            assert grid.plan(args.benchmark, grid.read_grid(args.grid), args.seeds or [1], flags)
        case "automm_distillation_report.py":
            report_command.make_parser().parse_args(arguments)
        case "automm_distillation_export.py":
            export_command.make_parser().parse_args(arguments)
        case "automm_distill.cache":
            cache_command.get_parser().parse_args(arguments)
        case _:
            assert program == "automm_distill.flag_table"
