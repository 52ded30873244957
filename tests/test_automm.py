"""The private parts of AutoGluon 1.6.3 that distillation/automm relies on: a failure means to read it again."""

import inspect
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from autogluon.multimodal import MultiModalPredictor, version
from autogluon.multimodal.data.datamodule import BaseDataModule
from autogluon.multimodal.learners import base
from autogluon.multimodal.learners.base import BaseLearner
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from automm_distill import automm, teacher_outputs
from automm_distill.automm import modules, predictor
from automm_distill.automm.learner import Learner
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.devices import Device
from automm_distill.errors import TrainingError, UserError
from automm_distill.inputs.splits import TrainValidation
from automm_distill.losses import DistillationLoss
from automm_distill.settings import WEIGHTS
from automm_distill.tasks import GLUE_TASKS

from .conftest import SENTENCES, make_settings

RTE = GLUE_TASKS["rte"]
DDP = "ddp_spawn_find_unused_parameters_true"  # AutoGluon's default
CPU = Device(num_gpus=0, precision="32", name="CPU", threads=2)
FRAME = SENTENCES.rename(columns={"idx": "id"}).astype({"id": str})
FOLD = TrainValidation(FRAME[:64], FRAME[64:96])


def parameters(checkpoints, role, **changes):
    settings = make_settings(**{"max_epochs": 1, "teacher_max_epochs": 1, "batch_size": 32, "num_workers": 0} | changes)
    made = automm.hyperparameters(settings, CPU, str(checkpoints / role), role=role)
    return made | (automm.distiller_hyperparameters(settings) if role == "student" else {})


# Labels of a binary, a three-class and a regression task for the same sentences.
TASKS = {"rte": FRAME["label"], "mnli": FRAME.index % 3, "stsb": FRAME["label"] * 3.0 + FRAME.index % 5 * 0.5}


def fold_of(name, frame=FRAME):
    frame = frame.assign(label=TASKS[name])
    return TrainValidation(frame[:64], frame[64:96])


def with_outputs(predictor, fold, folder, precision="32"):
    """The teacher as a student learns from it by default: its outputs are on disk."""
    recipe = {"columns": predictor.task.model_columns, "precision": precision}
    outputs = teacher_outputs.obtain(folder / "outputs", recipe, fold.train, predictor.outputs)
    return automm.Teacher(predictor, outputs)


