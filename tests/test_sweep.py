"""Sweeps: what they run, what they leave out, and what survives a killed trial or a lost node."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import automm_distillation_sweep
from automm_distill.errors import UserError
from automm_distill.results import RESULTS, append_row, read_rows
from automm_distill.sweep import ray_runner

ROOT = Path(__file__).parent.parent


def plan(folder, **grid):
    return grid.plan("glue", grid, [1, 2], ["--glue_task", "rte", "--output_folder", str(folder)])


def test_grid_times_seeds_with_the_seeds_first(tmp_path):
    trials = plan(tmp_path, output_feature_loss_weight=["0", "0.1"], temperature=["1", "5"])
    assert len(trials) == 8
    assert [trial.settings.seed for trial in trials[:2]] == [1, 2], "their teachers differ, and can be trained at once"
    assert {(t.settings.output_feature_loss_weight, t.settings.temperature) for t in trials} == {
        (0.0, 1.0),
        (0.0, 5.0),
        (0.1, 1.0),
        (0.1, 5.0),
    }
    assert all(trial.settings.resume for trial in trials)
    assert len({trial.name for trial in trials}) == 8


def test_the_same_point_written_twice_is_one_trial(tmp_path):
    assert len(plan(tmp_path, temperature=["5", "5.0"])) == 2


def test_trials_with_a_row_are_done_and_others_missing(tmp_path):
    trials = plan(tmp_path, temperature=["1", "5"])
    settings = asdict(trials[0].settings)
    append_row(tmp_path, {"settings": settings | {"output_folder": "elsewhere", "resume": False, "verbosity": "quiet"}})
    append_row(tmp_path, {"settings": asdict(trials[1].settings) | {"max_epochs": 99}})
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"settings": {"half a li')
    assert grid.missing(trials) == trials[1:]
    assert len(read_rows(tmp_path / RESULTS)[0]) == 2
    assert read_rows(tmp_path / RESULTS)[1] == 1


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("temperature", "needs the form"),
        ("temperature=", "needs the form"),
        ("temperature=1,,2", "needs the form"),
        ("=1", "needs the form"),
        ("seed=1,2", "use --seeds"),
    ],
)
def test_bad_grid_is_refused(entry, complaint):
    with pytest.raises(UserError, match=complaint):
        grid.read_grid([entry])


def test_flag_swept_twice_is_refused():
    with pytest.raises(UserError, match="comes twice"):
        grid.read_grid(["temperature=1", "--temperature=2"])


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["glue", "--grid", "temperature=1,0"], "--temperature 0.0: needs a number above 0"),
        (["glue", "--grid", "temprature=1"], "unrecognized arguments: --temprature 1"),
        (["glue", "--file", "nowhere.yaml"], "--file nowhere.yaml: No such file"),
        (["glue", "--cpus_per_trial", "-1"], "--cpus_per_trial -1.0: needs 0 or more"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2_before_anything_runs(argv, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        automm_distillation_sweep.main(argv)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_sweep_written_down_as_yaml(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(
        "grid: {temperature: [1, 5], train_nodistill: [true]}\nseeds: [1, 2]\n"
        "flags: {pawsx_student_tasks: [en, de], max_epochs: 2}\n"
    )
    written = grid.read_file(path)
    assert written == {
        "grid": {"temperature": ["1", "5"], "train_nodistill": ["true"]},
        "seeds": [1, 2],
        "flags": ["--pawsx_student_tasks", "en", "de", "--max_epochs", "2"],
    }
    trials = grid.plan("pawsx", written["grid"], written["seeds"], written["flags"])
    assert len(trials) == 4
    assert trials[0].settings.pawsx_student_tasks == ("en", "de")
    for scalar in ("seeds: 3", "grid: {temperature: 5}", "grid: [temperature]"):
        path.write_text(scalar)
        with pytest.raises(UserError, match="need a list"):
            grid.read_file(path)
    path.write_text("grdi: {}")
    with pytest.raises(UserError, match="needs grid, seeds and flags"):
        grid.read_file(path)


def commands(folder, **codes):
    return [
        ray_runner.Command(name, (sys.executable, "-c", code), folder, folder / "logs" / f"{name}.log")
        for name, code in codes.items()
    ]


def test_failed_and_killed_commands_do_not_stop_the_others(tmp_path):
    wanted = commands(
        tmp_path,
        fine="import os; print('threads', os.environ['OMP_NUM_THREADS'])",
        failing="import sys; sys.exit('no luck')",
        killed="import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        last="print('last')",
    )
    with ray_runner.ray_session(None):
        made = {finished.command.name: finished.status for finished in ray_runner.run(wanted, cpus=1, gpus=0)}
    assert made == {"fine": 0, "failing": 1, "killed": -9, "last": 0}
    assert (tmp_path / "logs" / "fine.log").read_text() == "threads 1\n"
    assert (tmp_path / "logs" / "failing.log").read_text() == "no luck\n"


def test_leaving_early_ends_what_runs(tmp_path):
    wanted = commands(
        tmp_path,
        short="pass",
        long=f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)",
    )
    with ray_runner.ray_session(None):
        running = ray_runner.run(wanted, cpus=0.1, gpus=0)
        assert next(running).command.name == "short"
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.1)
        running.close()
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("still there")


def test_no_cluster_there_is_the_users_mistake():
    with (
        pytest.raises(UserError, match=r"--ray_address 127\.0\.0\.1:1: no Ray cluster there"),
        ray_runner.ray_session("127.0.0.1:1"),
    ):
        pass


def test_sweep_on_this_machine_joins_no_cluster_of_somebody_else(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with ray_runner.ray_session(None):
        assert len(ray.nodes()) == 1


def test_ctrl_c_ends_the_sweep_and_its_trials(tmp_path):
    script = Path(automm_distillation_sweep.__file__)
    argv = [sys.executable, script, "glue", "--grid", "temperature=1,5", "--demo", "--output_folder", str(tmp_path)]
    sweeping = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # else ignored where this runs in the background
    )
    while not list(tmp_path.glob("logs/*.log")):
        assert sweeping.poll() is None
        time.sleep(0.2)
    sweeping.send_signal(signal.SIGINT)
    out, _ = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 130
    assert out.rstrip().endswith("the same command again runs what is missing")
    time.sleep(1)
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _read(path)]


def _read(path):
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


def test_a_request_that_this_machine_cannot_meet_is_refused(capsys):
    argv = ["glue", "--demo", "--gpus_per_trial", "99"]
    with pytest.raises(SystemExit) as end:
        automm_distillation_sweep.main(argv)
    assert end.value.code == 2
    assert re.search(r"--gpus_per_trial 99: this machine has \d", capsys.readouterr().err)


def test_a_node_that_is_lost_in_the_middle_costs_no_trial(tmp_path):
    """Two nodes with a CPU each; the second goes while both are busy."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = nodes.add_node(num_cpus=1)
    wait = f"""
import os, pathlib, time
from automm_distill.sweep import grid
mark = pathlib.Path({str(tmp_path)!r}) / f"started-{{os.getpid()}}"
mark.touch()
time.sleep(4)
"""
    made = []
    try:
        with ray_runner.ray_session(nodes.address):
            wanted = commands(tmp_path, one=wait, two=wait, three=wait)

            def lose():
                while len(list(tmp_path.glob("started-*"))) < 2:
                    time.sleep(0.1)
                nodes.remove_node(second, allow_graceful=False)

            threading.Thread(target=lose).start()
            made = [finished.status for finished in ray_runner.run(wanted, cpus=1, gpus=0)]
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert made == [0, 0, 0]
    assert len(list(tmp_path.glob("started-*"))) == 4, "one of them had to start again"


