"""How far a fit is: in words, on a terminal, and in a log file."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from automm_distill import automm, logs, progress
from automm_distill.automm.progress import MOVING_PASSES, FitProgress, moving_mean
from automm_distill.progress import Display, Status, batch_starts, duration
from automm_distill.sweep.halving import read_validations

from .fits import RTE, distill, load, make_options, rows_of

STATUS = Status("student", 30, 120, "epoch 2/8, step 30/120, loss 0.6931, accuracy 0.8000 (best 0.9000)", 95.0)
# A fit of 8 steps and 4 validations in a process of its own, whose messages are set up as a script does it.
FIT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from automm_distill import automm, logs, progress
from tests.fits import RTE, make_options, rows_of
logs.set_up("normal")
logs.quieten_libraries("normal")
progress.REDRAW_EVERY_S = 0
options = make_options(Path(sys.argv[1]), "teacher", batch_size=16, per_gpu_batch_size=8, teacher_max_epochs=2)
automm.fit(Path(sys.argv[2]), rows_of("rte"), RTE, options)
"""


def fit_command(checkpoints: Path, folder: Path) -> list[str]:
    return [sys.executable, "-c", FIT, str(checkpoints), str(folder / "model")]


def on_terminal(command: list[str], columns: int) -> list[str]:
    """What the command shows on a terminal that is so wide: each line that was ever on it."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, **size})
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait() == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8")).replace("\r", "\n").splitlines()


def test_log_file_gets_a_line_at_each_validation(checkpoints, tmp_path):
    ended = subprocess.run(fit_command(checkpoints, tmp_path), capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    lines = [line.partition("] ")[2] for line in ended.stderr.splitlines()]
    # How long the rest takes is for the machine to say, but for the last line, where nothing is left.
    assert [re.sub(r"0\.\d{4}", "0.x", re.sub(r"\d+ s left", "N s left", line)) for line in lines] == [
        f"teacher: epoch {epoch}/2, step {step}/8, loss 0.x, accuracy 0.x (best 0.x), N s left"
        for epoch, step in ((1, 2), (1, 4), (2, 6), (2, 8))
    ]
    assert lines[-1].endswith(" 0 s left")
    scores = [tuple(map(float, re.findall(r"accuracy (\S+) \(best (\S+)\)", line)[0])) for line in lines]
    assert [best for _, best in scores] == [max(score for score, _ in scores[: n + 1]) for n in range(4)]
    # Two passes make a step, and Lightning halves their losses: a network that has learnt nothing is at log 2.
    assert 0.5 < float(re.findall(r"loss (\S+),", lines[0])[0]) < 1.0


def test_terminal_shows_one_bar_that_stays(checkpoints, tmp_path):
    shown = on_terminal(fit_command(checkpoints, tmp_path), 40)
    assert max(map(len, shown)) <= 40
    assert any("epoch 1/2, step 3/8, loss 0." in line for line in shown), "between two validations too"
    *_, bar, details, scores = filter(str.strip, shown)
    assert re.fullmatch(r"teacher ━+ +100 % 0 s left", bar.strip())
    assert re.fullmatch(r"epoch 2/2, step 8/8, loss 0\.\d{4},", details.strip())
    assert re.fullmatch(r"accuracy 0\.\d{4} \(best 0\.\d{4}\)", scores.strip())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminal_without_the_bars_characters(encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=80).print(STATUS.as_bar())
    file.seek(0)
    assert re.match(r"student -+ +25 % 2 min left", file.read())


def test_quiet_fit_shows_nothing(checkpoints, tmp_path, lines, monkeypatch):
    lines.set_level("WARNING", logger="automm_distill")
    monkeypatch.setattr(logs, "on_terminal", lambda: True)
    automm.fit(tmp_path / "model", rows_of("rte"), RTE, make_options(checkpoints, "teacher"))
    assert not [message for message in lines.messages if "epoch" in message]
    assert not any(FitProgress.__module__ == record.name for record in lines.records)


@pytest.fixture
def lines(monkeypatch, caplog):
    """The messages of a process without a terminal for which a minute is over at once."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    monkeypatch.setattr(logs, "on_terminal", lambda: False)
    caplog.set_level("INFO", logger="automm_distill")
    return caplog


