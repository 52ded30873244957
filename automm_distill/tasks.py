"""Every task the scripts know: where its rows are, what they hold and how they are scored.

``GLUE_TASKS`` and ``PAWSX_LANGUAGES`` are the tables behind ``choices=`` on the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from automm_distill.errors import UserError, some_of

CLASSIFICATION, REGRESSION = "classification", "regression"
ONE_CLASS = "f1:"  # and the class: its F1 against the rest
CLASS_METRICS = ("accuracy", "f1_macro", "f1_micro", "matthews", "roc_auc")
VALUE_METRICS = ("rmse", "pearson", "spearman")
OWN_METRICS = (*CLASS_METRICS, f"{ONE_CLASS}CLASS", *VALUE_METRICS)


@dataclass(frozen=True)
class Task:
    """One data set configuration and how to score it.

    ``text_columns`` are in reading order; the models see them as ``sentence1`` and ``sentence2`` (or ``sentence``)
    because AutoGluon joins columns in the order of their names, which would put MNLI's hypothesis before its premise.
    ``metrics[0]`` is the headline, the one that the distillation ratio is quoted for. ``unlabelled_splits`` are those
    whose labels GLUE keeps secret; no model is scored on them.

    Rows may lack one of their texts where ``texts_may_be_empty``, but not all. Of three or more columns, all but the
    first are one text to the models.

    Column names are the hub's. Where the files of the official archive have others, ``archive_columns`` pairs each
    with the hub's; where they have no header line, ``archive_header`` names all columns.
    """

    name: str
    hub_id: str
    config: str
    text_columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    label_range: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    tuning_split: str | None = None
    test_splits: tuple[tuple[str, str], ...] = (("test", "validation"),)
    unlabelled_splits: tuple[str, ...] = ()
    archive_columns: tuple[tuple[str, str], ...] = ()
    archive_header: tuple[str, ...] = ()
    texts_may_be_empty: bool = False

    @property
    def is_regression(self) -> bool:
        return not self.classes

    @property
    def problem_type(self) -> str:
        """AutoGluon's name for the kind of label."""
        if self.is_regression:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"

    @property
    def selection_metric(self) -> str:
        """What picks checkpoints on the hold-out, and ends a fit early: the headline, as keys of the cache call it."""
        return {"pearson": "pearsonr"}.get(self.metrics[0], self.metrics[0])

    @property
    def model_columns(self) -> tuple[str, ...]:
        """The names under which the models see ``text_columns``."""
        return model_columns(len(self.text_columns))

    def label_text(self, label: float) -> str:
        """A label as people know it. One that equals the number of classes is of a class that no training row has."""
        if self.is_regression:
            return f"{label:g}"
        return self.classes[int(label)] if label < len(self.classes) else "of a class that no training row has"

    def test_set_name(self, test_set: str) -> str:
        """How messages call one of the test sets: by the task too, which has one called "test", or several."""
        return self.name if test_set == "test" else f"{self.name} {test_set}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split that a run reads."""
        tuning = (self.tuning_split,) if self.tuning_split else ()
        return ("train", *tuning, *(split for _, split in self.test_splits))


def model_columns(texts: int) -> tuple[str, ...]:
    """The names under which the models see so many columns of texts."""
    return ("sentence",) if texts == 1 else ("sentence1", "sentence2")


def _glue(name: str, *text_columns: str, **changes: Any) -> Task:
    values = {"config": name, "unlabelled_splits": ("test",), **changes}
    return Task(name=name, hub_id="nyu-mll/glue", text_columns=text_columns, **values)


_ENTAILMENT = ("entailment", "not_entailment")
_MATCHED, _MISMATCHED = ("matched", "validation_matched"), ("mismatched", "validation_mismatched")
_MNLI = _glue(
    "mnli",
    "premise",
    "hypothesis",
    classes=("entailment", "neutral", "contradiction"),
    test_splits=(_MATCHED, _MISMATCHED),
    unlabelled_splits=("test_matched", "test_mismatched"),
    archive_columns=(("sentence1", "premise"), ("sentence2", "hypothesis"), ("gold_label", "label")),
)

