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
