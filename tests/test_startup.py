"""What a command makes of its streams, and of Ctrl-C before it can answer it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    *([f"automm_distillation_{name}.py"] for name in ("glue", "pawsx", "sweep", "report")),
    ["-m", "automm_distill.cache"],
]
# Imported by Python itself at its start: it stops each import of this package's own for long enough to be hit.
SLOW_IMPORTS = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name in ("argparse", "filelock"):
            print("importing", flush=True)
            time.sleep(20)
sys.meta_path.insert(0, Slow())
"""
START = "import sys\nfrom automm_distill import startup\nstartup.start()\n"


def python(code: str, redirections: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """``code`` after the start of a command, run by a shell, which can close and redirect streams."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f'"$0" -c "$1" {redirections}; echo "status ${{PIPESTATUS[0]}}" >&2',
            sys.executable,
            START + code,
        ],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-1])
def test_ctrl_c_while_modules_are_imported_is_one_line(command, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORTS)
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=15)
    assert process.returncode == 130
    assert error.endswith(": interrupted\n")
    assert error.count("\n") == 1


GUARDED = """
import time
from automm_distill.command import guarded
def work():
    {}
    print("working", flush=True)
    time.sleep(20)
    return 0
sys.exit(guarded("prog", work, "interrupted; go on"))
"""
DROPPED = """
    import signal
    class Deaf:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
    Deaf()
"""


def test_ctrl_c_that_python_drops_is_raised_again():
    began = time.monotonic()
    ended = python(GUARDED.format(DROPPED.strip()), "</dev/null")
    assert ended.stderr == b"prog: interrupted; go on\nstatus 130\n"
    assert time.monotonic() - began < 15


def test_second_ctrl_c_ends_what_is_left_of_the_process():
    code = "import threading, time; threading.Thread(target=time.sleep, args=(20,)).start()" + GUARDED.format("pass")
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "prog: interrupted; go on\n"
    time.sleep(0.2)  # it waits for its thread now
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=15) == ("", "")
    assert process.returncode == 130


def test_process_that_was_started_deaf_to_ctrl_c_stays_so():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('alive')"
    ended = subprocess.run(
        [sys.executable, "-c", START + code],
        capture_output=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert ended.stdout == b"alive\n"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"? ? ?\n"), ("latin-1", b"\xfc ? ?\n"), ("utf-8", "ü ━ ?\n".encode())]
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_characters_that_a_terminal_lacks_are_replaced(stream, encoding, shown):
    """The last one is what Python makes of a byte in a file's name that is no UTF-8."""
    code = f"print('\\xfc \\u2501 \\udce9', file=sys.{stream})"
    ended = python(code, PYTHONIOENCODING=encoding)
    assert shown in (ended.stdout if stream == "stdout" else ended.stderr)
    assert ended.stderr.endswith(b"status 0\n")


def test_reader_that_goes_away_does_not_end_the_work():
    code = "import time\nfor n in range(9): print(n, flush=True); time.sleep(0.05)\nprint('done', file=sys.stderr)"
    ended = python(code, "| head -1")
    assert ended.stdout == b"0\n"
    assert ended.stderr == b"done\nstatus 0\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed, tmp_path):
    """A file that is opened later must not get the number of a stream, which libraries write to."""
    code = (
        f"file = open({str(tmp_path / 'file')!r}, 'w'); file.write(str(file.fileno() > 2) + sys.stdin.readline())\n"
        "print('out'); print('err', file=sys.stderr); sys.stdout.isatty(); sys.stderr.isatty()"
    )
    ended = python(code, f"{closed} {'' if '<&-' in closed else '</dev/null'}")
    assert ended.stderr.endswith(b"status 0\n")
    assert (tmp_path / "file").read_text() == "True"


def test_full_disk_behind_a_stream_is_told_once():
    ended = python(GUARDED.format("print('x' * 9, flush=True)").replace("20", "0"), ">/dev/full")
    assert ended.stderr.startswith(b"prog: the disk is full")
    assert ended.stderr.endswith(b"status 1\n")
    assert b"Traceback" not in ended.stderr
