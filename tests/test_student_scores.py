"""The table of students is right about which baseline it takes, and no unit that was run otherwise is in it."""

import json

import numpy as np
import pandas as pd
import pytest

from automm_distill.cli import parse_settings
from benchmarks import seed_tables, student_scores
from benchmarks.student_units import FEATURE_WAYS, PAWSX_WEIGHTS, ROWS, TABLE, WAYS, Unit, arguments

CHECKPOINTS = {"english": "models/six", "multilingual": "models/twelve"}
FOLDERS = {"glue": "rows/glue", "pawsx": "rows/paws-x"}


def leave_unit(folder, unit, right, validation):
    """A unit whose models have so many of ten test rows right, ``right`` by role."""
    truth = np.array([0, 1] * 5)
    predicted = {role: np.where(np.arange(10) < count, truth, 1 - truth) for role, count in right.items()}
    frame = pd.DataFrame({"test_set": "test", "id": map(str, range(10)), "label": truth, **predicted})
    frame.to_parquet(folder / f"{unit.name}.parquet")
    scores = {role: count / 10 for role, count in right.items()}
    content = {
        "row": unit.row,
        "way": unit.way,
        "seed": unit.seed,
        "scores": {"test": {"accuracy": scores}},
        "validation": {"accuracy": validation},
        "training": {role: {} for role in right},
        "minutes": 1.0,
    }
    (folder / f"{unit.name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("short", "expected"), [(0.7, 0.1), (0.5, 0.3)])
def test_gains_count_against_the_baseline_that_does_better_on_the_hold_out(tmp_path, short, expected):
    """On the test rows it is the short one here, which decides nothing."""
    long, brief = Unit("qnli-2000+8475", "strong", 1), Unit("qnli-2000", "strong", 1)
    leave_unit(
        tmp_path, long, {"teacher": 9, "baseline": 5, "student": 8}, {"teacher": 0.9, "baseline": 0.6, "student": 0.8}
    )
    leave_unit(
        tmp_path,
        brief,
        {"teacher": 9, "baseline": 7, "student": 6},
        {"teacher": 0.9, "baseline": short, "student": 0.6},
    )
    found = {entry["row"]: entry for entry in student_scores.summarize(tmp_path)}
    entry = found["qnli-2000+8475"]
    assert entry["gains"] == [pytest.approx(expected)]
    assert entry["gain_over_rows"]["value"] == pytest.approx(expected)
    assert entry["short_baselines"] == (short > 0.6)
    assert found["qnli-2000"]["gains"] == [pytest.approx(-0.1)], "the short one's own student"
    assert student_scores.table(list(found.values())).row_count == 2


def test_curve_over_the_depth_does_without_baselines(tmp_path):
    leave_unit(tmp_path, Unit("pawsx-6", "strong", 1), {"teacher": 9, "student": 8}, {"student": 0.8, "teacher": 0.9})
    (entry,) = student_scores.summarize(tmp_path)
    assert (entry["gains"], entry["gain_over_seeds"], entry["ratio"]) == ([], {}, None)
    json.dumps(entry, allow_nan=False)


def test_every_unit_is_a_command_that_its_script_takes():
    for row in TABLE:
        for way in WAYS if TABLE[row].short is None else WAYS.keys() - {"layers-hard"}:  # nothing to learn from
            settings = parse_settings(TABLE[row].script, arguments(Unit(row, way, 1), FOLDERS, CHECKPOINTS))
            assert settings.seed == 1
            assert (settings.student_model is None) == (WAYS[way][0] == "teacher")
    assert set(ROWS) <= set(TABLE)


def test_unit_is_run_again_when_it_would_be_another_run_now(tmp_path, monkeypatch):
    parser = student_scores.get_parser()
    args = parser.parse_args(["--dataset_path", "rows", "--english", "models/six"])
    unit = Unit("stsb", "strong", 1)
    assert not student_scores.is_done(unit, args, tmp_path)
    (tmp_path / f"{unit.name}.json").write_text(json.dumps({"made_by": student_scores.made_by(unit, args)}))
    assert student_scores.is_done(unit, args, tmp_path)
    monkeypatch.setattr(student_scores, "TRAINING_FORMAT", 99)
    assert not student_scores.is_done(unit, args, tmp_path)


def test_published_ratios_are_those_of_the_published_scores():
    for name, ratios in {"qnli": [0.13, 0.39, -0.02], "pawsx": [0.13, 0.02, 0.21, 0.28, 0.22, 0.17]}.items():
        teacher, baseline, students = seed_tables.PUBLISHED[name]
        computed = [(student - baseline) / (teacher - baseline) for student in students.values()]
        assert computed == pytest.approx(ratios, abs=0.011)
    assert list(seed_tables.PUBLISHED["qnli"][2]) == list(FEATURE_WAYS)
    assert list(seed_tables.PUBLISHED["pawsx"][2]) == list(PAWSX_WEIGHTS)
