"""Reports on made-up runs: what is averaged, what is left out, what is said, and what the numbers are."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from torch.utils.tensorboard import SummaryWriter

import automm_distillation_report
from automm_distill.errors import UserError
from automm_distill.evaluation.bootstrap import bootstrap_run
from automm_distill.report import markdown, tables
from automm_distill.report.runs import load_runs
from automm_distill.report.seeds import holm, over_seeds
from automm_distill.report.summary import choose, decide, summarize
from automm_distill.results import append_row

from .conftest import make_settings
from .runs import leave_run

FLAG = "output_feature_loss_weight"


def leave_sweep(folder, weights=(0.0, 0.1), seeds=(1, 2, 3), skill=0.8, **more):
    """A run of each weight and seed; the heavier the loss, the better the student."""
    for weight in weights:
        for seed in seeds:
            settings = make_settings(seed=seed, **{FLAG: weight})
            leave_run(folder, settings, f"{weight}-{seed}", skills={"student": skill + weight}, **more)


def only_study(*places):
    (study,) = load_runs(places).studies
    return study


def numbers(study):
    test_set, metric = study.primary
    return [summarize(setting, test_set, metric) for setting in study.settings]


def test_mean_and_interval_over_seeds_by_hand():
    """Gains of 1, 2 and 6 points: mean 3, standard deviation sqrt(7), t(2) = 4.3027."""
    made = over_seeds([1.0, 2.0, 6.0])
    assert (made.n, made.mean, made.sd) == (3, 3, pytest.approx(7**0.5))
    half = 4.3027 * 7**0.5 / 3**0.5
    assert (made.low, made.high) == (pytest.approx(3 - half, abs=1e-3), pytest.approx(3 + half, abs=1e-3))
    assert made.p == pytest.approx(stats.ttest_rel([5, 4, 9], [4, 2, 3]).pvalue)


def test_interval_over_seeds_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        made = over_seeds(random.normal(2.0, 3.0, size=3).tolist())
        covered += made.low <= 2.0 <= made.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


def test_one_seed_or_equal_seeds_have_no_interval():
    assert over_seeds([2.0]).low is over_seeds([2.0]).sd is over_seeds([2.0]).p is None
    made = over_seeds([2.0, 2.0, 2.0])
    assert (made.mean, made.sd, made.low, made.p) == (2.0, 0.0, None, None)
    assert over_seeds([1.0, None]).mean is None


def test_holm_by_hand():
    """Holm 1979: the smallest times 4, the next times 3, ..., never smaller than the one before."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]
    assert holm([None]) == [None]


def test_runs_that_differ_in_their_seed_are_averaged_and_nothing_else_is(tmp_path):
    leave_sweep(tmp_path)
    leave_run(tmp_path, make_settings(seed=4, output_feature_loss_weight=0.1), "gpu", device={"name": "H200"})
    study = only_study(tmp_path)
    assert study.varied_flags == (FLAG, "device name", "device precision")
    seeds = {tuple(run.seed for run in setting.runs) for setting in study.settings}
    assert seeds == {(1, 2, 3), (4,)}
    made = numbers(study)[0]
    scores = [
        json.loads(line)["scores"]["test"]["accuracy"] for line in (tmp_path / "results.jsonl").read_text().splitlines()
    ][:3]
    for role in ("teacher", "baseline", "student"):
        assert made.scores[role].mean == pytest.approx(np.mean([each[role] for each in scores]))
        assert made.scores[role].sd == pytest.approx(np.std([each[role] for each in scores], ddof=1))
    gains = [each["student"] - each["baseline"] for each in scores]
    assert (made.gain.low, made.gain.high) == pytest.approx(stats.t.interval(0.95, 2, np.mean(gains), stats.sem(gains)))