def distil(predictor, checkpoints, folder, *, compiled=False, **changes):
    """A student of RTE in ``folder / "student"``."""
    return automm.fit(
        folder / "student",
        FOLD,
        RTE,
        parameters(checkpoints, "student", **changes),
        seed=1,
        time_limit=None,
        compiled=compiled,
        teacher=with_outputs(predictor, FOLD, folder),
        recipe=automm.distillation_spec(make_settings(), RTE),
        verbosity="quiet",
    )


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
    training_info = automm.fit(
        tmp_path / "student",
        fold_of(name),
        task,
        parameters(checkpoints, "student", batch_size=21, per_gpu_batch_size=21),
        seed=1,
        time_limit=None,
        teacher=with_outputs(automm.load(teachers / name, task, verbosity="quiet"), fold_of(name), tmp_path),
        recipe=automm.distillation_spec(settings, task),
        verbosity="quiet",
    )
    terms = training_info["terms"]
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
    monkeypatch.setattr(modules, "DistillationLoss", lambda *made: seen.append(made) or DistillationLoss(*made))
    whole = fold_of("stsb")
    half = TrainValidation(whole.train[whole.train["label"] >= 2.5], whole.validation)
    automm.fit(
        tmp_path / "student",
        half,
        task,
        parameters(checkpoints, "student"),
        seed=1,
        time_limit=None,
        teacher=automm.Teacher(automm.load(teachers / "stsb", task, verbosity="quiet")),
        recipe=automm.distillation_spec(make_settings(), task),
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
    assert {
        "df_preprocessor",
        "data_processors",
        "per_gpu_batch_size",
        "num_workers",
        "predict_data",
        "is_train",
    } == set(inspect.signature(BaseLearner.get_datamodule_per_run).parameters) - {"self"}
    soup = inspect.getsource(BaseLearner.top_k_average)
    assert "if self._teacher_learner is not None:" in soup
    assert "self.evaluate(self._tuning_data" in soup
    assert "teacher_predictor._learner" in inspect.getsource(MultiModalPredictor.fit)
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
    training_info = distil(teacher, checkpoints, tmp_path)
    assert (training_info["optimizer_steps"], training_info["epochs"]) == (2, 1)
    assert list(training_info["terms"]) == ["hard_label", "soft_label", "output_feature"]
    assert np.array_equal(teacher.predict(FRAME[96:128]), before)
    student = automm.load(folder, RTE, verbosity="quiet")
    for model in (teacher, student):
        (processor,) = model.automm._learner._data_processors["text"]
        assert processor.requires_column_info is False
        assert model.automm._learner._config.model.names == ["hf_text"]
    saved = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    assert all(name.startswith("model.") for name in saved), "the student's file holds the student only"
    assert student.predict(FRAME[:5]).shape == (5, 2)


def test_outputs_keep_no_hidden_states(teacher):
    """A pooled feature is a view of all tokens' hidden states; kept, it would keep them (models/hf_text.py:241)."""
    logits, features = teacher.outputs(FRAME[:40])
    assert (logits.shape, features.shape) == ((40, 2), (40, 32))
    assert logits.base is None
    assert features.base is None


def test_forward_passes_run_the_network_that_predict_runs(teacher, monkeypatch):
    seen = []
    run_model = predictor.run_model
    monkeypatch.setattr(predictor, "run_model", lambda model, batch: seen.append(run_model(model, batch)) or seen[-1])
    teacher.forward_passes(FRAME[:20], batch_size=8)()
    logits = np.concatenate([next(iter(output.values()))["logits"].numpy() for output in seen])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [len(next(iter(output.values()))["logits"]) for output in seen] == [8, 8, 4]
    longest_first = np.argsort(-teacher.token_counts(FRAME[:20]), kind="stable")
    assert probabilities == pytest.approx(teacher.predict(FRAME[:20])[longest_first], abs=1e-5)


def test_premise_comes_before_hypothesis_in_the_token_sequence(teacher):
    rows = teacher._rows(pd.DataFrame({"sentence2": ["the nurse"], "sentence1": ["the pilot"]}))
    tokens = rows.processor.tokenizer.convert_ids_to_tokens(rows.batch([0])[rows.processor.text_token_ids_key][0])
    assert tokens[:7] == ["[CLS]", "the", "pilot", "[SEP]", "the", "nurse", "[SEP]"]


def test_rows_are_those_of_autogluons_own_loader(teacher):
    """Among them rows that have to be trimmed, empty ones, and such with unknown words."""
    long = "the nurse paints the bridge " * 60
    odd = pd.DataFrame(
        {
            "sentence1": [long, "the pilot", "", "zebra crossing", long],
            "sentence2": ["the pilot", long, "the nurse", "", long + long],
            "label": [0, 1, 0, 1, 1],
        }
    )
    frame = pd.concat([FRAME[:40], odd], ignore_index=True)
    learner = teacher.automm._learner
    module = BaseDataModule(
        df_preprocessor=learner._df_preprocessor,
        data_processors=learner._data_processors,
        per_gpu_batch_size=7,
        num_workers=0,
        validate_data=frame,
    )
    module.set_dataset("validate")
    (processor,), (label,) = learner._data_processors["text"], learner._data_processors["label"]
    rows = Rows(processor, learner._df_preprocessor, frame, label_key=label.label_key)
    assert rows.lengths.max() == processor.max_len, "trimmed"
    for start, expected in zip(range(0, len(frame), 7), module.val_dataloader(), strict=True):
        batch = rows.batch(range(start, min(start + 7, len(frame))))
        assert set(expected) - set(batch) == {processor.choices_ids_key}, "no model reads these"
        for name, tensor in batch.items():
            assert tensor.dtype == expected[name].dtype
            assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("name", TASKS)
def test_predict_is_autogluons_predict_read_in_order_of_length(teachers, name):
    model = automm.load(teachers / name, GLUE_TASKS[name], verbosity="quiet")
    frame = pd.concat([FRAME[96:128], FRAME[96:97].assign(sentence1="the nurse " * 50)], ignore_index=True)
    texts = frame[["sentence1", "sentence2"]]
    if name == "stsb":
        assert model.predict(frame) == pytest.approx(model.automm.predict(texts, as_pandas=False), abs=1e-5)
    else:
        expected = model.automm.predict_proba(texts, as_pandas=False)
        assert model.predict(frame) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("grouping", [True, False])
def test_student_of_cached_outputs_is_the_student_of_the_teacher_itself(
    teachers, checkpoints, tmp_path, name, grouping
):
    task, fold = GLUE_TASKS[name], fold_of(name)
    predictor = automm.load(teachers / name, task, verbosity="quiet")
    settings = make_settings(glue_task=name, **dict.fromkeys(WEIGHTS, 1.0))
    vocabularies = [(checkpoints / role / "tokenizer.json").read_text() for role in ("teacher", "student")]
    assert vocabularies[0] != vocabularies[1]
    weights = {}
    for kind, teacher in (("cached", with_outputs(predictor, fold, tmp_path)), ("online", automm.Teacher(predictor))):
        automm.fit(
            tmp_path / kind,
            fold,
            task,
            parameters(checkpoints, "student", batch_size=16, per_gpu_batch_size=8),
            seed=1,
            time_limit=None,
            length_grouping=grouping,
            teacher=teacher,
            recipe=automm.distillation_spec(settings, task),
            verbosity="quiet",
        )
        weights[kind] = torch.load(tmp_path / kind / "model.ckpt", weights_only=True)["state_dict"]
    assert weights["cached"].keys() == weights["online"].keys()
    for layer, tensor in weights["cached"].items():
        assert torch.allclose(tensor, weights["online"][layer], atol=1e-5, rtol=0), layer


@pytest.mark.parametrize("name", TASKS)
def test_student_of_the_hard_labels_alone_is_the_baseline(teachers, checkpoints, tmp_path, name):
    """Distillation is the only difference between the two: without any there is none."""
    task, fold = GLUE_TASKS[name], fold_of(name)
    settings = make_settings(glue_task=name, **(dict.fromkeys(WEIGHTS, 0.0) | {"hard_label_weight": 1.0}))
    predictor = automm.load(teachers / name, task, verbosity="quiet")
    taught = dict(teacher=with_outputs(predictor, fold, tmp_path), recipe=automm.distillation_spec(settings, task))
    weights = {}
    for role, distillation in (("baseline", {}), ("student", taught)):
        made = parameters(checkpoints, "student", batch_size=16, per_gpu_batch_size=8, max_epochs=2)
        if role == "baseline":
            made = {key: value for key, value in made.items() if not key.startswith("distiller.")}
        automm.fit(tmp_path / role, fold, task, made, seed=1, time_limit=None, verbosity="quiet", **distillation)
        weights[role] = torch.load(tmp_path / role / "model.ckpt", weights_only=True)["state_dict"]
    assert weights["baseline"].keys() == weights["student"].keys()
    for layer, tensor in weights["baseline"].items():
        assert torch.allclose(tensor, weights["student"][layer], atol=1e-6, rtol=0), layer


def test_augmentation_changes_the_students_rows_anew_and_never_the_lesson(teacher, tmp_path):
    """AutoGluon's augmenter needs data from NLTK; this one stands in for it."""
    clean = teacher._rows(FOLD.train)
    learner = automm.load(Path(teacher.automm.path), RTE).automm._learner
    (processor,) = learner._data_processors["text"]
    drawn = iter(itertools.cycle(["the pilot", "the nurse the pilot"]))
    processor.train_augmenter, processor.text_detection_length = (lambda text: next(drawn)), 0
    rows = Rows(processor, learner._df_preprocessor, FOLD.train, augmented=True)
    key, width = processor.text_token_ids_key, len("[CLS] the pilot [SEP] the nurse the pilot [SEP]".split())
    assert rows.batch([0, 1])[key].shape == (2, width)
    assert not torch.equal(rows.batch([0])[key][0], clean.batch([0])[key][0][:width])
    assert np.array_equal(rows.lengths, clean.lengths), "batches are made by the clean rows' lengths"
    for lesson in (automm.Teacher(teacher), with_outputs(teacher, FOLD, tmp_path)):
        first = lesson.lesson(FOLD.train).answer(lesson.lesson(FOLD.train).batch([0, 1]))
        assert first[0].numpy() == pytest.approx(teacher.outputs(FOLD.train[:2])[0], abs=1e-5)


def test_teacher_reads_each_row_once_over_several_fits(teacher, checkpoints, tmp_path):
    """Counted in rows that pass through its network, whoever calls it; a later fit has more languages, so to say."""
    read = []
    network = teacher.automm._learner._model
    counting = network.register_forward_pre_hook(lambda module, inputs: read.append(len(inputs[0])))
    half = TrainValidation(FRAME[:40], FOLD.validation)
    for name, fold, seed in (("one", half, 1), ("another", half, 2), ("larger", FOLD, 1)):
        automm.fit(
            tmp_path / name,
            fold,
            RTE,
            parameters(checkpoints, "student", max_epochs=2),
            seed=seed,
            time_limit=None,
            teacher=with_outputs(teacher, fold, tmp_path),
            recipe=automm.distillation_spec(make_settings(), RTE),
            verbosity="quiet",
        )
    counting.remove()
    assert sum(read) == len(FOLD.train.drop_duplicates(["sentence1", "sentence2"]))


def test_checkpoints_of_a_fit_hold_the_students_weights_and_nothing_else(teacher, checkpoints, tmp_path, monkeypatch):
    """While it trains, that is: AutoGluon's distiller keeps the whole teacher in each of them."""
    seen = {}

    def look(self, *args, **kwargs):
        for path in (tmp_path / "student").glob("*.ckpt"):
            seen[path.name] = torch.load(path, weights_only=False)
        return top_k_average(self, *args, **kwargs)

    top_k_average = Learner.top_k_average
    monkeypatch.setattr(Learner, "top_k_average", look)
    distil(teacher, checkpoints, tmp_path)
    assert "last.ckpt" in seen
    assert len(seen) > 1
    for checkpoint in seen.values():
        assert {name.partition(".")[0] for name in checkpoint["state_dict"]} == {"model", "adaptor"}
        assert "optimizer_states" not in checkpoint


def test_curves_show_the_mean_over_the_passes_of_each_optimizer_step(teacher, checkpoints, tmp_path):
    training_info = distil(teacher, checkpoints, tmp_path, batch_size=32, per_gpu_batch_size=8)
    events = EventAccumulator(str(tmp_path / "student"))
    events.Reload()
    for term, row in training_info["terms"].items():
        steps = [event.value for event in events.Scalars(f"loss/{term}")]
        assert len(steps) == 2
        assert np.mean(steps) == pytest.approx(row["first_epoch"], rel=1e-5), "64 rows in 8 passes of 8"


def test_compiled_student_is_saved_and_loaded_as_ever(teacher, checkpoints, tmp_path, monkeypatch):
    """With the compiler's front end only, which needs neither a GPU nor minutes."""
    used = []
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **kwargs: used.append(kwargs) or compile_module(self, backend="eager", **kwargs),
    )
    distil(teacher, checkpoints, tmp_path / "compiled", compiled=True)
    assert used == [{"dynamic": True}]
    distil(teacher, checkpoints, tmp_path / "plain")
    made = [automm.load(tmp_path / kind / "student", RTE, verbosity="quiet") for kind in ("compiled", "plain")]
    assert made[0].predict(FRAME[:8]) == pytest.approx(made[1].predict(FRAME[:8]), abs=1e-4)


