"""Runs forked off a warm worker: the same as processes of their own, and nothing is left of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automm_distill.sweep import processes
from automm_distill.sweep.processes import RUN, Command, start
from automm_distill.sweep.warm_worker import Run

ROOT = Path(__file__).parent.parent
REFUSED = ("--temperature", "-3")
REFUSAL = "cli.py: error: --temperature -3.0: needs a number above 0\n"


@pytest.fixture
def command(tmp_path, datasets_folder, checkpoints) -> Callable[..., Command]:
    """A quick run of the GLUE script on tiny checkpoints, with these flags."""
    common = (
        *("--dataset_path", str(datasets_folder), "--glue_task", "rte", "--num_gpu", "0", "--resume", "--no_timing"),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *("--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32"),
    )

    def make(name: str, *flags: str, **environment: str) -> Command:
        # pytest's variable would give each test a worker of its own
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTEST_CURRENT_TEST": ""} | environment
        argv = (*RUN, "glue", *common, *flags)
        return Command(name, argv, tmp_path, tmp_path / "logs" / f"{name}.log", environment)

    return make


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def what_a_run_left(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with the bytes of weights and predictions in place of names, and without times."""
    files = [Path(row["paths"]["predictions"]), Path(row["paths"]["student"]) / "model.ckpt"]
    of_this_run = {name: row.pop(name) for name in ("run", "seconds", "finished", "paths")}
    assert all(of_this_run.values())
    for name in ("path", "seconds"):
        del row["training"]["student"][name]
    return row | {"files": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]}


def what_it_printed(text: str) -> list[str]:
    """The lines of a log without times and names of runs."""
    return [
        line.partition("] ")[2].rpartition(", ")[0] if "student: epoch" in line else line.partition("] ")[2] or line
        for line in text.splitlines()
        if not line.startswith(("student  ", "details  "))
    ]


def test_run_after_another_equals_a_process_of_its_own(command, tmp_path, monkeypatch):
    other = start(command("other", "--temperature", "2", "--verbose"))  # makes the teacher that the two will find
    worker = parent_of(other.pid)
    assert other.wait() == 0, (tmp_path / "logs" / "other.log").read_text()
    warm = start(command("warm"))
    assert (parent_of(warm.pid), warm.wait()) == (worker, 0)
    monkeypatch.setattr(processes, "ON_LINUX", False)
    plain = start(command("plain"))
    assert (parent_of(plain.pid), plain.wait()) == (os.getpid(), 0)
    *_, of_warm, of_plain = map(json.loads, (tmp_path / "results" / "results.jsonl").read_text().splitlines())
    assert what_a_run_left(of_warm) == what_a_run_left(of_plain)
    printed = [what_it_printed((tmp_path / "logs" / f"{name}.log").read_text()) for name in ("warm", "plain")]
    assert "distilling the student" in "".join(printed[0])
    assert printed[0] == printed[1]


def test_failed_and_killed_runs_leave_the_worker_to_the_next(command, tmp_path):
    refused = start(command("refused", *REFUSED))
    worker = parent_of(refused.pid)
    assert refused.wait() == 2
    assert (tmp_path / "logs" / "refused.log").read_text() == REFUSAL

    killed = start(command("killed"))
    wait_until((tmp_path / "cache").exists)
    assert killed.poll() is None
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert is_gone(killed.pid)
    killed.kill()  # once more does nothing, to the next run neither

    again = start(command("refused", *REFUSED))
    assert (parent_of(again.pid), again.wait()) == (worker, 2)
    assert (tmp_path / "logs" / "refused.log").read_text() == 2 * REFUSAL, "as a process of its own adds to its log"


@pytest.mark.slow
def test_run_ends_with_its_worker_and_the_next_gets_a_new_one(command, tmp_path):
    process = start(command("orphan"))
    worker = parent_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: is_gone(process.pid))
    following = start(command("following", *REFUSED))
    assert parent_of(following.pid) not in (worker, os.getpid())
    assert following.wait() == 2


