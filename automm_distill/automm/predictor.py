"""A fitted ``MultiModalPredictor``: predictions, raw outputs, and forward passes to time.

Its private ``_learner`` (predictor.py:217) is read for what has no public access: the network, the processors that
tokenise rows, and the configuration that the fit ended with.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal.constants import FEATURES, LOGITS
from scipy.special import softmax

from automm_distill.automm.fit_options import PRECISION_NAMES, VERBOSITY
from automm_distill.automm.forward import forward
from automm_distill.automm.hidden_states import HiddenStates
from automm_distill.automm.tokenized_rows import Rows
from automm_distill.devices import Device
from automm_distill.errors import NotFiniteError
from automm_distill.losses import HIDDEN_STATES
from automm_distill.progress import batch_starts
from automm_distill.tasks import Task


class Predictor:
    """A fitted ``MultiModalPredictor``, ``automm``, as an experiment uses it.

    Predictions depend on the fitted model, the rows, and the device and precision of the fit, on nothing else.

    :param token_cache: the cache folder, where the tokens of many rows are kept; None to keep none.
    :param columns: its own names of the task's ``model_columns``; None where these are its own.
    :param classes: the task's numbers of its classes, in the order of its logits; None where its labels are these.
    """

    def __init__(
        self,
        automm: Any,
        task: Task,
        token_cache: Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        classes: Sequence[int] | None = None,
    ) -> None:
        self.automm = automm
        self.task = task
        self.token_cache = token_cache
        self.columns = {name: name for name in task.model_columns} if columns is None else dict(columns)
        self._classes = classes
        # learners/base.py:280: load() has no argument for it, and Lightning's bar goes to standard output.
        automm._learner._enable_progress_bar = False

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.automm._learner._model.parameters())

    @property
    def bytes(self) -> int:
        """Size of the weights on disk, in bytes."""
        return (Path(self.automm.path) / "model.ckpt").stat().st_size

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Class probabilities of shape (rows, classes) in the order of the task's labels; for a regression (rows,).

        The same values as ``MultiModalPredictor.predict_proba`` and ``predict``, but with little padding.
        """
        return predictions(self.outputs(frame)[0], self.label_scaler, self.classes)

    @property
    def classes(self) -> list[Any] | None:
        """The task's numbers of the classes, in the order of the logits; None for a regression."""
        if self.task.is_regression:
            return None
        return list(self._classes) if self._classes else np.asarray(self.automm.class_labels).tolist()

    @property
    def label_scaler(self) -> Any:
        """The scaler of a regression's labels, which AutoGluon standardises by the training rows; else None.

        data/preprocess_dataframe.py:82.
        """
        return self.automm._learner._df_preprocessor._label_scaler if self.task.is_regression else None

    def outputs(
        self,
        frame: pd.DataFrame,
        precision: str | None = None,
        layers: Sequence[int] = (),
        *,
        on_cpu: bool = False,
    ) -> tuple[np.ndarray, ...]:
        """Logits (rows, classes) and pooled features (rows, width) of all rows, as single precision numbers.

        With ``layers``, also the states of the first token after each of them, (rows, layers, width).

        Batches are made in order of length, longest first, which needs little padding; results are in the rows' order.

        :param precision: "16", "bf16" or "32"; None for that of :meth:`predict`.
        :param on_cpu: rather than on the device of the fit.

        :raises NotFiniteError: when an output is not finite.
        """
        rows = self._rows(frame)
        order = np.argsort(-rows.lengths, kind="stable")
        size = self.predict_batch_size
        device = torch.device("cpu") if on_cpu else self._device
        run, model = self._forward(precision, device), self.automm._learner._model
        results = {
            LOGITS: np.empty((len(order), model.head.out_features), dtype=np.float32),
            FEATURES: np.empty((len(order), model.out_features), dtype=np.float32),
        }
        if layers:
            results[HIDDEN_STATES] = np.empty((len(order), len(layers), model.out_features), dtype=np.float32)
        hidden = HiddenStates(model.model, layers) if layers else None
        for start in batch_starts("reading", len(order), size):
            chosen = order[start : start + size]
            output = run(rows.batch(chosen))
            if hidden is not None:
                output[HIDDEN_STATES] = torch.stack([states[:, 0] for states in hidden.take()], dim=1)
            for kind, array in results.items():
                array[chosen] = output[kind].float().cpu().numpy()
        if hidden is not None:
            hidden.remove()
        model.to("cpu")  # the next fit may need the GPU's memory
        for kind, array in results.items():
            if not np.isfinite(array).all():
                raise NotFiniteError(f"{kind.replace('_', ' ')} are not finite")
        return tuple(results.values())

    @property
    def tokenizer(self) -> Any:
        """transformers' own (data/process_text.py:80)."""
        (processor,) = self.automm._learner._data_processors["text"]
        return processor.tokenizer

    def call_predict(self, frame: pd.DataFrame) -> object:
        """``MultiModalPredictor.predict`` as its user calls it.

        By default (``realtime=False``) it sets up a Lightning trainer in each call, for one row as for many.
        """
        texts = frame[list(self.task.model_columns)].rename(columns=self.columns)
        return self.automm.predict(texts, as_pandas=False)

    @property
    def predict_starts_processes(self) -> bool:
        """Whether each call of ``predict`` starts a process per GPU, as its trainer does where there are several."""
        return self.automm._learner._config.env.num_gpus > 1

    @property
    def predict_batch_size(self) -> int:
        """Rows per batch in :meth:`predict`, as in AutoGluon's (learners/base.py:1686)."""
        environment = self.automm._learner._config.env
        return environment.per_gpu_batch_size * environment.inference_batch_size_ratio

    def token_counts(self, frame: pd.DataFrame) -> np.ndarray:
        """Tokens of each row, special ones included, shape (rows,)."""
        return self._rows(frame).lengths

    def token_rows(self, frame: pd.DataFrame) -> Iterator[np.ndarray]:
        """The tokens of each row as the network reads them, special ones included, (tokens,)."""
        rows = self._rows(frame)
        for index in range(len(rows)):
            yield rows.batch([index])[rows.processor.text_token_ids_key][0].numpy()

    def forward_passes(
        self, frame: pd.DataFrame, batch_size: int, *, precision: str | None = None, on_cpu: bool = False
    ) -> Callable[[], None]:
        """A function that runs the network once over ``frame``, whose batches are already on the device.

        Batches are made in order of length, longest first, each padded to its longest row.

        :param precision: "16", "bf16" or "32"; None for that of :meth:`predict`.
        :param on_cpu: rather than on the device of the fit.
        """
        device = torch.device("cpu") if on_cpu else self._device
        rows = self._rows(frame)
        order = np.argsort(-rows.lengths, kind="stable")
        run_batch = self._forward(precision, device)
        batches = [
            {key: value.to(device) for key, value in rows.batch(order[start : start + batch_size]).items()}
            for start in range(0, len(order), batch_size)
        ]

        def run() -> None:
            for batch in batches:
                run_batch(batch)

        return run

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if self.automm._learner._config.env.num_gpus else "cpu")

    def _rows(self, frame: pd.DataFrame) -> Rows:
        (processor,) = self.automm._learner._data_processors["text"]
        texts = frame.rename(columns=self.columns)
        return Rows(processor, self.automm._learner._df_preprocessor, texts, token_cache=self.token_cache)

    def _forward(
        self, precision: str | None, device: torch.device
    ) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        """A function from a batch to its logits and features; the network is on ``device`` afterwards."""
        learner = self.automm._learner
        arithmetic = PRECISION_NAMES[precision] if precision else learner._config.env.precision
        model = learner._model.to(device).eval()
        return lambda batch: forward(model, batch, device, arithmetic)


