"""Every loss and its gradient against NumPy written from the paper's equation, and against AutoGluon's own terms."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from autogluon.multimodal.optim.lit_distiller import DistillerLitModule
from autogluon.multimodal.optim.losses import RKDLoss
from torch import nn

from automm_distill import losses
from automm_distill.losses import HIDDEN_STATES, TERMS, DistillationLoss, DistillationSpec, LogitMapping, States

BATCHES = (1, 2, 7, 32)
CLASSES = (1, 2, 3, 5)
AUTOGLUONS = tuple(term for term in TERMS if term != HIDDEN_STATES)


# --- The equations, in float64 NumPy, row by row -------------------------------------------------------------------


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def np_hard_label(logits, labels):
    if logits.shape[1] == 1:
        return np.mean([(logits[i, 0] - labels[i]) ** 2 for i in range(len(labels))])
    return -np.mean([log_softmax(logits)[i, int(labels[i])] for i in range(len(labels))])


def np_soft_cross_entropy(student, teacher, temperature):
    return -(softmax(teacher / temperature) * log_softmax(student / temperature)).sum(axis=1).mean()


def np_squared_error(student, teacher, temperature=1.0):
    return (((student - teacher) / temperature) ** 2).mean()


def np_cosine_distance(student, teacher):
    return np.mean([1 - s @ t / (np.linalg.norm(s) * np.linalg.norm(t)) for s, t in zip(student, teacher, strict=True)])


def np_hidden_states(student, teacher, lengths=None):
    """Sun et al. 2019, eq. 7, as means: |h_s / |h_s| - h_t / |h_t||^2 over rows, layers and, with lengths, tokens."""
    distances = []
    for row in range(len(student)):
        for layer in range(student.shape[1]):
            ours, theirs = student[row, layer], teacher[row, layer]
            pairs = [(ours, theirs)] if lengths is None else list(zip(ours, theirs, strict=True))[: lengths[row]]
            distances += [sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2) for a, b in pairs]
    return np.mean(distances)


def huber(difference):
    size = abs(difference)
    return size**2 / 2 if size <= 1 else size - 0.5


def np_rkd_distance(student, teacher):
    """Park et al. 2019, eq. 4: psi(i, j) = |t_i - t_j| / mu; eq. 5: the mean Huber loss over all pairs."""
    rows = len(student)
    if rows < 2:
        return 0.0

    def psi(features):
        lengths = np.array([[np.linalg.norm(a - b) for b in features] for a in features])
        mu = np.mean([lengths[i, j] for i, j in itertools.permutations(range(rows), 2)])
        return lengths / mu if mu else lengths

    return np.mean([huber(d) for d in (psi(student) - psi(teacher)).ravel()])


def np_rkd_angle(student, teacher):
    """Park et al. 2019, eq. 6: psi(i, j, k) = cos of the angle at j; eq. 7: the mean Huber loss over all triples."""
    rows = len(student)
    if rows < 2:
        return 0.0

    def direction(a, b):
        length = np.linalg.norm(a - b)
        return (a - b) / length if length else a * 0

    def psi(features, i, j, k):
        return direction(features[i], features[j]) @ direction(features[k], features[j])

    triples = itertools.product(range(rows), repeat=3)
    return np.mean([huber(psi(student, *ijk) - psi(teacher, *ijk)) for ijk in triples])


# --- Comparing -----------------------------------------------------------------------------------------------------


def draw(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def numeric_gradient(function, values, step=1e-6):
    gradient = np.zeros_like(values)
    for index in np.ndindex(*values.shape):
        up, down = values.copy(), values.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def check(function, reference, student, *others):
    """Value and gradient in float64 agree with the equation, and the value in float32 too."""
    student = student.clone().requires_grad_()
    value = function(student, *others)
    arrays = [other.numpy() if isinstance(other, torch.Tensor) else other for other in others]
    assert value.item() == pytest.approx(reference(student.detach().numpy(), *arrays), rel=1e-9, abs=1e-12)
    (gradient,) = torch.autograd.grad(value, student)
    expected = numeric_gradient(lambda values: reference(values, *arrays), student.detach().numpy())
    assert gradient.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    single = function(
        student.detach().float(),
        *(o.float() if isinstance(o, torch.Tensor) and o.is_floating_point() else o for o in others),
    )
    assert single.item() == pytest.approx(value.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_terms_on_logits(rows, classes, scale):
    student, teacher = draw(1, rows, classes, scale=scale), draw(2, rows, classes, scale=scale)
    labels = torch.arange(rows) % classes if classes > 1 else draw(3, rows)
    check(losses.hard_label, np_hard_label, student, labels)
    check(losses.squared_error, np_squared_error, student, teacher, 5.0)
    check(losses.soft_cross_entropy, np_soft_cross_entropy, student, teacher, 5.0)
    check(losses.soft_cross_entropy, np_soft_cross_entropy, student, teacher, 1.0)


@pytest.mark.parametrize("rows", BATCHES)
def test_terms_on_features_of_equal_width(rows):
    student, teacher = draw(4, rows, 6), draw(5, rows, 6)
    check(losses.cosine_distance, np_cosine_distance, student, teacher)
    check(losses.squared_error, np_squared_error, student, teacher, 1.0)


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("widths", [(6, 6), (4, 9)])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 100.0])
def test_relational_terms(rows, widths, scale):
    student, teacher = draw(6, rows, widths[0], scale=scale), draw(7, rows, widths[1], scale=scale)
    if rows == 1:
        for term in (losses.rkd_distance, losses.rkd_angle):
            assert term(student, teacher).item() == 0
        return
    # The gradient shrinks as the features grow, and so does its numeric counterpart's step.
    for term, reference in ((losses.rkd_distance, np_rkd_distance), (losses.rkd_angle, np_rkd_angle)):
        leaf = student.clone().requires_grad_()
        value = term(leaf, teacher)
        assert value.item() == pytest.approx(reference(student.numpy(), teacher.numpy()), rel=1e-9)
        (gradient,) = torch.autograd.grad(value, leaf)
        expected = numeric_gradient(lambda s, r=reference: r(s, teacher.numpy()), student.numpy(), step=1e-5 * scale)
        assert gradient.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6 / scale)


def test_relational_terms_of_a_full_batch():
    student, teacher = draw(8, 32, 12), draw(9, 32, 20)
    assert losses.rkd_distance(student, teacher).item() == pytest.approx(
        np_rkd_distance(student.numpy(), teacher.numpy())
    )
    assert losses.rkd_angle(student, teacher).item() == pytest.approx(np_rkd_angle(student.numpy(), teacher.numpy()))


@pytest.mark.parametrize("term", [losses.rkd_distance, losses.rkd_angle])
@pytest.mark.parametrize("rows", [2, 3, 8])
def test_gradients_stay_bounded_for_identical_and_almost_identical_rows(term, rows):
    teacher = draw(10, rows, 8)
    distinct = draw(11, rows, 8)
    twins = distinct.clone()
    twins[1] = twins[0]
    near = twins.clone()
    near[1] += 1e-12
    for student in (twins, near, torch.ones(rows, 8, dtype=torch.float64)):
        leaf = student.clone().requires_grad_()
        value = term(leaf, teacher)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()
    collapsed = [1.0 + draw(20, rows, 8, scale=10.0**-digits) for digits in (4, 6, 8, 12)]
    for student in (twins, near, *collapsed):
        leaf = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(term(leaf, teacher), leaf)
        assert gradient.abs().max() < 4 / (losses.SHORTEST_MEAN * student.norm(dim=1).mean())


@pytest.mark.parametrize("scale", [1e4, 1e-12])
def test_huge_and_tiny_logits_stay_finite(scale):
    student, teacher = draw(12, 7, 3, scale=scale).float().requires_grad_(), draw(13, 7, 3, scale=scale).float()
    for value in (
        losses.soft_cross_entropy(student, teacher, 5.0),
        losses.soft_cross_entropy(student, teacher, 1.0),
        losses.hard_label(student, torch.zeros(7, dtype=torch.long)),
    ):
        (gradient,) = torch.autograd.grad(value, student, retain_graph=True)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_gradcheck():
    student, teacher = draw(14, 5, 4).requires_grad_(), draw(15, 5, 4)
    for function in (
        lambda s: losses.soft_cross_entropy(s, teacher, 3.0),
        lambda s: losses.squared_error(s, teacher, 3.0),
        lambda s: losses.cosine_distance(s, teacher),
        lambda s: losses.rkd_distance(s, teacher),
        lambda s: losses.rkd_angle(s, teacher),
        lambda s: losses.hard_label(s, torch.arange(5) % 4),
        lambda s: losses.hard_label(s, torch.arange(5) % 4, 2.0 * (torch.arange(5) < 3)),
        lambda s: losses.hidden_states(s.unsqueeze(1), teacher.unsqueeze(1)),
    ):
        assert torch.autograd.gradcheck(function, (student,))


def test_hidden_states_are_compared_as_the_paper_says():
    student, teacher = draw(1, 5, 3, 8), draw(2, 5, 3, 8)
    value = losses.hidden_states(student, teacher).item()
    assert value == pytest.approx(np_hidden_states(student.numpy(), teacher.numpy()), rel=1e-12)
    assert losses.hidden_states(student, 7 * student).item() == pytest.approx(0, abs=1e-12)
    assert losses.hidden_states(student, -student).item() == pytest.approx(4, abs=1e-12)  # opposite points of a sphere


def test_padding_is_no_hidden_state():
    student, teacher, lengths = draw(1, 4, 2, 6, 8), draw(2, 4, 2, 6, 8), [6, 3, 1, 2]
    tokens = torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    value = losses.hidden_states(student, teacher, tokens).item()
    assert value == pytest.approx(np_hidden_states(student.numpy(), teacher.numpy(), lengths), rel=1e-12)


def test_states_of_another_width_are_projected_before_they_are_compared():
    projection, teacher = nn.Linear(4, 8).double(), draw(2, 5, 3, 8)
    student = draw(1, 5, 3, 4)
    loss = DistillationLoss(make_spec(HIDDEN_STATES), nn.Identity(), None, LogitMapping(), projection)
    feature = draw(3, 5, 8)
    terms = loss.terms(feature, feature, feature, feature, torch.zeros(5), states=States(student, teacher))
    expected = np_hidden_states(projection(student).detach().numpy(), teacher.numpy())
    assert {name: term.item() for name, term in terms.items()} == {HIDDEN_STATES: pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize("form", ["cross_entropy", "mean_square_error"])
@pytest.mark.parametrize("classes", [1, 3])
def test_soft_labels_count_rows_of_the_teacher_only(form, classes):
    """Of a teacher that lacks rows: their mean, over passes of any size, is that of the rows that it knows."""
    student, teacher = draw(1, 7, classes), draw(2, 7, classes)
    known = torch.tensor([True, False, True, True, False, True, True])
    teacher[~known] = 1e6  # whatever stands there makes no difference
    weights = known.double() * (7 / 5)
    spec = make_spec("soft_label", soft_label=form, is_regression=classes == 1, temperature=2.0)
    loss = DistillationLoss(spec, nn.Identity(), None, LogitMapping())

    def of(rows):
        given = (student[rows], draw(3, 7, 8)[rows], teacher[rows], None, torch.zeros(len(student[rows])).long())
        return loss.terms(*given, teacher_weights=weights[rows])["soft_label"].item()

    np_loss = np_soft_cross_entropy if form == "cross_entropy" and classes > 1 else np_squared_error
    temperature = 1.0 if classes == 1 else 2.0
    expected = np_loss(student[known].numpy(), teacher[known].numpy(), temperature)
    assert of(slice(0, 7)) == pytest.approx(expected, rel=1e-12)
    assert (2 * of(slice(0, 2)) + 5 * of(slice(2, 7))) / 7 == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", CLASSES)
def test_hard_labels_count_labelled_rows_only(classes):
    logits, labels = draw(1, 7, classes), torch.arange(7) % classes
    if classes == 1:
        labels = draw(2, 7)
    labelled = torch.tensor([True, False, True, True, False, False, True])
    weights = labelled * 7 / 4
    value = losses.hard_label(logits, labels, weights).item()
    assert value == pytest.approx(np_hard_label(logits[labelled].numpy(), labels[labelled].numpy()), rel=1e-12)
    parts = [losses.hard_label(logits[part], labels[part], weights[part]) for part in (slice(0, 2), slice(2, 7))]
    assert (2 * parts[0] + 5 * parts[1]).item() / 7 == pytest.approx(value), "whichever passes they are in"
    assert losses.hard_label(logits, labels, torch.zeros(7)).item() == 0


# --- AutoGluon's own terms -----------------------------------------------------------------------------------------


def make_spec(*only: str, **changes: Any) -> DistillationSpec:
    """A specification with weight 1 for the losses in ``only``, or for all that AutoGluon has."""
    spec = {
        "weights": {term: float(term in (only or AUTOGLUONS)) for term in TERMS},
        "temperature": 5.0,
        "squared_temperature": False,
        "soft_label": "cross_entropy",
        "softmax_regression": "mean_square_error",
        "output_feature": "mean_square_error",
        "is_regression": False,
    }
    return DistillationSpec(**(spec | changes))


class Part(nn.Module):
    """What AutoGluon's loss reads of a model: its prefix and its head."""

    def __init__(self, prefix, head) -> None:
        super().__init__()
        self.prefix, self.head = prefix, head


