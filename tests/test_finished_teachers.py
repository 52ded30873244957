"""Teachers that are finished: the same student as of the same teacher in the run; classifiers and saved predictors."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from automm_distill import automm
from automm_distill.automm import OutputsTeacher, Teacher
from automm_distill.cli import flags_without_effect, losses_of_outputs_alone, parse_settings, run_script
from automm_distill.errors import TrainingError, UserError
from automm_distill.export import card
from automm_distill.export.past_run import find_run, opened
from automm_distill.report.command import run_report
from automm_distill.results import read_rows
from automm_distill.run_summary import markdown
from automm_distill.settings import LOSS_WEIGHTS
from automm_distill.tasks import GLUE_TASKS, own_task
from automm_distill.teacher_choice import require_outputs_suffice
from automm_distill.teachers.classifier import logits_of, open_classifier
from automm_distill.teachers.saved_predictor import open_predictor

from .conftest import SENTENCES
from .fits import CPU, FRAME, load, make_options, rows_of

QUICK = ["--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32", "--num_gpu", "0", "--precision", "32"]
OUTPUTS_ALONE = dict.fromkeys(LOSS_WEIGHTS, 0.0) | {"hard_label_weight": 0.5, "soft_label_weight": 1.0}
FLAGS = [
    *("--glue_task", "rte", "--output_feature_loss_weight", "0", "--soft_label_loss_type", "mse", *QUICK),
    *("--verbose", "--no_timing", "--unlabelled_path"),
]


def weights(folder):
    return torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(one, other, within=1e-6):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=within, msg=name)


# --- Fits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), [("mnli", "mean_square_error"), ("stsb", "mean_square_error")])
def test_outputs_make_the_student_of_the_teacher_that_they_are_of(teachers, checkpoints, tmp_path, name, form):
    task, rows, predictor = GLUE_TASKS[name], rows_of(name), load(teachers / name, name)
    teacher = Teacher(predictor)  # in every step, which nothing is kept of
    alone = OutputsTeacher(task, rows.train, teacher.given_outputs(rows.train))
    np.testing.assert_allclose(alone.predict(rows.train), predictor.predict(rows.train), rtol=1e-5)
    options = make_options(checkpoints, "student", glue_task=name, **OUTPUTS_ALONE, soft_label_loss_type=form)
    for folder, each in (("of_teacher", teacher), ("of_outputs", alone)):
        automm.fit(tmp_path / folder, rows, task, options, each)
    assert_same_weights(tmp_path / "of_teacher", tmp_path / "of_outputs")


def test_outputs_are_those_of_the_rows_of_the_fit(teachers):
    rows = rows_of("rte")
    alone = OutputsTeacher(GLUE_TASKS["rte"], rows.train, np.zeros((len(rows.train), 2)))
    with pytest.raises(TrainingError, match="for other rows"):
        alone.targets_for(rows.train[::-1])


def test_rows_that_are_not_covered_have_no_weight():
    rows = rows_of("rte").train
    outputs = np.zeros((len(rows), 2))
    outputs[:16] = np.nan
    targets = OutputsTeacher(GLUE_TASKS["rte"], rows, outputs).targets_for(rows)
    found = targets.batch_targets(targets.batch([0, 20]))
    assert found.weights.tolist() == [0.0, pytest.approx(64 / 48)]
    assert found.logits.isfinite().all()


# --- Flags ---------------------------------------------------------------------------------------------------------


def test_losses_of_features_are_off_by_default_and_refused_if_given(caplog):
    given = ["--teacher_predictions", "p.csv", "--teacher_max_epochs", "3"]
    settings = parse_settings("glue", given)
    assert settings.teacher_model is None
    assert settings.output_feature_loss_weight == 0
    require_outputs_suffice(vars(settings))
    assert losses_of_outputs_alone(settings, given) == [
        "0 in place of --output_feature_loss_weight 0.01: of --teacher_predictions only the outputs are known"
    ]
    assert losses_of_outputs_alone(settings, ["--teacher_predictions", "p.csv", "--preset", "strong"]) == []
    assert flags_without_effect(settings, given) == [
        "--teacher_max_epochs: has no effect, since the teacher of --teacher_predictions is finished"
    ]
    assert losses_of_outputs_alone(parse_settings("glue", []), []) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output_feature_loss_weight", "0.1"], "--output_feature_loss_weight 0.1: needs the teacher's features"),
        (["--rkd_angle_loss_weight", "1"], "--rkd_angle_loss_weight 1: needs"),
        (["--student_layers", "2"], "--student_layers 2: takes layers of the teacher.*give --student_model too"),
        (["--teacher_outputs", "online"], "--teacher_outputs online: runs the teacher in every step"),
    ],
)
@pytest.mark.parametrize("teacher", ["--teacher_predictions", "--teacher_predictor"])
def test_what_needs_more_than_outputs_is_refused(flags, message, teacher):
    with pytest.raises(UserError, match=message):
        require_outputs_suffice(vars(parse_settings("glue", [teacher, "somewhere", *flags])))


def test_a_run_has_one_teacher(capsys):
    with pytest.raises(SystemExit):
        parse_settings("glue", ["--teacher_predictions", "p.csv", "--teacher_model", "bert"])
    said = capsys.readouterr().err
    assert "--teacher_model bert and --teacher_predictions p.csv: a run has one teacher; give one of them" in said


def test_a_finished_teacher_has_no_languages_of_its_own():
    settings = parse_settings("pawsx", ["--teacher_predictions", "p.csv", "--pawsx_student_tasks", "en", "de"])
    assert settings.pawsx_teacher_tasks == settings.pawsx_student_tasks == ("en", "de")
    assert "pawsx_teacher_tasks" in settings.without_effect
    assert {"teacher_predictions", "teacher_max_epochs", "pawsx_teacher_tasks"}.isdisjoint(settings.identity)


# --- Saved predictors ----------------------------------------------------------------------------------------------


def test_a_predictor_of_another_task_is_refused_in_one_line(teachers):
    assert open_predictor(teachers / "rte", GLUE_TASKS["rte"]).classes == (0, 1)
    for name, task, message in (
        ("mnli", "rte", "was trained for a multiclass problem, and rte is binary, of 2 classes"),
        ("rte", "stsb", "was trained for a binary problem, and stsb is a regression"),
        ("rte", "sst2", r"was trained on columns sentence1, sentence2; needs texts in sentence"),
    ):
        with pytest.raises(UserError, match=f"--teacher_predictor .*{message}"):
            open_predictor(teachers / name, GLUE_TASKS[task])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.ckpt", b"", "model.ckpt is cut or damaged"),
        ("model.ckpt", 1000, "model.ckpt is cut or damaged"),
        ("model.ckpt", None, "has no model.ckpt"),
        ("df_preprocessor.pkl", b"", "cannot be read as a MultiModalPredictor"),
        ("df_preprocessor.pkl", 100, "cannot be read as a MultiModalPredictor"),
        ("config.yaml", b"{a: [", "cannot be read as a MultiModalPredictor"),
        ("assets.json", b"{", "cannot be read as a MultiModalPredictor"),
        ("hf_text/config.json", None, "has no hf_text/config.json"),
    ],
)
def test_a_damaged_predictor_is_refused_in_one_line(teachers, tmp_path, name, content, message):
    folder = tmp_path / "teacher"
    shutil.copytree(teachers / "rte", folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=message) as refused:
        open_predictor(folder, GLUE_TASKS["rte"])
    assert "\n" not in str(refused.value)


def test_a_predictor_of_our_own_knows_the_names_of_its_classes(teachers):
    """Its labels are numbers: of the same two classes in another order, and of two other classes."""
    columns = list(GLUE_TASKS["rte"].model_columns)
    turned = own_task("pairs", columns, ("not_entailment", "entailment"), None, has_validation=False)
    assert open_predictor(teachers / "rte", turned).classes == (1, 0)
    with pytest.raises(UserError, match=r"label 'entailment' is not one of 0 \(different\), 1 \(same\)"):
        open_predictor(teachers / "rte", own_task("pairs", columns, ("different", "same"), None, has_validation=False))


def test_a_predictor_with_names_and_columns_of_its_own_is_read_by_them(teachers, checkpoints, tmp_path):
    """As AutoGluon alone would leave it: QQP's own columns, whose names are sorted, and classes in words."""
    from autogluon.multimodal import MultiModalPredictor

    task = GLUE_TASKS["qqp"]
    words = FRAME["label"].map({0: "Not Duplicate", 1: "duplicate"})
    own = FRAME.rename(columns={"sentence1": "question1", "sentence2": "question2"}).assign(answer=words)
    predictor = MultiModalPredictor(label="answer", problem_type="binary", path=str(tmp_path / "own"), verbosity=0)
    predictor.fit(
        own[["question1", "question2", "answer"]][:64],
        tuning_data=own[["question1", "question2", "answer"]][64:96],
        hyperparameters={
            "model.names": ["hf_text"],
            "model.hf_text.checkpoint_name": str(checkpoints / "teacher"),
            "optim.max_epochs": 1,
            "env.num_gpus": 0,
            "env.accelerator": "cpu",
            "env.num_workers": 0,
        },
        column_types={"question1": "text", "question2": "text"},
    )
    saved = open_predictor(tmp_path / "own", task)
    assert set(saved.classes) == {0, 1}
    ours = automm.load_finished(saved.path, task, CPU, columns=saved.columns, classes=saved.classes, verbosity="quiet")
    expected = predictor.predict_proba(own[["question1", "question2"]][:20])
    found = ours.predict(FRAME[:20])
    np.testing.assert_allclose(found, expected[["Not Duplicate", "duplicate"]].to_numpy(), atol=1e-5)
    np.testing.assert_allclose(
        OutputsTeacher(task, FRAME[:20], Teacher(ours).given_outputs(FRAME[:20])).predict(FRAME[:20]), found, atol=1e-6
    )