def test_where_files_are_kept_makes_no_other_setting(tmp_path):
    for seed, folder in ((1, "a"), (2, "b")):
        settings = make_settings(seed=seed, output_folder=folder, resume=seed == 2)
        leave_run(tmp_path / folder, settings, f"run-{seed}")
    (setting,) = only_study(tmp_path / "a", tmp_path / "b" / "results.jsonl").settings
    assert [run.seed for run in setting.runs] == [1, 2]


def test_duplicates_old_rows_and_half_lines_are_left_out_and_counted(tmp_path):
    leave_sweep(tmp_path / "a", weights=(0.1,), seeds=(3, 1))
    again = leave_run(tmp_path / "a", make_settings(seed=1, output_feature_loss_weight=0.1), "again", finished="2027")
    (tmp_path / "b").mkdir()
    append_row(tmp_path / "b", again)
    append_row(tmp_path / "b", {key: value for key, value in again.items() if key != "validation"})
    with (tmp_path / "b" / "results.jsonl").open("a") as file:
        file.write('{"run": "half a l')
    collected = load_runs([tmp_path / "b", tmp_path / "a"])
    ((setting,),) = (study.settings for study in collected.studies)
    assert [run.row["run"] for run in setting.runs] == ["again", "0.1-3"], "in order of their seeds, the latest of each"
    assert setting.runs[0].predictions.exists(), "of two copies the one that has its files counts"
    assert collected.left_out == (
        "1 broken lines, as a killed run may leave",
        "1 rows written by an older version",
        "1 copies of a row",
        "1 runs repeated later with the same settings and seed",
    )


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(UserError, match=r"absent: no results\.jsonl there"):
        load_runs([tmp_path / "absent"])
    append_row(tmp_path, {"run": 1, "settings": {}})
    with pytest.raises(UserError, match=r"no row to report \(0 broken, 1 of an older version\)"):
        load_runs([tmp_path])


def test_test_rows_judge_the_mean_of_the_runs(tmp_path):
    """With one seed it is the verdict of the run itself."""
    row = leave_run(tmp_path, make_settings(), "one")
    (made,) = numbers(only_study(tmp_path))
    recorded = row["uncertainty"]["test"]["accuracy"]
    assert made.rows.gain.value == pytest.approx(recorded["gain"]["value"])
    assert (made.rows.gain.low, made.rows.gain.high) == pytest.approx(
        (recorded["gain"]["low"], recorded["gain"]["high"]), abs=0.01
    )


def test_languages_of_one_sentence_are_drawn_together(tmp_path):
    settings = make_settings(benchmark="pawsx", pawsx_student_tasks=("en", "de"), pawsx_teacher_tasks=("en", "de"))
    leave_run(tmp_path, settings, "run", languages=["en", "de"])
    study = only_study(tmp_path)
    assert study.measured == dict.fromkeys(("all", "en", "de"), ("accuracy",))
    (made,) = numbers(study)
    frame = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    predicted = {role: frame[role].to_numpy() for role in ("teacher", "baseline", "student")}
    expected = bootstrap_run("accuracy", frame["label"].to_numpy(), predicted, frame["id"].to_numpy())
    assert made.rows.gain == expected.gain