def autogluons_loss(spec, adaptor, head, student, teacher, labels):
    """The loss of the installed DistillerLitModule on one batch; ``student`` and ``teacher`` are (logits, feature)."""
    module = DistillerLitModule.__new__(DistillerLitModule)
    nn.Module.__init__(module)
    module.student_model, module.teacher_model = Part("student", None), Part("teacher", head)
    module.output_feature_adaptor = adaptor
    module.temperature = spec.temperature
    module.hard_label_loss_func = nn.CrossEntropyLoss()
    functions = {"cross_entropy": nn.CrossEntropyLoss(), "mean_square_error": nn.MSELoss()}
    module.soft_label_loss_func = functions[spec.soft_label]
    module.softmax_regression_loss_func = functions[spec.softmax_regression]
    module.output_feature_loss_func = nn.MSELoss()
    weights = spec.weights
    module.hard_label_weight = weights["hard_label"]
    module.soft_label_weight = weights["soft_label"]
    module.softmax_regression_weight = weights["softmax_regression"]
    module.output_feature_loss_weight = weights["output_feature"]
    module.rkd_loss_func = RKDLoss(weights["rkd_distance"], weights["rkd_angle"])
    outputs = [
        {prefix: {"logits": logits, "features": feature}}
        for prefix, (logits, feature) in (("student", student), ("teacher", teacher))
    ]
    return module._compute_loss(*outputs, labels)


