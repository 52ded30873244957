"""The user's rows as one task: cleaned, with their labels as class numbers or values."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from automm_distill.errors import UserError, some_of
from automm_distill.inputs.rows import own_labels
from automm_distill.inputs.rows.cleaning import lacks_text
from automm_distill.inputs.rows.own_columns import LABEL, find_text_columns, read_columns
from automm_distill.inputs.rows.own_sources import FLAGS, TEST, TRAIN, VALIDATION, describe, read_sources, task_name
from automm_distill.inputs.rows.row_texts import text_hashes
from automm_distill.inputs.rows.subsets import cut
from automm_distill.settings import REST, Settings
from automm_distill.tasks import CLASSIFICATION, REGRESSION, Task, own_task

TEST_SHARE, MOST_TEST_ROWS = 0.2, 10_000  # of the training rows, where there are no test rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnRows:
    """The task that the rows make, its frames by split, and a hash of all rows that were read.

    ``kept`` are those that are trained and scored on: with ``id``, the task's ``model_columns`` and ``label``;
    ``whole`` all that were read, those without a label and those that a limit leaves out too.
    """

    task: Task
    whole: Mapping[str, pd.DataFrame]
    kept: Mapping[str, pd.DataFrame]
    fingerprint: str
    test_rows_were_training_rows: bool


def load(settings: Settings, hub_folder: Path) -> OwnRows:
    """Read, clean and label the rows that ``settings`` name.

    :raises UserError: when rows are missing or malformed, or make no task.
    """
    raw = read_sources(settings, hub_folder)
    where = {split: describe(split, settings) for split in raw}
    if len(set(settings.text_columns)) < len(settings.text_columns):
        raise UserError(f"--text_columns {' '.join(settings.text_columns)}: names a column twice")
    text_columns = settings.text_columns or find_text_columns(raw[TRAIN], settings.label_column, where[TRAIN])
    frames = {
        split: _with_text(read_columns(frame, text_columns, settings.label_column, where[split]), where[split])
        for split, frame in raw.items()
    }
    fingerprint = _fingerprint(frames)
    for split, frame in frames.items():
        frame[LABEL] = own_labels.class_names(frame[LABEL], where[split])
    if settings.test_path is None and TEST in frames and frames[TEST][LABEL].isna().all():  # as GLUE's are on the hub
        log.info("%s: its rows have no labels and are not scored", where[TEST])
        del frames[TEST]
    labelled = {split: _labelled(frame, split, where[split], settings) for split, frame in frames.items()}
    kind = settings.problem_type or own_labels.problem_type(labelled[TRAIN][LABEL])
    if kind == REGRESSION:
        for split, frame in labelled.items():
            frame[LABEL] = own_labels.values(frame[LABEL], where[split])
    test_rows_were_training_rows = TEST not in labelled
    if test_rows_were_training_rows:
        labelled[TRAIN], labelled[TEST] = _split_off_test_rows(labelled[TRAIN], kind)
        of_train = ~frames[TRAIN]["id"].isin(labelled[TEST]["id"])
        frames[TRAIN] = frames[TRAIN][of_train].reset_index(drop=True)
    kept = {split: cut(frame, _limit(split, settings), settings.seed) for split, frame in labelled.items()}
    classes: tuple[str, ...] = ()
    if kind == CLASSIFICATION:
        classes = own_labels.find_classes(kept[TRAIN][LABEL], where[TRAIN])
        kept = {
            split: _numbered(frame, split, classes, where.get(split, where[TRAIN])) for split, frame in kept.items()
        }
    has_validation = VALIDATION in kept
    task = own_task(
        task_name(str(settings.train_path)), text_columns, classes, settings.metric, has_validation=has_validation
    )
    _tell(task, kept[TRAIN], settings)
    return OwnRows(task, {**frames, TEST: labelled[TEST]}, kept, fingerprint, test_rows_were_training_rows)


def resolved(settings: Settings, task: Task) -> Settings:
    """The settings with what the rows have said of those that were left open.

    :raises UserError: when another flag does not go with what they are.
    """
    kind = CLASSIFICATION if task.classes else REGRESSION
    metric = settings.metric or task.metrics[0]
    return replace(settings, text_columns=task.text_columns, problem_type=kind, metric=metric)


def _limit(split: str, settings: Settings) -> int | None:
    return {TRAIN: settings.max_train_rows, TEST: settings.max_test_rows}.get(split)


def _with_text(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    textless = lacks_text(frame.drop(columns=["id", LABEL]), may_be_empty=True)
    if textless.any():
        log.info("%s: dropped %s of %s rows without text", where, f"{textless.sum():,}", f"{len(frame):,}")
    if textless.all():
        raise UserError(f"{where}: no row is left with a text (of {len(frame):,})")
    return frame[~textless].reset_index(drop=True)


def _labelled(frame: pd.DataFrame, split: str, where: str, settings: Settings) -> pd.DataFrame:
    """The rows that have a label; the others are counted."""
    missing = frame[LABEL].isna()
    if missing.all():
        raise UserError(f"{where}: none of the {len(frame):,} rows has a label in column {settings.label_column!r}")
    if missing.any():
        count, of = f"{missing.sum():,}", f"{len(frame):,}"
        if split == TRAIN and REST in settings.unlabelled_path:
            log.info("%s: %s of %s rows have no label: they are among the unlabelled ones", where, count, of)
        else:
            more = f"; --unlabelled_path {REST} lets the student learn from them" if split == TRAIN else ""
            log.info("%s: dropped %s of %s rows without a label%s", where, count, of, more)
    return frame[~missing].reset_index(drop=True)


def _split_off_test_rows(frame: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A fifth of each class, by the texts alone: whatever the seed, the same rows, and no text on both sides.

    :raises UserError: when there are too few rows.
    """
    share = min(TEST_SHARE, MOST_TEST_ROWS / len(frame))
    texts = [column for column in frame if column not in ("id", LABEL)]
    hashes = pd.Series(text_hashes(frame, texts), index=frame.index)
    groups = frame[LABEL] if kind == CLASSIFICATION else pd.Series(0, index=frame.index)
    # A text that stands under several labels counts as of the first, so that its rows stay together.
    groups = groups.groupby(hashes).transform("first")
    # The place of a row's text among those of its class, from 0 to 1; rows of one text have one place.
    places = hashes.groupby(groups).rank(method="max", pct=True)
    test = places <= share
    if not test.any():
        raise UserError(
            f"{FLAGS[TRAIN]}: {len(frame):,} rows are too few to take test rows off them{_many_labels(frame, kind)}; "
            f"name some with {FLAGS[TEST]}"
        )
    log.info(
        "%s of %s rows are test rows, since no %s is given: the same ones for all seeds",
        *(f"{test.sum():,}", f"{len(frame):,}", FLAGS[TEST]),
    )
    return frame[~test].reset_index(drop=True), frame[test].reset_index(drop=True)


