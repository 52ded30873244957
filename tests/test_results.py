"""Result rows survive parallel runs and killed ones; predictions keep their rows' ids."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.predictions import write_predictions
from automm_distill.preflight import _require_appendable, _require_room, require_writable
from automm_distill.results import RESULTS, STOPPED, append_row, complete_row, read_rows

APPEND = """
import sys
from pathlib import Path
from automm_distill.results import append_row
for number in range(50):
    append_row(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number, "filler": "x" * 5000})
"""


def test_parallel_runs_lose_no_row(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), str(name)]) for name in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sorted((row["writer"], row["number"]) for row in rows) == [(str(w), n) for w in range(4) for n in range(50)]


def test_half_written_last_line_spoils_no_other(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"run": 1}\n{"run": 2, "sco')
    append_row(tmp_path, {"run": 3})
    assert (tmp_path / "results.jsonl").read_text().splitlines() == ['{"run": 1}', '{"run": 2, "sco', '{"run": 3}']


def test_line_separators_within_a_row_break_no_line(tmp_path):
    row = {"format": 2, "settings": {"dataset_path": "odd\u2028name", "validations_per_epoch": 2}}
    append_row(tmp_path, row)
    assert read_rows(tmp_path / "results.jsonl") == ([row], 0)


def test_row_is_completed_in_its_place_and_no_other_line_changes(tmp_path):
    path = tmp_path / "results.jsonl"
    for run in ("a", "b", "c"):
        append_row(tmp_path, {"run": run, "speed_up": None})
    path.write_text(path.read_text() + '{"run": "d", "half')
    complete_row(tmp_path, {"run": "b", "speed_up": 2.0})
    assert path.read_text().split("\n") == [
        '{"run": "a", "speed_up": null}',
        '{"run": "b", "speed_up": 2.0}',
        '{"run": "c", "speed_up": null}',
        '{"run": "d", "half',
    ]
    assert [file.name for file in tmp_path.iterdir() if "lock" not in file.name] == ["results.jsonl"]


def test_row_whose_line_was_removed_meanwhile_is_appended(tmp_path):
    append_row(tmp_path, {"run": "a"})
    complete_row(tmp_path, {"run": "b"})
    assert (tmp_path / "results.jsonl").read_text() == '{"run": "a"}\n{"run": "b"}\n'


COMPLETE = """
import sys
from pathlib import Path
from automm_distill.results import append_row, complete_row
for number in range(25):
    row = {"run": f"{sys.argv[2]}-{number}", "filler": "x" * 5000}
    append_row(Path(sys.argv[1]), row)
    complete_row(Path(sys.argv[1]), row | {"speed_up": 2})
"""


def test_parallel_runs_complete_their_rows_and_lose_none(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", COMPLETE, str(tmp_path), str(name)]) for name in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sorted(row["run"] for row in rows) == sorted(f"{name}-{number}" for name in range(4) for number in range(25))
    assert {row["speed_up"] for row in rows} == {2}


def test_row_with_nan_is_refused_rather_than_written_as_broken_json(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        append_row(tmp_path, {"score": float("nan")})


def test_predictions_keep_set_id_label_and_every_role(tmp_path):
    tests = {
        "en": pd.DataFrame({"id": ["7", "8"], "sentence1": ["a", "b"], "label": [0, 1]}),
        "de": pd.DataFrame({"id": ["7"], "sentence1": ["c"], "label": [1]}),
    }
    outputs = {"teacher": {"en": np.array([[0.9, 0.1], [0.4, 0.6]]), "de": np.array([[0.7, 0.3]])}}
    write_predictions(tmp_path / "p.parquet", tests, outputs)
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert frame[["test_set", "id", "label", "teacher"]].to_numpy().tolist() == [
        ["en", "7", 0, 0],
        ["en", "8", 1, 1],
        ["de", "7", 1, 0],
    ]
    assert np.allclose(np.stack(frame["teacher_probabilities"]), [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])


def test_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"--output_folder .*file.* cannot be written to"):
        require_writable(tmp_path / "file" / "results", "--output_folder")


def test_results_file_that_no_row_can_be_added_to_is_refused(tmp_path):
    _require_appendable(tmp_path / RESULTS, "--output_folder")
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(UserError, match=r"results\.jsonl cannot be written to: Is a directory"):
        _require_appendable(tmp_path / RESULTS, "--output_folder")


def test_full_disk_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"GB free on that disk, about 1000000\.0 GB are needed"):
        _require_room(tmp_path, "--output_folder", 10**15)


def test_link_to_a_results_file_has_the_lock_of_the_file(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "results.jsonl").write_text('{"run": "a"}\n')
    (tmp_path / "results.jsonl").symlink_to(tmp_path / "real" / "results.jsonl")
    append_row(tmp_path, {"run": "b"})
    complete_row(tmp_path, {"run": "a", "speed_up": 2})
    assert (tmp_path / "results.jsonl").is_symlink()
    assert (tmp_path / "real" / "results.jsonl").read_text() == '{"run": "a", "speed_up": 2}\n{"run": "b"}\n'
    locks = [path.parent.name for path in tmp_path.rglob("*.lock")]
    assert set(locks) <= {"real"}


def test_old_row_without_a_task_is_of_the_default_task(tmp_path):
    old = {"run": "a", "settings": {"benchmark": "glue", "demo": False, "glue_task": None}}
    append_row(tmp_path, old)
    assert read_rows(tmp_path / "results.jsonl")[0][0]["settings"]["glue_task"] == "qnli"


def test_stopped_trials_have_a_file_and_a_lock_of_their_own(tmp_path):
    with (tmp_path / STOPPED).open("w") as file:
        file.write('{"half a li')
    append_row(tmp_path, {"settings": {"validations_per_epoch": 2}, "format": 2, "rung": 1}, STOPPED)
    append_row(tmp_path, {"settings": {"validations_per_epoch": 2}, "format": 2})
    assert read_rows(tmp_path / STOPPED) == ([{"settings": {"validations_per_epoch": 2}, "format": 2, "rung": 1}], 1)
    assert read_rows(tmp_path / RESULTS) == ([{"settings": {"validations_per_epoch": 2}, "format": 2}], 0)
    assert {path.name for path in tmp_path.glob(".*.lock")} <= {".stopped.jsonl.lock", ".results.jsonl.lock"}
