"""What libraries may print, and how our own messages look where they are kept in a file."""

import os
import subprocess
import sys

MESSAGES = """
import logging, sys, warnings
from automm_distill import logs
logs.set_up(sys.argv[1])
log = logging.getLogger("automm_distill.training")
log.info("loaded the teacher: %s", "/a/very/long/path" * 20)
log.warning("precision 16 is not supported")
"""

WARNINGS = """
import sys, types, warnings
from automm_distill import logs
logs.quieten_libraries("normal")
for name in ("lightning.pytorch.trainer", "torchmetrics.utilities", "automm_distill.losses", "__main__"):
    exec(compile("import warnings; warnings.warn('from ' + __name__, FutureWarning)", name, "exec"), {"__name__": name})
"""


def run(code: str, *arguments: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    return process.stderr.splitlines()


def test_messages_in_a_log_file_are_one_line_each() -> None:
    loaded, warning = run(MESSAGES, "normal")
    assert loaded.endswith("/a/very/long/path" * 20)
    assert warning.endswith("precision 16 is not supported")


def test_quiet_leaves_warnings_only() -> None:
    (warning,) = run(MESSAGES, "quiet")
    assert warning.endswith("precision 16 is not supported")


def test_warnings_of_other_libraries_are_silenced_and_ours_are_not() -> None:
    text = "\n".join(run(WARNINGS))
    assert "from automm_distill.losses" in text
    assert "from __main__" in text
    assert "from lightning" not in text
    assert "from torchmetrics" not in text


PATHS = """
from rich.table import Table
from automm_distill import logs
logs.set_up("normal")
path = "/r/runs[v2] :fire: [bold]x[/bold] 'a b' " + "long" * 40
logs.logging.getLogger("automm_distill.training").warning("loaded %s", path)
console = logs.result_console()
console.out(path)
table = Table(title="[v2]")
table.add_column("[v3]")
table.add_row("runs[v4] :fire:")
console.print(table)
"""


def test_paths_are_shown_as_they_are() -> None:
    """No markup, no emoji, no wrapping; and the result alone is on standard output."""
    ended = subprocess.run([sys.executable, "-c", PATHS], capture_output=True, text=True, check=True)
    path = "/r/runs[v2] :fire: [bold]x[/bold] 'a b' " + "long" * 40
    assert ended.stderr.partition("] ")[2] == f"loaded {path}\n"
    assert ended.stdout.startswith(f"{path}\n")
    for text in ("[v2]", "[v3]", "runs[v4] :fire:"):
        assert text in ended.stdout.partition("\n")[2]


def test_libraries_draw_no_bars_into_a_file() -> None:
    code = (
        "from automm_distill import logs; logs.set_up('normal'); import datasets, huggingface_hub.utils as hub;"
        "print(datasets.are_progress_bars_disabled(), hub.are_progress_bars_disabled())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "True"]