def predictions(logits: np.ndarray, label_scaler: Any, classes: Sequence[int] | None = None) -> np.ndarray:
    """Class probabilities (rows, classes) from logits of that shape; with a scaler, values (rows,) from (rows, 1).

    :param label_scaler: :attr:`Predictor.label_scaler`.
    :param classes: :attr:`Predictor.classes`; None where they are in the task's order.
    """
    if label_scaler is not None:
        return label_scaler.inverse_transform(logits)[:, 0].astype(float)
    order = slice(None) if classes is None else np.argsort(classes)
    return softmax(logits.astype(np.float64), axis=1)[:, order]


def load(folder: Path, task: Task, *, verbosity: str = "normal", token_cache: Path | None = None) -> Predictor:
    """The predictor that :func:`automm_distill.automm.fitting.fit` saved in ``folder``.

    :param token_cache: as in :class:`Predictor`.
    """
    automm = MultiModalPredictor.load(str(folder), verbosity=VERBOSITY[verbosity])
    return Predictor(automm, task, token_cache)


def load_finished(
    folder: Path,
    task: Task,
    device: Device,
    *,
    columns: Mapping[str, str],
    classes: Sequence[int],
    verbosity: str = "normal",
    token_cache: Path | None = None,
) -> Predictor:
    """A predictor that somebody else may have saved, on another machine, to be run on this device.

    Its saved configuration says what it was trained on (learners/base.py:2204): here it gets this run's device and
    precision, as the models that are trained here have them.

    :param columns: with ``classes`` and ``token_cache`` as in :class:`Predictor`.
    """
    automm = MultiModalPredictor.load(str(folder), verbosity=VERBOSITY[verbosity])
    environment = automm._learner._config.env
    environment.num_gpus = device.num_gpus
    environment.precision = PRECISION_NAMES[device.prediction_precision]
    return Predictor(automm, task, token_cache, columns=columns, classes=classes)
