"""What checkpoints are selected and fits ended early by: the task's headline, on the hold-out."""

from typing import Any

import numpy as np
import torch
import torchmetrics
from scipy.special import softmax

from automm_distill.evaluation.metrics import Metric

# AutoGluon's names of the metrics that it computes itself as they are scored here (optim/metrics/utils.py:269). Of a
# regression's errors its labels' scale makes no difference to which checkpoint is best.
AUTOGLUON_METRICS = {"accuracy": "accuracy", "f1_micro": "accuracy", "pearson": "pearsonr", "rmse": "rmse"}


def autogluon_metric(headline: Metric) -> str:
    """The metric that AutoGluon is asked for: the headline, or one with the same direction and the same best score.

    By the latter it knows when it may stop (optim/metrics/utils.py:244). Matthews' correlation, which it has no
    validation metric for, it would replace by ROC AUC (infer_metrics).
    """
    return AUTOGLUON_METRICS.get(headline.name, "pearsonr" if headline.needs == "value" else "accuracy")


def validation_metric(headline: Metric) -> "Headline | None":
    """In place of AutoGluon's, where that is another metric; else None."""
    return None if headline.name in AUTOGLUON_METRICS else Headline(headline)


class Headline(torchmetrics.Metric):
    """A metric of all rows of the hold-out, in whatever batches and processes they come.

    Where it is undefined, it is 0, as of always giving the same answer.
    """

    full_state_update = False
    logits: list[torch.Tensor]
    labels: list[torch.Tensor]

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self.metric = metric
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """As AutoGluon calls it (optim/lit_module.py:269).

        :param logits: (B, classes), or of a regression (B,), in the scale of the labels; ``labels``: (B,).
        """
        self.logits.append(logits.detach())
        self.labels.append(labels.detach())

    def compute(self) -> torch.Tensor:
        """The score of all rows so far."""
        logits, labels = (_together(state) for state in (self.logits, self.labels))
        outputs: Any = softmax(logits, axis=1) if logits.ndim == 2 else logits
        score = self.metric.score(labels, self.metric.answers(outputs))
        return torch.tensor(0.0 if score is None else score, device=self.device)


def _together(state: Any) -> np.ndarray:
    """A list of batches, or what torchmetrics has made of those of several processes."""
    tensor = torch.cat(list(state)) if isinstance(state, list | tuple) else state
    array: np.ndarray = tensor.double().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
    return array
