"""A fitted ``MultiModalPredictor``, and what an experiment asks of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.utils.precision import get_precision_context

from ..tasks import Task
from .configuration import LABEL, VERBOSITY


class Predictor:
    """A fitted ``MultiModalPredictor`` with the few things that an experiment asks of it.

    Predictions depend on nothing but the fitted model, the rows, and the device and precision it was fitted with.
    """

    def __init__(self, automm: Any, task: Task, verbosity: str):
        self.automm = automm
        self.task = task
        # learners/base.py:280: load() offers no way to say that no progress bar is wanted.
        automm._learner._enable_progress_bar = verbosity != "quiet"

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.automm._learner._model.parameters())

    @property
    def bytes(self) -> int:
        """Size of the weights on disk."""
        return (Path(self.automm.path) / "model.ckpt").stat().st_size

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Class probabilities of shape (rows, classes) in the order of the task's labels; for a regression (rows,)."""
        texts = frame[list(self.task.model_columns)]
        if self.task.is_regression:
            return np.asarray(self.automm.predict(texts, as_pandas=False), dtype=np.float64)
        return np.asarray(self.automm.predict_proba(texts, as_pandas=False), dtype=np.float64)

    @property
    def predict_batch_size(self) -> int:
        """Rows per batch in :meth:`predict`."""
        environment = self.automm._learner._config.env
        return environment.per_gpu_batch_size * environment.inference_batch_size_ratio

    def token_counts(self, frame: pd.DataFrame) -> np.ndarray:
        """Tokens of each row, special ones included, shape (rows,)."""
        (processor,) = self.automm._learner._data_processors["text"]
        return self._batch(frame)[processor.text_valid_length_key].numpy()

    def forward_passes(self, frame: pd.DataFrame, batch_size: int) -> Callable[[], None]:
        """A function that runs the network once over ``frame``, tokenised and collated beforehand, on its device.

        Rows are taken in the frame's order, ``batch_size`` at a time, each batch padded to its longest row.
        """
        # process_batch (utils/inference.py:312) and run_model (models/utils.py:803) are what predict(realtime=True) is
        # made of; there is no public way to a forward pass without tokenisation.
        learner = self.automm._learner
        device = torch.device("cuda" if learner._config.env.num_gpus else "cpu")
        batches = [
            {key: value.to(device) for key, value in self._batch(frame.iloc[start : start + batch_size]).items()}
            for start in range(0, len(frame), batch_size)
        ]
        model = learner._model.to(device).eval()

        def run() -> None:
            context = get_precision_context(precision=learner._config.env.precision, device_type=device.type)
            with context, torch.inference_mode():
                for batch in batches:
                    run_model(model, batch)

        return run

    def _batch(self, frame: pd.DataFrame) -> dict[str, torch.Tensor]:
        learner = self.automm._learner
        return learner.process_batch(
            data=frame[list(self.task.model_columns)],
            df_preprocessor=learner._df_preprocessor,
            data_processors={kind: made for kind, made in learner._data_processors.items() if kind != LABEL},
        )

    def hide_progress(self) -> None:
        """No progress bars from now on."""
        self.automm._learner._enable_progress_bar = False


def load(folder: Path, task: Task, *, verbosity: str = "normal") -> Predictor:
    """The finished predictor in ``folder``."""
    automm = MultiModalPredictor.load(str(folder), verbosity=VERBOSITY[verbosity])
    return Predictor(automm, task, verbosity)