def test_killed_trial_is_the_only_one_that_runs_again(checkpoints, datasets_folder, tmp_path):
    """Four real trials; the teacher and the baseline are trained once for all of them."""
    argv = [
        *(sys.executable, str(ROOT / "automm_distillation_sweep.py"), "glue"),
        *("--grid", "output_feature_loss_weight=0,0.1", "--grid", "temperature=1,5"),
        *("--dataset_path", str(datasets_folder), "--glue_task", "rte", "--num_gpu", "0"),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *("--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32"),
    ]
    first = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    victim = None
    while victim is None and first.poll() is None:
        victim = find_process("automm_distillation_glue.py", str(tmp_path), "--temperature\x005")
        time.sleep(0.2)
    os.kill(victim, signal.SIGKILL)
    printed, _ = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "failed (status -9)" in printed
    assert "1 of 4 trials failed" in printed
    rows = [json.loads(line) for line in (tmp_path / "results" / RESULTS).read_text().splitlines()]
    assert len(rows) == 3

    again = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert again.returncode == 0
    assert "4 trials, 3 of them done before" in again.stdout
    rows, broken = read_rows(tmp_path / "results" / RESULTS)
    assert (len(rows), broken) == (4, 0)
    points = {(row["settings"]["output_feature_loss_weight"], row["settings"]["temperature"]) for row in rows}
    assert points == {(0.0, 1.0), (0.0, 5.0), (0.1, 1.0), (0.1, 5.0)}
    kinds = [path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert sorted(kinds) == ["baseline", "outputs", "teacher"]


def find_process(*parts):
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_text()
        except OSError:
            continue
        if all(part in line for part in parts) and "automm_distillation_sweep" not in line:
            return int(folder.name)
    return None