GLUE_TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _MNLI,
        replace(_MNLI, name="mnlim", test_splits=(_MATCHED,), unlabelled_splits=("test_matched",)),
        replace(_MNLI, name="mnlimm", test_splits=(_MISMATCHED,), unlabelled_splits=("test_mismatched",)),
        _glue(
            "qqp",
            "question1",
            "question2",
            classes=("not_duplicate", "duplicate"),
            metrics=("accuracy", "f1"),
            archive_columns=(("is_duplicate", "label"),),
        ),
        _glue("qnli", "question", "sentence", classes=_ENTAILMENT),
        _glue("sst2", "sentence", classes=("negative", "positive")),
        _glue(
            "stsb",
            "sentence1",
            "sentence2",
            label_range=(0.0, 5.0),
            metrics=("pearson", "spearman"),
            archive_columns=(("score", "label"),),
        ),
        _glue(
            "mrpc",
            "sentence1",
            "sentence2",
            classes=("not_equivalent", "equivalent"),
            metrics=("accuracy", "f1"),
            archive_columns=(("#1 String", "sentence1"), ("#2 String", "sentence2"), ("Quality", "label")),
        ),
        _glue("rte", "sentence1", "sentence2", classes=_ENTAILMENT),
        _glue(
            "cola",
            "sentence",
            classes=("unacceptable", "acceptable"),
            metrics=("matthews",),
            archive_header=("source", "label", "original mark", "sentence"),
        ),
    )
}

PAWSX_LANGUAGES: tuple[str, ...] = ("en", "de", "es", "fr", "ja", "ko", "zh")

DEMO_LANGUAGES: tuple[str, ...] = ("en", "de")

DEMO_TASK = Task(
    name="demo",
    hub_id="",
    config="demo",
    text_columns=("sentence1", "sentence2"),
    classes=("other_meaning", "same_meaning"),
    metrics=("accuracy", "f1"),
)


def own_task(
    name: str, text_columns: Sequence[str], classes: Sequence[str], metric: str | None, *, has_validation: bool
) -> Task:
    """A task of the user's own rows.

    :param classes: none for a regression.
    :param metric: the headline; None for the usual one.
    :raises UserError: when these labels have no such metric.
    """
    usual = ("accuracy", "f1_macro") if classes else ("rmse", "pearson")
    if metric is not None:
        check_own_metric(metric, CLASSIFICATION if classes else REGRESSION)
        if metric == "roc_auc" and len(classes) != 2:
            raise UserError(f"--metric roc_auc: needs two classes, the labels have {len(classes)}; use f1_macro")
        of_class = metric.removeprefix(ONE_CLASS)
        if metric.startswith(ONE_CLASS) and of_class not in classes:
            raise UserError(f"--metric {metric}: no training row is of class {of_class!r}; found {some_of(classes)}")
    return Task(
        name=name,
        hub_id="",
        config=name,
        text_columns=tuple(text_columns),
        classes=tuple(classes),
        metrics=usual if metric in (None, usual[0]) else (metric, usual[0]),
        tuning_split="validation" if has_validation else None,
        test_splits=(("test", "test"),),
        texts_may_be_empty=True,
    )


def check_own_metric(metric: str, problem_type: str | None) -> None:
    """Refuse what is no metric, or none of this kind of label.

    :param problem_type: None if it is not known yet.
    :raises UserError: that names those that there are.
    """
    of_classes = metric in CLASS_METRICS or (metric.startswith(ONE_CLASS) and metric != ONE_CLASS)
    if not of_classes and metric not in VALUE_METRICS:
        raise UserError(f"--metric {metric}: needs one of {', '.join(OWN_METRICS)}")
    if problem_type is not None and of_classes != (problem_type == CLASSIFICATION):
        valid = (*CLASS_METRICS, f"{ONE_CLASS}CLASS") if problem_type == CLASSIFICATION else VALUE_METRICS
        raise UserError(f"--metric {metric}: is not for {problem_type}; needs one of {', '.join(valid)}")


def pawsx_task(language: str) -> Task:
    """PAWS-X in one language: its own train, validation and test splits."""
    return Task(
        name="pawsx",
        hub_id="google-research-datasets/paws-x",
        config=language,
        text_columns=("sentence1", "sentence2"),
        classes=("different", "paraphrase"),
        tuning_split="validation",
        test_splits=((language, "test"),),
    )
