"""95 % confidence intervals of scores, differences and ratios over test rows, and McNemar's test.

Intervals are percentile intervals of the bootstrap: test rows are drawn with replacement, the same draw for all models,
so that differences are paired. Rows that belong together (one sentence pair in several languages) are drawn together.
The accuracy of a single run has Wilson's interval (1927), and its gain Agresti and Min's (2005): near 1, and where few
rows tell two models apart, percentiles collapse. So has the F1 of a single run where its percentiles have collapsed;
other intervals that have are left out: resamples that all agree do not tell how far the truth may be.

They say how much the numbers would move on other test rows; how much they would move with another seed is
a different question, which needs several seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from automm_distill.evaluation.metrics import Metric

RESAMPLES = 2000
LEVEL = 0.95
ROUNDING = 1e-12  # resamples that differ by less agree
CHUNK = 200  # resamples at once: 200 x 40,000 rows in double precision are 64 MB


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None where they are undefined (a correlation with a constant).

    ``low`` and ``high`` alone are None where the resamples do not tell them.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RunPredictions:
    """Labels and predictions of one run on a test set: ``truth`` and ``predicted[role]`` have the shape (rows,).

    Predictions are what the metric in question reads, see :meth:`Metric.answers`. Rows with the same entry in
    ``groups``, also those of other runs, are drawn together.
    """

    truth: np.ndarray
    predicted: Mapping[str, np.ndarray]
    groups: np.ndarray


@dataclass(frozen=True)
class BootstrapResult:
    """Intervals of one metric over the rows of one test set.

    ``gain`` is student - baseline, ``teacher_gap`` teacher - baseline, both turned so that more is better; ``ratio`` is
    None where that gap is not clearly above 0. Its interval leaves out the resamples without a gap above 0, up to 2.5 %
    of them. ``p`` is the two-sided p-value that the gain is 0, from the same resamples as its interval, None where
    these do not tell it; ``mcnemar`` that of :func:`mcnemar`, baseline against student, None unless the metric is a
    share of right rows and the run is one.
    """

    scores: Mapping[str, Interval]
    gain: Interval | None
    teacher_gap: Interval | None
    ratio: Interval | None
    p: float | None
    mcnemar: float | None = None


def bootstrap_run(
    metric: Metric,
    truth: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    groups: np.ndarray | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapResult:
    """Intervals for each model's score, student - baseline, teacher - baseline, and the distillation ratio.

    :param truth: labels, shape (rows,); ``predicted``: ``{role: Metric.answers}`` of the same shape.
    :param groups: rows with the same entry are drawn together, shape (rows,).
    """
    groups = np.arange(len(truth)) if groups is None else groups
    result = bootstrap_mean(metric, [RunPredictions(truth, predicted, groups)], resamples=resamples, seed=seed)
    if metric.positive is not None:
        return replace(
            result,
            scores={
                role: _f1_interval(truth == metric.positive, labels == metric.positive, groups, result.scores[role])
                for role, labels in predicted.items()
            },
        )
    if not metric.is_share_of_right_rows:
        return result
    scores = {
        role: _accuracy_interval(truth, labels, groups, result.scores[role]) for role, labels in predicted.items()
    }
    if result.gain is None:
        return replace(result, scores=scores)
    baseline, student = predicted["baseline"] == truth, predicted["student"] == truth
    gain = _accuracy_gain_interval(baseline, student, groups, result.gain)
    p = mcnemar(truth, predicted["baseline"], predicted["student"], groups)
    return replace(result, scores=scores, gain=gain, p=p if result.p is None else result.p, mcnemar=p)


def bootstrap_mean(
    metric: Metric, runs: Sequence[RunPredictions], *, resamples: int = RESAMPLES, seed: int = 0
) -> BootstrapResult:
    """The same for the mean over runs that differ in their seed: how it would move with other test rows.

    Without a baseline there are scores only; without a teacher no gap to it, and no ratio.
    """
    names, members = _members([run.groups for run in runs])
    roles = [role for role in runs[0].predicted if all(role in run.predicted for run in runs)]
    observed = {
        role: float(_mean_score(metric, runs, role, [np.ones((1, len(m))) for m in members])[0]) for role in roles
    }
    drawn: dict[str, list[np.ndarray]] = {role: [] for role in roles}
    for weights in _draws(len(names), resamples, seed):
        of_rows = [weights[:, member] for member in members]
        for role in roles:
            drawn[role].append(_mean_score(metric, runs, role, of_rows))
    samples = {role: np.concatenate(values) for role, values in drawn.items()}
    scores = {role: _interval(observed[role], samples[role]) for role in roles}
    if "baseline" not in roles:
        return BootstrapResult(scores, None, None, None, None)
    gains = metric.gain(samples["student"], samples["baseline"])
    gain = _interval(metric.gain(observed["student"], observed["baseline"]), gains)
    p = None if gain.value is None else _p_value(gains)
    if "teacher" not in roles:
        return BootstrapResult(scores, gain, None, None, p)
    gaps = metric.gain(samples["teacher"], samples["baseline"])
    teacher_gap = _interval(metric.gain(observed["teacher"], observed["baseline"]), gaps)
    ratio = None
    if gain.value is not None and teacher_gap.value is not None and teacher_gap.low is not None and teacher_gap.low > 0:
        clear = gaps > 0
        ratio = _interval(gain.value / teacher_gap.value, gains[clear] / gaps[clear])
    return BootstrapResult(scores, gain, teacher_gap, ratio, p)


def mcnemar(truth: np.ndarray, one: np.ndarray, other: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Two-sided p-value that two classifiers are right equally often.

    McNemar's exact test (1947). Rows of the same group are not independent; whole groups are then the units: with
    d_g = (rows of group g that only ``one`` has right) - (those that only ``other`` has right), the p-value is that of
    the exact sign-flip test of sum(d_g), each d_g being as likely with either sign if the classifiers are alike. For
    groups of one row the two are the same test.

    :param groups: rows with the same entry belong together, shape (rows,); None if none do.
    """
    right_one, right_other = one == truth, other == truth
    if groups is None or len(np.unique(groups)) == len(groups):
        table = [[np.sum(a & b) for b in (right_other, ~right_other)] for a in (right_one, ~right_one)]
        if table[0][1] + table[1][0] == 0:
            return 1.0
        return float(statsmodels_mcnemar(table, exact=True).pvalue)
    _, group_of = np.unique(groups, return_inverse=True)
    differences = np.bincount(group_of, right_one.astype(float) - right_other)
    return _sign_flip_p_value(np.rint(differences).astype(int))


