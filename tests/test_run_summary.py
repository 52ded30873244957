"""What a run prints: short, 80 columns, the answer in words; and the whole of it in summary.md."""

import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from automm_distill import run_summary
from automm_distill.errors import OUT_OF_MEMORY_REMEDY
from automm_distill.evaluation.scores import compare, intervals
from automm_distill.tasks import GLUE_TASKS, PAWSX_LANGUAGES, Task, pawsx_task

from .conftest import make_settings

SKILLS = {"teacher": 0.9, "baseline": 0.75, "student": 0.8}
TERM = {"weight": 1.0, "first_epoch": 1.0, "last_epoch": 0.5, "logits_share": 0.5, "feature_share": 0.5}


NAMES_AND_LOSSES = {
    "teacher_model": "microsoft/mdeberta-v3-base",
    "student_model": "nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large",
    "softmax_regression_weight": 0.1,
    "rkd_distance_loss_weight": 0.005,
    "rkd_angle_loss_weight": 0.01,
    "temperature_scaling": "squared",
}


def made_up_row(
    task: Task, sets: list[str], *, rows: int = 400, skills: dict[str, float] = SKILLS, **parts: Any
) -> dict[str, Any]:
    """The row of a run on ``task`` whose models are right as often as ``skills`` say."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, rows)
    frame = pd.DataFrame({"id": [str(number) for number in range(rows)], "label": labels})
    predictions = {
        role: {
            name: np.eye(2)[np.where(random.uniform(size=rows) < skill, labels, 1 - labels)]
            for name in (*sets, "validation")
        }
        for role, skill in skills.items()
    }
    pool = task.name == "pawsx"
    compared = (task, dict.fromkeys((*sets, "validation"), frame), predictions)
    comparison = compare(*compared, pool=pool) | {"bootstrap": intervals(*compared, pool=pool)}
    return {
        "task": "pawsx en+de+es+fr+ja+ko+zh -> en+de+es+fr+ja+ko+zh" if pool else task.name,
        "problem_type": task.problem_type,
        "demonstration": False,
        "settings": vars(make_settings(teacher_model="google/bert_uncased_L-12_H-768_A-12")),
        "speed_up": {"forward": {"ratio": 1.93, "low": 1.8, "high": 2.1, "rows": 64, "batch_size": 32}},
        "rows": {"test": {name: rows * (len(sets) if name == "all" else 1) for name in comparison["scores"]}},
        "training": {"student": {"seconds": 3.0, "loss_terms": {"hard_label": TERM, "soft_label": TERM}}},
        "seconds": {},
        "device": {"name": "CPU", "threads": 2, "precision": "32"},
        "text_columns": ["sentence1"],
        "paths": {"student": "/r/run/student", "results": "/r/results.jsonl"},
        **comparison,
    } | parts


def printed(row: dict[str, Any], **how: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    run_summary.print_summary(row, Path("results/20261125-101112-mnli-abcdef"), console, **how)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("task", "sets"),
    [
        (GLUE_TASKS["rte"], ["test"]),
        (GLUE_TASKS["mrpc"], ["test"]),
        (GLUE_TASKS["mnli"], ["matched", "mismatched"]),
        (pawsx_task("en"), list(PAWSX_LANGUAGES)),
    ],
)
@pytest.mark.parametrize("student", [0.65, 0.801, 0.88])  # two digits worse, no clear difference, better
@pytest.mark.parametrize("speed_up", [{"forward": {"ratio": 11.93}}, {"reason": OUT_OF_MEMORY_REMEDY}])
def test_screen_shows_at_most_14_lines_of_80_columns(
    task: Task, sets: list[str], speed_up: dict[str, Any], student: float
) -> None:
    terms = {"hard_label": TERM | {"feature_share": 0.001}, "soft_label": TERM | {"feature_share": 0.97}}
    row = made_up_row(
        task,
        sets,
        rows=9832,
        skills={"teacher": 0.9, "baseline": 0.8, "student": student},
        speed_up=speed_up,
        training={"student": {"seconds": 3.0, "loss_terms": terms}},
        settings=vars(make_settings(**NAMES_AND_LOSSES)),
    )
    lines = printed(row)
    assert len(lines) <= 14, lines
    assert max(map(len, lines)) <= 80, lines


@pytest.mark.parametrize(("model", "shown"), [(None, "teacher[0,2,4]"), ("hub/minilm-l6", "minilm-l6[0,2,4]")])
def test_student_of_layers_is_called_by_them(model: str | None, shown: str) -> None:
    settings = vars(make_settings(teacher_model="hub/minilm-l6", student_model=model, student_layers="3"))
    row = made_up_row(GLUE_TASKS["rte"], ["test"], settings=settings, student_layers=[0, 2, 4])
    assert printed(row)[0] == f"rte, seed 123: minilm-l6 -> {shown}"
    assert f"Teacher `hub/minilm-l6`, student `{shown if model is None else f'hub/{shown}'}`." in run_summary.markdown(
        row
    )


def test_pawsx_shows_all_and_the_worst_language() -> None:
    row = made_up_row(pawsx_task("en"), list(PAWSX_LANGUAGES))
    worst = min(PAWSX_LANGUAGES, key=lambda language: row["scores"][language]["accuracy"]["student"])
    shown = [line.split()[0:2] for line in printed(row) if line.startswith(("all ", "worst"))]
    assert shown == [["all", "(2,800)"], ["worst:", worst]]
    summary = run_summary.markdown(row)
    assert all(f"| {language} (400) |" in summary for language in PAWSX_LANGUAGES)


@pytest.mark.parametrize(
    ("baseline", "student", "rows", "words"),
    [
        (0.7, 0.85, 2000, "Better: student - baseline is +"),
        (0.85, 0.7, 2000, "Worse: student - baseline is -"),
        (0.8, 0.8, 200, "No clear difference: student - baseline is "),
    ],
)
def test_verdict_in_words_that_people_decide_by(baseline: float, student: float, rows: int, words: str) -> None:
    skills = {"teacher": 0.95, "baseline": baseline, "student": student}
    row = made_up_row(GLUE_TASKS["rte"], ["test"], skills=skills, rows=rows)
    sentence = run_summary.verdict(row)
    assert sentence.startswith(words)
    assert f"on {rows:,} rows" in sentence
    assert ("Seeing one point would take about" in sentence) == words.startswith("No clear")


def test_models_that_answer_alike_are_equal() -> None:
    row = made_up_row(GLUE_TASKS["rte"], ["test"])
    row["bootstrap"]["test"]["accuracy"]["gain"] = {"value": 0.001, "low": -0.003, "high": 0.004}
    sentence = "Equal within half a point: student - baseline is +0.1 points accuracy on 400 rows."
    assert run_summary.verdict(row) == sentence


def test_advice_names_the_flag_of_a_loss_that_does_nothing_or_everything() -> None:
    terms = {
        "hard_label": TERM | {"feature_share": 0.02},
        "soft_label": TERM | {"feature_share": 0.979},
        "output_feature": TERM | {"feature_share": 0.001},
    }
    row = made_up_row(GLUE_TASKS["rte"], ["test"], training={"student": {"seconds": 1.0, "loss_terms": terms}})
    soft, feature = run_summary.advice(row)
    assert soft == "--soft_label_weight: 98% of the gradient; lower it, or others hardly count"
    assert feature == "--output_feature_loss_weight: 0.1% of the gradient; raise it or set it to 0"
    alone = made_up_row(
        GLUE_TASKS["rte"],
        ["test"],
        training={"student": {"seconds": 1.0, "loss_terms": {"soft_label": TERM | {"feature_share": 1.0}}}},
    )
    assert run_summary.advice(alone) == [], "a loss that is meant to be alone"


def test_everything_adds_the_whole_summary() -> None:
    row = made_up_row(GLUE_TASKS["rte"], ["test"])
    text = "\n".join(printed(row, everything=True))
    assert run_summary.markdown(row) in text
    assert "one row at a time" not in text, "not measured in this row"


def test_advice_needs_gradients_that_were_measured() -> None:
    terms = dict.fromkeys(("hard_label", "soft_label"), TERM | {"feature_share": 0.0})
    row = made_up_row(GLUE_TASKS["rte"], ["test"], training={"student": {"seconds": 1.0, "loss_terms": terms}})
    assert run_summary.advice(row) == []


def test_title_names_models_and_seed_whole() -> None:
    row = made_up_row(pawsx_task("en"), list(PAWSX_LANGUAGES), settings=vars(make_settings(**NAMES_AND_LOSSES)))
    title = " ".join(" ".join(printed(row)[:2]).split())
    assert "pawsx 7 languages, seed 123: mdeberta-v3-base -> mMiniLMv2-L6-H384-distilled-from-XLMR-Large" in title


@pytest.mark.parametrize(
    ("rows", "skills", "sentence"),
    [
        (400, {"baseline": 1.0, "student": 1.0}, "Student and baseline gave the same answer on all 400 rows."),
        (16, {}, "No verdict: 30 rows or more are needed to judge a gain; here are 16."),
    ],
)
def test_what_cannot_be_judged_is_said_in_place_of_a_verdict(rows, skills, sentence) -> None:
    row = made_up_row(GLUE_TASKS["mrpc"], ["test"], rows=rows, skills=SKILLS | skills)
    assert run_summary.verdict(row) == sentence
    lines = printed(row)
    assert sentence in lines
    assert len(lines) <= 14
    assert f"**{sentence}**" in run_summary.markdown(row)


def test_no_interval_on_paper_is_without_width() -> None:
    """Models that have all rows right, or answer alike, in accuracy and in F1."""
    text = run_summary.markdown(made_up_row(GLUE_TASKS["mrpc"], ["test"], skills=dict.fromkeys(SKILLS, 1.0)))
    intervals_shown = re.findall(r"([+-]?\d+\.\d+)(?: to |, )([+-]?\d+\.\d+)", text)
    assert intervals_shown
    assert all(low != high for low, high in intervals_shown)


def test_a_gain_without_an_interval_is_no_verdict() -> None:
    row = made_up_row(GLUE_TASKS["rte"], ["test"])
    row["bootstrap"]["test"]["accuracy"]["gain"] = {"value": 0.011, "low": None, "high": None}
    assert run_summary.verdict(row) == "No verdict: these 400 rows do not tell how far the gain of +1.1 may be off."


def test_narrow_terminal_gets_short_lines() -> None:
    row = made_up_row(GLUE_TASKS["mnli"], ["matched", "mismatched"])
    console = Console(file=io.StringIO(), width=40)
    run_summary.print_summary(row, Path("r"), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 40, lines
    assert "  student: 0." in "\n".join(lines)


def test_commands_of_the_summary_can_be_pasted() -> None:
    paths = {"student": "/my runs[v2]/it's/student", "results": "/my runs[v2]/it's/results.jsonl"}
    text = run_summary.markdown(made_up_row(GLUE_TASKS["rte"], ["test"], paths=paths))
    assert """MultiModalPredictor.load("/my runs[v2]/it's/student")""" in text
    assert shlex.split(text.partition("Compare runs: `python ")[2].partition("`")[0])[1] == "/my runs[v2]/it's"