def test_loading_processes_change_nothing(teacher, checkpoints, tmp_path):
    for workers in (0, 2):
        distil(teacher, checkpoints, tmp_path / str(workers), num_workers=workers)
    made = [automm.load(tmp_path / kind / "student", RTE, verbosity="quiet") for kind in "02"]
    assert np.array_equal(made[0].predict(FRAME[:8]), made[1].predict(FRAME[:8]))


def test_outputs_that_lack_a_row_are_refused_before_the_fit(teacher, checkpoints, tmp_path):
    taught = with_outputs(teacher, TrainValidation(FOLD.train[1:], FOLD.validation), tmp_path)
    with pytest.raises(TrainingError, match=r"outputs lack \d+ of 64 rows"):
        taught.lesson(FOLD.train)


def test_classes_in_another_order_are_refused(teacher, checkpoints, tmp_path):
    frame = FRAME.assign(label=FRAME["label"] + 1)
    with pytest.raises(UserError, match=r"teacher's classes \[0, 1\] are not the student's classes \[1, 2\]"):
        automm.fit(
            tmp_path / "student",
            TrainValidation(frame[:64], frame[64:96]),
            RTE,
            parameters(checkpoints, "student"),
            seed=1,
            time_limit=None,
            teacher=automm.Teacher(teacher),
            recipe=automm.distillation_spec(make_settings(), RTE),
        )


