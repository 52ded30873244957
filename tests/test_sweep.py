"""Sweeps: what they run, what they leave out or refuse, and what survives a killed trial or an interruption."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import automm_distillation_sweep
from automm_distill import run_context
from automm_distill.defaults import defaults
from automm_distill.devices import choose_device
from automm_distill.errors import UserError
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.results import RESULTS, append_row, read_rows
from automm_distill.settings import Settings
from automm_distill.sweep import checks, grid, progress
from automm_distill.sweep.checks import CheckedTrial, check, lacking_exports, pending
from automm_distill.sweep.grid import Trial, gpus_per_trial, with_gpus

from .conftest import make_settings

SCRIPT = Path(automm_distillation_sweep.__file__)


def plan(folder: Path, *flags: str, **values: list[str]) -> list[Trial]:
    return grid.plan("glue", values, [1, 2], ["--glue_task", "rte", "--output_folder", str(folder), *flags])


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What the sweep says on standard error, which must be one line, with status 2."""
    try:
        status = automm_distillation_sweep.main(["glue", *argv])
    except SystemExit as end:
        status = end.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """The script sends the package's messages to the screen; other tests read them through pytest."""
    log = logging.getLogger("automm_distill")
    handlers, level, propagate = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = handlers, level, propagate


# --- the grid


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
    assert len(plan(tmp_path, precision=["16", "16-mixed"])) == 2


@pytest.mark.parametrize("name", ["student_model", "teacher_model", "dataset_path", "unlabelled_path", "precision"])
def test_checkpoints_data_and_precision_can_be_swept(tmp_path, name):
    values = ["16", "32"] if name == "precision" else ["one", "other"]
    assert len(plan(tmp_path, **{name: values})) == 4


def test_several_unlabelled_files_are_one_value_of_a_grid(tmp_path):
    trials = plan(tmp_path, "--max_train_rows", "500", unlabelled_path=["rest", "rest more.csv"])
    assert [trial.settings.unlabelled_path for trial in trials[::2]] == [("rest",), ("more.csv", "rest")]


def test_presets_and_pairs_of_layers_can_be_swept(tmp_path):
    trials = plan(tmp_path, **grid.read_grid(["preset=published,strong"]))
    assert [trial.settings.temperature for trial in trials[::2]] == [5, 2]
    points = grid.read_grid(["hidden_states_layers=last,0:1 1:3"])
    trials = plan(tmp_path, "--hidden_states_loss_weight", "1", **points)
    assert [trial.settings.hidden_states_layers for trial in trials[::2]] == ["last", "0:1,1:3"]


def test_layers_can_be_swept_with_blanks_between_them(tmp_path):
    """A comma ends a value of the grid; in a file, a list in the list is such a value, too."""
    points = grid.read_grid(["student_layers=3,first:2,0 2 4"])
    trials = plan(tmp_path, **points)
    assert [trial.settings.student_layers for trial in trials[::2]] == ["3", "first:2", "0,2,4"]
    assert {trial.settings.student_model for trial in trials} == {None}
    path = tmp_path / "sweep.yaml"
    path.write_text('grid: {student_layers: [3, "first:2", [0, 2, 4], "2,"]}')
    trials = plan(tmp_path, **grid.read_file(path)["grid"])
    assert [trial.settings.student_layers for trial in trials[::2]] == ["3", "first:2", "0,2,4", "2,"]


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("num_workers", ["0", "4"]),
        ("output_folder", ["a", "b"]),
        ("finetuned_model_cache_folder", ["a", "b"]),
        ("save_path", ["a", "b"]),
        ("resume", ["true", "false"]),
    ],
)
def test_grid_over_a_flag_that_changes_no_result_is_refused(tmp_path, flag, values):
    with pytest.raises(
        UserError, match=rf"--grid {flag}={','.join(values)}: makes no difference .* give --{flag} once"
    ):
        plan(tmp_path, **{flag: values})


def test_grid_over_a_flag_that_no_trial_uses_is_refused(tmp_path):
    with pytest.raises(UserError, match="--grid temperature=1,5: makes no difference to any result here"):
        plan(tmp_path, "--soft_label_weight", "0", temperature=["1", "5"])
    assert len(plan(tmp_path, temperature=["1", "5"], soft_label_weight=["0", "1"])) == 6, "some trials use it"


