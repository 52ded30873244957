"""From raw rows to the frames that the three models share: cleaned, subsampled, and split once."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from automm_distill.errors import UserError
from automm_distill.inputs.rows import own_task, unlabelled
from automm_distill.inputs.rows.cleaning import clean, warn_if_names_meet_numbers
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.inputs.rows.row_ids import separate_unrelated
from automm_distill.inputs.rows.subsets import cut
from automm_distill.settings import REST, Settings
from automm_distill.tasks import Task

Rows = Mapping[str, Mapping[str, pd.DataFrame]]  # by configuration and split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainValidation:
    """What one model trains on: frames with ``id``, the task's ``model_columns`` and ``label``."""

    train: pd.DataFrame
    validation: pd.DataFrame

    @cached_property
    def fingerprint(self) -> str:
        """Hash of texts and labels in their order; ids do not count, since no model sees them."""
        digest = hashlib.sha256()
        for frame in (self.train, self.validation):
            seen = frame.drop(columns="id")
            digest.update(repr((list(seen.columns), len(seen))).encode())
            digest.update(pd.util.hash_pandas_object(seen, index=False, categorize=False).to_numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """All rows of a run, and the task that they are of; in several languages, that of the first.

    Teacher and student share their training rows unless their languages differ.

    ``fingerprint`` is a hash of every row that was read, before any were cut or held out: the same for every seed.
    ``unlabelled`` are more rows for the student, with ``id`` and the task's ``model_columns``; None where none were
    asked for. ``left_out`` says how many of them were not taken, for what. ``test_rows_were_training_rows`` where the
    test rows were taken off those.
    """

    task: Task
    teacher: TrainValidation
    student: TrainValidation
    tests: Mapping[str, pd.DataFrame]
    fingerprint: str
    unlabelled: pd.DataFrame | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    test_rows_were_training_rows: bool = False

    @property
    def unlabelled_count(self) -> int:
        """Of rows without a label."""
        return 0 if self.unlabelled is None else len(self.unlabelled)


def load_splits(settings: Settings, folder: Path) -> Splits:
    """Read, clean, cut and split the rows that ``settings`` are about.

    :param folder: where :func:`automm_distill.inputs.rows.raw_rows.read_splits` looks, or where the user's rows that
        are on the hub are kept.
    :raises UserError: when rows are missing, malformed, or nothing is left of them.
    """
    load = {"glue": _load_task, "pawsx": _load_languages, "own": _load_own}[settings.benchmark]
    splits, whole, kept = load(settings, folder)
    return _with_unlabelled(splits, whole, kept, settings, folder) if settings.unlabelled_path else splits


def _load_languages(settings: Settings, folder: Path) -> tuple[Splits, Rows, Rows]:
    """PAWS-X's, with all rows that were read, and those that are left by the limits."""
    whole, fingerprint = _read_languages(settings, folder)
    rows = {task.config: _cut_all(whole[task.config], task, settings) for task in settings.tasks}
    tests = {language: rows[language]["test"] for language in settings.pawsx_student_tasks}
    teacher = _join(rows, settings.pawsx_teacher_tasks)
    same = settings.pawsx_teacher_tasks == settings.pawsx_student_tasks
    student = teacher if same else _join(rows, settings.pawsx_student_tasks)
    return Splits(settings.tasks[0], teacher, student, tests, fingerprint), whole, rows


def _load_task(settings: Settings, folder: Path) -> tuple[Splits, Rows, Rows]:
    """The same of a task of GLUE, or of the demo."""
    (task,) = settings.tasks
    frames, fingerprint = _read(task, task.splits, folder)
    rows = _cut_all(frames, task, settings)
    tests = {name: rows[split] for name, split in task.test_splits}
    data = hold_out(rows["train"], task, settings.seed)
    return Splits(task, data, data, tests, fingerprint), {task.config: frames}, {task.config: rows}


def _load_own(settings: Settings, folder: Path) -> tuple[Splits, Rows, Rows]:
    """The same of the user's rows."""
    found = own_task.load(settings, folder)
    task, rows = found.task, found.kept
    if task.is_regression:
        _refuse_constant_labels(rows["train"]["label"], task, f"{task.config}/train")
    if task.tuning_split is None:
        data = hold_out_frequent(rows["train"], task, settings.seed)
    else:
        data = TrainValidation(rows["train"], rows[task.tuning_split])
    if task.is_regression:
        for part, what in ((data.train, "train"), (data.validation, "hold-out")):
            _refuse_constant_labels(part["label"], task, f"{task.config}/{what}")
    tests = {name: rows[split] for name, split in task.test_splits}
    splits = Splits(
        task,
        data,
        data,
        tests,
        found.fingerprint,
        test_rows_were_training_rows=found.test_rows_were_training_rows,
    )
    return splits, {task.config: found.whole}, {task.config: rows}


def hold_out(frame: pd.DataFrame, task: Task, seed: int) -> TrainValidation:
    """Split off the rows that select checkpoints: as many as AutoGluon would take, stratified, seeded.

    Sizes follow AutoGluon 1.6.3 (data/utils.py): below 5,000 rows between 10 and 20 %, about 500; above that between
    1 and 10 %, about 2,500. A regression is stratified by the deciles of its label.

    :raises UserError: when there are too few rows for that.
    """
    n, size = len(frame), _hold_out_size(len(frame))
    strata = frame["label"]
    if task.is_regression:
        strata = _quantiles(strata, max(1, min(10, size // 2)))
    elif strata.value_counts().min() == 1:
        single = task.classes[strata.value_counts().idxmin()]
        raise UserError(
            f"{task.config}/train: 1 of {n:,} rows is of class {single}; it takes 2 for the training rows and the "
            "hold-out to have every class"
        )
    try:
        train, validation = train_test_split(frame, test_size=size, random_state=seed, stratify=strata)
    except ValueError as error:
        raise UserError(f"{n:,} training rows are too few to split off a hold-out with every class in it") from error
    if task.is_regression:  # no correlation with a constant
        for part, what in ((train, "train"), (validation, "hold-out")):
            _refuse_constant_labels(part["label"], task, f"{task.config}/{what}")
    return TrainValidation(train.reset_index(drop=True), validation.reset_index(drop=True))


def hold_out_frequent(frame: pd.DataFrame, task: Task, seed: int) -> TrainValidation:
    """The same where classes may be many or rare: every class is trained on, and some are not in the hold-out.

    :raises UserError: when nothing is left for the hold-out.
    """
    if task.is_regression:
        return hold_out(frame, task, seed)
    counts = frame["label"].value_counts()
    repeated = frame["label"].isin(counts.index[counts > 1])
    if not repeated.any():
        raise UserError(
            f"{task.config}/train: all {len(frame):,} rows are of different classes, which leaves none for a hold-out; "
            "more rows help, or --validation_path"
        )
    if (counts > 1).sum() <= _hold_out_size(int(repeated.sum())):
        parts = hold_out(frame[repeated], task, seed)
        train, validation = pd.concat([parts.train, frame[~repeated]], ignore_index=True), parts.validation
    else:  # too few rows to hold out one of each class
        shuffled = frame.sample(frac=1, random_state=seed)
        chosen = shuffled[shuffled["label"].duplicated()][: _hold_out_size(len(frame))]
        train, validation = shuffled.drop(chosen.index).reset_index(drop=True), chosen.reset_index(drop=True)
    absent = len(counts) - validation["label"].nunique()
    if absent:
        log.warning(
            "%s/train: %s of %s classes have too few rows to be in the hold-out",
            *(task.config, f"{absent:,}", f"{len(counts):,}"),
        )
    return TrainValidation(train, validation)


def _hold_out_size(rows: int) -> int:
    share = max(0.1, min(0.2, 500 / rows)) if rows < 5000 else max(0.01, min(0.1, 2500 / rows))
    return max(1, round(rows * share))


def _quantiles(labels: pd.Series, most: int) -> pd.Series:
    """In which of up to ``most`` quantiles each label lies: fewer where one would hold a single row."""
    quantiles = pd.qcut(labels, most, labels=False, duplicates="drop")
    if most > 1 and quantiles.value_counts().min() == 1:
        return _quantiles(labels, most - 1)
    return quantiles


def _with_unlabelled(splits: Splits, whole: Rows, kept: Rows, settings: Settings, folder: Path) -> Splits:
    """``splits`` with the rows that ``--unlabelled_path`` names.

    :param whole: all rows that were read; ``kept``: those of them that are left by the limits.
    :raises UserError: when there are none, or they cannot be read.
    """
    task = splits.task
    configs = settings.pawsx_student_tasks or (task.config,)
    rows, fingerprint = unlabelled.read(settings.unlabelled_path, task, folder), splits.fingerprint
    if len(rows):  # the rest follows from settings and the other rows
        fingerprint = hashlib.sha256(repr((fingerprint, unlabelled.fingerprint(rows))).encode()).hexdigest()
    if REST in settings.unlabelled_path:
        rest = [_left_out(whole[config]["train"], kept[config]["train"]) for config in configs]
        if not any(map(len, rest)) and len(rows):
            log.warning("--unlabelled_path %s: no training row is left out or without a label", REST)
        rows = pd.concat([rows, *rest], ignore_index=True)[rows.columns]
    if rows.empty and settings.benchmark == "own" and settings.max_train_rows is None:
        raise UserError(f"--unlabelled_path {REST}: every training row has a label; give --max_train_rows, or a file")
    if rows.empty:
        raise UserError(
            f"--unlabelled_path {REST}: --max_train_rows {settings.max_train_rows} leaves out no training row; give "
            "fewer rows, or a file"
        )
    known = {
        "that are test rows": pd.concat([whole[config][split] for config in configs for _, split in task.test_splits]),
        "of the hold-out": splits.student.validation,
        "training rows": splits.student.train,
    }
    rows, left_out = unlabelled.without_known(rows, known, task)
    limit = settings.unlabelled_rows
    if limit is not None and limit > len(rows):
        log.warning("--unlabelled_rows %s: there are %s, all are kept", limit, len(rows))
    elif limit is not None:
        log.info("%s of the unlabelled rows are kept, at random", f"{limit:,}")
    return replace(splits, fingerprint=fingerprint, unlabelled=cut(rows, limit, settings.seed), left_out=left_out)


def _left_out(frame: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame`` that a limit took away."""
    return frame[~frame["id"].isin(kept["id"])]


def _read_languages(settings: Settings, folder: Path) -> tuple[Rows, str]:
    """All rows of PAWS-X's languages, and their fingerprint."""
    rows, fingerprints = {}, []
    for task in settings.tasks:
        tested = task.config in settings.pawsx_student_tasks  # languages of the teacher alone are not
        splits = [split for split in task.splits if tested or split != "test"]
        rows[task.config], fingerprint = _read(task, splits, folder)
        fingerprints.append(fingerprint)
    tests = separate_unrelated({language: rows[language]["test"] for language in settings.pawsx_student_tasks})
    for language, frame in tests.items():
        rows[language]["test"] = frame
    return rows, hashlib.sha256(repr(fingerprints).encode()).hexdigest()


def _read(task: Task, splits: Sequence[str], folder: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """All rows of each split, cleaned, and their fingerprint."""
    digest = hashlib.sha256(task.config.encode())
    frames = {}
    rows = read_splits(folder, task, splits)
    warn_if_names_meet_numbers(rows, task)
    for split, raw in rows.items():
        frame = frames[split] = clean(raw, task, f"{task.config}/{split}")
        digest.update(repr((split, list(frame.columns), len(frame))).encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False, categorize=False).to_numpy().tobytes())
    return frames, digest.hexdigest()


def _cut_all(frames: Mapping[str, pd.DataFrame], task: Task, settings: Settings) -> dict[str, pd.DataFrame]:
    """The splits, cut as the settings say.

    :raises UserError: when rows to train or to select on are left that no model can be trained or selected on.
    """
    tests = {split for _, split in task.test_splits}
    kept = {}
    for split, frame in frames.items():
        limit = settings.max_test_rows if split in tests else settings.max_train_rows
        kept[split] = cut(frame, limit, settings.seed)
        if split not in tests:
            _refuse_constant_labels(kept[split]["label"], task, f"{task.config}/{split}")
    return kept


def _refuse_constant_labels(labels: pd.Series, task: Task, where: str) -> None:
    absent = set(range(len(task.classes))) - set(labels)
    if absent:
        names = ", ".join(task.classes[number] for number in sorted(absent))
        raise UserError(f"{where}: none of the {len(labels):,} rows is of class {names}; more rows may help")
    if task.is_regression and labels.min() == labels.max():
        raise UserError(
            f"{where}: all {len(labels):,} labels are {labels.iloc[0]:g}; a regression needs different ones"
        )


def _join(rows: Rows, languages: tuple[str, ...]) -> TrainValidation:
    return TrainValidation(
        *(
            pd.concat([rows[language][split] for language in languages], ignore_index=True)
            for split in ("train", "validation")
        )
    )
