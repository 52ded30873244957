"""The private parts of AutoGluon 1.6.3 that automm_distill/automm relies on: a failure means to read it again."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import torch
from autogluon.multimodal import MultiModalPredictor, version
from autogluon.multimodal.data.datamodule import BaseDataModule
from autogluon.multimodal.data.utils import default_holdout_frac, split_train_tuning_data
from autogluon.multimodal.learners import base
from autogluon.multimodal.learners.base import BaseLearner
from autogluon.multimodal.optim.lit_module import LitModule
from lightning.pytorch.callbacks import ProgressBar
from omegaconf import OmegaConf

from automm_distill import automm
from automm_distill.automm.learner import Learner
from automm_distill.automm.progress import FitProgress
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.inputs.rows.splits import hold_out
from automm_distill.tasks import GLUE_TASKS

from .fits import FRAME, RTE, distill, make_options, rows_of


@pytest.fixture(scope="module")
def folder(checkpoints, tmp_path_factory):
    """A fitted teacher."""
    folder = tmp_path_factory.mktemp("fit") / "teacher"
    automm.fit(folder, rows_of("rte"), RTE, make_options(checkpoints, "teacher"))
    return folder


@pytest.fixture
def trainers(monkeypatch):
    """The arguments of each Lightning trainer that AutoGluon creates, which is created all the same."""
    arguments = []
    trainer = base.pl.Trainer
    monkeypatch.setattr(base.pl, "Trainer", lambda **kwargs: arguments.append(kwargs) or trainer(**kwargs))
    return arguments


def parameters(function):
    return set(inspect.signature(function).parameters) - {"self"}


def test_this_is_the_version_that_was_read():
    assert version.__version__ == "1.6.3"


def test_overridden_methods_take_the_same_arguments():
    for name in ("get_datamodule_per_run", "get_litmodule_per_run"):
        assert parameters(getattr(Learner, name)) == parameters(getattr(BaseLearner, name)), name
    for name in ("setup_distillation", "get_callbacks_per_run", "run_trainer", "top_k_average", "evaluate"):
        assert name in vars(Learner)
        assert callable(getattr(BaseLearner, name)), name
    assert {"trainer", "litmodule", "is_train"} <= parameters(BaseLearner.run_trainer)
    assert {"options", "progress_file", "targets", "teacher_head", "logit_mapping"}.isdisjoint(
        parameters(LitModule.__init__)
    ), "else ours would not reach us"


def test_fit_calls_what_the_learner_overrides(checkpoints, tmp_path, folder, monkeypatch):
    called = []
    overridden = ("setup_distillation", "get_datamodule_per_run", "get_litmodule_per_run", "get_callbacks_per_run")

    def record_calls(name):
        method = getattr(Learner, name)

        def record(self, *args, **kwargs):
            called.append(name)
            return method(self, *args, **kwargs)

        return record

    for name in (*overridden, "run_trainer", "top_k_average", "evaluate"):
        monkeypatch.setattr(Learner, name, record_calls(name))
    distill(automm.load(folder, RTE, verbosity="quiet"), checkpoints, tmp_path)
    assert list(dict.fromkeys(called)) == [*overridden, "run_trainer", "top_k_average", "evaluate"], "in this order"


def test_lines_that_the_learner_works_around():
    soup = inspect.getsource(BaseLearner.top_k_average)
    assert "if self._teacher_learner is not None:" in soup
    assert soup.count("self.evaluate(self._tuning_data") == 2, "of the best checkpoint, and of each average"
    assert "teacher_predictor._learner" in inspect.getsource(MultiModalPredictor.fit)
    assert 'accelerator="gpu" if num_gpus > 0 else config.env.accelerator' in inspect.getsource(base)


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_averages_of_checkpoints_are_scored_once_each_and_as_autogluon_would(checkpoints, tmp_path, monkeypatch, task):
    """Of the best checkpoint the score is known; of an average AutoGluon's own number is that of its own metric."""
    scores = []
    evaluate = Learner.evaluate

    def record(self, data, metrics):
        known = self._best_score
        score = evaluate(self, data, metrics=metrics)
        scores.append((known is not None, score, BaseLearner.evaluate(as_autogluon_has_it(self), data, metrics)))
        return score

    monkeypatch.setattr(Learner, "evaluate", record)
    options = make_options(checkpoints, "baseline", glue_task=task, max_epochs=3, student_learning_rate=1e-2)
    automm.fit(tmp_path / "model", rows_of(task), GLUE_TASKS[task], options)
    assert [known for known, *_ in scores] == [True, False, False]
    for _, ours, autogluons in scores:
        assert list(ours) == list(autogluons)
        assert ours == pytest.approx(autogluons, abs=1e-5)