@pytest.mark.parametrize("rows", [2, 7, 32])
@pytest.mark.parametrize("widths", [(24, 24), (12, 24)])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("forms", [("cross_entropy", "mean_square_error"), ("mean_square_error", "cross_entropy")])
@pytest.mark.parametrize("only", [(), *((term,) for term in AUTOGLUONS)])
def test_terms_and_gradients_equal_autogluons(rows, widths, classes, forms, only):
    torch.manual_seed(0)
    spec = make_spec(*only, soft_label=forms[0], softmax_regression=forms[1])
    adaptor = (nn.Identity() if widths[0] == widths[1] else nn.Linear(*widths)).double()
    head = nn.Linear(widths[1], classes).double().requires_grad_(False)
    teacher = draw(1, rows, classes), draw(2, rows, widths[1])
    labels = torch.arange(rows) % classes
    ours = DistillationLoss(spec, adaptor, head, LogitMapping(columns=list(range(classes))))
    results = []
    for compute in (
        lambda student: autogluons_loss(spec, adaptor, head, student, teacher, labels),
        lambda student: ours.total(ours.terms(*student, *teacher, labels)),
    ):
        student = draw(3, rows, classes).requires_grad_(), draw(4, rows, widths[0]).requires_grad_()
        value = compute(student)
        leaves = [*student, *adaptor.parameters()]
        gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        results.append(
            (value.item(), [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)])
        )
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    for expected, gradient in zip(results[0][1], results[1][1], strict=True):
        assert gradient.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_squared_temperature_is_25_times_the_loss_at_5():
    student, teacher, feature = draw(1, 4, 3), draw(2, 4, 3), draw(3, 4, 8)
    values = [
        DistillationLoss(make_spec("soft_label", squared_temperature=squared), nn.Identity(), None, LogitMapping())
        .terms(student, feature, teacher, feature, torch.zeros(4, dtype=torch.long))["soft_label"]
        .item()
        for squared in (False, True)
    ]
    assert values[1] == pytest.approx(25 * values[0])


