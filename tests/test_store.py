"""Cache entries are whole or absent, found by what made them, and made once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from distillation import store

SLOW_BUILDER = """
import sys, time
from pathlib import Path
from distillation import store
def build(folder):
    folder.mkdir()
    (folder / "weights").write_text(sys.argv[2])
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    return {}
loaded, found = store.obtain(
    Path(sys.argv[1]), {}, since=time.time(), build=build, load=lambda folder, _: (folder / "weights").read_text()
)
print(loaded, found, flush=True)
"""


def write(text):
    def build(folder):
        folder.mkdir()
        (folder / "weights").write_text(text)
        return {"text": text}

    return build


def read(folder, manifest):
    assert list(manifest["files"]) == ["weights"]
    return (folder / "weights").read_text(), manifest["facts"]["text"]


def start(place, text, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILDER, str(place), text, str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_fingerprint_depends_on_values_not_on_order():
    recipe = {"seed": 1, "rows": "abc", "hyperparameters": {"lr": 1e-4}}
    assert store.fingerprint(recipe) == store.fingerprint(dict(reversed(recipe.items())))
    for changed in ({"seed": 2}, {"rows": "abd"}, {"hyperparameters": {"lr": 2e-4}}, {"version": "1"}):
        assert store.fingerprint(recipe | changed) != store.fingerprint(recipe)


def test_entry_is_used_if_finished_since_the_given_time(tmp_path):
    place = tmp_path / "entry"
    assert store.obtain(place, {}, since=0, build=write("one"), load=read) == (("one", "one"), False)
    assert store.obtain(place, {}, since=0, build=write("two"), load=read) == (("one", "one"), True)
    assert store.obtain(place, {}, since=time.time(), build=write("three"), load=read) == (("three", "three"), False)


def test_failed_build_leaves_the_old_entry(tmp_path):
    place = tmp_path / "entry"
    store.obtain(place, {}, since=0, build=write("one"), load=read)

    def fail(folder):
        write("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.obtain(place, {}, since=time.time(), build=fail, load=read)
    assert store.obtain(place, {}, since=0, build=fail, load=read) == (("one", "one"), True)
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest.json", "not readable", "without facts"])
def test_damaged_entry_is_set_aside_and_made_anew(tmp_path, caplog, damage):
    place = tmp_path / "entry"
    store.obtain(place, {}, since=0, build=write("one"), load=read)
    match damage:
        case "changed":
            (place / "weights").write_text("won")
        case "missing":
            (place / "weights").unlink()
        case "no manifest.json":
            (place / "manifest.json").unlink()
        case "not readable":
            (place / "manifest.json").write_text('{"files": ')
        case "without facts":
            (place / "manifest.json").write_text('{"files": {}}')
            damage = "not readable"
    assert store.obtain(place, {}, since=0, build=write("two"), load=read) == (("two", "two"), False)
    assert damage in caplog.text
    assert len(list(tmp_path.glob("entry.damaged-*"))) == 1


def test_killed_build_leaves_nothing_that_looks_finished_and_is_swept(tmp_path):
    place = tmp_path / "entry"
    process = start(place, "half", 60)
    assert process.stdout.readline() == "building\n"
    assert store.sweep(tmp_path) == 0, "a living build must not be swept"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not place.exists()
    assert list(tmp_path.glob(".partial-*"))
    assert store.sweep(tmp_path) == 1
    assert store.obtain(place, {}, since=0, build=write("whole"), load=read) == (("whole", "whole"), False)


def test_second_process_waits_and_takes_what_the_first_made(tmp_path, caplog):
    place = tmp_path / "entry"
    process = start(place, "first", 2)
    assert process.stdout.readline() == "building\n"
    caplog.set_level("INFO", logger="distillation")
    with pytest.raises(KeyError):  # the first one's facts have no text: proof that nothing was built here
        store.obtain(place, {}, since=time.time(), build=write("second"), load=read)
    assert "waiting" in caplog.text
    assert process.stdout.readline() == "first False\n"
    assert process.wait() == 0
    assert (place / "weights").read_text() == "first"


def test_manifest_is_part_of_the_entry_and_lists_its_files(tmp_path):
    started = time.time()
    store.obtain(tmp_path / "entry", {"seed": 3}, since=0, build=write("one"), load=read)
    manifest = json.loads((tmp_path / "entry" / "manifest.json").read_text())
    assert manifest["recipe"] == {"seed": 3}
    assert list(manifest["files"]) == ["weights"]
    assert manifest["finished"] >= started


def test_entry_about_to_be_replaced_survives_a_kill(tmp_path):
    place = tmp_path / "entry"
    store.obtain(place, {}, since=0, build=write("old"), load=read)
    place.rename(tmp_path / ".partial-entry.replaced")  # what a kill between the two renames leaves
    assert store.sweep(tmp_path) == 0
    assert store.obtain(place, {}, since=0, build=write("new"), load=read) == (("old", "old"), True)
