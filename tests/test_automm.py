"""Fits, predictions and distillation through AutoGluon's door, with tiny models on a CPU."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from autogluon.multimodal.learners.base import BaseLearner
from lightning.pytorch.accelerators import CPUAccelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from automm_distill import automm
from automm_distill.automm import Teacher, forward, lightning_modules
from automm_distill.automm.learner import Learner
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.devices import Device
from automm_distill.errors import TrainingError, UserError
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.losses import HIDDEN_STATES, DistillationLoss
from automm_distill.settings import LOSS_WEIGHTS
from automm_distill.tasks import GLUE_TASKS

from .fits import CPU, FRAME, LABELS, RTE, cached, distill, load, make_options, rows_of

ROWS = rows_of("rte")
BF16_CPU = Device(num_gpus=0, precision="bf16", name="CPU", threads=2)


@pytest.fixture(scope="module")
def teacher(teachers):
    return load(teachers / "rte")


def saved_weights(folder):
    return torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(one, other, tolerance):
    weights = saved_weights(one), saved_weights(other)
    assert weights[0].keys() == weights[1].keys()
    for layer, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][layer], atol=tolerance, rtol=0), layer


def read_events(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


# --- Options -------------------------------------------------------------------------------------------------------


def test_roles_differ_in_checkpoint_epochs_and_losses_only(checkpoints):
    baseline, student, teacher = (
        make_options(checkpoints, role, max_epochs=3, teacher_max_epochs=7)
        for role in ("baseline", "student", "teacher")
    )
    added = student.hyperparameters.keys() - baseline.hyperparameters.keys()
    assert added
    assert all(name.startswith("distiller.") for name in added)
    assert baseline == replace(
        student,
        role="baseline",
        losses=None,
        hyperparameters={k: v for k, v in student.hyperparameters.items() if k not in added},
    )
    different = {k for k, value in baseline.hyperparameters.items() if teacher.hyperparameters[k] != value}
    assert different == {"model.hf_text.checkpoint_name", "optim.max_epochs"}
    assert replace(teacher, role="baseline", hyperparameters={}) == replace(baseline, hyperparameters={})


def test_a_loss_weight_reaches_its_loss(teacher, checkpoints, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        lightning_modules, "DistillationLoss", lambda spec, *rest: seen.append(spec) or DistillationLoss(spec, *rest)
    )
    weights = {name: 0.125 * number for number, name in enumerate(LOSS_WEIGHTS, start=1)}
    summary = distill(teacher, checkpoints, tmp_path, **weights)["loss_terms"]
    (spec,) = seen
    assert spec.weights == {LOSS_WEIGHTS[name]: weight for name, weight in weights.items()}
    assert {term: row["weight"] for term, row in summary.items()} == spec.weights


# --- Distillation --------------------------------------------------------------------------------------------------

AUTOGLUONS = [name for name, term in LOSS_WEIGHTS.items() if term != HIDDEN_STATES]
EACH_ALONE = [("rte", (weight,)) for weight in LOSS_WEIGHTS]
ALL_TOGETHER = [(name, tuple(LOSS_WEIGHTS)) for name in LABELS]


@pytest.mark.parametrize(("name", "weights"), EACH_ALONE + ALL_TOGETHER)
def test_each_loss_alone_and_all_together_train_without_nan(teachers, checkpoints, tmp_path, name, weights):
    """With the cosine form of the feature loss; of 64 rows in batches of 21, the last one is a batch of its own."""
    options = make_options(
        checkpoints,
        "student",
        glue_task=name,
        batch_size=21,
        per_gpu_batch_size=21,
        output_feature_loss_type="cosine_distance",
        **{weight: float(weight in weights) for weight in LOSS_WEIGHTS},
    )
    rows = rows_of(name)
    targets = cached(load(teachers / name, name), rows, tmp_path)
    terms = automm.fit(tmp_path / "student", rows, GLUE_TASKS[name], options, targets)["loss_terms"]
    assert set(terms) == {LOSS_WEIGHTS[weight] for weight in weights}
    assert all(np.isfinite(list(term.values())).all() for term in terms.values())
    assert sum(term["feature_share"] for term in terms.values()) == pytest.approx(1)
    assert all(term["feature_share"] > 0 for term in terms.values())
    assert {name for name in terms if terms[name]["logits_share"] > 0} == {"hard_label", "soft_label"} & set(terms)
    kinds = ("loss", "logits_share", "feature_share")
    logged = read_events(tmp_path / "student").Tags()["scalars"]
    assert {f"{kind}/{term}" for kind in kinds for term in terms} <= set(logged)
    assert np.isfinite(load(tmp_path / "student", name).predict(FRAME[:8])).all()


@pytest.mark.parametrize("name", LABELS)
def test_kept_outputs_give_the_teachers_predictions(teachers, tmp_path, name):
    predictor, rows = load(teachers / name, name), rows_of(name)
    for targets in (cached(predictor, rows, tmp_path), Teacher(predictor)):
        assert targets.predict(rows.train[::-3]) == pytest.approx(predictor.predict(rows.train[::-3]), abs=1e-5)


def test_distillation_leaves_the_teacher_unchanged_and_saves_the_student_only(teacher, checkpoints, tmp_path):
    before = teacher.predict(FRAME[96:128])
    training_info = distill(teacher, checkpoints, tmp_path)
    assert (training_info["optimizer_steps"], training_info["epochs"]) == (2, 1)
    assert list(training_info["loss_terms"]) == ["hard_label", "soft_label", "output_feature"]
    assert np.array_equal(teacher.predict(FRAME[96:128]), before)
    student = load(tmp_path / "student")
    for model in (teacher, student):
        (processor,) = model.automm._learner._data_processors["text"]
        assert processor.requires_column_info is False
        assert model.automm._learner._config.model.names == ["hf_text"]
    assert all(name.startswith("model.") for name in saved_weights(tmp_path / "student"))
    assert student.predict(FRAME[:5]).shape == (5, 2)


def test_checkpoints_during_a_fit_hold_student_and_adaptor_only(teacher, checkpoints, tmp_path, monkeypatch):
    """AutoGluon's distiller keeps the whole teacher in each of them, and Lightning what a constructor was given."""
    seen = {}
    top_k_average = Learner.top_k_average

    def read_first(self, *args, **kwargs):
        for path in (tmp_path / "student").glob("*.ckpt"):
            seen[path.name] = torch.load(path, weights_only=False)
        return top_k_average(self, *args, **kwargs)

    monkeypatch.setattr(Learner, "top_k_average", read_first)
    distill(teacher, checkpoints, tmp_path)
    assert "last.ckpt" in seen
    assert len(seen) > 1
    for checkpoint in seen.values():
        assert {name.partition(".")[0] for name in checkpoint["state_dict"]} == {"model", "adaptor"}
        assert "optimizer_states" not in checkpoint
        saved = checkpoint["hyper_parameters"]
        assert saved["lr"] == 1e-4
        assert {type(value) for value in saved.values()} <= {str, int, float, bool, type(None)}


