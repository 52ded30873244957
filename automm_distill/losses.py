"""The seven distillation losses, each a function of one batch, and the weighted sum that a student minimises.

Shapes: B rows, C classes (1 for a regression), D features. All losses are means, computed in float32 outside autocast
(distances lose all their digits in half precision), and 0 for a batch with nothing to compare.

Values equal those of AutoGluon 1.6.3 (optim/lit_distiller.py) wherever those are right, so that loss weights mean the
same as in published results. The exceptions are the cosine form, regressions, and the relational losses of degenerate
batches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Layer = Callable[[Tensor], Tensor]

HARD_LABEL = "hard_label"
SOFT_LABEL = "soft_label"
SOFTMAX_REGRESSION = "softmax_regression"
OUTPUT_FEATURE = "output_feature"
RKD_DISTANCE = "rkd_distance"
RKD_ANGLE = "rkd_angle"
HIDDEN_STATES = "hidden_states"
TERMS = (HARD_LABEL, SOFT_LABEL, SOFTMAX_REGRESSION, OUTPUT_FEATURE, RKD_DISTANCE, RKD_ANGLE, HIDDEN_STATES)

# The angle's gradient grows as one over the length of a difference, so almost equal rows would dominate it. Lengths are
# bounded from below by this share of the batch's mean length...
SHORTEST_DIRECTION = 1e-3
# ... and the mean length by this share of the features' norm: rows may all have collapsed into almost the same point.
SHORTEST_MEAN = 1e-4


def hard_label(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross entropy with the true class; for a regression, the squared error.

    :param logits: (B, C), or (B, 1) for a regression.
    :param labels: class numbers (B,), or values (B,) in the model's label scale; any valid one for a row without.
    :param weights: of the rows, (B,): 0 for those without a label. Those of the others are such that all have 1 on
        average: then the mean over many passes is that of the labelled rows, each counting alike. None for all 1.
    """
    reduction = "mean" if weights is None else "none"
    if logits.shape[1] == 1:
        errors = functional.mse_loss(logits.squeeze(1), labels.to(logits.dtype), reduction=reduction)
    else:
        errors = functional.cross_entropy(logits, labels, reduction=reduction)
    return errors if weights is None else (errors * weights).mean()


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Cross entropy of softmax(student / T) against softmax(teacher / T) (Hinton et al. 2015, eq. 1), logits (B, C).

    :param weights: of the rows, (B,), as in :func:`hard_label`: 0 for those that the teacher says nothing of.
    """
    reduction = "mean" if weights is None else "none"
    soft_labels = functional.softmax(teacher / temperature, dim=1)
    errors = functional.cross_entropy(student / temperature, soft_labels, reduction=reduction)
    return errors if weights is None else (errors * weights).mean()


def squared_error(student: Tensor, teacher: Tensor, temperature: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """Mean over all elements of ((student - teacher) / T)^2, same shape each.

    :param weights: as in :func:`soft_cross_entropy`, of outputs (B, C).
    """
    if weights is None:
        return functional.mse_loss(student / temperature, teacher / temperature)
    errors = functional.mse_loss(student / temperature, teacher / temperature, reduction="none")
    return (errors.mean(dim=1) * weights).mean()


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos of the two features of each row, (B, D) each, mean over the rows."""
    return (1 - functional.cosine_similarity(student, teacher, dim=1)).mean()


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between the pairwise distances of the rows, relative to the batch's mean (Park et al. 2019, eq. 4-5).

    :param student: features (B, D); ``teacher``: features (B, E), E need not be D.
    """
    if len(student) < 2:
        return student.sum() * 0
    with torch.no_grad():
        teacher_relations = _relative_distances(teacher)
    return functional.smooth_l1_loss(_relative_distances(student), teacher_relations)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss between the cosines of the angles of all triples of rows (Park et al. 2019, eq. 6-7).

    :param student: features (B, D); ``teacher``: features (B, E), E need not be D.
    """
    if len(student) < 2:
        return student.sum() * 0
    with torch.no_grad():
        teacher_relations = _cosines(teacher)
    return functional.smooth_l1_loss(_cosines(student), teacher_relations)