def _many_labels(frame: pd.DataFrame, kind: str) -> str:
    """Why there are too few rows, where that is no want of rows."""
    different = frame[LABEL].nunique()
    if kind != CLASSIFICATION or different <= own_labels.MOST_NUMBERED_CLASSES or 2 * different < len(frame):
        return ""
    words = [name for name in frame[LABEL].unique() if own_labels.number_of(name) is None]
    numbers = f", {some_of(map(repr, words), 3)} besides numbers" if 0 < 2 * len(words) < different else ""
    return f" by class, of which there are {different:,}{numbers}"


def _numbered(frame: pd.DataFrame, split: str, classes: tuple[str, ...], where: str) -> pd.DataFrame:
    """Class names as numbers. Test rows of a class that no training row has count as wrong, whatever models say."""
    numbers = own_labels.class_numbers(frame[LABEL], classes)
    unknown = numbers == len(classes)
    if unknown.any():
        foreign = frame[LABEL][unknown].unique()
        names = some_of(map(repr, foreign))
        spelled = ((name, own_labels.in_other_spelling(name, classes)) for name in foreign)
        for name, known in ((name, known) for name, known in spelled if known is not None):
            log.warning("%s: %r is spelled %r in the training rows, and is another class", where, name, known)
        count = f"{unknown.sum():,} of {len(frame):,} rows"
        if split == TEST:
            log.warning(
                "%s: %s are of classes that no training row has (%s): no model can be right on them",
                where,
                count,
                names,
            )
        else:
            log.warning("%s: dropped %s of classes that no training row has (%s)", where, count, names)
            frame, numbers = frame[~unknown], numbers[~unknown]
    if frame.empty:
        raise UserError(f"{where}: no row is left of a class that training rows have ({some_of(classes)})")
    return frame.assign(**{LABEL: numbers}).reset_index(drop=True)


def _tell(task: Task, train: pd.DataFrame, settings: Settings) -> None:
    """What was found in the rows, in a line."""
    found = "" if settings.text_columns else " (the only column of texts)"
    told = ""
    if task.is_regression:
        values = train[LABEL]
        kind = f"values from {values.min():g} to {values.max():g}: a regression"
        if settings.problem_type is None and (values % 1 == 0).all() and values.nunique() <= own_labels.MOST_CLASSES:
            told = f"; --problem_type {CLASSIFICATION} takes the {values.nunique():,} different numbers as classes"
    else:
        counts = train[LABEL].value_counts()
        shown = some_of(f"{name} {counts[number]:,}" for number, name in enumerate(task.classes))
        kind = f"{len(task.classes):,} classes ({shown})"
        if settings.problem_type is None and own_labels.are_numbers(task.classes):
            told = "; --problem_type regression takes the numbers as values"
    log.info(
        "%s: %s training rows of %s%s; %s has %s%s",
        *(task.name, f"{len(train):,}", " + ".join(task.text_columns), found, settings.label_column, kind, told),
    )


def _fingerprint(frames: Mapping[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256(b"own")
    for split, frame in frames.items():
        digest.update(repr((split, list(frame.columns), len(frame))).encode())
        seen = frame.assign(**{LABEL: frame[LABEL].map(repr)})
        digest.update(pd.util.hash_pandas_object(seen, index=False, categorize=False).to_numpy().tobytes())
    return digest.hexdigest()
