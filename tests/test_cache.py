"""Cache entries are whole or absent, found by what made them, and made once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from automm_distill import cache
from automm_distill.cache import entries

SLOW_BUILDER = """
import sys, time
from pathlib import Path
from automm_distill import cache
def build(folder):
    folder.mkdir()
    (folder / "weights").write_text(sys.argv[2])
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    return {}
loaded, found = cache.get_or_build(
    Path(sys.argv[1]), {}, not_before=time.time(), build=build, load=lambda folder, _: (folder / "weights").read_text()
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
    return (folder / "weights").read_text(), manifest["training_info"]["text"]


def start(path, text, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILDER, str(path), text, str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_fingerprint_depends_on_values_not_on_order():
    recipe = {"seed": 1, "rows": "abc", "hyperparameters": {"lr": 1e-4}}
    assert cache.fingerprint(recipe) == cache.fingerprint(dict(reversed(recipe.items())))
    for changed in ({"seed": 2}, {"rows": "abd"}, {"hyperparameters": {"lr": 2e-4}}, {"version": "1"}):
        assert cache.fingerprint(recipe | changed) != cache.fingerprint(recipe)


def test_entry_is_used_if_finished_since_the_given_time(tmp_path):
    path = tmp_path / "entry"
    assert cache.get_or_build(path, {}, not_before=0, build=write("one"), load=read) == (("one", "one"), False)
    assert cache.get_or_build(path, {}, not_before=0, build=write("two"), load=read) == (("one", "one"), True)
    assert cache.get_or_build(path, {}, not_before=time.time(), build=write("three"), load=read) == (
        ("three", "three"),
        False,
    )


def test_failed_build_leaves_the_old_entry(tmp_path):
    path = tmp_path / "entry"
    cache.get_or_build(path, {}, not_before=0, build=write("one"), load=read)

    def fail(folder):
        write("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_build(path, {}, not_before=time.time(), build=fail, load=read)
    assert cache.get_or_build(path, {}, not_before=0, build=fail, load=read) == (("one", "one"), True)
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest.json", "not readable", "without training_info"])
def test_damaged_entry_is_set_aside_and_made_anew(tmp_path, caplog, damage):
    path = tmp_path / "entry"
    cache.get_or_build(path, {}, not_before=0, build=write("one"), load=read)
    match damage:
        case "changed":
            (path / "weights").write_text("won")
        case "missing":
            (path / "weights").unlink()
        case "no manifest.json":
            (path / "manifest.json").unlink()
        case "not readable":
            (path / "manifest.json").write_text('{"files": ')
        case "without training_info":
            (path / "manifest.json").write_text('{"files": {}}')
            damage = "not readable"
    assert cache.get_or_build(path, {}, not_before=0, build=write("two"), load=read) == (("two", "two"), False)
    assert damage in caplog.text
    assert len(list(tmp_path.glob("entry.damaged-*"))) == 1


def test_killed_build_leaves_nothing_that_looks_finished_and_is_removed(tmp_path):
    path = tmp_path / "entry"
    process = start(path, "half", 60)
    assert process.stdout.readline() == "building\n"
    assert cache.remove_unfinished(tmp_path) == 0, "what a living process builds must stay"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    assert list(tmp_path.glob(".partial-*"))
    assert cache.remove_unfinished(tmp_path) == 1
    assert cache.get_or_build(path, {}, not_before=0, build=write("whole"), load=read) == (("whole", "whole"), False)


def test_second_process_waits_and_takes_what_the_first_made(tmp_path, caplog):
    path = tmp_path / "entry"
    process = start(path, "first", 2)
    assert process.stdout.readline() == "building\n"
    caplog.set_level("INFO", logger="automm_distill")
    with pytest.raises(KeyError):  # the first one's training_info have no text: proof that nothing was built here
        cache.get_or_build(path, {}, not_before=time.time(), build=write("second"), load=read)
    assert "waiting" in caplog.text
    assert process.stdout.readline() == "first False\n"
    assert process.wait() == 0
    assert (path / "weights").read_text() == "first"


def test_manifest_is_part_of_the_entry_and_lists_its_files(tmp_path):
    started = time.time()
    cache.get_or_build(tmp_path / "entry", {"seed": 3}, not_before=0, build=write("one"), load=read)
    manifest = json.loads((tmp_path / "entry" / "manifest.json").read_text())
    assert manifest["recipe"] == {"seed": 3}
    assert list(manifest["files"]) == ["weights"]
    assert manifest["finished"] >= started


def test_folder_that_its_builder_finishes_meanwhile_is_not_counted_as_unfinished(tmp_path, monkeypatch):
    (tmp_path / ".partial-run").mkdir()
    lock = entries.FileLock

    def finished_while_waiting(*args, **kwargs):
        (tmp_path / ".partial-run").rename(tmp_path / "run")
        return lock(*args, **kwargs)

    monkeypatch.setattr(entries, "FileLock", finished_while_waiting)
    assert cache.remove_unfinished(tmp_path) == 0
    assert (tmp_path / "run").is_dir()


def test_lock_files_of_killed_runs_are_removed_but_not_those_that_are_held(tmp_path):
    (tmp_path / ".results.jsonl.lock").touch()
    with cache.locked(tmp_path / "2026-living", disposable=True):
        (tmp_path / ".2026-killed.lock").touch()
        held = subprocess.run(
            [sys.executable, "-c", REMOVE_UNFINISHED, str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert held.stdout == "0\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == [".2026-living.lock", ".results.jsonl.lock"]


REMOVE_UNFINISHED = """
import sys
from pathlib import Path
from automm_distill import cache
print(cache.remove_unfinished(Path(sys.argv[1]), disposable_locks=".20*.lock"))
"""


def test_age_of_an_entry_is_told_by_the_file_systems_clock(tmp_path, monkeypatch):
    """The clock of a machine that is an hour ahead of the file server must not make a fresh entry look old."""
    path = tmp_path / "entry"
    started = cache.file_system_time(tmp_path)
    monkeypatch.setattr(entries.time, "time", lambda: started - 3600)  # the builder's clock is an hour behind
    cache.get_or_build(path, {}, not_before=started, build=write("one"), load=read)
    assert cache.get_or_build(path, {}, not_before=started, build=write("two"), load=read) == (("one", "one"), True)


def test_entry_is_loaded_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "entry"
    with pytest.raises(cache.NotAvailable, match="entry is gone"):
        cache.load_now(path, read)
    cache.get_or_build(path, {}, not_before=0, build=write("one"), load=read)
    assert cache.load_now(path, read) == ("one", "one")
    (path / "weights").write_text("damaged")
    with pytest.raises(cache.NotAvailable, match="entry is damaged: weights is changed"):
        cache.load_now(path, read)
    (path / "weights").write_text("one")
    process = start(path, "half", 60)
    assert process.stdout.readline() == "building\n"
    with pytest.raises(cache.NotAvailable, match="another run is replacing entry"):
        cache.load_now(path, read)
    process.kill()
    process.wait()


def test_entry_is_loaded_also_while_another_process_loads_it(tmp_path):
    path = tmp_path / "entry"
    cache.get_or_build(path, {}, not_before=0, build=write("one"), load=read)
    loader = subprocess.Popen([sys.executable, "-c", SLOW_LOADER, str(path)], stdout=subprocess.PIPE, text=True)
    assert loader.stdout.readline() == "loading\n"
    assert cache.load_now(path, read) == ("one", "one")
    assert loader.wait() == 0


SLOW_LOADER = """
import sys, time
from pathlib import Path
from automm_distill import cache
def load(folder, manifest):
    print("loading", flush=True)
    time.sleep(2)
cache.load_now(Path(sys.argv[1]), load)
"""


def test_entry_about_to_be_replaced_survives_a_kill(tmp_path):
    path = tmp_path / "entry"
    cache.get_or_build(path, {}, not_before=0, build=write("old"), load=read)
    path.rename(tmp_path / ".partial-entry.replaced")  # what a kill between the two renames leaves
    assert cache.remove_unfinished(tmp_path) == 0
    assert cache.get_or_build(path, {}, not_before=0, build=write("new"), load=read) == (("old", "old"), True)