def test_fit_without_an_optimizer_step_is_an_error(checkpoints, tmp_path):
    # One second is over after the first of 16 passes that make a step.
    slow = parameters(checkpoints, "teacher", batch_size=64, per_gpu_batch_size=4, teacher_max_epochs=1)
    frame = pd.concat([FRAME] * 8, ignore_index=True)
    with pytest.raises(TrainingError, match=r"--time_limit 0\.001: over before the first optimizer step"):
        automm.fit(
            tmp_path / "t", TrainValidation(frame, FRAME[:8]), RTE, slow, seed=1, time_limit=0.001, verbosity="quiet"
        )


def test_diverged_fit_is_an_error(checkpoints, tmp_path):
    wild = parameters(checkpoints, "teacher", teacher_learning_rate=1e30)
    with pytest.raises(TrainingError, match="weights are not finite"):
        automm.fit(tmp_path / "t", FOLD, RTE, wild, seed=1, time_limit=None, verbosity="quiet")


def test_several_processes_train_on_their_share_of_the_rows_and_report_back(
    teacher, checkpoints, tmp_path, monkeypatch
):
    """As with several GPUs, where AutoGluon spawns a process for each: here two on the CPU."""
    monkeypatch.setattr(
        base.pl,
        "Trainer",
        lambda **wanted: Trainer(**wanted | ({"devices": 2, "strategy": DDP} if "max_steps" in wanted else {})),
    )
    training_info = automm.fit(
        tmp_path / "student",
        FOLD,
        RTE,
        parameters(checkpoints, "student", batch_size=8, per_gpu_batch_size=8),
        seed=1,
        time_limit=None,
        teacher=with_outputs(teacher, FOLD, tmp_path),
        recipe=automm.distillation_spec(make_settings(), RTE),
        verbosity="quiet",
    )
    assert (training_info["optimizer_steps"], training_info["epochs"]) == (4, 1), "64 rows, 8 in each of two processes"
    assert sum(term["feature_share"] for term in training_info["terms"].values()) == pytest.approx(1)
    assert not (tmp_path / "student" / "progress.json").exists()
    assert np.isfinite(automm.load(tmp_path / "student", RTE, verbosity="quiet").predict(FRAME[:8])).all()


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_learning_rate_warms_up_and_then_only_falls(teacher, checkpoints, tmp_path, role):
    """The case in which AutoGluon's own schedule rises again: fewer batches an epoch (2) than a step takes (8)."""
    wanted = parameters(checkpoints, role, batch_size=256, max_epochs=20, teacher_max_epochs=20)
    training_info = automm.fit(
        tmp_path / "model",
        FOLD,
        RTE,
        wanted | {"optim.patience": 100, "optim.lr": 1e-5},
        seed=1,
        time_limit=None,
        teacher=automm.Teacher(teacher) if role == "student" else None,
        recipe=automm.distillation_spec(make_settings(), RTE),
        verbosity="quiet",
    )
    assert training_info["optimizer_steps"] == 20, "one per epoch"
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