@pytest.mark.parametrize(("name", "grouping"), [("rte", True), ("mnli", True), ("stsb", False)])
def test_student_of_cached_outputs_equals_the_student_of_the_running_teacher(
    teachers, checkpoints, tmp_path, name, grouping
):
    vocabularies = [(checkpoints / role / "tokenizer.json").read_text() for role in ("teacher", "student")]
    assert vocabularies[0] != vocabularies[1]
    rows = rows_of(name)
    predictor = load(teachers / name, name)
    options = make_options(
        checkpoints,
        "student",
        glue_task=name,
        batch_size=16,
        per_gpu_batch_size=8,
        length_grouping=grouping,
        **dict.fromkeys(AUTOGLUONS, 1.0),  # hidden states are of other tokens online
    )
    for kind, targets in (("cached", cached(predictor, rows, tmp_path)), ("online", Teacher(predictor))):
        automm.fit(tmp_path / kind, rows, GLUE_TASKS[name], options, targets)
    assert_same_weights(tmp_path / "cached", tmp_path / "online", 1e-5)


@pytest.mark.parametrize("name", ["rte", "stsb"])
def test_student_of_the_hard_labels_alone_equals_the_baseline(teachers, checkpoints, tmp_path, name):
    """Distillation is the only difference between the two: without any there is none."""
    hard_labels_alone = dict.fromkeys(LOSS_WEIGHTS, 0.0) | {"hard_label_weight": 1.0}
    rows, predictor = rows_of(name), load(teachers / name, name)
    for role, targets in (("baseline", None), ("student", cached(predictor, rows, tmp_path))):
        options = make_options(
            checkpoints, role, glue_task=name, batch_size=16, per_gpu_batch_size=8, max_epochs=2, **hard_labels_alone
        )
        automm.fit(tmp_path / role, rows, GLUE_TASKS[name], options, targets)
    assert_same_weights(tmp_path / "baseline", tmp_path / "student", 1e-6)


