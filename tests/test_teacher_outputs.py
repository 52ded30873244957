"""The teacher's outputs on disk, with a teacher whose outputs are known and which records the rows that it predicts."""

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import time

import numpy as np
import pandas as pd
import pytest

from automm_distill import teacher_outputs
from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import TrainingError

COLUMNS = ("sentence1", "sentence2")


def frame(*numbers):
    return pd.DataFrame({"sentence1": [f"first {n}" for n in numbers], "sentence2": [f"second {n}" for n in numbers]})


class CountingTeacher:
    def __init__(self) -> None:
        self.read = []

    def __call__(self, rows):
        numbers = rows["sentence1"].str.split().str[1].astype(float).to_numpy()
        self.read += numbers.tolist()
        return np.stack([numbers, -numbers], axis=1), np.outer(numbers, [1.0, 0.5, 0.25])


def get_or_compute(folder, rows, teacher, precision="32"):
    return teacher_outputs.get_or_compute(
        folder, {"columns": COLUMNS, "precision": precision, "teacher": 1}, rows, teacher
    )


def take(outputs, rows):
    positions = outputs.find(row_keys(rows, COLUMNS))
    assert (positions >= 0).all()
    return outputs.take(positions)


def test_rows_are_computed_once_whatever_their_order(tmp_path):
    """As with another epoch, seed, weight or choice of languages."""
    teacher = CountingTeacher()
    get_or_compute(tmp_path / "o", frame(1, 2, 3), teacher)
    get_or_compute(tmp_path / "o", frame(3, 1), teacher)
    outputs = get_or_compute(tmp_path / "o", frame(5, 2, 4, 1), teacher)
    assert teacher.read == [1, 2, 3, 5, 4]
    logits, features = take(outputs, frame(4, 1, 5, 4))
    assert logits.tolist() == [[4, -4], [1, -1], [5, -5], [4, -4]]
    assert features.tolist() == [[4, 2, 1], [1, 0.5, 0.25], [5, 2.5, 1.25], [4, 2, 1]]
    assert (logits.dtype, features.dtype) == (np.float32, np.float32)


def test_rows_of_identical_text_are_read_once(tmp_path):
    teacher = CountingTeacher()
    outputs = get_or_compute(tmp_path / "o", frame(7, 7, 8, 7), teacher)
    assert teacher.read == [7, 8]
    assert take(outputs, frame(7, 8, 7))[0][:, 0].tolist() == [7, 8, 7]


def test_key_depends_on_where_one_sentence_ends():
    frames = pd.DataFrame({"sentence1": ["a b", "a", ""], "sentence2": ["c", "b c", "a b c"]})
    assert len(set(row_keys(frames, COLUMNS).tolist())) == 3


def test_missing_row_is_not_found(tmp_path):
    outputs = get_or_compute(tmp_path / "o", frame(1, 2), CountingTeacher())
    keys = row_keys(frame(0, 1, 9), COLUMNS)
    assert (outputs.find(keys) >= 0).tolist() == [False, True, False]
    assert (teacher_outputs.TeacherOutputs([]).find(keys) == -1).all()


def test_half_precision_takes_half_the_space_and_rounds(tmp_path):
    numbers = np.random.default_rng(0).normal(size=500).round(6).tolist()
    sizes = {}
    for precision in ("32", "16"):
        outputs = get_or_compute(tmp_path / precision, frame(*numbers), CountingTeacher(), precision)
        assert take(outputs, frame(*numbers))[0][:, 0] == pytest.approx(
            numbers, rel=1e-3 if precision == "16" else 1e-6
        )
        sizes[precision] = sum(file.stat().st_size for file in (tmp_path / precision).glob("*/[lf]*.npy"))
    assert sizes["16"] == pytest.approx(sizes["32"] / 2, rel=0.05)
    with pytest.raises(TrainingError, match="too large for --teacher_outputs_precision 16; use 32"):
        get_or_compute(tmp_path / "16", frame(1e6), CountingTeacher(), "16")


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "foreign file", "foreign part"])
def test_damaged_parts_are_moved_aside_and_computed_again(tmp_path, caplog, damage):
    get_or_compute(tmp_path / "o", frame(1, 2), CountingTeacher())
    get_or_compute(tmp_path / "o", frame(3), CountingTeacher())
    part = next(part for part in (tmp_path / "o").glob("part-*") if len(np.load(part / "keys.npy")) == 2)
    victim = part / "features.npy"
    content = victim.read_bytes()
    if damage == "flip":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        victim.write_bytes(content[:-5])
    elif damage == "remove":
        victim.unlink()
    elif damage == "foreign file":
        np.save(victim, np.zeros((2, 3), dtype=np.float32))
    else:
        recipe = {"columns": COLUMNS, "precision": "32", "teacher": 2}
        teacher_outputs.get_or_compute(
            tmp_path / "other", recipe, frame(1, 2), lambda rows: (np.ones((2, 2)), np.ones((2, 3)))
        )
        shutil.rmtree(part)
        shutil.copytree(next((tmp_path / "other").glob("part-*")), part)
    teacher = CountingTeacher()
    with caplog.at_level(logging.WARNING):
        outputs = get_or_compute(tmp_path / "o", frame(1, 2, 3), teacher)
    assert teacher.read == [1, 2]
    assert ("it has another recipe than the folder" if damage == "foreign part" else "features.npy is") in caplog.text
    assert take(outputs, frame(1, 2, 3))[1][:, 0].tolist() == [1, 2, 3]


def _read_slowly(folder, started, done):
    def teacher(rows):
        started.set()
        time.sleep(0.5)
        done.value += len(rows)
        return CountingTeacher()(rows)

    get_or_compute(folder, frame(*range(20)), teacher)


def test_of_two_processes_one_computes_and_the_other_waits(tmp_path):
    context = multiprocessing.get_context("fork")
    started, done = context.Event(), context.Value("i", 0)
    processes = [context.Process(target=_read_slowly, args=(tmp_path / "o", started, done)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert done.value == 20


def test_a_killed_pass_keeps_its_finished_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_outputs, "PART_ROWS", 4)

    class Dying(CountingTeacher):
        def __call__(self, rows):
            if len(self.read) == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(rows)

    process = multiprocessing.get_context("fork").Process(
        target=get_or_compute, args=(tmp_path / "o", frame(*range(20)), Dying())
    )
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    teacher = CountingTeacher()
    outputs = get_or_compute(tmp_path / "o", frame(*range(20)), teacher)
    assert teacher.read == list(range(8, 20))
    assert take(outputs, frame(*range(20)))[0][:, 0].tolist() == list(range(20))


def test_pickled_outputs_hold_no_rows(tmp_path):
    many = frame(*range(3000))

    def wide(rows):
        logits, _ = CountingTeacher()(rows)
        return logits, np.ones((len(rows), 500))

    outputs = get_or_compute(tmp_path / "o", many, wide)
    take(outputs, many)
    assert len(pickle.dumps(outputs)) < 100_000, "the features alone are 6 MB"
    assert take(pickle.loads(pickle.dumps(outputs)), frame(5))[1].tolist() == [[1.0] * 500]
