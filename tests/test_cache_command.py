"""``python -m automm_distill.cache``: what the cache holds, and what may go."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from automm_distill import cache
from automm_distill.cache.__main__ import main
from automm_distill.results import append_row

USE = """
import sys
from pathlib import Path
from automm_distill import cache
with cache.in_use(Path(sys.argv[1])):
    print("using", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A cache with two teachers, a baseline and outputs; results that refer to the first teacher and the outputs."""
    folder, results = tmp_path / "cache", tmp_path / "results"
    for name in ("teacher-rte-1", "teacher-rte-2", "baseline-rte-1"):
        cache.get_or_build(folder / name, {}, not_before=0, build=_build, load=lambda path, _: path)
    with cache.staged(folder / "outputs-1" / "part-1") as partial:
        partial.mkdir()
        cache.write_manifest(partial, {}, {"rows": 1234})
    results.mkdir()
    row = {"format": 2, "run": "a", "settings": {}, "cache_entries": ["teacher-rte-1", "outputs-1"]}
    append_row(results, row)
    return folder, results


def _build(path: Path) -> dict[str, str]:
    path.mkdir()
    (path / "weights").write_bytes(bytes(2_000_000))
    return {"task": "rte", "checkpoint": "bert-tiny"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_list_shows_what_there_is_how_large_and_whether_results_use_it(folders, capsys):
    folder, results = folders
    assert main(["list", "--save_path", str(folder), "--results", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    by_name = {line.split()[0]: line for line in lines[1:-1]}
    assert set(by_name) == {"teacher-rte-1", "teacher-rte-2", "baseline-rte-1", "outputs-1"}
    assert "rte, bert-tiny" in by_name["teacher-rte-1"]
    assert "2.0" in by_name["teacher-rte-1"]
    assert by_name["teacher-rte-1"].split()[-1] == "yes"
    assert by_name["teacher-rte-2"].split()[-1] == "no"
    assert "1,234 rows" in by_name["outputs-1"]
    assert lines[-1].startswith("4 entries, 6.0 MB")


@pytest.mark.parametrize(("answer", "kept"), [("y\n", 2), ("n\n", 4), ("\n", 4), ("", 4)])
def test_prune_asks_first(folders, answer, kept):
    folder, results = folders
    command = [
        sys.executable,
        "-m",
        "automm_distill.cache",
        "prune",
        "--save_path",
        str(folder),
        "--results",
        str(results),
    ]
    process = subprocess.run(command, input=answer, capture_output=True, text=True, check=True)
    assert "remove them? [y/N]" in process.stderr
    assert len(names(folder)) == kept
    assert {"teacher-rte-1", "outputs-1"} <= set(names(folder))


def test_prune_leaves_what_a_running_process_uses(folders, capsys):
    folder, results = folders
    process = subprocess.Popen(
        [sys.executable, "-c", USE, str(folder / "teacher-rte-2")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "using\n"
    assert main(["prune", "--save_path", str(folder), "--results", str(results), "--yes"]) == 1
    assert "in use, so they stay: teacher-rte-2" in capsys.readouterr().out
    assert names(folder) == ["outputs-1", "teacher-rte-1", "teacher-rte-2"]
    process.kill()
    process.wait()
    assert main(["prune", "--save_path", str(folder), "--results", str(results), "--yes"]) == 0
    assert names(folder) == ["outputs-1", "teacher-rte-1"]


def test_prune_leaves_tokens_that_were_used_within_a_week(folders, capsys):
    folder, results = folders
    week = 7 * 86400
    for name, finished, used in (("tokens-1", week + 60, week - 60), ("tokens-2", week + 60, week + 60)):
        with cache.staged(folder / name / "part-1") as partial:
            partial.mkdir()
            cache.write_manifest(partial, {}, {"rows": 1234, "task": "tokens, at most 64 a row"})
        cache.mark_in_use(folder / name).close()
        for path, ago in ((folder / name / "part-1" / cache.MANIFEST, finished), (folder / f".{name}.in-use", used)):
            os.utime(path, (time.time() - ago,) * 2)
    assert main(["list", "--save_path", str(folder)]) == 0
    assert "tokens, at most 64 a row, 1,234 rows" in capsys.readouterr().out
    assert main(["prune", "--save_path", str(folder), "--results", str(results), "--yes"]) == 0
    assert names(folder) == ["outputs-1", "teacher-rte-1", "tokens-1"]


def test_prune_leaves_what_is_being_built(folders):
    folder, results = folders
    with cache.locked(folder / "baseline-rte-1"):
        command = [sys.executable, "-m", "automm_distill.cache", "prune", "--save_path", str(folder)]
        command += ["--results", str(results), "--yes"]
        assert subprocess.run(command, capture_output=True, text=True).returncode == 1
    assert names(folder) == ["baseline-rte-1", "outputs-1", "teacher-rte-1"]


@pytest.mark.parametrize("read_only", [False, True])
def test_rows_of_the_old_format_keep_their_entries(folders, read_only):
    folder, results = folders
    old = {
        "run": "b",
        "settings": {},
        "training": {"teacher": {"from_cache": False, "path": "/elsewhere/cache/teacher-rte-2"}},
    }
    with (results / "results.jsonl").open("a") as file:
        file.write(json.dumps(old) + "\n")
    if read_only:
        (results / "results.jsonl").chmod(0o444)
    assert main(["prune", "--save_path", str(folder), "--results", str(results), "--yes"]) == 0
    assert names(folder) == ["outputs-1", "teacher-rte-1", "teacher-rte-2"]


def test_run_that_ends_while_the_question_stands_keeps_its_entries(folders):
    folder, results = folders
    command = [
        sys.executable,
        "-m",
        "automm_distill.cache",
        "prune",
        "--save_path",
        str(folder),
        "--results",
        str(results),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    shown = ""
    while "[y/N]" not in shown:
        shown += process.stderr.read(1)
        assert process.poll() is None, shown
    append_row(results, {"format": 2, "run": "c", "settings": {}, "cache_entries": ["baseline-rte-1"]})
    process.communicate("y\n")
    assert process.returncode == 0
    assert names(folder) == ["baseline-rte-1", "outputs-1", "teacher-rte-1"]


def test_entry_that_is_gone_already_is_no_error(tmp_path):
    assert cache.remove(tmp_path / "teacher-rte-9")


def test_broken_rows_are_mentioned(folders, capfd):
    folder, results = folders
    with (results / "results.jsonl").open("a") as file:
        file.write('{"run": "half')
    assert main(["list", "--save_path", str(folder), "--results", str(results)]) == 0
    assert "1 broken line(s)" in capfd.readouterr().err


def test_mistyped_results_folder_removes_nothing(folders, capsys):
    folder, results = folders
    assert main(["prune", "--save_path", str(folder), "--results", str(results) + "x", "--yes"]) == 2
    assert "no results.jsonl there" in capsys.readouterr().err
    assert len(names(folder)) == 4


def test_prune_without_results_is_refused(folders, capsys):
    with pytest.raises(SystemExit) as end:
        main(["prune", "--save_path", str(folders[0])])
    assert end.value.code == 2
    assert "prune needs --results DIR" in capsys.readouterr().err
