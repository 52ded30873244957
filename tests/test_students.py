"""What makes a student more than a small copy: the teacher's layers, its hidden states, rows without labels."""

import pickle
from dataclasses import replace

import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModel

from automm_distill import automm, hidden_layers, teacher_outputs
from automm_distill.automm import Teacher
from automm_distill.automm.hidden_states import HiddenStates, Projections
from automm_distill.errors import UserError
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.settings import LOSS_WEIGHTS
from automm_distill.tasks import GLUE_TASKS

from .conftest import TEACHER_LAYERS
from .fits import FRAME, LABELS, RTE, load, make_options, rows_of

ROWS = rows_of("rte")
HARD_ALONE = dict.fromkeys(LOSS_WEIGHTS, 0.0) | {"hard_label_weight": 1.0}
# Too small a rate to change a weight.
UNMOVED = {"student_learning_rate": 1e-30, "student_weight_decay": 0.0}


def weights(folder):
    return torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]


def of_teacher(checkpoints, name="rte", **settings):
    """Options of a student that has the teacher's network."""
    return from_checkpoint(checkpoints / "teacher", make_options(checkpoints, "student", glue_task=name, **settings))


def from_checkpoint(folder, options):
    """The same options for another checkpoint."""
    checkpoint = {"model.hf_text.checkpoint_name": str(folder)}
    return replace(options, hyperparameters={**options.hyperparameters, **checkpoint})


def copy_tokenizer(source, folder):
    """The folder, with the tokenizer of another checkpoint."""
    for file in source.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


# --- Hidden states -------------------------------------------------------------------------------------------------


def test_hidden_states_are_those_of_transformers(checkpoints):
    network = AutoModel.from_pretrained(checkpoints / "teacher").eval()
    tokens = torch.arange(5, 17).view(2, 6)
    watched = HiddenStates(network, [1, 0])
    copied, watched_copy = pickle.loads(pickle.dumps((network, watched)))  # as processes of several GPUs get them
    with torch.no_grad():
        copied(tokens)
        expected = network(tokens, output_hidden_states=True).hidden_states
    assert torch.equal(watched_copy.take()[1], expected[1])
    for states, layer in zip(watched.take(), (1, 0), strict=True):
        assert torch.equal(states, expected[layer + 1])
    watched.remove()
    network(tokens)
    with pytest.raises(KeyError):
        watched.take()


def test_each_layer_has_a_projection_of_its_own_if_any():
    states = torch.randn(3, 2, 4)
    assert torch.equal(Projections(2, 4, 4)(states), states)
    assert list(Projections(2, 4, 4).parameters()) == []
    wider = Projections(2, 4, 6)
    first, second = wider.layers
    expected = torch.stack([first(states[:, 0]), second(states[:, 1])], dim=1)
    assert torch.equal(wider(states), expected)


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        ("even", ((0, 1), (1, 3), (2, 5))),
        ("last", ((2, 5),)),
        ("2:0, 0:4", ((0, 4), (2, 0))),
        (" 0:1 2 : 3", ((0, 1), (2, 3))),  # as a grid has them, where a comma ends a value
    ],
)
def test_layers_are_paired(value, pairs):
    assert hidden_layers.resolve(hidden_layers.canonical_pairs(value), 3, 6) == pairs


def test_students_as_deep_as_the_teacher_or_deeper_are_paired_too():
    assert hidden_layers.resolve("even", 2, 2) == ((0, 0), (1, 1))
    assert hidden_layers.resolve("even", 4, 6) == ((0, 1), (1, 2), (2, 4), (3, 5))
    assert hidden_layers.resolve("even", 4, 2) == ((0, 0), (1, 0), (2, 1), (3, 1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("first", "--hidden_states_layers first: needs even, last, or pairs of layers counted from 0, student:teacher"),
        ("0:1,0:2", "--hidden_states_layers 0:1,0:2: a layer of the student is there twice"),
        ("0:6", "--hidden_states_layers 0:6: the teacher has layers 0 to 5, and no layer 6"),
        ("3:0", "--hidden_states_layers 3:0: the student has layers 0 to 2, and no layer 3"),
    ],
)
def test_layers_that_cannot_be_paired_are_refused(value, message):
    with pytest.raises(UserError) as refused:
        hidden_layers.resolve(hidden_layers.canonical_pairs(value), 3, 6)
    assert str(refused.value).startswith(message)


def test_kept_states_are_those_of_the_first_tokens_online(teachers, checkpoints, tmp_path):
    """Of a student with the teacher's tokenizer, whose rows' other tokens are compared only online."""
    teacher, layers = load(teachers / "rte"), [1, 0]
    recipe = {"columns": RTE.model_columns, "precision": "32", "layers": layers}
    outputs = teacher_outputs.get_or_compute(
        tmp_path, recipe, ROWS.train, lambda frame: teacher.outputs(frame, layers=layers)
    )
    kept, online = (
        Teacher(teacher, source, compared_layers=layers).targets_for(ROWS.train) for source in (outputs, None)
    )
    chosen = [3, 60, 7]
    first, every = (targets.batch_targets(targets.batch(chosen)).states for targets in (kept, online))
    assert first.shape == (3, 2, 32)
    assert every.shape[:2] == (3, 2)
    assert first.numpy() == pytest.approx(every[:, :, 0].numpy(), abs=1e-5)
    assert not torch.allclose(first[:, 0], first[:, 1]), "layers have states of their own"