def hidden_states(student: Tensor, teacher: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Squared distance of states scaled to length 1, mean over rows and layers (Sun et al. 2019, eq. 7, 1908.09355).

    :param student: states after K layers, (B, K, D) of each row's first token, or (B, K, L, D) of all its tokens.
    :param teacher: those of the layers that they are compared with, the same shape.
    :param tokens: (B, L), 0 for padding, when the states are of all tokens: then the mean over tokens too.
    """
    apart = functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)
    distances = apart.pow(2).sum(dim=-1)
    if tokens is None:
        return distances.mean()
    counted = tokens.unsqueeze(1).to(distances.dtype).expand_as(distances)
    return (distances * counted).sum() / counted.sum()


def _differences(rows: Tensor) -> tuple[Tensor, Tensor]:
    """All differences (B, B, D) and their lengths (B, B), whose gradient is 0 instead of NaN where a length is 0."""
    differences = rows.unsqueeze(0) - rows.unsqueeze(1)
    squares = differences.pow(2).sum(dim=2)
    apart = squares > 0
    return differences, torch.where(apart, squares, 1.0).sqrt() * apart


def _relative_distances(rows: Tensor) -> Tensor:
    _, lengths = _differences(rows)
    return lengths / torch.maximum(_mean_length(lengths), _least_length(rows))


def _cosines(rows: Tensor) -> Tensor:
    differences, lengths = _differences(rows)
    floor = torch.maximum(SHORTEST_DIRECTION * _mean_length(lengths).detach(), _least_length(rows))
    directions = differences / torch.maximum(lengths, floor).unsqueeze(2)
    return directions @ directions.transpose(1, 2)


def _mean_length(lengths: Tensor) -> Tensor:
    """Mean over the pairs of different rows."""
    return lengths.sum() / (len(lengths) * (len(lengths) - 1))


def _least_length(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return (SHORTEST_MEAN * norms.mean()).detach().clamp_min(torch.finfo(rows.dtype).eps)


@dataclass(frozen=True)
class DistillationSpec:
    """Weights and forms of the losses.

    :param weights: one per name in :data:`TERMS`; a loss with weight 0 is not computed.
    :param temperature: divides both logits in the soft label loss; a regression has none.
    :param squared_temperature: multiply the soft label loss by the temperature squared, so that its gradient keeps its
        size as the temperature grows (Hinton et al. 2015, section 2).
    :param soft_label: "cross_entropy" or "mean_square_error", as is ``softmax_regression``.
    :param output_feature: "mean_square_error" or "cosine_distance".
    :param hidden_layers: pairs of layers whose hidden states are compared: the student's, the teacher's.
    """

    weights: Mapping[str, float]
    temperature: float
    squared_temperature: bool
    soft_label: str
    softmax_regression: str
    output_feature: str
    is_regression: bool
    hidden_layers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class LogitMapping:
    """From the teacher's outputs (B, C) to the student's classes, or from its label scale to the student's."""

    columns: list[int] | None = None
    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        """The same outputs in the student's order of classes or label scale, (B, C)."""
        return logits[:, self.columns] if self.columns is not None else self.factor * logits + self.shift

    def head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, D) and bias (C,) of a last layer whose outputs are those of the teacher's, mapped."""
        if self.columns is not None:
            return weight[self.columns], bias[self.columns]
        return self.factor * weight, self.factor * bias + self.shift


@dataclass(frozen=True)
class States:
    """Hidden states of both models to compare: see :func:`hidden_states`; the student's in its own width."""

    student: Tensor
    teacher: Tensor
    tokens: Tensor | None = None


class DistillationLoss:
    """The losses of one batch, and their weighted sum.

    :param adaptor: from the student's feature to the teacher's width, (B, D) -> (B, E); trained with the student.
    :param teacher_head: the teacher's last layer, (B, E) -> (B, C); not trained.
    :param map_logits: from the teacher's logits to the student's classes or label scale, (B, C) -> (B, C).
    :param project_states: from the student's hidden states to the teacher's width, (B, K, ..., D) -> (B, K, ..., E);
        trained with the student.
    """

    def __init__(
        self,
        spec: DistillationSpec,
        adaptor: Layer,
        teacher_head: Layer,
        map_logits: Layer,
        project_states: Layer = lambda states: states,
    ) -> None:
        self.spec = spec
        self.adaptor = adaptor
        self.teacher_head = teacher_head
        self.map_logits = map_logits
        self.project_states = project_states

    def terms(
        self,
        student_logits: Tensor,
        student_feature: Tensor,
        teacher_logits: Tensor,
        teacher_feature: Tensor | None,
        labels: Tensor,
        label_weights: Tensor | None = None,
        states: States | None = None,
        teacher_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Each loss that has a weight, not yet multiplied by it, by name.

        :param student_logits: (B, C); ``student_feature``: (B, D); ``teacher_logits``: (B, C);
            ``teacher_feature``: (B, E); ``labels``: (B,), class numbers, or values in the student's label scale.
        :param label_weights: ``weights`` of :func:`hard_label`.
        :param states: needed when the hidden states have a weight, as is ``teacher_feature`` by the losses of features.
        :param teacher_weights: ``weights`` of :func:`soft_cross_entropy`.
        """
        with torch.autocast(device_type=student_logits.device.type, enabled=False):
            student_logits, student_feature = _at_least_single(student_logits), _at_least_single(student_feature)
            teacher_logits = self.map_logits(_at_least_single(teacher_logits)).to(student_logits.dtype)
            known = student_feature.new_empty(0) if teacher_feature is None else _at_least_single(teacher_feature)
            adapted = self.adaptor(student_feature)
            by_term: dict[str, Callable[[], Tensor]] = {
                HARD_LABEL: lambda: hard_label(student_logits, labels, label_weights),
                SOFT_LABEL: lambda: self._soft_label(student_logits, teacher_logits, teacher_weights),
                SOFTMAX_REGRESSION: lambda: _FORMS[self.spec.softmax_regression](
                    self.map_logits(self.teacher_head(adapted)), teacher_logits
                ),
                OUTPUT_FEATURE: lambda: _FORMS[self.spec.output_feature](adapted, known),
                RKD_DISTANCE: lambda: rkd_distance(adapted, known),
                RKD_ANGLE: lambda: rkd_angle(adapted, known),
                HIDDEN_STATES: lambda: self._hidden_states(states),
            }
            return {name: by_term[name]() for name in TERMS if self.spec.weights[name] > 0}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum that training minimises."""
        return torch.stack([self.spec.weights[name] * term for name, term in terms.items()]).sum()

    def _soft_label(self, student: Tensor, teacher: Tensor, weights: Tensor | None) -> Tensor:
        spec = self.spec
        if spec.is_regression:
            return squared_error(student, teacher, weights=weights)
        factor = spec.temperature**2 if spec.squared_temperature else 1.0
        return factor * _FORMS[spec.soft_label](student, teacher, spec.temperature, weights)

    def _hidden_states(self, states: States | None) -> Tensor:
        assert states is not None  # whoever gives the loss a weight brings them
        student, teacher = (_at_least_single(tensor) for tensor in (states.student, states.teacher))
        return hidden_states(self.project_states(student), teacher, states.tokens)


def _at_least_single(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


_FORMS: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": soft_cross_entropy,
    "mean_square_error": squared_error,
    "cosine_distance": cosine_distance,
}
