"""The private parts of AutoGluon 1.6.3 that automm.py relies on. A failure here means: read automm.py again."""

import inspect
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from autogluon.multimodal import version
from autogluon.multimodal.learners import base
from autogluon.multimodal.learners.base import BaseLearner
from autogluon.multimodal.utils.distillation import DistillationMixin
from autogluon.multimodal.utils.inference import RealtimeMixin
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distillation import automm
from distillation.automm import fitting, learner, predictor
from distillation.data import Fold
from distillation.devices import Device
from distillation.errors import TrainingFailed, UserError
from distillation.losses import DistillationLoss
from distillation.settings import WEIGHTS
from distillation.tasks import GLUE_TASKS

from .conftest import SENTENCES, make_settings

RTE = GLUE_TASKS["rte"]
DDP = "ddp_spawn_find_unused_parameters_true"  # AutoGluon's default
CPU = Device(num_gpus=0, precision="32", name="CPU", threads=2)
FRAME = SENTENCES.rename(columns={"idx": "id"}).astype({"id": str})
FOLD = Fold(FRAME[:64], FRAME[64:96])


def parameters(checkpoints, role, **changes):
    settings = make_settings(**{"max_epochs": 1, "teacher_max_epochs": 1, "batch_size": 32, "num_workers": 0} | changes)
    made = automm.hyperparameters(settings, CPU, str(checkpoints / role), role=role)
    return made | (automm.distiller_hyperparameters(settings) if role == "student" else {})


# Labels of a binary, a three-class and a regression task for the same sentences.
TASKS = {"rte": FRAME["label"], "mnli": FRAME.index % 3, "stsb": FRAME["label"] * 3.0 + FRAME.index % 5 * 0.5}


def fold_of(name, frame=FRAME):
    frame = frame.assign(label=TASKS[name])
    return Fold(frame[:64], frame[64:96])


