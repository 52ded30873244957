"""A fitted ``MultiModalPredictor``, and what an experiment asks of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.constants import FEATURES, LOGITS
from autogluon.multimodal.models.utils import run_model
from autogluon.multimodal.utils.precision import get_precision_context
from scipy.special import softmax
from tqdm.auto import tqdm

from automm_distill.automm.fit_options import VERBOSITY
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.errors import TrainingError
from automm_distill.tasks import Task

LIGHT_ROWS = 100  # utils/inference.py:304, for text without images


class Predictor:
    """A fitted ``MultiModalPredictor`` with the few things that an experiment asks of it.

    Predictions depend on nothing but the fitted model, the rows, and the device and precision it was fitted with.
    """

    def __init__(self, automm: Any, task: Task, verbosity: str):
        self.automm = automm
        self.task = task
        self.shows_progress = verbosity != "quiet"
        # learners/base.py:280: load() offers no way to say that no progress bar is wanted.
        automm._learner._enable_progress_bar = self.shows_progress

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.automm._learner._model.parameters())

    @property
    def bytes(self) -> int:
        """Size of the weights on disk."""
        return (Path(self.automm.path) / "model.ckpt").stat().st_size

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Class probabilities of shape (rows, classes) in the order of the task's labels; for a regression (rows,).

        The same as ``MultiModalPredictor.predict_proba`` and ``predict`` give.
        """
        logits, _ = self.outputs(frame)
        if self.task.is_regression:
            return self.automm._learner._df_preprocessor._label_scaler.inverse_transform(logits)[:, 0].astype(float)
        return softmax(logits.astype(np.float64), axis=1)

    def outputs(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Logits (rows, classes) and pooled features (rows, width) of all rows, in single precision.

        Rows are read in order of length, longest first, so that next to nothing is padded, and given back in theirs.

        :raises TrainingError: when they are not all finite.
        """
        rows = self._rows(frame)
        order = np.argsort(-rows.lengths, kind="stable")
        size = self.predict_batch_size
        starts = tqdm(
            range(0, len(order), size),
            desc="Reading",
            unit="batch",
            leave=False,
            disable=not self.shows_progress or None,
        )
        forward, model = self._forward(), self.automm._learner._model
        results = {
            LOGITS: np.empty((len(order), model.head.out_features), dtype=np.float32),
            FEATURES: np.empty((len(order), model.out_features), dtype=np.float32),
        }
        for start in starts:
            chosen = order[start : start + size]
            output = forward(rows.batch(chosen))
            for kind, array in results.items():
                array[chosen] = output[kind].float().cpu().numpy()
        model.to("cpu")  # a fit may need the room on the GPU
        for kind, array in results.items():
            if not np.isfinite(array).all():
                raise TrainingError(f"a model's {kind} are not finite; try --precision bf16 or 32")
        return results[LOGITS], results[FEATURES]

    def call_predict(self, frame: pd.DataFrame) -> object:
        """``MultiModalPredictor.predict`` as its user calls it."""
        return self.automm.predict(frame[list(self.task.model_columns)], as_pandas=False)

    @property
    def max_light_rows(self) -> int:
        """Most rows that ``predict`` reads without a Lightning trainer.

        utils/inference.py:304 (use_realtime): above, it would also start a process per GPU, at each call.
        """
        return min(LIGHT_ROWS, self.predict_batch_size)

    @property
    def predict_batch_size(self) -> int:
        """Rows per batch in :meth:`predict`."""
        environment = self.automm._learner._config.env
        return environment.per_gpu_batch_size * environment.inference_batch_size_ratio

    def token_counts(self, frame: pd.DataFrame) -> np.ndarray:
        """Tokens of each row, special ones included, shape (rows,)."""
        return self._rows(frame).lengths

    def forward_passes(self, frame: pd.DataFrame, batch_size: int) -> Callable[[], None]:
        """A function that runs the network once over ``frame``, tokenised and collated beforehand, on its device.

        Rows are taken in order of length, ``batch_size`` at a time, each batch padded to its longest row.
        """
        rows = self._rows(frame)
        order = np.argsort(-rows.lengths, kind="stable")
        forward = self._forward()
        batches = [
            {key: value.to(self._device) for key, value in rows.batch(order[start : start + batch_size]).items()}
            for start in range(0, len(order), batch_size)
        ]

        def run() -> None:
            for batch in batches:
                forward(batch)

        return run

    def hide_progress(self) -> None:
        """No progress bars from now on."""
        self.shows_progress = False
        self.automm._learner._enable_progress_bar = False

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if self.automm._learner._config.env.num_gpus else "cpu")

    def _rows(self, frame: pd.DataFrame) -> Rows:
        (processor,) = self.automm._learner._data_processors["text"]
        return Rows(processor, self.automm._learner._df_preprocessor, frame)

    def _forward(self) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        """The network, ready to predict on its device: from a batch to its logits and features."""
        # run_model (models/utils.py:803) under this context is what predict(realtime=True) is made of
        # (utils/inference.py:187); there is no public way to a forward pass without tokenisation.
        learner = self.automm._learner
        device, precision = self._device, learner._config.env.precision
        model = learner._model.to(device).eval()

        def forward(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            with get_precision_context(precision=precision, device_type=device.type), torch.inference_mode():
                return run_model(model, {key: value.to(device) for key, value in batch.items()})[model.prefix]

        return forward


def load(folder: Path, task: Task, *, verbosity: str = "normal") -> Predictor:
    """The finished predictor in ``folder``."""
    automm = MultiModalPredictor.load(str(folder), verbosity=VERBOSITY[verbosity])
    return Predictor(automm, task, verbosity)