def test_teacher_with_another_label_scale_is_mapped(teachers, checkpoints, tmp_path, monkeypatch):
    """The student learns from the upper half of the scale only; its standardised labels are not the teacher's."""
    seen = []
    monkeypatch.setattr(
        lightning_modules, "DistillationLoss", lambda *arguments: seen.append(arguments) or DistillationLoss(*arguments)
    )
    whole = rows_of("stsb")
    half = TrainValidation(whole.train[whole.train["label"] >= 2.5], whole.validation)
    options = make_options(checkpoints, "student", glue_task="stsb")
    automm.fit(tmp_path / "student", half, GLUE_TASKS["stsb"], options, Teacher(load(teachers / "stsb", "stsb")))
    ((_, _, _, map_logits, _),) = seen
    points = whole.train["label"].to_numpy()[:5]
    standardised = (points - whole.train["label"].mean()) / whole.train["label"].std(ddof=0)
    expected = (points - half.train["label"].mean()) / half.train["label"].std(ddof=0)
    assert map_logits(torch.from_numpy(standardised)).numpy() == pytest.approx(expected)


def test_teacher_reads_each_row_once_over_several_fits(teacher, checkpoints, tmp_path):
    """Counted where rows enter its network; the last fit has more rows than the others."""
    read = []
    network = teacher.automm._learner._model
    counting = network.register_forward_pre_hook(lambda module, inputs: read.append(len(inputs[0])))
    half = TrainValidation(FRAME[:40], ROWS.validation)
    for name, rows, seed in (("one", half, 1), ("another", half, 2), ("larger", ROWS, 1)):
        options = make_options(checkpoints, "student", max_epochs=2, seed=seed)
        automm.fit(tmp_path / name, rows, RTE, options, cached(teacher, rows, tmp_path))
    counting.remove()
    assert sum(read) == len(ROWS.train.drop_duplicates(["sentence1", "sentence2"]))


def test_missing_outputs_are_refused_before_the_fit(teacher, tmp_path):
    targets = cached(teacher, TrainValidation(ROWS.train[1:], ROWS.validation), tmp_path)
    with pytest.raises(TrainingError, match=r"outputs lack \d+ of 64 rows"):
        targets.targets_for(ROWS.train)


def test_other_classes_are_refused(teacher, checkpoints, tmp_path):
    frame = FRAME.assign(label=FRAME["label"] + 1)
    rows = TrainValidation(frame[:64], frame[64:96])
    with pytest.raises(UserError, match=r"teacher's classes \[0, 1\] are not the student's classes \[1, 2\]"):
        automm.fit(tmp_path / "student", rows, RTE, make_options(checkpoints, "student"), Teacher(teacher))


# --- Rows and predictions ------------------------------------------------------------------------------------------


def test_outputs_keep_no_hidden_states(teacher):
    """A pooled feature is a view of all tokens' hidden states; kept, it would keep them (models/hf_text.py:241)."""
    logits, features = teacher.outputs(FRAME[:40])
    assert (logits.shape, features.shape) == ((40, 2), (40, 32))
    assert logits.base is None
    assert features.base is None


def test_forward_passes_run_the_network_that_predict_runs(teacher, monkeypatch):
    outputs = []
    run_model = forward.run_model
    monkeypatch.setattr(
        forward, "run_model", lambda model, batch: outputs.append(run_model(model, batch)) or outputs[-1]
    )
    teacher.forward_passes(FRAME[:20], batch_size=8)()
    logits = [next(iter(output.values()))["logits"].numpy() for output in outputs]
    assert [len(batch) for batch in logits] == [8, 8, 4]
    odds = np.exp(np.concatenate(logits))
    longest_first = np.argsort(-teacher.token_counts(FRAME[:20]), kind="stable")
    expected = teacher.predict(FRAME[:20])[longest_first]
    assert odds / odds.sum(axis=1, keepdims=True) == pytest.approx(expected, abs=1e-5)


def test_premise_comes_before_hypothesis_in_the_token_sequence(teacher):
    rows = teacher._rows(pd.DataFrame({"sentence2": ["the nurse"], "sentence1": ["the pilot"]}))
    tokens = rows.processor.tokenizer.convert_ids_to_tokens(rows.batch([0])[rows.processor.text_token_ids_key][0])
    assert tokens[:7] == ["[CLS]", "the", "pilot", "[SEP]", "the", "nurse", "[SEP]"]


@pytest.mark.parametrize("name", LABELS)
def test_predict_equals_autogluons_predict(teachers, name):
    model = load(teachers / name, name)
    frame = pd.concat([FRAME[96:128], FRAME[96:97].assign(sentence1="the nurse " * 50)], ignore_index=True)
    predict = model.automm.predict if name == "stsb" else model.automm.predict_proba
    expected = predict(frame[["sentence1", "sentence2"]], as_pandas=False)
    assert model.predict(frame) == pytest.approx(expected, abs=1e-5)


