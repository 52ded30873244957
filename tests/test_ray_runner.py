"""Commands that Ray runs: what each gets of the machine, and what survives a failure or a lost node."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from automm_distill.errors import UserError
from automm_distill.sweep.processes import RUN, Command
from automm_distill.sweep.ray_runner import Resources, ray_session, run

ONE_CPU = Resources(cpus=1)
NOTES_ITS_TIME = """
import pathlib, sys, time
start = time.time()
time.sleep(1.5)
pathlib.Path(sys.argv[1]).write_text(f"{start} {time.time()}")
"""


def commands(folder: Path, **codes: str) -> list[Command]:
    return [
        Command(name, (sys.executable, "-c", code, str(folder / name)), folder, folder / "logs" / f"{name}.log")
        for name, code in codes.items()
    ]


@contextmanager
def cluster(**node: Any) -> Iterator[Cluster]:
    """A Ray cluster of one node with these resources, whatever this machine has."""
    nodes = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def most_at_once(folder: Path, *names: str) -> int:
    """Of the commands that noted their times."""
    times = [tuple(map(float, (folder / name).read_text().split())) for name in names]
    return max(sum(start <= moment < end for start, end in times) for moment, _ in times)


def test_failed_and_killed_commands_do_not_stop_the_others(tmp_path):
    requested = commands(
        tmp_path,
        fine="import os; print('threads', os.environ['OMP_NUM_THREADS'])",
        failing="import sys; sys.exit('no luck')",
        killed="import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        last="print('last')",
    )
    with ray_session(None):
        statuses = {finished.command.name: finished.status for finished in run(requested, ONE_CPU)}
    assert statuses == {"fine": 0, "failing": 1, "killed": -9, "last": 0}
    assert (tmp_path / "logs" / "fine.log").read_text() == "threads 1\n"
    assert (tmp_path / "logs" / "failing.log").read_text() == "no luck\n"


def test_command_without_gpus_sees_none_whatever_this_machine_has(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    shows = commands(tmp_path, without="import os; print(repr(os.environ.get('CUDA_VISIBLE_DEVICES')))")
    with ray_session(None):
        assert [finished.status for finished in run(shows, Resources(cpus=1, gpus=0))] == [0]
    assert (tmp_path / "logs" / "without.log").read_text() == "''\n"


def test_commands_with_a_gpu_each_see_only_their_own(tmp_path):
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(4)"
    with cluster(num_cpus=2, num_gpus=2) as nodes, ray_session(nodes.address):
        requested = commands(tmp_path, one=code, two=code)
        assert [finished.status for finished in run(requested, Resources(cpus=1, gpus=1))] == [0, 0]
    assert {(tmp_path / "logs" / f"{name}.log").read_text() for name in ("one", "two")} == {"0\n", "1\n"}


@pytest.mark.slow
def test_runs_after_the_first_find_a_warm_worker(tmp_path):
    """Also those with a GPU, after which Ray would end its own worker, unless told."""
    argv = (*RUN, "glue", "--temperature", "-3")
    package = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with cluster(num_cpus=1, num_gpus=1) as nodes, ray_session(nodes.address):
        requested = [Command(name, argv, tmp_path, tmp_path / name, package) for name in ("one", "two", "three")]
        ended = list(run(requested, Resources(cpus=1, gpus=1)))
    assert [each.status for each in ended] == [2, 2, 2]
    first, *others = (each.seconds for each in ended)
    assert max(others) < first / 2, "the imports took longer than all the rest"


def test_no_more_run_at_once_than_memory_is_there_for(tmp_path):
    names = ("one", "two", "three")
    with cluster(num_cpus=3, memory=1_000_000_000) as nodes, ray_session(nodes.address):
        for folder, memory in ((tmp_path / "fit", 300_000_000), (tmp_path / "tight", 600_000_000)):
            folder.mkdir()
            requested = commands(folder, **dict.fromkeys(names, NOTES_ITS_TIME))
            statuses = [finished.status for finished in run(requested, Resources(cpus=0.1, memory=memory))]
            assert statuses == [0, 0, 0]
    assert most_at_once(tmp_path / "fit", *names) > 1
    assert most_at_once(tmp_path / "tight", *names) == 1


@pytest.mark.slow
def test_commands_larger_than_the_machine_run_one_at_a_time_with_a_warning(tmp_path, caplog):
    with cluster(num_cpus=2, memory=1_000_000_000) as nodes, ray_session(nodes.address):
        requested = commands(tmp_path, one=NOTES_ITS_TIME, two=NOTES_ITS_TIME)
        statuses = [finished.status for finished in run(requested, Resources(cpus=1, memory=5_000_000_000))]
    assert statuses == [0, 0]
    assert most_at_once(tmp_path, "one", "two") == 1
    assert "a trial may need 5.0 GB of memory and 1.0 GB are free: trials run one at a time" in caplog.text


def test_leaving_early_ends_what_runs(tmp_path):
    requested = commands(
        tmp_path,
        short="pass",
        long="import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)",
    )
    noted = tmp_path / "long"
    with ray_session(None):
        running = run(requested, Resources(cpus=0.1))
        assert next(running).command.name == "short"
        while not noted.exists() or not noted.read_text():
            time.sleep(0.1)
        running.close()
    pid = int(noted.read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("still there")


@pytest.mark.slow  # the fast tests of searches rely on it too
def test_commands_that_are_to_end_do_at_once_begun_or_not(tmp_path):
    """One CPU: the second waits for the first to end, the third for the second."""
    long = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    requested = commands(tmp_path, running=long, waiting=long, last="print('last')")

    def to_end() -> set[str]:
        begun = (tmp_path / "running").exists() and (tmp_path / "running").read_text()
        return {"running", "waiting"} if begun else set()

    with cluster(num_cpus=1) as nodes, ray_session(nodes.address):
        statuses = {}
        for finished in run(requested, ONE_CPU, to_end):
            statuses[finished.command.name] = finished.status
            if finished.command.name == "running":
                assert not Path(f"/proc/{(tmp_path / 'running').read_text()}").exists(), "gone when we are told so"
    assert statuses == {"running": None, "waiting": None, "last": 0}
    assert not (tmp_path / "waiting").exists()


def test_no_cluster_there_is_the_users_mistake():
    with (
        pytest.raises(UserError, match=r"--ray_address 127\.0\.0\.1:1: no Ray cluster there .*ray start --head"),
        ray_session("127.0.0.1:1"),
    ):
        pass


def test_session_on_this_machine_joins_no_cluster_of_somebody_else(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with ray_session(None):
        assert len(ray.nodes()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("RAY_TMPDIR", "/proc/nowhere", "No such file or directory: '/proc/nowhere'"),  # OSError
        ("RAY_gcs_server_port_wait_time_s", "0", "Timed out waiting for file"),  # RuntimeError
    ],
)
def test_ray_that_does_not_start_is_one_line(variable, value, reason):
    code = "from automm_distill.sweep.ray_runner import ray_session\nwith ray_session(None): pass"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {variable: value},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("automm_distill.errors.UserError: Ray does not start on this machine ("), ended.stderr
    assert reason in last
    assert "free memory and room in" in last


def test_ray_that_gives_up_on_a_busy_machine_is_one_line(monkeypatch):
    """What Ray raises after 30 seconds of waiting, a bare Exception of several lines."""

    def init(**_: Any) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError) as refused, ray_session(None):
        pass
    assert "Ray does not start on this machine (The current node timed out during startup.); see" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("resources", "flag"), [(Resources(cpus=999), "cpus"), (Resources(gpus=999), "gpus")])
def test_more_than_this_machine_has_is_refused(resources, flag):
    with pytest.raises(UserError, match=rf"--{flag}_per_trial 999: this machine has \d"), ray_session(None, resources):
        pass


def test_missing_ray_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="needs Ray, which is not installed"), ray_session(None):
        pass


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_costs_no_command(tmp_path):
    """Two nodes with a CPU each; the second goes while both are busy."""
    wait = f"""
import os, pathlib, time
mark = pathlib.Path({str(tmp_path)!r}) / f"started-{{os.getpid()}}"
mark.touch()
time.sleep(4)
"""
    with cluster(num_cpus=1) as nodes:
        second = nodes.add_node(num_cpus=1)

        def lose() -> None:
            while len(list(tmp_path.glob("started-*"))) < 2:
                time.sleep(0.1)
            nodes.remove_node(second, allow_graceful=False)

        with ray_session(nodes.address):
            threading.Thread(target=lose).start()
            statuses = [
                finished.status for finished in run(commands(tmp_path, one=wait, two=wait, three=wait), ONE_CPU)
            ]
    assert statuses == [0, 0, 0]
    assert len(list(tmp_path.glob("started-*"))) == 4, "one of them had to start again"