@pytest.mark.slow
def test_run_and_worker_end_with_the_process_that_started_them(command):
    code = f"""
import time
from pathlib import Path, PosixPath
from automm_distill.sweep.processes import *
process = start({command("left")!r})
print(process.pid, flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    worker = parent_of(pid)
    assert parent_of(worker) == starter.pid
    starter.kill()
    wait_until(lambda: is_gone(pid) and is_gone(worker))
    starter.communicate()


@pytest.mark.slow
def test_run_that_nobody_holds_any_more_ends(command):
    pid = start(command("dropped")).pid
    worker = parent_of(pid)
    wait_until(lambda: is_gone(pid) and is_gone(worker))


@pytest.mark.slow
def test_libraries_get_the_environment_of_each_run(command):
    one = start(command("one", *REFUSED))
    first = parent_of(one.pid)
    assert one.wait() == 2
    gpu = start(command("gpu", *REFUSED, CUDA_VISIBLE_DEVICES="3"))
    assert (parent_of(gpu.pid), gpu.wait()) == (first, 2)
    two = start(command("two", *REFUSED, OMP_NUM_THREADS="2"))
    second = parent_of(two.pid)
    assert (second == first, two.wait()) == (False, 2)
    assert "OMP_NUM_THREADS=2" in Path(f"/proc/{second}/environ").read_text().split("\0")


def go_on(module: str, run: Run, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """A child's part, in a process of its own, with this module in the place of the command's."""
    (folder / "shows.py").write_text(module)
    code = f"""
from automm_distill.sweep import warm_worker
warm_worker.RUN_MODULE = "shows"
warm_worker._go_on(warm_worker.{run})
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "CUDA_VISIBLE_DEVICES": "0"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)


@pytest.mark.parametrize("gpus", ["3", None])
def test_child_goes_on_as_the_command_would(gpus, tmp_path):
    shows = """
import os, sys
if __name__ == "__main__":
    print(sys.modules["__main__"].__spec__.name, sys.argv[1:], os.getcwd(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    os.system("echo from a child")
"""
    (tmp_path / "folder").mkdir()
    ended = go_on(shows, Run(("glue", "--demo"), str(tmp_path / "folder"), str(tmp_path / "log"), gpus), tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    shown = f"shows ['glue', '--demo'] {tmp_path / 'folder'} {gpus}\n"
    assert sorted((tmp_path / "log").read_text().splitlines(keepends=True)) == ["from a child\n", shown]


@pytest.mark.parametrize(
    ("end", "status", "last_line"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no luck')", 1, "no luck"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
        ("pass", 0, ""),
    ],
)
def test_child_ends_as_the_command_would(end, status, last_line, tmp_path):
    """After its threads and what libraries left for the end, with all that it printed in its log."""
    ends = f"""
import atexit, sys, threading, time
atexit.register(print, "at the end")
threading.Thread(target=lambda: (time.sleep(0.2), print("in a thread"))).start()
{end}
"""
    ended = go_on(ends, Run((), str(tmp_path), str(tmp_path / "log"), None), tmp_path)
    assert ended.returncode == status
    *before, in_a_thread, at_the_end = (tmp_path / "log").read_text().splitlines()
    assert (in_a_thread, at_the_end) == ("in a thread", "at the end")
    assert (before[-1] if before else "") == last_line


def test_imports_before_the_fork_start_nothing_that_a_run_could_notice():
    """Two threads are asked for, as --cpus_per_trial 2 does: OpenBLAS makes its own, and ends them before a fork.

    Python's own random numbers are not looked at: some library draws one when imported, and a fork seeds them anew.
    """
    code = """
import os, signal
import numpy, torch
from automm_distill.sweep import warm_worker

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return str(numpy.random.get_state()), torch.get_rng_state().tolist(), handlers

asked = []
torch.cuda._lazy_init = lambda: asked.append(1)  # CUDA does not survive a fork; without a GPU nothing else would tell
before = state()
warm_worker._import_libraries()
child = os.fork()
if child == 0:
    os._exit(len(os.listdir("/proc/self/task")) != 1)
assert os.listdir("/proc/self/task") == [str(os.getpid())], "a thread but OpenBLAS's"
assert os.waitpid(child, 0)[1] == 0
assert state() == before
assert not asked
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "2"} | processes._NO_ARROW_THREAD,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


def test_worker_that_does_not_start_costs_no_run(command, tmp_path, caplog):
    """Something ends Python as soon as it is to be a warm worker."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif sys.orig_argv[3] == 'automm_distill.sweep.warm_worker': os._exit(1)\n"
    )
    process = start(command("alone", *REFUSED, PYTHONPATH=f"{tmp_path}:{ROOT}"))
    assert (parent_of(process.pid), process.wait()) == (os.getpid(), 2)
    assert (tmp_path / "logs" / "alone.log").read_text() == REFUSAL
    assert "no warm worker for alone, which gets a process of its own: EOFError()" in caplog.text
