"""Every task the scripts know: where its rows are, what they hold and how they are scored.

``GLUE_TASKS`` and ``PAWSX_LANGUAGES`` are the tables behind ``choices=`` on the command line.
"""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Task:
    """One data set configuration and how to score it.

    ``text_columns`` are in reading order; the models see them as ``sentence1`` and ``sentence2`` (or ``sentence``)
    because AutoGluon joins columns in the order of their names, which would put MNLI's hypothesis before its premise.
    ``metrics[0]`` is the headline, the one that the distillation ratio is quoted for. ``unlabelled_splits`` are those
    whose labels GLUE keeps secret; no model is scored on them.

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
        """The metric that picks checkpoints on the hold-out, and ends a fit early: the headline."""
        return self.metrics[0]

    @property
    def model_columns(self) -> tuple[str, ...]:
        """The names under which the models see ``text_columns``."""
        return ("sentence",) if len(self.text_columns) == 1 else ("sentence1", "sentence2")

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