@pytest.fixture(scope="module")
def teachers(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    for name in TASKS:
        made = parameters(checkpoints, "teacher")
        automm.fit(folder / name, fold_of(name), GLUE_TASKS[name], made, seed=1, time_limit=None, verbosity="quiet")
    return folder


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("only", [*((weight,) for weight in WEIGHTS), WEIGHTS])
def test_every_loss_alone_and_all_together_train_without_nan(teachers, checkpoints, tmp_path, name, only):
    """The feature loss in its cosine form; the last of 64 rows in batches of 21 comes alone."""
    task = GLUE_TASKS[name]
    settings = make_settings(
        glue_task=name,
        output_feature_loss_type="cosine_distance",
        **{weight: float(weight in only) for weight in WEIGHTS},
    )
    facts = automm.fit(
        tmp_path / "student",
        fold_of(name),
        task,
        parameters(checkpoints, "student", batch_size=21, per_gpu_batch_size=21),
        seed=1,
        time_limit=None,
        teacher=automm.load(teachers / name, task, verbosity="quiet"),
        recipe=automm.loss_recipe(settings, task),
        verbosity="quiet",
    )
    terms = facts["terms"]
    assert set(terms) == {weight.removesuffix("_weight").removesuffix("_loss") for weight in only}
    assert all(np.isfinite(list(term.values())).all() for term in terms.values())
    assert sum(term["feature_share"] for term in terms.values()) == pytest.approx(1)
    assert all(term["feature_share"] > 0 for term in terms.values())
    assert {name for name in terms if terms[name]["logits_share"] > 0} == {"hard_label", "soft_label"} & set(terms)
    events = EventAccumulator(str(tmp_path / "student"))
    events.Reload()
    kinds = ("loss", "logits_share", "feature_share")
    assert {f"{kind}/{term}" for kind in kinds for term in terms} <= set(events.Tags()["scalars"])
    assert np.isfinite(automm.load(tmp_path / "student", task, verbosity="quiet").predict(FRAME[:8])).all()


def test_teacher_with_another_label_scale_is_translated(teachers, checkpoints, tmp_path, monkeypatch):
    """The student learns from the upper half of the scale only; its standardised labels are not the teacher's."""
    task = GLUE_TASKS["stsb"]
    seen = []
    monkeypatch.setattr(learner, "DistillationLoss", lambda *made: seen.append(made) or DistillationLoss(*made))
    whole = fold_of("stsb")
    half = Fold(whole.train[whole.train["label"] >= 2.5], whole.tune)
    automm.fit(
        tmp_path / "student",
        half,
        task,
        parameters(checkpoints, "student"),
        seed=1,
        time_limit=None,
        teacher=automm.load(teachers / "stsb", task, verbosity="quiet"),
        recipe=automm.loss_recipe(make_settings(), task),
        verbosity="quiet",
    )
    ((_, _, _, translate),) = seen
    points = whole.train["label"].to_numpy()[:5]
    standard = (points - whole.train["label"].mean()) / whole.train["label"].std(ddof=0)
    expected = (points - half.train["label"].mean()) / half.train["label"].std(ddof=0)
    assert translate(torch.from_numpy(standard)).numpy() == pytest.approx(expected)


@pytest.fixture(scope="module")
def teacher(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "teacher"
    automm.fit(folder, FOLD, RTE, parameters(checkpoints, "teacher"), seed=1, time_limit=None, verbosity="quiet")
    return automm.load(folder, RTE, verbosity="quiet")


def test_this_is_the_version_that_was_read():
    assert version.__version__ == "1.6.3"


def test_private_parts_are_where_they_were():
    assert {"trainer", "is_train"} <= set(inspect.signature(BaseLearner.run_trainer).parameters)
    assert {
        "model",
        "model_postprocess_fn",
        "peft_param_names",
        "optim_kwargs",
        "distillation_kwargs",
        "is_train",
    } == set(inspect.signature(BaseLearner.get_litmodule_per_run).parameters) - {"self"}
    assert {"data", "df_preprocessor", "data_processors"} <= set(
        inspect.signature(RealtimeMixin.process_batch).parameters
    )
    assert "flag=True" in inspect.getsource(DistillationMixin.setup_distillation), "column info is still switched on"
    assert 'accelerator="gpu" if num_gpus > 0 else config.env.accelerator' in inspect.getsource(base)


def test_baseline_and_student_differ_in_the_distiller_only(checkpoints):
    settings = make_settings(max_epochs=3, teacher_max_epochs=7)
    student = automm.hyperparameters(settings, CPU, "student", role="student")
    teacher = automm.hyperparameters(settings, CPU, "teacher", role="teacher")
    added = automm.distiller_hyperparameters(settings)
    assert all(name.startswith("distiller.") for name in added)
    assert {name for name in teacher if teacher[name] != student[name]} == {
        "model.hf_text.checkpoint_name",
        "optim.max_epochs",
    }
    assert teacher["model.hf_text.text_trivial_aug_maxscale"] == student["model.hf_text.text_trivial_aug_maxscale"] == 0
    assert (student["env.accelerator"], student["env.num_gpus"]) == ("cpu", 0)


def test_distilling_leaves_the_teacher_as_it_was_and_no_column_info_behind(teacher, checkpoints, tmp_path):
    before = teacher.predict(FRAME[96:128])
    folder = tmp_path / "student"
    facts = automm.fit(
        folder,
        FOLD,
        RTE,
        parameters(checkpoints, "student"),
        seed=1,
        time_limit=None,
        teacher=teacher,
        recipe=automm.loss_recipe(make_settings(), RTE),
        verbosity="quiet",
    )
    assert (facts["optimizer_steps"], facts["epochs"]) == (2, 1)
    assert list(facts["terms"]) == ["hard_label", "soft_label", "output_feature"]
    assert np.array_equal(teacher.predict(FRAME[96:128]), before)
    student = automm.load(folder, RTE, verbosity="quiet")
    for model in (teacher, student):
        (processor,) = model.automm._learner._data_processors["text"]
        assert processor.requires_column_info is False
    saved = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    assert all(name.startswith("model.") for name in saved), "the student's file holds the student only"
    assert student.predict(FRAME[:5]).shape == (5, 2)


def test_forward_passes_run_the_network_that_predict_runs(teacher, monkeypatch):
    seen = []
    run_model = predictor.run_model
    monkeypatch.setattr(predictor, "run_model", lambda model, batch: seen.append(run_model(model, batch)) or seen[-1])
    teacher.forward_passes(FRAME[:20], batch_size=8)()
    logits = np.concatenate([next(iter(output.values()))["logits"].numpy() for output in seen])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [len(next(iter(output.values()))["logits"]) for output in seen] == [8, 8, 4]
    assert probabilities == pytest.approx(teacher.predict(FRAME[:20]), abs=1e-5)


def test_premise_comes_before_hypothesis_in_the_token_sequence(teacher):
    (processor,) = teacher.automm._learner._data_processors["text"]
    batch = teacher.automm._learner.process_batch(
        data=pd.DataFrame({"sentence2": ["the nurse"], "sentence1": ["the pilot"]}),
        df_preprocessor=teacher.automm._learner._df_preprocessor,
        data_processors={"text": [processor]},
    )
    tokens = processor.tokenizer.convert_ids_to_tokens(batch[processor.text_token_ids_key][0])
    assert tokens[:7] == ["[CLS]", "the", "pilot", "[SEP]", "the", "nurse", "[SEP]"]


def test_classes_in_another_order_are_refused(teacher, checkpoints, tmp_path):
    frame = FRAME.assign(label=FRAME["label"] + 1)
    with pytest.raises(UserError, match=r"teacher's classes \[0, 1\] are not the student's classes \[1, 2\]"):
        automm.fit(
            tmp_path / "student",
            Fold(frame[:64], frame[64:96]),
            RTE,
            parameters(checkpoints, "student"),
            seed=1,
            time_limit=None,
            teacher=teacher,
            recipe=automm.loss_recipe(make_settings(), RTE),
        )


def test_fit_without_an_optimizer_step_is_an_error(checkpoints, tmp_path):
    # One second is over after the first of 16 passes that make a step.
    slow = parameters(checkpoints, "teacher", batch_size=64, per_gpu_batch_size=4, teacher_max_epochs=1)
    frame = pd.concat([FRAME] * 8, ignore_index=True)
    with pytest.raises(TrainingFailed, match=r"--time_limit 0\.001: over before the first optimizer step"):
        automm.fit(tmp_path / "t", Fold(frame, FRAME[:8]), RTE, slow, seed=1, time_limit=0.001, verbosity="quiet")


def test_diverged_fit_is_an_error(checkpoints, tmp_path):
    wild = parameters(checkpoints, "teacher", teacher_learning_rate=1e30)
    with pytest.raises(TrainingFailed, match="weights are not finite"):
        automm.fit(tmp_path / "t", FOLD, RTE, wild, seed=1, time_limit=None, verbosity="quiet")


def test_teacher_judges_clean_text_when_augmentation_is_on(teacher):
    augmenting = replace(make_settings(), aug_scale=0.1)
    assert (
        automm.hyperparameters(augmenting, CPU, "x", role="teacher")["model.hf_text.text_trivial_aug_maxscale"] == 0.1
    )
    (processor,) = teacher.automm._learner._data_processors["text"]
    processor.text_trivial_aug_maxscale = 0.1
    processor.train_augmenter = processor.construct_text_augmenter(0.1, None)
    fitting._show_clean_text(teacher)
    assert processor.train_augmenter is None
    assert processor.text_trivial_aug_maxscale == 0


def test_several_processes_train_on_their_share_of_the_rows_and_report_back(
    teacher, checkpoints, tmp_path, monkeypatch
):
    """As with several GPUs, where AutoGluon spawns a process for each: here two on the CPU."""
    monkeypatch.setattr(
        base.pl,
        "Trainer",
        lambda **wanted: Trainer(**wanted | ({"devices": 2, "strategy": DDP} if "max_steps" in wanted else {})),
    )
    facts = automm.fit(
        tmp_path / "student",
        FOLD,
        RTE,
        parameters(checkpoints, "student", batch_size=8, per_gpu_batch_size=8),
        seed=1,
        time_limit=None,
        teacher=teacher,
        recipe=automm.loss_recipe(make_settings(), RTE),
        verbosity="quiet",
    )
    assert (facts["optimizer_steps"], facts["epochs"]) == (4, 1), "64 rows, 8 in each of two processes"
    assert sum(term["feature_share"] for term in facts["terms"].values()) == pytest.approx(1)
    assert not (tmp_path / "student" / "progress.json").exists()
    assert np.isfinite(automm.load(tmp_path / "student", RTE, verbosity="quiet").predict(FRAME[:8])).all()


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_learning_rate_warms_up_and_then_only_falls(teacher, checkpoints, tmp_path, role):
    """The case in which AutoGluon's own schedule rises again: fewer batches an epoch (2) than a step takes (8)."""
    wanted = parameters(checkpoints, role, batch_size=256, max_epochs=20, teacher_max_epochs=20)
    facts = automm.fit(
        tmp_path / "model",
        FOLD,
        RTE,
        wanted | {"optim.patience": 100, "optim.lr": 1e-5},
        seed=1,
        time_limit=None,
        teacher=teacher if role == "student" else None,
        recipe=automm.loss_recipe(make_settings(), RTE),
        verbosity="quiet",
    )
    assert facts["optimizer_steps"] == 20, "one per epoch"
    events = EventAccumulator(str(tmp_path / "model"), size_guidance={"scalars": 0})
    events.Reload()
    groups = [
        [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"] if tag.startswith("lr-")
    ]
    rates = max(groups, key=max)
    rates = [rate for rate, _ in itertools.groupby(rates)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1e-5)
    assert rates.index(max(rates)) == 2, "10 % of 20 steps"
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(1e-5 * 0.5 * (1 + np.cos(np.pi * 17 / 18)), rel=1e-4), "the cosine's last step"