def test_without_predictions_seeds_alone_judge(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    (tmp_path / "0.1-2" / "predictions.parquet").unlink()
    study = only_study(tmp_path)
    (made,) = numbers(study)
    assert made.rows is None
    assert made.ratio.value is None, "whether the teacher's teacher_gap is clear, nobody knows"
    (decision,) = decide(study, [made])
    assert decision.p_rows is None
    assert decision.p_seeds == pytest.approx(made.gain.p)


def test_without_a_baseline_there_is_no_gain(tmp_path):
    leave_run(tmp_path, make_settings(train_nodistill=False), "run", skills={"baseline": None})
    study = only_study(tmp_path)
    (made,) = numbers(study)
    assert made.gain is None
    (decision,) = decide(study, [made])
    assert decision.verdict == "no baseline"
    (sheet,) = tables.scores(study, [made])
    assert sheet.rows[0][2] == sheet.rows[0][4] == "n/a"


PUBLISHED = {0.0: 0.89713, 0.01: 0.90298, 0.1: 0.89365}


def test_table_has_the_published_form_and_ratios(tmp_path):
    """QNLI's rows of the document that the project implements; models that are right on so many of its 5,463 rows."""
    for weight, student in PUBLISHED.items():
        skills = {"teacher": 0.91726, "baseline": 0.89401, "student": student}
        settings = make_settings(**{FLAG: weight})
        speed_up = {"forward": {"ratio": 3.52}}
        leave_run(tmp_path, settings, f"{weight}", skills=skills, rows=5463, exactly=True, speed_up=speed_up)
    study = only_study(tmp_path)
    (sheet,) = tables.scores(study, numbers(study))
    lines = tables.markdown(sheet).splitlines()
    assert lines[0] == (
        f"| {FLAG} | seeds | teacher | pretrained | student | gain | gain, 95 % over test rows | "
        "gain, 95 % over seeds | distillation ratio | ratio, 95 % over test rows | speed-up | size |"
    )
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    expected = [
        ("0", "0.8971", "+0.31", "0.13"),
        ("0.01", "0.9030", "+0.90", "0.39"),
        ("0.1", "0.8936", "-0.04", "-0.02"),
    ]
    for line, (weight, student, gain, ratio) in zip(lines[2:], expected, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:6] == [weight, "1", "0.9173", "0.8940", student, gain]
        assert cells[7:9] == ["n/a", ratio], "one seed has no interval"
        assert cells[10:] == ["3.52x", "25%"]


def test_ratio_is_undefined_unless_the_teacher_clearly_leads(tmp_path):
    leave_run(tmp_path, make_settings(), "run", skills={"teacher": 0.751, "baseline": 0.75})
    study = only_study(tmp_path)
    (made,) = numbers(study)
    assert made.ratio.value is None
    (sheet,) = tables.scores(study, [made])
    assert sheet.rows[0][7:9] == ["undefined", "n/a"]


def test_choice_is_by_validation_and_shows_its_test_score(tmp_path):
    for weight, skill, validation in ((0.0, 0.95, 0.6), (0.1, 0.8, 0.7), (1.0, 0.99, None)):
        for seed in (1, 2):
            settings = make_settings(seed=seed, **{FLAG: weight})
            leave_run(tmp_path, settings, f"{weight}-{seed}", skills={"student": skill}, validation_score=validation)
    leave_run(tmp_path, make_settings(seed=1, **{FLAG: 10.0}), "lucky", validation_score=0.9)
    study = only_study(tmp_path)
    made = numbers(study)
    decisions = decide(study, made)
    chosen = choose(decisions)
    assert chosen.summary.setting.config[FLAG] == 0.1, "0.9 is of one seed only, None is no score"
    judged = markdown.StudyResult(study, made, decisions, chosen)
    warning, fewer, choice = markdown.sentences(judged)
    assert fewer == "1 setting with fewer seeds did not take part in the choice."
    assert warning.startswith("4 settings were compared on the same test rows")
    assert "in up to 19% of such studies" in warning, "1 - 0.95 ** 4"
    assert choice.startswith(
        f"Chosen by the validation score, not by the test score: {FLAG} 0.1 (validation accuracy 0.7"
    )
    assert f"The student's accuracy on test is {made[1].scores['student'].mean:.4f}" in choice


def test_one_setting_leaves_no_choice(tmp_path):
    leave_sweep(tmp_path, weights=(0.1,))
    study = only_study(tmp_path)
    decisions = decide(study, numbers(study))
    assert choose(decisions) is None
    (sentence,) = markdown.sentences(markdown.StudyResult(study, [], decisions, None))
    assert re.fullmatch(
        r"The student's accuracy on test is 0\.\d{4}, \d+\.\d points better than the baseline's \(95 % over test rows: "
        r"-?\d+\.\d to -?\d+\.\d; over seeds: -?\d+\.\d to -?\d+\.\d\); other .*\.",
        sentence,
    )


def verdict_of(folder, gains, rows, baseline=0.5):
    """Of runs whose students are better than their baselines by ``gains``, on so many test rows, all of them known."""
    for seed, gain in enumerate(gains):
        settings = make_settings(seed=seed)
        leave_run(folder, settings, f"run-{seed}", skills={"baseline": baseline, "student": baseline + gain}, rows=rows)
    study = only_study(folder)
    (decision,) = decide(study, numbers(study))
    return decision.verdict


@pytest.mark.parametrize(
    ("gains", "rows", "verdict"),
    [
        ([0.3, 0.3, 0.3, 0.3], 1000, "better"),
        ([-0.3, -0.3, -0.3, -0.3], 1000, "worse"),
        ([0.1, 0.5, 0.0], 1000, "better with these seeds"),
        ([0.4], 1000, "better with this seed"),
        ([0.0, 0.0, 0.0], 1000, "could be noise"),
    ],
)
def test_verdict_needs_rows_and_seeds(tmp_path, gains, rows, verdict):
    assert verdict_of(tmp_path, gains, rows) == verdict


def test_report_has_tables_numbers_and_plots_that_name_what_they_show(tmp_path):
    leave_sweep(tmp_path / "results", weights=(0.0, 0.01, 0.1), validation_score=0.7)
    for run in (tmp_path / "results").glob("*-*"):
        with SummaryWriter(str(run / "student")) as writer:
            for step in range(5):
                writer.add_scalar("loss/soft_label", 1 / (step + 1), step)
                writer.add_scalar("lr", 1.0, step)
    collected = load_runs([tmp_path / "results"])
    folder = tmp_path / "report"
    judged = markdown.evaluate(collected)
    markdown.write(judged, collected.left_out, folder)
    pictures = {
        f"rte-score-by-{FLAG}": [
            "teacher",
            "baseline (no distillation)",
            "95 % over test rows",
            "0.01",
            "mean over seeds",
        ],
        "rte-score-by-speed-up-and-size": ["speed-up over the teacher", "million weights", "chosen by validation"],
        "rte-losses-during-training": ["soft label", "optimizer step", f"{FLAG} 0.1"],
    }
    assert {path.name for path in folder.iterdir()} == {
        "report.md",
        "settings.csv",
        *(f"{name}.{kind}" for name in pictures for kind in ("png", "svg")),
    }
    text = (folder / "report.md").read_text()
    for name, shown in pictures.items():
        assert f"({name}.png)" in text
        assert len(np.unique(matplotlib.image.imread(folder / f"{name}.png").reshape(-1, 4), axis=0)) > 10
        svg = (folder / f"{name}.svg").read_text()
        for words in shown:
            assert words in svg, f"{name} says {words}"
    with (folder / "settings.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line[FLAG] for line in lines] == ["0", "0.01", "0.1"]
    for line, made in zip(lines, numbers(collected.studies[0]), strict=True):
        assert float(line["student"]) == pytest.approx(made.scores["student"].mean)
        assert float(line["gain_rows_low"]) == pytest.approx(made.rows.gain.low)
        assert float(line["gain_seeds_high"]) == pytest.approx(made.gain.high)
        assert line["seeds"] == "1 2 3"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    markdown.write(judged, collected.left_out, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "the same rows, the same report"


def test_other_tasks_and_undefined_scores_are_reported_too(tmp_path):
    """MNLI has two test sets, STS-B two metrics and no classes; a constant student has no correlation."""
    accuracy = {"accuracy": {"teacher": 0.8, "baseline": 0.7, "student": 0.75}}
    leave_run(tmp_path, make_settings(), "mnli", task="mnli", scores={"matched": accuracy, "mismatched": accuracy})
    undefined = {"teacher": 0.8, "baseline": 0.7, "student": None}
    leave_run(
        tmp_path,
        make_settings(glue_task="stsb", soft_label_loss_type="mse"),
        "stsb",
        task="stsb",
        problem_type="regression",
        scores={"test": {"pearson": undefined, "spearman": undefined}},
        validation={"pearson": dict.fromkeys(undefined)},
    )
    for name in ("mnli", "stsb"):
        (tmp_path / name / "predictions.parquet").write_bytes(b"PAR1 and no more")
    collected = load_runs([tmp_path])
    made = {each.study.task: each for each in markdown.evaluate(collected)}
    assert [sheet.title for sheet in tables.scores(made["mnli"].study, made["mnli"].summaries)] == [
        "matched: accuracy",
        "mismatched: accuracy",
    ]
    assert markdown.sentences(made["stsb"])[-1] == "Its pearson on test is undefined."
    assert "cannot tell" in markdown.sentences(made["mnli"])[-1]
    markdown.write(list(made.values()), (), tmp_path / "report")


def test_demonstrations_are_kept_apart(tmp_path):
    leave_run(tmp_path, make_settings(demo=True, dataset_path=None), "demo", demonstration=True)
    leave_run(tmp_path, make_settings(), "real")
    collected = load_runs([tmp_path])
    markdown.write(markdown.evaluate(collected), (), tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").glob("*.png")}
    assert names == {"rte-score-by-speed-up-and-size.png", "rte-demonstration-score-by-speed-up-and-size.png"}
    assert "generated sentences" in (tmp_path / "report" / "report.md").read_text()


def test_equals_are_said_and_circumstances_are_named(tmp_path):
    for weight in (0.0, 0.1):
        leave_run(tmp_path, make_settings(**{FLAG: weight}), f"{weight}", validation_score=0.7)
    leave_run(tmp_path, make_settings(), "elsewhere", validation_score=0.6, device={"name": "H200", "precision": "32"})
    collected = load_runs([tmp_path])
    (judged,) = markdown.evaluate(collected)
    said = markdown.sentences(judged)
    assert said[0] == "The runs differ in device name, and only runs that do not are averaged."
    assert "the first of 2 equals" in said[-1]
    assert judged.study.flags == (FLAG,)


def test_clear_gains_stay_clear_among_many_settings(tmp_path):
    """The p-value of 2,000 resamples must not end at 1 in 2,000."""
    for number in range(60):
        settings = make_settings(temperature=number + 1.0)
        leave_run(tmp_path, settings, f"run-{number}", skills={"baseline": 0.2}, rows=200)
    study = only_study(tmp_path)
    assert {decision.verdict for decision in decide(study, numbers(study))} == {"better with this seed"}


def test_many_lines_have_colours_of_their_own(tmp_path):
    for number in range(9):
        leave_run(tmp_path, make_settings(temperature=number + 1.0), f"run-{number}", rows=50)
    collected = load_runs([tmp_path])
    markdown.write(markdown.evaluate(collected), (), tmp_path / "report")
    assert len(collected.studies[0].settings) == 9
    assert (tmp_path / "report" / "rte-score-by-temperature.png").exists()


def test_script_ends_with_the_choice(tmp_path, capsys):
    leave_sweep(tmp_path, validation_score=0.6)
    assert automm_distillation_report.main([str(tmp_path), "--output_folder", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "report" / "report.md") in out.replace("\n", "")
    closing = " ".join(out[out.rindex("rte: Chosen by the validation score") :].split())
    assert "than the baseline's (95 % over test rows:" in closing
    assert out.rstrip().endswith(".")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent: no results.jsonl there"),
        ([], "the following arguments are required: RESULTS"),
        ([".", "--output_folder", "/proc/report"], "--output_folder /proc/report: cannot be written to"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, arguments, message):
    leave_run(tmp_path, make_settings(), "run")
    script = Path(automm_distillation_report.__file__)
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()