@pytest.mark.parametrize("online", [False, True])
def test_student_comes_to_its_teachers_states(teachers, checkpoints, tmp_path, online):
    """By nothing else, from a network of other weights and the same tokenizer."""
    teacher = load(teachers / "rte")
    alone = dict.fromkeys(LOSS_WEIGHTS, 0.0) | {"hidden_states_loss_weight": 1.0}
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(checkpoints / "teacher")).save_pretrained(tmp_path / "other")
    options = from_checkpoint(
        copy_tokenizer(checkpoints / "teacher", tmp_path / "other"),
        make_options(
            checkpoints,
            "student",
            max_epochs=6,
            student_learning_rate=2e-3,
            batch_size=16,
            per_gpu_batch_size=16,
            **alone,
        ),
    )
    pairs = tuple((layer, layer) for layer in range(TEACHER_LAYERS))
    options = replace(options, losses=replace(options.losses, hidden_layers=pairs))
    layers = [layer for _, layer in pairs]
    outputs = None
    if not online:
        recipe = {"columns": RTE.model_columns, "precision": "32", "layers": layers}
        outputs = teacher_outputs.get_or_compute(
            tmp_path / "outputs", recipe, ROWS.train, lambda frame: teacher.outputs(frame, layers=layers)
        )
    targets = Teacher(teacher, outputs, compared_layers=layers)
    (term,) = automm.fit(tmp_path / "student", ROWS, RTE, options, targets)["loss_terms"].values()
    assert term["last_epoch"] < 0.7 * term["first_epoch"]
    assert (term["logits_share"], term["feature_share"]) == (0, 1)


# --- The teacher's layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LABELS)
def test_student_begins_as_its_teacher_when_it_has_all_layers(teachers, checkpoints, tmp_path, name):
    """Its last layer too, for other classes' order and another scale of the labels: it learns from other rows."""
    teacher, rows = load(teachers / name, name), rows_of(name)
    if name == "stsb":
        rows = TrainValidation(rows.train[rows.train["label"] >= 2.5], rows.validation)
    targets = Teacher(teacher, layers=range(TEACHER_LAYERS))
    automm.fit(tmp_path / "student", rows, GLUE_TASKS[name], of_teacher(checkpoints, name, **UNMOVED), targets)
    student = load(tmp_path / "student", name)
    assert student.predict(FRAME[96:128]) == pytest.approx(teacher.predict(FRAME[96:128]), abs=1e-4)


def test_student_of_one_layer_has_that_layers_weights(teachers, checkpoints, tmp_path):
    teacher = load(teachers / "rte")
    AutoModel.from_pretrained(checkpoints / "teacher", num_hidden_layers=1).save_pretrained(tmp_path / "shallow")
    options = from_checkpoint(
        copy_tokenizer(checkpoints / "teacher", tmp_path / "shallow"), make_options(checkpoints, "student", **UNMOVED)
    )
    automm.fit(tmp_path / "student", ROWS, RTE, options, Teacher(teacher, layers=[1]))
    ours, theirs = weights(tmp_path / "student"), weights(teachers / "rte")
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name.replace(".layer.0.", ".layer.1.")]), name
    assert any(".layer.0." in name for name in ours)


# --- Rows without labels -------------------------------------------------------------------------------------------


def unlabelled_rows() -> pd.DataFrame:
    return FRAME[200:264].drop(columns="label").reset_index(drop=True)


def test_labels_of_unlabelled_rows_are_not_made_up(teachers, checkpoints, tmp_path):
    """A pass that has none but them teaches nothing; the others count so that the mean is that of the labelled rows."""
    teacher = load(teachers / "rte")
    options = make_options(checkpoints, "student", per_gpu_batch_size=1, batch_size=1, **UNMOVED, **HARD_ALONE)
    four = TrainValidation(FRAME[:4], ROWS.validation)
    means = [
        automm.fit(tmp_path / name, four, RTE, options, Teacher(teacher), rows)["loss_terms"]["hard_label"]
        for name, rows in (("alone", None), ("with", unlabelled_rows()))
    ]
    assert means[1]["first_epoch"] == pytest.approx(means[0]["first_epoch"], rel=1e-4)


def test_unlabelled_rows_are_learnt_from(teachers, checkpoints, tmp_path):
    teacher = load(teachers / "rte")
    soft_alone = dict.fromkeys(LOSS_WEIGHTS, 0.0) | {"soft_label_weight": 1.0}
    options = make_options(checkpoints, "student", per_gpu_batch_size=16, batch_size=16, max_epochs=2, **soft_alone)
    progress = {
        name: automm.fit(tmp_path / name, ROWS, RTE, options, Teacher(teacher), rows)
        for name, rows in (("without", None), ("with", unlabelled_rows()))
    }
    assert {name: each["optimizer_steps"] for name, each in progress.items()} == {"without": 8, "with": 16}


def test_baseline_takes_as_many_steps_as_a_student_with_more_rows(checkpoints, tmp_path):
    options = make_options(checkpoints, "baseline", per_gpu_batch_size=16, batch_size=16, max_epochs=2)
    longer = replace(options, rows_per_epoch=128)
    assert automm.fit(tmp_path / "baseline", ROWS, RTE, longer)["optimizer_steps"] == 16
    assert longer.training_key == options.training_key | {"rows_per_epoch": 128}
