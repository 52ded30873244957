"""From raw rows to the frames that the three models share: cleaned, subsampled, and split once."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from automm_distill.errors import UserError
from automm_distill.inputs.cleaning import clean
from automm_distill.inputs.raw_rows import read_splits
from automm_distill.settings import Settings
from automm_distill.tasks import Task

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
            digest.update(pd.util.hash_pandas_object(seen, index=False).to_numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """All rows of a run. Teacher and student share their training rows unless their languages differ.

    ``fingerprint`` is a hash of every row that was read, before any were cut or held out: the same for every seed.
    """

    teacher: TrainValidation
    student: TrainValidation
    tests: Mapping[str, pd.DataFrame]
    fingerprint: str


def load_splits(settings: Settings, folder: Path) -> Splits:
    """Read, clean, cut and split the rows of ``settings.tasks``.

    :param folder: where :func:`automm_distill.inputs.raw_rows.read_splits` looks.
    :raises UserError: when rows are missing, malformed, or nothing is left of them.
    """
    if settings.benchmark == "pawsx":
        rows, fingerprints = {}, []
        for task in settings.tasks:
            tested = task.config in settings.pawsx_student_tasks  # languages of the teacher alone are not
            splits = [split for split in task.splits if tested or split != "test"]
            rows[task.config], fingerprint = _load(task, splits, settings, folder)
            fingerprints.append(fingerprint)
        tests = {language: rows[language]["test"] for language in settings.pawsx_student_tasks}
        _warn_if_no_ids_are_shared(tests)
        teacher = _join(rows, settings.pawsx_teacher_tasks)
        same = settings.pawsx_teacher_tasks == settings.pawsx_student_tasks
        student = teacher if same else _join(rows, settings.pawsx_student_tasks)
        return Splits(teacher, student, tests, hashlib.sha256(repr(fingerprints).encode()).hexdigest())
    (task,) = settings.tasks
    frames, fingerprint = _load(task, task.splits, settings, folder)
    data = hold_out(frames["train"], task, settings.seed)
    return Splits(data, data, {name: frames[split] for name, split in task.test_splits}, fingerprint)


def cut(frame: pd.DataFrame, rows: int | None, seed: int) -> pd.DataFrame:
    """A random choice of ``rows`` rows in their order; the same ids are chosen in every language."""
    if rows is None or len(frame) <= rows:
        return frame
    key = f"{seed:016d}"[-16:]
    rank = pd.util.hash_array(frame["id"].to_numpy(dtype=object), hash_key=key, categorize=False)
    chosen = np.sort(np.argsort(rank, kind="stable")[:rows])
    return frame.iloc[chosen].reset_index(drop=True)


def hold_out(frame: pd.DataFrame, task: Task, seed: int) -> TrainValidation:
    """Split off the rows that select checkpoints: as many as AutoGluon would take, stratified, seeded.

    Sizes follow AutoGluon 1.6.3 (data/utils.py): below 5,000 rows between 10 and 20 %, about 500; above that between
    1 and 10 %, about 2,500. A regression is stratified by the deciles of its label.
    """
    n = len(frame)
    share = max(0.1, min(0.2, 500 / n)) if n < 5000 else max(0.01, min(0.1, 2500 / n))
    size = max(1, round(n * share))
    strata = frame["label"]
    if task.is_regression:
        strata = pd.qcut(strata, max(1, min(10, size // 2)), labels=False, duplicates="drop")
    try:
        train, validation = train_test_split(frame, test_size=size, random_state=seed, stratify=strata)
    except ValueError as error:
        raise UserError(f"{n:,} training rows are too few to split off a hold-out with every class in it") from error
    return TrainValidation(train.reset_index(drop=True), validation.reset_index(drop=True))


def _load(task: Task, splits: Sequence[str], settings: Settings, folder: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """The rows of each split, cut, and a fingerprint of all that there were before."""
    tests = {split for _, split in task.test_splits}
    frames = {}
    digest = hashlib.sha256(task.config.encode())
    for split, raw in read_splits(folder, task, splits).items():
        where = f"{task.config}/{split}"
        limit = settings.max_test_rows if split in tests else settings.max_train_rows
        cleaned = clean(raw, task, where)
        digest.update(repr((split, list(cleaned.columns), len(cleaned))).encode())
        digest.update(pd.util.hash_pandas_object(cleaned, index=False).to_numpy().tobytes())
        frames[split] = cut(cleaned, limit, settings.seed)
        absent = set(range(len(task.classes))) - set(frames[split]["label"])
        if split not in tests and absent:
            names = ", ".join(task.classes[number] for number in sorted(absent))
            raise UserError(f"{where}: none of the {len(frames[split]):,} rows is of class {names}; more rows may help")
        if task.is_regression and split not in tests and frames[split]["label"].min() == frames[split]["label"].max():
            value = frames[split]["label"].iloc[0]
            raise UserError(
                f"{where}: all {len(frames[split]):,} labels are {value:g}; a regression needs different ones"
            )
    return frames, digest.hexdigest()


def _join(rows: Mapping[str, Mapping[str, pd.DataFrame]], languages: tuple[str, ...]) -> TrainValidation:
    return TrainValidation(
        *(
            pd.concat([rows[language][split] for language in languages], ignore_index=True)
            for split in ("train", "validation")
        )
    )


def _warn_if_no_ids_are_shared(tests: Mapping[str, pd.DataFrame]) -> None:
    """Intervals for all languages together rely on the id that a sentence pair has in each of them."""
    ids = [set(frame["id"]) for frame in tests.values()]
    if len(ids) > 1 and not set.intersection(*ids):
        log.warning("the test sets of %s share no ids: their rows are taken as independent", ", ".join(tests))