def as_autogluon_has_it(learner):
    """The same learner, with the methods for predictions that ours has no use for."""
    other = object.__new__(BaseLearner)
    other.__dict__ = learner.__dict__ | {"_enable_progress_bar": False}
    return other


# --- Progress bars -------------------------------------------------------------------------------------------------


def test_progress_bar_is_an_attribute_of_the_learner():
    for wanted in (True, False):
        predictor = MultiModalPredictor(label="label", problem_type="binary", enable_progress_bar=wanted)
        assert vars(predictor._learner)["_enable_progress_bar"] is wanted


def test_predictor_shows_no_bar_of_lightnings(folder, trainers):
    automm.load(folder, RTE, verbosity="normal").automm.predict(FRAME[["sentence1", "sentence2"]], realtime=False)
    assert [arguments["enable_progress_bar"] for arguments in trainers] == [False]


def test_fit_shows_our_bar_alone(checkpoints, tmp_path, capfd, trainers):
    options = make_options(checkpoints, "teacher", verbosity="normal", teacher_max_epochs=2)
    automm.fit(tmp_path / "model", rows_of("rte"), RTE, options)
    assert not re.search(r"Epoch \d+/\d+ |Predicting", "".join(capfd.readouterr()))
    (training,) = trainers
    assert training["enable_progress_bar"] is True, "with False Lightning refuses a bar among the callbacks"
    assert [type(each) for each in training["callbacks"] if isinstance(each, ProgressBar)] == [FitProgress]


# --- Sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 50, 101])
def test_predict_as_users_call_it_sets_up_a_trainer_however_many_rows_it_gets(folder, trainers, rows):
    """So that the end-to-end speed-up means the same for few rows and for many."""
    model = automm.load(folder, RTE, verbosity="quiet")
    model.call_predict(FRAME[:rows])
    assert len(trainers) == 1


def test_predict_on_several_gpus_is_known_to_start_processes(folder):
    model = automm.load(folder, RTE, verbosity="quiet")
    assert not model.predict_starts_processes
    model.automm._learner._config.env.num_gpus = 2
    assert model.predict_starts_processes


@pytest.mark.parametrize(
    ("batch_size", "per_gpu_batch_size", "num_gpus", "passes"),
    [(128, 32, 0, 4), (128, 32, 1, 4), (128, 32, 2, 2), (100, 32, 0, 3), (128, 32, 3, 1), (16, 32, 0, 1)],
)
def test_accumulated_passes_are_rounded_down(batch_size, per_gpu_batch_size, num_gpus, passes):
    """Why --batch_size has to be a multiple: of 100 rows in batches of 32, AutoGluon makes steps of 96."""
    config = OmegaConf.create(
        {"env": {"batch_size": batch_size, "per_gpu_batch_size": per_gpu_batch_size, "num_nodes": 1}}
    )
    assert BaseLearner.get_grad_steps(num_gpus=num_gpus, config=config) == passes


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_hold_out_has_as_many_rows_as_autogluons(task):
    """Up to the direction of rounding."""
    problem_type = GLUE_TASKS[task].problem_type
    for rows in (20, 50, 277, 999, 2490, 2501, 3668, 4999, 5000, 5749, 8551, 24999, 25001, 67349, 249999, 260000):
        frame = pd.DataFrame({"id": "1", "sentence1": "a", "label": np.arange(rows) % 5})
        frame["label"] = frame["label"].astype(float) if task == "stsb" else frame["label"] % 2
        validation = hold_out(frame, GLUE_TASKS[task], seed=1).validation
        _, expected = split_train_tuning_data(frame, problem_type=problem_type, label_column="label")
        assert abs(len(validation) - len(expected)) <= 1, rows
        assert len(validation) == pytest.approx(rows * default_holdout_frac(rows), abs=0.5), rows


# --- Rows ----------------------------------------------------------------------------------------------------------


def test_rows_equal_those_of_autogluons_loader(folder):
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
    learner = automm.load(folder, RTE, verbosity="quiet").automm._learner
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
