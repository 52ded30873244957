"""A teacher's predictions written to a file that ``--teacher_predictions`` reads."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill.cache.keyed_parts import row_keys
from automm_distill.errors import UserError
from automm_distill.folders import require_writable
from automm_distill.given_outputs import covered
from automm_distill.inputs.rows.row_files import read_file
from automm_distill.inputs.rows.row_ids import ID_COLUMNS
from automm_distill.tasks import Task
from automm_distill.teachers.prediction_columns import LABEL, LOGITS, PREDICTION, PROBABILITIES
from automm_distill.teachers.row_index import LANGUAGE, SPLIT

FLAG = "--save_teacher_predictions"
SUFFIXES = (".parquet", ".csv", ".jsonl")


def file_columns(task: Task) -> list[str]:
    """Those of such a file, in their order."""
    return [SPLIT, "id", *_text_columns(task), *_output_columns(task)]


def require_place(path: Path, task: Task) -> None:
    """Refuse a file that cannot be written, or that is there and is none of ours.

    :raises UserError: naming the file.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{FLAG} {path}: needs a name that ends in {', '.join(SUFFIXES)}")
    require_writable(path.parent, FLAG)
    if not path.exists():
        return
    try:
        ours = list(read_file(path).columns) == file_columns(task)
    except (UserError, OSError):
        ours = False
    if not ours:
        raise UserError(f"{FLAG} {path}: is there, and holds no predictions for {task.name}; name another file")


def save_predictions(path: Path, task: Task, parts: Iterable[tuple[str, pd.DataFrame, np.ndarray]]) -> int:
    """Write the file, whole or not at all.

    Rows of the same texts have the outputs of the first of them: a network's differ in their last digits with the rows
    beside a row, and which of them a text is found by must make no difference.

    :param parts: of each split its name, its rows (``id`` and ``task.model_columns``), and the teacher's outputs for
        them as :class:`~automm_distill.given_outputs.GivenOutputs` has them.
    :return: how many rows were written: those that the teacher says something of.
    """
    frames, values = [], []
    for split, rows, outputs in parts:
        frame = rows[["id", *task.model_columns]].rename(
            columns=dict(zip(task.model_columns, _text_columns(task), strict=True))
        )
        frame.insert(0, SPLIT, split)
        frames.append(frame[covered(outputs)])
        values.append(outputs[covered(outputs)])
    whole = pd.concat(frames, ignore_index=True)
    _, first, which = np.unique(row_keys(whole, _text_columns(task)), return_index=True, return_inverse=True)
    numbers, names = np.concatenate(values)[first][which], _output_columns(task)
    if len(names) == numbers.shape[1]:
        whole = pd.concat([whole, pd.DataFrame(numbers, columns=list(names))], axis=1)
    else:
        whole[LOGITS] = numbers.tolist()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        _write(whole, temporary, path.suffix.lower())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return len(whole)


def _text_columns(task: Task) -> tuple[str, ...]:
    """The task's own names, unless models read several of its columns as one text."""
    return task.text_columns if len(task.text_columns) == len(task.model_columns) else task.model_columns


def _output_columns(task: Task) -> tuple[str, ...]:
    """One for each class; a list of logits, where a class is called like a column of another meaning."""
    if task.is_regression:
        return (PREDICTION,)
    meanings = {*ID_COLUMNS, *task.text_columns, *task.model_columns, SPLIT, LANGUAGE, LABEL, LOGITS, PROBABILITIES}
    return (LOGITS,) if meanings & set(task.classes) else task.classes


def _write(frame: pd.DataFrame, path: Path, suffix: str) -> None:
    """With all digits of every number."""
    if suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        with path.open("w", encoding="utf-8") as file:
            for row in frame.to_dict(orient="records"):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