def test_augmentation_changes_a_row_at_each_reading_but_never_the_targets(teacher, tmp_path):
    """With an augmenter whose texts are known; tests/test_augmentation.py has the real one."""
    clean = teacher._rows(ROWS.train)
    learner = load(Path(teacher.automm.path)).automm._learner
    (processor,) = learner._data_processors["text"]
    texts = itertools.cycle(["the pilot", "the nurse the pilot"])
    processor.train_augmenter, processor.text_detection_length = (lambda text: next(texts)), 0
    rows = Rows(processor, learner._df_preprocessor, ROWS.train, augmented=True)
    key, width = processor.text_token_ids_key, len("[CLS] the pilot [SEP] the nurse the pilot [SEP]".split())
    assert rows.batch([0, 1])[key].shape == (2, width)
    assert not torch.equal(rows.batch([0])[key][0], clean.batch([0])[key][0][:width])
    assert np.array_equal(rows.lengths, clean.lengths), "batches are grouped by the lengths of the original rows"
    for source in (Teacher(teacher), cached(teacher, ROWS, tmp_path)):
        targets = source.targets_for(ROWS.train)
        logits = targets.batch_targets(targets.batch([0, 1])).logits
        assert logits.numpy() == pytest.approx(teacher.outputs(ROWS.train[:2])[0], abs=1e-5)


# --- Training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_learning_rate_warms_up_and_then_only_falls(teacher, checkpoints, tmp_path, role):
    """The case in which AutoGluon's own schedule rises again: fewer batches an epoch (2) than a step takes (8)."""
    options = make_options(
        checkpoints,
        role,
        batch_size=256,
        max_epochs=20,
        teacher_max_epochs=20,
        hyperparameters={"optim.patience": 100, "optim.lr": 1e-5},
    )
    targets = Teacher(teacher) if role == "student" else None
    training_info = automm.fit(tmp_path / "model", ROWS, RTE, options, targets)
    assert training_info["optimizer_steps"] == 20, "one per epoch"
    events = read_events(tmp_path / "model")
    groups = [
        [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"] if tag.startswith("lr-")
    ]
    rates = [rate for rate, _ in itertools.groupby(max(groups, key=max))]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1e-5)
    assert rates.index(max(rates)) == 2, "10 % of 20 steps"
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(1e-5 * 0.5 * (1 + np.cos(np.pi * 17 / 18)), rel=1e-4), "the cosine's last step"


def test_curves_show_the_mean_over_the_passes_of_each_optimizer_step(teacher, checkpoints, tmp_path):
    training_info = distill(teacher, checkpoints, tmp_path, batch_size=32, per_gpu_batch_size=8)
    events = read_events(tmp_path / "student")
    for term, row in training_info["loss_terms"].items():
        steps = [event.value for event in events.Scalars(f"loss/{term}")]
        assert len(steps) == 2
        assert np.mean(steps) == pytest.approx(row["first_epoch"], rel=1e-5), "64 rows in 8 passes of 8"


def test_compiled_student_is_saved_and_loaded_like_any_other(teacher, checkpoints, tmp_path, monkeypatch):
    """With the compiler's front end only, which needs neither a GPU nor minutes."""
    calls = []
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **kwargs: calls.append(kwargs) or compile_module(self, backend="eager", **kwargs),
    )
    for kind in ("compiled", "plain"):
        options = replace(make_options(checkpoints, "student"), compile=kind == "compiled")
        automm.fit(tmp_path / kind, ROWS, RTE, options, cached(teacher, ROWS, tmp_path))
    assert calls == [{"dynamic": True}]
    compiled, plain = (load(tmp_path / kind).predict(FRAME[:8]) for kind in ("compiled", "plain"))
    assert compiled == pytest.approx(plain, abs=1e-4)


def test_loading_processes_change_nothing(teacher, checkpoints, tmp_path):
    for workers in (0, 2):
        distill(teacher, checkpoints, tmp_path / str(workers), num_workers=workers)
    none, two = (load(tmp_path / workers / "student").predict(FRAME[:8]) for workers in "02")
    assert np.array_equal(none, two)


def test_fit_without_an_optimizer_step_is_an_error(checkpoints, tmp_path):
    """The time is over after the first of 16 passes that make a step."""
    options = make_options(checkpoints, "teacher", batch_size=64, per_gpu_batch_size=4)
    rows = TrainValidation(pd.concat([FRAME] * 8, ignore_index=True), FRAME[:8])
    with pytest.raises(TrainingError, match=r"--time_limit 0\.001: over before the first optimizer step"):
        automm.fit(tmp_path / "t", rows, RTE, replace(options, time_limit=0.001))