def test_slow_fit_gets_lines_between_its_validations(checkpoints, tmp_path, lines):
    options = make_options(checkpoints, "baseline", batch_size=16, per_gpu_batch_size=16)
    automm.fit(tmp_path / "model", rows_of("rte"), RTE, options)
    messages = [message for message in lines.messages if message.startswith("baseline: epoch")]
    assert any(re.match(r"baseline: epoch 1/1, step 1/4, loss 0\.\d{4}, \d+ s left", each) for each in messages)
    assert any("validating 1/2" in each for each in messages)


def test_fit_that_ends_early_says_so(checkpoints, tmp_path, lines):
    options = make_options(
        checkpoints, "teacher", teacher_max_epochs=6, hyperparameters={"optim.patience": 1, "optim.lr": 1e-12}
    )
    automm.fit(tmp_path / "model", rows_of("rte"), RTE, options)
    (message,) = (message for message in lines.messages if "ended early" in message)
    assert re.match(r"teacher: ended early, after step \d of 12: no better score for a while", message)


def test_reading_rows_says_how_far_it_is(lines):
    assert list(batch_starts("reading", 2500, 1000)) == [0, 1000, 2000]
    assert [message.partition(" left")[0] for message in lines.messages] == [
        "reading: 0 of 2,500 rows",
        "reading: 1,000 of 2,500 rows, 0 s",
        "reading: 2,000 of 2,500 rows, 0 s",
    ]


def test_display_is_due_once_a_minute_without_a_terminal(lines, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 60.0)
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    display = Display(stays=True)
    due = []
    for seconds in range(0, 180, 10):
        now[0] = 1000.0 + seconds
        if display.is_due():
            due.append(seconds)
            display.show(STATUS)
    assert due == [60, 120]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (600, "10 min"),
        (3590, "1 h 0 min"),
        (12000, "3 h 20 min"),
        (86390, "1 d 0 h"),
        (190000, "2 d 4 h"),
    ],
)
def test_durations_in_their_two_largest_units(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bar_fits_any_terminal(columns):
    console = Console(file=io.StringIO(), width=columns)
    console.print(STATUS.as_bar())
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("student ━")
    assert " ".join(" ".join(lines[1:]).split()) == STATUS.details


def test_line_has_all_that_the_bar_has():
    assert STATUS.as_line() == f"student: {STATUS.details}, 2 min left"
    assert Status("student", 0, 120, "epoch 1/8", None).as_line() == "student: epoch 1/8"


def test_shown_loss_follows_the_latest_passes():
    mean = torch.tensor(torch.nan)
    for count in range(1, 5):
        mean = moving_mean(mean, torch.tensor(float(count)), count)
    assert mean.item() == pytest.approx(2.5), "the plain mean at first"
    for count in range(5, 5 + 5 * MOVING_PASSES):
        mean = moving_mean(mean, torch.tensor(10.0), count)
    assert mean.item() == pytest.approx(10, abs=0.1)


def test_best_of_a_loss_is_the_smallest(checkpoints):
    bar = FitProgress(make_options(checkpoints, "teacher"), "val_rmse", "rmse", larger_is_better=False)
    assert bar._better(0.5, 0.4) == 0.4


def test_student_writes_down_each_validation(checkpoints, tmp_path):
    """Four of a fit of two epochs; what an earlier fit left there is gone."""
    path = tmp_path / "logs" / "validations.jsonl"
    path.parent.mkdir()
    path.write_text("of a killed fit\n")
    teacher = make_options(checkpoints, "teacher", validation_log=str(path))
    automm.fit(tmp_path / "teacher", rows_of("rte"), RTE, teacher)
    assert path.read_text() == "of a killed fit\n", "of the student only"
    short = dict(batch_size=16, per_gpu_batch_size=8, max_epochs=2, validation_log=str(path))
    distill(load(tmp_path / "teacher"), checkpoints, tmp_path, **short)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(0.5, 2), (1.0, 4), (1.5, 6), (2.0, 8)]
    assert {(line["metric"], line["larger_is_better"]) for line in lines} == {("accuracy", True)}
    assert all(0 <= line["score"] <= 1 for line in lines)
    assert [each.epoch for each in read_validations(path)] == [0.5, 1.0, 1.5, 2.0], "a search reads it"


def test_undefined_score_is_written_as_none(checkpoints, tmp_path):
    bar = FitProgress(make_options(checkpoints, "student"), "val_pearsonr", "pearson", larger_is_better=True)
    trainer = SimpleNamespace(num_training_batches=4, global_step=1)
    bar._log_validation(trainer, float("nan"), tmp_path / "log")
    assert json.loads((tmp_path / "log").read_text())["score"] is None
