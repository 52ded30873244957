"""What a run leaves behind: one JSON row in results.jsonl and every model's prediction on every test row."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from .errors import UserError
from .evaluation import predicted_labels

RESULTS = "results.jsonl"
PREDICTIONS = "predictions.parquet"


def append_row(folder: Path, row: Mapping[str, Any]) -> Path:
    """Add one line to ``results.jsonl``, whole, however many runs do so at once.

    A line that a killed run left unfinished is ended first, so that it spoils no other.
    """
    path = folder / RESULTS
    line = json.dumps(row, allow_nan=False, ensure_ascii=False)
    with FileLock(path.with_name(f".{RESULTS}.lock")), path.open("ab+") as file:
        if file.tell() and not _ends_line(file):
            line = "\n" + line
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    return path


def read_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The rows of a ``results.jsonl``, none if it is not there, and the number of lines that are no row.

    A run that was killed while it wrote leaves half a line.
    """
    if not path.exists():
        return [], 0
    rows, broken = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # not at U+2028, which JSON may hold
        try:
            row = json.loads(line)
        except ValueError:
            broken += bool(line.strip())
            continue
        if isinstance(row, dict) and "settings" in row:
            rows.append(row)
        else:
            broken += 1
    return rows, broken


def write_predictions(
    path: Path, tests: Mapping[str, pd.DataFrame], outputs: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """One row per test row: ``test_set``, ``id``, ``label`` and, per role, its prediction.

    :param outputs: ``{role: {test set: output of Predictor.predict}}``. Of a classifier, ``<role>_probabilities``
        keeps the probabilities of all classes too.
    """
    frames = []
    for name, rows in tests.items():
        frame = rows[["id", "label"]].copy()
        frame.insert(0, "test_set", name)
        for role, output in outputs.items():
            frame[role] = predicted_labels(output[name])
            if output[name].ndim == 2:
                frame[f"{role}_probabilities"] = list(output[name].astype(np.float32))
        frames.append(frame)
    pd.concat(frames, ignore_index=True).to_parquet(path, index=False)


def require_writable(folder: Path, flag: str) -> None:
    """Make ``folder`` and refuse one that cannot be written to.

    :raises UserError: naming ``flag`` and the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room for one block")
    except OSError as error:
        raise UserError(f"{flag} {folder}: cannot be written to: {error.strerror}") from error


def require_appendable(folder: Path) -> None:
    """Refuse a ``results.jsonl`` that no row can be added to, before there is a row to lose.

    :raises UserError: naming the file.
    """
    path = folder / RESULTS
    if not path.exists():
        return
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UserError(f"--output_folder: {path} cannot be written to: {error.strerror}") from error


def require_room(folder: Path, flag: str, needed: int) -> None:
    """Refuse a folder on a disk with fewer than ``needed`` bytes free.

    :raises UserError: naming ``flag``, the folder and both sizes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{flag} {folder}: {free / 1e9:.1f} GB free on that disk, about {needed / 1e9:.1f} GB are needed"
        )


def _ends_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