def test_cosine_form_is_one_minus_the_mean_cosine():
    student, teacher = draw(5, 6, 8), draw(6, 6, 8)
    loss = DistillationLoss(
        make_spec("output_feature", output_feature="cosine_distance"), nn.Identity(), None, LogitMapping()
    )
    value = loss.terms(draw(1, 6, 2), student, draw(2, 6, 2), teacher, torch.zeros(6, dtype=torch.long))
    by_hand = [
        s @ t / (np.linalg.norm(s) * np.linalg.norm(t)) for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    assert value["output_feature"].item() == pytest.approx(1 - np.mean(by_hand))


def test_regression_compares_row_by_row_in_the_students_scale_without_temperature():
    """The teacher's labels had mean 30 and deviation 10, the student's mean 3 and deviation 2."""
    torch.manual_seed(0)
    head = nn.Linear(8, 1).double().requires_grad_(False)
    mapping = LogitMapping(factor=10 / 2, shift=(30 - 3) / 2)
    student, teacher, feature = draw(1, 7, 1), draw(2, 7, 1), draw(3, 7, 8)
    loss = DistillationLoss(make_spec(is_regression=True), nn.Identity(), head, mapping)
    terms = loss.terms(student, feature, teacher, draw(4, 7, 8), draw(5, 7))
    in_points = (teacher.numpy()[:, 0] * 10 + 30 - 3) / 2
    assert terms["soft_label"].item() == pytest.approx(np.mean((student.numpy()[:, 0] - in_points) ** 2))
    through_head = (head(feature).numpy()[:, 0] * 10 + 30 - 3) / 2
    assert terms["softmax_regression"].item() == pytest.approx(np.mean((through_head - in_points) ** 2))
    assert terms["hard_label"].item() == pytest.approx(np.mean((student.numpy()[:, 0] - draw(5, 7).numpy()) ** 2))


def test_teachers_logits_are_mapped_to_the_students_order_of_classes():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert LogitMapping(columns=[2, 0, 1])(logits).tolist() == [[3.0, 1.0, 2.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_terms_are_computed_in_float32_under_autocast(dtype):
    torch.manual_seed(0)
    head = nn.Linear(16, 3).requires_grad_(False)
    arguments = [draw(seed, 8, width).float() for seed, width in ((1, 3), (2, 16), (3, 3), (4, 16))]
    labels = torch.arange(8) % 3
    states = [draw(seed, 8, 2, 16).float() for seed in (5, 6)]
    loss = DistillationLoss(make_spec(*TERMS), nn.Identity(), head, LogitMapping(columns=[0, 1, 2]))
    exact = loss.terms(*arguments, labels, states=States(*states))
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss.terms(*arguments, labels, states=States(*states))
        halved = loss.terms(
            *(argument.to(dtype) for argument in arguments), labels, states=States(*(each.to(dtype) for each in states))
        )
    for name in TERMS:
        assert mixed[name].dtype == halved[name].dtype == torch.float32
        assert mixed[name].item() == exact[name].item()
        assert halved[name].item() == pytest.approx(exact[name].item(), rel=0.02, abs=0.01)


@pytest.mark.parametrize("rows", [2, 7, 32])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (3.0, 7.0)])
def test_relational_terms_equal_autogluons(rows, weights):
    student, teacher = draw(16, rows, 24), draw(17, rows, 24)
    results = []
    for term in (
        RKDLoss(*weights),
        lambda s, t: weights[0] * losses.rkd_distance(s, t) + weights[1] * losses.rkd_angle(s, t),
    ):
        leaf = student.clone().requires_grad_()
        value = term(leaf, teacher)
        results.append((value.item(), torch.autograd.grad(value, leaf)[0].numpy()))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-6)