def test_grid_over_devices_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--grid num_gpu=0,1: .*; use --gpus_per_trial"):
        plan(tmp_path, num_gpu=["0", "1"])


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("temperature", "needs the form"),
        ("temperature=", "needs the form"),
        ("temperature=1,,2", "needs the form"),
        ("=1", "needs the form"),
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
        (["--grid", "temperature=1,0"], "--temperature 0.0: needs a number above 0"),
        (["--grid", "temprature=1"], "unrecognized arguments: --temprature 1"),
        (["--grid", "seed=1,2"], "seed: use --seeds"),
        (["--seed", "5"], "seed: use --seeds"),
        (["--file", "nowhere.yaml"], "--file nowhere.yaml: No such file"),
        (["--cpus_per_trial", "-1"], "--cpus_per_trial -1: needs a number above 0"),
        (["--cpus_per_trial", "0"], "--cpus_per_trial 0: needs a number above 0"),
        (["--cpus_per_trial", "0", "--gpus_per_trial", "1"], "--cpus_per_trial 0: needs a number above 0"),
        (["--memory_per_trial", "0"], "--memory_per_trial 0: needs a number above 0"),
        (["--memory_per_trial", "nan"], "--memory_per_trial nan: needs a number above 0"),
        (["--gpus_per_trial", "1.5"], "--gpus_per_trial 1.5: needs a whole number, or a part of one GPU"),
        (["--gpus_per_trial", "nan"], "--gpus_per_trial nan: needs a whole number"),
        (["--gpus_per_trial", "-1"], "--gpus_per_trial -1: needs a whole number"),
        (["--gpus_per_trial", "99"], f"--gpus_per_trial 99: this machine has {torch.cuda.device_count()}"),
        (["--gpus_per_trial", "0", "--num_gpu", "1"], "--num_gpu 1: contradicts --gpus_per_trial 0"),
        (["--dataset_path", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2_before_anything_runs(argv, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert complaint in refusal(capsys, *argv)
    assert not (tmp_path / "results" / "logs").exists()


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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seeds: 3", "need a list"),
        ("grid: {temperature: 5}", "need a list"),
        ("grid: [temperature]", "need a list"),
        ("grid: {temperature: []}", "has no values"),
        ("flags: [temperature]", "flags need the form flag: value"),
        ("flags: temperature", "flags need the form flag: value"),
        ("grdi: {}", "needs grid, seeds and flags"),
        ("grid: {", "not YAML"),
        (b"\xff\xfe\xfa", "not YAML"),
    ],
)
def test_bad_yaml_is_refused_in_one_line(tmp_path, capsys, text, complaint):
    path = tmp_path / "grid.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert complaint in refusal(capsys, "--file", str(path))


# --- GPUs


@pytest.mark.parametrize(
    ("requested", "num_gpu", "gpus_here", "expected"),
    [
        (None, "-1", 0, 0),
        (None, "-1", 2, 1),  # where there are some, one each
        (None, "-1", None, 0),  # on a cluster
        (None, "0", 2, 0),
        (None, "2", 2, 2),
        (0, "-1", 2, 0),
        (0.5, "-1", 2, 0.5),
        (0.5, "1", 2, 0.5),
        (2, "2", None, 2),
    ],
)
def test_gpus_of_a_trial(tmp_path, requested, num_gpu, gpus_here, expected):
    assert gpus_per_trial(requested, plan(tmp_path, "--num_gpu", num_gpu), gpus_here) == expected


@pytest.mark.parametrize(("requested", "num_gpu"), [(1, "0"), (0, "2"), (0.5, "2"), (2, "1")])
def test_gpus_that_contradict_the_scripts_flag_are_refused(tmp_path, requested, num_gpu):
    with pytest.raises(UserError, match=rf"--num_gpu {num_gpu}: contradicts --gpus_per_trial {requested}"):
        gpus_per_trial(requested, plan(tmp_path, "--num_gpu", num_gpu), 4)


@pytest.mark.parametrize(("gpus", "visible"), [(0, 0), (0.5, 1), (2, 2)])
def test_trial_is_told_to_use_the_gpus_that_it_gets(tmp_path, gpus, visible):
    trial = with_gpus(plan(tmp_path)[0], gpus)
    assert trial.argv[-2:] == ("--num_gpu", str(visible))
    assert trial.settings.num_gpu == visible


# --- what is done before


@pytest.fixture
def inputs(checkpoints, datasets_folder, tmp_path) -> dict[str, str]:
    """Flags of a sweep that can run, with data of its own."""
    shutil.copytree(datasets_folder / "rte", tmp_path / "data" / "rte")
    return {
        "dataset_path": str(tmp_path / "data"),
        "glue_task": "rte",
        "teacher_model": str(checkpoints / "teacher"),
        "student_model": str(checkpoints / "student"),
        "finetuned_model_cache_folder": str(tmp_path / "cache"),
        "output_folder": str(tmp_path / "results"),
        "num_gpu": "0",
    }


def checked(flags: dict[str, str], seeds: tuple[int, ...] = (1, 2), **values: list[str]) -> list[CheckedTrial]:
    argv = [part for name, value in flags.items() if name not in values for part in (f"--{name}", value)]
    return check(grid.plan("glue", values, seeds, argv), on_cluster=False)


def row_of(trial: CheckedTrial, **device: Any) -> dict[str, Any]:
    """What of a run's row says which run it was."""
    return {
        "format": 2,
        "identity": trial.identity,
        "settings": {"precision": "auto"},
        "device": {"precision": choose_device(0, "auto").precision, "num_gpus": 0} | device,
    }


def test_trials_with_a_row_are_done_and_others_pending(inputs):
    results = Path(inputs["output_folder"])
    trials = checked(inputs, temperature=["1", "5"])
    assert pending(trials) == trials
    append_row(results, row_of(trials[0]))
    append_row(results, row_of(trials[1]) | {"identity": "of another run"})
    append_row(results, {"settings": dict(inputs), "device": {}})  # of an old version
    with (results / RESULTS).open("a") as file:
        file.write('{"settings": {"half a li')
    assert pending(trials) == trials[1:]
    assert read_rows(results / RESULTS)[1] == 1
    same = checked(inputs | {"num_workers": "2"}, temperature=["1", "5"])
    assert [trial.identity for trial in pending(same)] == [trial.identity for trial in trials[1:]]


def test_trials_done_without_the_forms_that_are_asked_for_are_known(inputs):
    trials = checked(inputs | {"export": "onnx"}, temperature=["1", "2", "5"])
    forms = ({"onnx": {}, "hf": {}}, {"hf": {}})
    for trial, of_trial in zip(trials, forms, strict=False):
        append_row(Path(inputs["output_folder"]), row_of(trial) | {"export": {"forms": of_trial}})
    append_row(Path(inputs["output_folder"]), row_of(trials[2]) | {"export": {"reason": "no room"}})
    assert lacking_exports(trials) == trials[1:3]
    assert lacking_exports(checked(inputs, temperature=["1", "2", "5"])) == [], "none are asked for"


def test_rows_of_other_arithmetic_do_not_count(inputs):
    results = Path(inputs["output_folder"])
    trials = checked(inputs, seeds=(1,))
    append_row(results, row_of(trials[0], precision="16"))
    append_row(results, row_of(trials[0], num_gpus=1))
    assert pending(trials) == trials
    append_row(results, row_of(trials[0]))
    assert pending(trials) == []


def test_new_rows_under_the_same_path_are_a_new_run(inputs):
    trials = checked(inputs)
    for trial in trials:
        append_row(Path(inputs["output_folder"]), row_of(trial))
    assert pending(checked(inputs)) == []
    path = Path(inputs["dataset_path"]) / "rte" / "validation.parquet"
    rows = pd.read_parquet(path)
    rows.loc[0, "sentence1"] += " indeed"
    rows.to_parquet(path)
    assert len(pending(checked(inputs))) == 2


def test_new_checkpoint_under_the_same_path_is_a_new_run(inputs, checkpoints, tmp_path):
    moving = inputs | {"student_model": str(tmp_path / "model")}
    shutil.copytree(checkpoints / "student", tmp_path / "model")
    (trial,) = checked(moving, seeds=(1,))
    append_row(Path(inputs["output_folder"]), row_of(trial))
    assert pending(checked(inputs, seeds=(1,))) == [], "the same checkpoint elsewhere"
    shutil.rmtree(tmp_path / "model")
    shutil.copytree(checkpoints / "teacher", tmp_path / "model")
    assert len(pending(checked(moving, seeds=(1,)))) == 1


@pytest.mark.parametrize("what", ["libraries", "training format"])
def test_new_libraries_and_new_training_are_a_new_run(inputs, monkeypatch, what):
    trials = checked(inputs)
    for trial in trials:
        append_row(Path(inputs["output_folder"]), row_of(trial))
    if what == "libraries":
        monkeypatch.setattr(run_context, "library_versions", lambda: {"torch": "another"})
    else:
        monkeypatch.setattr(run_context, "TRAINING_FORMAT", run_context.TRAINING_FORMAT + 1)
    assert len(pending(checked(inputs))) == 2


@pytest.mark.parametrize(
    ("requested", "row_requested", "used", "done"),
    [
        ("auto", "auto", "bf16", True),
        ("auto", "32", "32", True),
        ("16", "16", "32", True),  # the cluster had nothing better
        ("16", "auto", "16", True),
        ("16", "auto", "bf16", False),
    ],
)
def test_on_a_cluster_the_requested_precision_counts(requested, row_requested, used, done):
    trial = CheckedTrial(Trial({}, (), make_settings()), "x", requested, None, 0)
    row = {"identity": "x", "settings": {"precision": row_requested}, "device": {"precision": used, "num_gpus": 1}}
    assert trial.is_done(row) is done


def test_cluster_needs_no_gpu_on_this_machine(inputs):
    argv = [part for name, value in inputs.items() for part in (f"--{name}", value)]
    trials = [with_gpus(trial, 99) for trial in grid.plan("glue", {}, [1], argv)]
    (trial,) = check(trials, on_cluster=True)
    assert trial.trial.settings.num_gpu == 99
    assert trial.identity == checked(inputs, seeds=(1,))[0].identity
    with pytest.raises(UserError, match="--num_gpu 99: this machine has"):
        check(trials, on_cluster=False)


def test_two_names_of_one_checkpoint_are_one_run(inputs, checkpoints, tmp_path):
    shutil.copytree(checkpoints / "student", tmp_path / "copy")
    trials = checked(inputs, student_model=[inputs["student_model"], str(tmp_path / "copy")])
    assert [trial.trial.settings.seed for trial in trials] == [1, 2]


def test_two_spellings_of_the_same_layers_are_one_run(inputs):
    del inputs["student_model"]
    trials = checked(inputs, seeds=(1,), student_layers=["1", "first:1", "0,", "1,", "2"])
    assert [trial.row["student_layers"] for trial in trials] == [[0], [1], [0, 1]]
    assert {trial.row["settings"]["student_model"] for trial in trials} == {None}
    for trial in trials[:2]:
        append_row(Path(inputs["output_folder"]), row_of(trial))
    assert [trial.row["student_layers"] for trial in pending(trials)] == [[0, 1]]


def test_rows_and_checkpoints_are_read_once_for_all_trials_that_share_them(inputs, monkeypatch):
    calls = []

    def count(name: str) -> None:
        original = getattr(checks, name)

        def counted(*args: Any) -> Any:
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(checks, name, counted)

    count("load_splits")
    count("find_checkpoint")
    trials = checked(inputs, temperature=["1", "5"], hard_label_weight=["0", "1"])
    assert len(trials) == 8
    assert sorted(calls) == ["find_checkpoint"] * 2 + ["load_splits"] * 2, "two models; two seeds, two hold-outs"
    points = [(trial.trial.point["temperature"], trial.trial.point["seed"]) for trial in trials[:3]]
    assert points == [("1", "1"), ("1", "2"), ("1", "1")], "in the order of the plan"


@pytest.mark.parametrize("benchmark", ["glue", "pawsx"])
def test_rows_are_shared_by_all_that_they_depend_on(datasets_folder, benchmark):
    """Every setting that load_splits reads is part of the key under which a sweep keeps its rows."""
    languages = dict(pawsx_teacher_tasks=("en", "de"), pawsx_student_tasks=("en",))
    task = languages if benchmark == "pawsx" else dict(glue_task="rte")
    settings = Settings(benchmark=benchmark, **(defaults(benchmark) | task))

    def reads(function: Callable[..., Any], *args: Any) -> set[str]:
        names = set()

        class Watched:
            def __getattr__(self, name: str) -> Any:
                names.add(name)
                return getattr(settings, name)

        function(Watched(), *args)
        return names

    read, key = reads(load_splits, datasets_folder), reads(checks._rows_key)
    assert {"seed", "max_train_rows"} <= read
    assert {"glue_task", "demo", "pawsx_teacher_tasks", "pawsx_student_tasks"} <= key, "what the tasks are made of"
    assert read - {"tasks"} <= key


def test_bad_rows_are_refused_before_the_grid_runs(inputs, capsys):
    path = Path(inputs["dataset_path"]) / "rte" / "train.parquet"
    pd.read_parquet(path).assign(label=7).to_parquet(path)
    argv = [part for name, value in inputs.items() for part in (f"--{name}", value)]
    assert "label 7 is not one of" in refusal(capsys, "--grid", "temperature=1,5", *argv)
    assert not (Path(inputs["output_folder"]) / "logs").exists()


def test_each_warning_is_said_once_for_all_trials(inputs, tmp_path):
    argv = [part for name, value in inputs.items() for part in (f"--{name}", value)]
    for trial in checked(inputs | {"precision": "16"}, temperature=["1", "5"]):
        append_row(Path(inputs["output_folder"]), row_of(trial))
    ended = sweep(tmp_path, "--grid", "temperature=1,5", "--seeds", "1", "2", "--precision", "16", *argv)
    assert "4 trials, 4 of them done before" in ended.stderr
    assert choose_device(0, "16").precision == choose_device(0, "auto").precision
    assert ended.stderr.count("precision 16 is not supported") == 1


# --- trials as processes


def sweep(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The script, run to its end in ``folder``."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), "glue", *argv], capture_output=True, text=True, timeout=400, cwd=folder
    )


def test_trial_runs_this_package_in_any_folder(tmp_path, monkeypatch):
    """Also in one that has another package of that name, and with nothing installed."""
    (tmp_path / "automm_distill").mkdir()
    (tmp_path / "automm_distill" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = progress.trial_command(plan(tmp_path)[0], "glue")
    ended = subprocess.run(
        [*command.argv, "--help"], cwd=command.folder, env={**os.environ, **command.environment}, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    assert b"--glue_task" in ended.stdout


@pytest.mark.parametrize("argv", [[], ["imdb", "--demo"]])
def test_command_of_a_trial_names_the_benchmarks(argv):
    ended = subprocess.run(
        [sys.executable, "-m", "automm_distill.cli", *argv], cwd=SCRIPT.parent, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == "automm_distill.cli: error: the first argument must be one of glue, pawsx, own\n"


def test_ctrl_c_ends_the_sweep_and_its_trials(inputs, tmp_path):
    flags = [part for name, value in inputs.items() for part in (f"--{name}", value)]
    sweeping = subprocess.Popen(
        [sys.executable, SCRIPT, "glue", "--grid", "temperature=1,5", *flags],
        stderr=subprocess.PIPE,
        text=True,
        # Else ignored where this runs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(tmp_path.glob("results/logs/*.log")):
        assert sweeping.poll() is None
        time.sleep(0.2)
    sweeping.send_signal(signal.SIGINT)
    _, error = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 130
    assert error.rstrip().endswith("interrupted; the same command again runs what is missing")
    time.sleep(1)
    assert process_of_trial(tmp_path / "results") is None


@pytest.mark.slow
def test_killed_trial_is_the_only_one_that_runs_again(inputs, tmp_path):
    """Four real trials; the teacher and the baseline are trained once for all of them."""
    flags = [part for name, value in inputs.items() if name != "num_gpu" for part in (f"--{name}", value)]
    argv = [
        *("--grid", "output_feature_loss_weight=0,0.1", "--grid", "temperature=1,5", "--gpus_per_trial", "0", *flags),
        *("--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32"),
    ]
    first = subprocess.Popen(
        [sys.executable, str(SCRIPT), "glue", *argv], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    victim = None
    while victim is None and first.poll() is None:
        victim = process_of_trial(tmp_path / "results", "temperature=5")
        time.sleep(0.2)
    os.kill(victim, signal.SIGKILL)
    _, printed = first.communicate(timeout=400)
    assert first.returncode == 1
    assert "each with 1 CPU, 0 GPU and about 1.1 GB of memory" in printed
    assert "failed (status -9)" in printed
    assert "1 of 4 trials failed" in printed
    results = tmp_path / "results" / RESULTS
    assert len(read_rows(results)[0]) == 3

    again = sweep(tmp_path, *argv)
    assert again.returncode == 0, again.stderr
    assert "4 trials, 3 of them done before" in again.stderr
    rows, broken = read_rows(results)
    assert (len(rows), broken) == (4, 0)
    points = {(row["settings"]["output_feature_loss_weight"], row["settings"]["temperature"]) for row in rows}
    assert points == {(0.0, 1.0), (0.0, 5.0), (0.1, 1.0), (0.1, 5.0)}
    assert {(row["settings"]["num_gpu"], row["device"]["num_gpus"]) for row in rows} == {(0, 0)}
    kinds = [path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert sorted(kinds) == ["baseline", "outputs", "predictions", "predictions", "teacher"]


def process_of_trial(results: Path, name: str = "") -> int | None:
    """A process that writes to the log of a trial whose name has this part: as a warm worker's child, too."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            log = (folder / "fd" / "1").readlink()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if log.parent == results / "logs" and name in log.name:
            return int(folder.name)
    return None