# --- Classifiers ---------------------------------------------------------------------------------------------------


def leave_classifier(checkpoints, folder, id2label):
    torch.manual_seed(4)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        checkpoints / "teacher", id2label=dict(enumerate(id2label)), label2id={n: i for i, n in enumerate(id2label)}
    )
    network.classifier.weight.data.normal_(0, 1)
    network.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(checkpoints / "teacher").save_pretrained(folder)
    return folder


def test_a_classifiers_logits_are_transformers_own_in_the_tasks_order(checkpoints, tmp_path):
    folder = leave_classifier(checkpoints, tmp_path / "model", ["Not Entailment", "ENTAILMENT"])
    task = GLUE_TASKS["rte"]
    teacher = open_classifier(str(folder), task)
    assert teacher.classes == (1, 0)
    rows = FRAME[:30].copy()
    rows.loc[3, "sentence1"] = " ".join(["the baker thanked the singer"] * 40)  # longer than the network reads
    logits, _ = logits_of(teacher, rows, task, CPU, 7, tmp_path / "cache")
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row in (0, 3, 29):
        texts = rows[["sentence1", "sentence2"]].iloc[row].tolist()
        with torch.no_grad():
            own = network(**tokenizer(*texts, truncation=True, max_length=64, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(logits[row], own.flip(0).numpy(), atol=1e-5)
    again, _ = logits_of(teacher, rows[::-1], task, CPU, 7, tmp_path / "cache")
    np.testing.assert_array_equal(again[::-1], logits)


def test_classes_without_names_are_in_the_tasks_order(checkpoints, tmp_path, caplog):
    folder = leave_classifier(checkpoints, tmp_path / "model", ["LABEL_0", "LABEL_1", "LABEL_2"])
    with caplog.at_level(logging.INFO):
        assert open_classifier(str(folder), GLUE_TASKS["mnli"]).classes == (0, 1, 2)
    assert "no names; they are taken for entailment, neutral, contradiction, in this order" in caplog.text
    for task, message in (("rte", "has 3 classes .*; rte has 2"), ("stsb", "3 classes .*, and stsb is a regression")):
        with pytest.raises(UserError, match=message):
            open_classifier(str(folder), GLUE_TASKS[task])


def test_classes_of_other_names_and_a_checkpoint_without_a_head_are_refused(checkpoints, tmp_path):
    folder = leave_classifier(checkpoints, tmp_path / "model", ["negative", "positive"])
    with pytest.raises(UserError, match="are negative, positive; rte has entailment, not_entailment"):
        open_classifier(str(folder), GLUE_TASKS["rte"])
    config = json.loads((folder / "config.json").read_text())
    for changes, message in (
        ({"id2label": ["a", "b"]}, r"id2label in its config.json is \['a', 'b'\]; needs names by number"),
        ({"id2label": None, "num_labels": "two"}, "num_labels in its config.json is 'two'; needs a number"),
        ({"architectures": "BertModel"}, r"is a BertModel; needs a fine-tuned \.\.\.ForSequenceClassification"),
    ):
        (folder / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(UserError, match=message):
            open_classifier(str(folder), GLUE_TASKS["rte"])
    with pytest.raises(UserError, match=r"is a BertModel; needs a fine-tuned \.\.\.ForSequenceClassification"):
        open_classifier(str(checkpoints / "teacher"), GLUE_TASKS["rte"])


# --- Runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(checkpoints, datasets_folder, tmp_path_factory):
    """A folder with the results of a run that wrote its teacher's predictions, and that run's flags but the teacher."""
    folder = tmp_path_factory.mktemp("trained")
    unlabelled = folder / "more.csv"
    SENTENCES[300:340][["sentence1", "sentence2"]].to_csv(unlabelled, index=False)
    flags = [
        *("--dataset_path", str(datasets_folder), "--student_model", str(checkpoints / "student"), *FLAGS),
        *(str(unlabelled), "--output_folder", str(folder), "--finetuned_model_cache_folder", str(folder / "cache")),
    ]
    teacher = ["--teacher_model", str(checkpoints / "teacher")]
    assert run_script("glue", [*flags, *teacher, "--save_teacher_predictions", str(folder / "p.jsonl")]) == 0
    return folder, flags


def last_row(folder):
    return read_rows(folder / "results.jsonl")[0][-1]


def test_a_file_of_its_predictions_makes_the_same_student(trained):
    folder, flags = trained
    first = read_rows(folder / "results.jsonl")[0][0]
    with (folder / "p.jsonl").open() as file:
        assert {json.loads(line)["split"] for line in file} == {"train", "unlabelled", "hold-out", "test"}
    assert run_script("glue", [*flags, "--teacher_predictions", str(folder / "p.jsonl"), "--resume"]) == 0
    row = last_row(folder)
    assert row["training"]["baseline"]["from_cache"]
    assert_same_weights(folder / first["run"] / "student", folder / row["run"] / "student")
    assert row["scores"]["test"]["accuracy"] == first["scores"]["test"]["accuracy"]
    assert row["teacher"]["coverage"] == {"training": [96, 96], "hold-out": [24, 24], "unlabelled": [40, 40]} | {
        "test": [60, 60]
    }
    assert (row["teacher"]["form"], row["teacher"]["found_by"]) == ("logits", "texts")
    assert row["speed_up"] == {"reason": "--no_timing was given"}
    assert "teacher" not in row["size"]
    assert row["checkpoints"]["teacher"] == row["teacher"]["fingerprint"]
    assert row["identity"] != first["identity"]
    assert "a file of predictions, `p.jsonl`" in markdown(row)
    run = find_run(folder / row["run"], None)
    with opened(run, "student", with_teacher=True) as source:
        assert list(source.models) == ["student"]
    with pytest.raises(UserError, match=r"its teacher is not available \(of the teacher there are only its outputs"):
        opened(run, "teacher", with_teacher=False).__enter__()
    assert "--teacher_predictions p.jsonl" in card.command(row)


def test_rows_that_a_file_lacks_count_for_the_labels_alone(trained, caplog):
    folder, flags = trained
    rows = pd.read_json(folder / "p.jsonl", lines=True, dtype=False)
    kept = rows[(rows["split"] != "test") | (rows.index % 2 == 0)][::2]
    kept.to_parquet(folder / "some.parquet", index=False)
    teacher = ["--teacher_predictions", str(folder / "some.parquet"), "--resume"]
    with caplog.at_level(logging.INFO):
        assert run_script("glue", [*flags, *teacher]) == 0
    row = last_row(folder)
    known, of = row["teacher"]["coverage"]["training"]
    assert 0 < known < of == 96
    assert "teacher" not in row["scores"]["test"]["accuracy"]
    assert row["distillation_ratio"]["test"]["accuracy"] == {"value": None, "reason": "no teacher score"}
    assert row["rows"]["student"]["unlabelled"] < 40
    assert row["unlabelled_left_out"] == {"without a prediction": 40 - row["rows"]["student"]["unlabelled"]}
    assert "The teacher's score is n/a" in markdown(row)
    assert row["teacher_diagnosis"]["score"]["validation"] is None


def test_a_saved_predictor_teaches_with_its_features(trained):
    folder, flags = trained
    first = read_rows(folder / "results.jsonl")[0][0]
    teacher = ["--teacher_predictor", first["training"]["teacher"]["path"], "--resume"]
    assert run_script("glue", [*flags, *teacher, "--rkd_distance_loss_weight", "0"]) == 0
    row = last_row(folder)
    assert_same_weights(folder / first["run"] / "student", folder / row["run"] / "student")
    assert row["teacher"]["kind"] == "predictor"
    assert row["scores"]["test"]["accuracy"] == first["scores"]["test"]["accuracy"]
    assert row["size"]["teacher"] == first["size"]["teacher"]
    with opened(find_run(folder / row["run"], None), "teacher", with_teacher=True) as source:
        assert list(source.models) == ["teacher"]


def test_a_classifier_teaches_by_its_outputs(trained, checkpoints, tmp_path):
    folder, flags = trained
    model = leave_classifier(checkpoints, tmp_path / "model", ["not_entailment", "entailment"])
    assert run_script("glue", [*flags, "--teacher_predictor", str(model), "--resume"]) == 0
    row = last_row(folder)
    assert row["teacher"]["kind"] == "classifier"
    assert row["scores"]["test"]["accuracy"]["teacher"] is not None
    assert any(entry.startswith("outputs-") for entry in row["cache_entries"])
    assert "teacher" not in row["size"]
    assert run_report([str(folder), "--output_folder", str(tmp_path)]) == 0
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all(name in page for name in ("model", "p.jsonl"))
