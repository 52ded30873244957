"""What the rows themselves say of the scores to come: tested on rows that were trained on, repeats, rows cut short."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.checkpoints.opening import load_tokenizer
from automm_distill.inputs.rows.row_texts import text_hashes
from automm_distill.inputs.rows.splits import Splits
from automm_distill.tasks import Task

MANY_REPEATS = 0.01  # share of the training rows that is worth a line
SAMPLE = 2000  # rows that stand for all of a larger set when tokens are counted

log = logging.getLogger(__name__)


def warn_about_rows(splits: Splits, task: Task) -> None:
    """Say which test rows were trained on too, and how many training rows are repeats."""
    columns = list(task.model_columns)
    trained = {"training": splits.student.train}
    if splits.teacher is not splits.student:
        trained = {"the teacher's training": splits.teacher.train, "the student's training": splits.student.train}
    seen = []
    for name, frame in trained.items():
        seen.append(text_hashes(frame, columns))
        _tell_of_repeats(name, pd.Series(seen[-1]), None if task.is_regression else frame["label"])
    if task.tuning_split is None:  # the hold-out was taken off the training rows
        seen.append(text_hashes(splits.student.validation, columns))
    known = np.sort(np.concatenate(seen))
    for name, frame in splits.tests.items():
        hashes = text_hashes(frame, columns)
        shared = int((known[np.searchsorted(known, hashes).clip(max=len(known) - 1)] == hashes).sum())
        if shared:
            log.warning(
                "%s of %s test rows of %s are training rows too: scores on them say little",
                *(f"{shared:,}", f"{len(frame):,}", task.test_set_name(name)),
            )


def tell_of_cut_rows(splits: Splits, task: Task, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Say how many rows are longer than the models read, one line per model where any are.

    :param checkpoints: of the "teacher" and of the "student".
    """
    if not log.isEnabledFor(logging.INFO):
        return
    tests = pd.concat(splits.tests.values(), ignore_index=True)
    for role, checkpoint in checkpoints.items():
        train = splits.teacher.train if role == "teacher" else splits.student.train
        tokenizer = load_tokenizer(checkpoint.path)
        longest = checkpoint.max_tokens
        shares = {}
        for name, frame in (("training", train), ("unlabelled", splits.unlabelled), ("test", tests)):
            if frame is None:
                continue
            counted = sample(frame)
            share = float((token_counts(tokenizer, counted[list(task.model_columns)]) > longest).mean())
            if share:
                about = "about " if len(counted) < len(frame) else ""
                percent = f"{100 * share:.0f}" if share > 0.1 else f"{100 * share:.2g}"
                shares[name] = f"{about}{percent} % of the {name} rows"
        if shares:
            log.info(
                "%s are longer than the %d tokens that the %s reads, and are cut",
                *(" and ".join(shares.values()), longest, role),
            )


def sample(frame: pd.DataFrame, rows: int = SAMPLE) -> pd.DataFrame:
    """``rows`` rows at random, always the same ones, or all if there are no more."""
    return frame.sample(min(rows, len(frame)), random_state=0)


def token_counts(tokenizer: Any, texts: pd.DataFrame) -> np.ndarray:
    """Tokens of each row, uncut, shape (rows,).

    As AutoGluon joins columns (data/process_text.py:155): a separator after each, and in front [CLS], if there is one.
    """
    columns = [
        tokenizer(texts[column].tolist(), add_special_tokens=False, return_attention_mask=False, verbose=False)
        for column in texts
    ]
    lengths = [np.array([len(tokens) for tokens in column["input_ids"]]) for column in columns]
    return np.sum(lengths, axis=0) + len(lengths) + (tokenizer.cls_token_id is not None)


def _tell_of_repeats(name: str, texts: pd.Series, classes: pd.Series | None) -> None:
    """:param classes: of the same rows; None for a regression, in which repeats differ as a matter of course."""
    repeats = int(texts.duplicated().sum())
    if repeats < MANY_REPEATS * len(texts):
        return
    contradictions = 0
    if classes is not None:
        of_text = classes.reset_index(drop=True).groupby(texts)
        contradictions = int((of_text.transform("min") != of_text.transform("max")).sum())
    more = f"; {contradictions:,} share their texts with a row of another class" if contradictions else ""
    log.info("%s of %s %s rows repeat the texts of another%s", f"{repeats:,}", f"{len(texts):,}", name, more)