def test_diverged_fit_is_an_error(checkpoints, tmp_path):
    options = make_options(checkpoints, "teacher", teacher_learning_rate=1e30)
    with pytest.raises(TrainingError, match="weights are not finite"):
        automm.fit(tmp_path / "t", ROWS, RTE, options)


# --- Mixed precision -----------------------------------------------------------------------------------------------


def test_bf16_fit_on_a_cpu_predicts_in_single_precision(checkpoints, tmp_path):
    """As AutoGluon predicts there (utils/precision.py, infer_precision)."""
    for name, device in (("bf16", BF16_CPU), ("32", CPU)):
        automm.fit(tmp_path / name, ROWS, RTE, make_options(checkpoints, "teacher", device=device))
    mixed, single = load(tmp_path / "bf16"), load(tmp_path / "32")
    assert {weight.dtype for weight in saved_weights(tmp_path / "bf16").values()} == {torch.float32}
    difference = np.abs(mixed.outputs(FRAME)[0] - single.outputs(FRAME)[0]).max()
    assert 0 < difference < 0.05, "other weights, but much the same"
    assert mixed.automm._learner._config.env.precision == 32
    assert mixed.predict(FRAME) == pytest.approx(mixed.automm.predict_proba(FRAME, as_pandas=False), abs=1e-6)


def test_bf16_forward_pass_is_close_to_single_precision(teachers):
    model = load(teachers / "rte")
    for mixed, single in zip(model.outputs(FRAME[:40], "bf16"), model.outputs(FRAME[:40]), strict=True):
        assert mixed.dtype == np.float32
        assert not np.array_equal(mixed, single)
        assert mixed == pytest.approx(single, abs=0.05)


@pytest.mark.parametrize("online", [False, True])
def test_student_trains_in_mixed_precision(teacher, checkpoints, tmp_path, online):
    """The autocast fit of a CPU with bf16, much like that of a GPU."""
    loss_terms = {}
    for name, device in (("single", CPU), ("mixed", BF16_CPU)):
        options = make_options(checkpoints, "student", device=device, **dict.fromkeys(AUTOGLUONS, 1.0))
        targets = Teacher(teacher) if online else cached(teacher, ROWS, tmp_path)
        loss_terms[name] = automm.fit(tmp_path / name, ROWS, RTE, options, targets)["loss_terms"]
    for term, row in loss_terms["single"].items():
        mixed = loss_terms["mixed"][term]
        assert mixed["first_epoch"] != row["first_epoch"]
        assert mixed["first_epoch"] == pytest.approx(row["first_epoch"], rel=0.05, abs=1e-3)
        assert mixed["feature_share"] == pytest.approx(row["feature_share"], abs=0.05)
    assert {weight.dtype for weight in saved_weights(tmp_path / "mixed").values()} == {torch.float32}


# --- Several processes ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_the_student_that_one_process_trains(teacher, checkpoints, tmp_path, monkeypatch):
    """As on two GPUs, where AutoGluon spawns a process for each: here on a CPU that says it is two devices.

    Two processes of 8 rows take the same 16 rows for a step as one process in two passes, if rows are not grouped.
    """
    options = {
        "per_gpu_batch_size": 8,
        "length_grouping": False,
        "max_epochs": 2,
        "student_learning_rate": 1e-3,
        "output_feature_loss_weight": 1.0,
    }
    targets = cached(teacher, ROWS, tmp_path)
    one_process = make_options(checkpoints, "student", batch_size=16, **options)
    one = automm.fit(tmp_path / "one", ROWS, RTE, one_process, targets)
    with monkeypatch.context() as patch:
        patch.setattr(CPUAccelerator, "auto_device_count", staticmethod(lambda: 2))
        patch.setattr(BaseLearner, "get_strategy_per_run", staticmethod(lambda num_gpus, config: config.env.strategy))
        two_processes = make_options(checkpoints, "student", batch_size=8, **options)
        two = automm.fit(tmp_path / "two", ROWS, RTE, two_processes, targets)
    assert (two["optimizer_steps"], two["epochs"]) == (one["optimizer_steps"], one["epochs"]) == (8, 2)
    assert sum(term["feature_share"] for term in two["loss_terms"].values()) == pytest.approx(1)
    assert not (tmp_path / "two" / "progress.json").exists()
    predictions = [load(tmp_path / name).predict(FRAME[96:160]) for name in ("one", "two")]
    assert predictions[1] == pytest.approx(predictions[0], abs=1e-4)
    assert_same_weights(tmp_path / "one", tmp_path / "two", 1e-4)