def _sign_flip_p_value(differences: np.ndarray) -> float:
    """P(|sum of s_g d_g| >= |sum of d_g|) over independent random signs s_g, exactly, by convolution.

    :param differences: integers d_g, shape (groups,).
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    probabilities = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        # size * (2 k - count) with k ~ Binomial(count, 1/2): a step of 2 * size between neighbours.
        spaced = np.zeros(2 * size * count + 1)
        spaced[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        probabilities = np.convolve(probabilities, spaced)
    reach = len(probabilities) // 2
    sums = np.arange(-reach, reach + 1)
    return float(min(1.0, probabilities[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def _accuracy_interval(
    truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, bootstrapped: Interval
) -> Interval:
    """Wilson's interval for rows that are independent; for groups of rows the bootstrap's, unless it has collapsed."""
    count = len(np.unique(groups))
    right = float((predicted == truth).mean())
    if count < len(truth) and bootstrapped.low is not None:
        return bootstrapped
    low, high = proportion_confint(right * count, count, alpha=1 - LEVEL, method="wilson")
    return Interval(right, float(low), float(high))


def _f1_interval(truth: np.ndarray, called: np.ndarray, groups: np.ndarray, bootstrapped: Interval) -> Interval:
    """The bootstrap's interval; where that has collapsed, at 0 or 1, Wilson's.

    F1 is 2 J / (1 + J), where J is the share of hits among the rows that are positive or called so; J is a proportion.

    :param truth: whether a row is positive, and ``called``: whether the model says so, shape (rows,) each.
    """
    if bootstrapped.value is None or bootstrapped.low is not None:
        return bootstrapped
    counted = truth | called
    share = float((truth & called)[counted].mean())
    count = len(np.unique(groups[counted]))
    low, high = proportion_confint(share * count, count, alpha=1 - LEVEL, method="wilson")
    return Interval(bootstrapped.value, *(float(2 * bound / (1 + bound)) for bound in (low, high)))


def _accuracy_gain_interval(
    baseline: np.ndarray, student: np.ndarray, groups: np.ndarray, bootstrapped: Interval
) -> Interval:
    """Agresti and Min's interval for a difference of paired proportions; for groups, only if the bootstrap's collapsed.

    Half a row is added to each cell of the table of right and wrong (Agresti and Min 2005, Statistics in Medicine 24,
    section 3): percentiles are too narrow where few rows tell the models apart, and vanish where none does.

    :param baseline: and ``student``: whether each is right, shape (rows,).
    """
    _, group_of = np.unique(groups, return_inverse=True)
    differences = np.bincount(group_of, student.astype(float) - baseline)
    if len(differences) < len(groups) and bootstrapped.low is not None:
        return bootstrapped
    for_student, for_baseline = (differences > 0).sum() + 0.5, (differences < 0).sum() + 0.5
    count = len(differences) + 2
    center = (for_student - for_baseline) / count
    margin = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(for_student + for_baseline - count * center**2) / count
    return Interval(bootstrapped.value, float(max(-1.0, center - margin)), float(min(1.0, center + margin)))


def _members(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All groups there are, and the place among them of each row of each run."""
    names, places = np.unique(np.concatenate(groups), return_inverse=True)
    return names, np.split(places, np.cumsum([len(entries) for entries in groups])[:-1])


def _draws(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of ``count`` groups is in each resample, (at most CHUNK, count) at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        picks = random.integers(count, size=(min(CHUNK, resamples - start), count))
        yield np.stack([np.bincount(pick, minlength=count) for pick in picks]).astype(float)


def _mean_score(metric: Metric, runs: Sequence[RunPredictions], role: str, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Over the runs, on rows that count ``weights`` (resamples, rows) times each: (resamples,)."""
    scores = [
        metric.weighted(run.truth, run.predicted[role], weight) for run, weight in zip(runs, weights, strict=True)
    ]
    return np.asarray(np.mean(scores, axis=0))


def _p_value(samples: np.ndarray) -> float | None:
    """Two-sided, that the true value is 0: 1 less the level of the widest percentile interval that leaves 0 out.

    Where no resample reaches 0, the normal tail, so that more resamples would not be needed to get below 1 in 2,000.
    None where all resamples agree on another value than 0: they do not tell how much it varies.
    """
    samples = samples[np.isfinite(samples)]
    if not len(samples) or (samples[0] != 0 and np.ptp(samples) < ROUNDING):
        return None
    tail = min((samples <= 0).sum(), (samples >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (len(samples) + 1))
    if tail == 0:
        p = min(p, 2 * stats.norm.sf(abs(samples.mean()) / samples.std()))
    return float(p)


def _interval(value: float, samples: np.ndarray) -> Interval:
    samples = samples[np.isfinite(samples)]
    if not np.isfinite(value) or not len(samples):
        return Interval(None, None, None)
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if high - low < ROUNDING:
        return Interval(value, None, None)
    return Interval(value, float(low), float(high))
