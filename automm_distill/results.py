"""results.jsonl: one JSON row for each run, whole or not there, in today's format or an older one.

stopped.jsonl, beside it, has one for each trial that a search stopped early (:mod:`automm_distill.sweep.search`).
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

RESULTS = "results.jsonl"
STOPPED = "stopped.jsonl"
ROW_FORMAT = 2  # of a row; older ones are read by ``upgrade``


def append_row(folder: Path, row: Mapping[str, Any], name: str = RESULTS) -> Path:
    """Add one line to the file ``name``, whole, however many runs do so at once.

    A line that a killed run left unfinished is ended first, so that it spoils no other.
    """
    path = (folder / name).resolve()  # where its lock is: a link to the file must not have another
    line = _as_line(row)
    with _locked(path), path.open("ab+") as file:
        if file.tell() and not _ends_line(file):
            line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return path


def complete_row(folder: Path, row: Mapping[str, Any]) -> None:
    """Put ``row`` in the place of the line with the same ``run``; every other line stays as it is, byte by byte.

    The file is replaced as a whole: a run killed meanwhile leaves the old one. If the line is gone, it is appended.
    """
    path = (folder / RESULTS).resolve()
    with _locked(path):
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines):
            if _run_of(line) == row["run"]:
                lines[number] = _as_line(row).rstrip(b"\n")
                break
        else:
            lines = [*(line for line in lines if line), _as_line(row)]
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{RESULTS}.", delete=False) as file:
            try:
                file.write(b"\n".join(lines))
                file.flush()
                os.fsync(file.fileno())
                if path.exists():
                    Path(file.name).chmod(path.stat().st_mode)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def read_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The rows of a file of them in today's format, none if it is not there, and the number of broken lines.

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
        if isinstance(row, dict) and isinstance(row.get("settings"), dict):
            rows.append(upgrade(row))
        else:
            broken += 1
    return rows, broken


def upgrade(row: dict[str, Any]) -> dict[str, Any]:
    """A row of any older form under the names of today; what it never had stays missing."""
    row = row | {"settings": _BEFORE_THE_FLAG | row["settings"]}
    if row.get("format", 1) >= ROW_FORMAT:
        return row
    row["settings"] = row["settings"] | {
        name: _SPELLINGS[row["settings"][name]]
        for name in ("soft_label_loss_type", "softmax_regression_loss_type", "output_feature_loss_type")
        if row["settings"].get(name) in _SPELLINGS
    }
    if row["settings"].get("benchmark") == "glue" and not row["settings"].get("demo"):
        row["settings"]["glue_task"] = row["settings"].get("glue_task") or "qnli"  # the default was not written down
    if row["settings"].get("soft_label_loss_type", "") is None:
        regression = row.get("problem_type") == "regression"
        row["settings"]["soft_label_loss_type"] = "mean_square_error" if regression else "cross_entropy"
    if "uncertainty" in row:
        row["bootstrap"] = {
            test_set: {metric: _renamed(entry, {"lead": "teacher_gap"}) for metric, entry in metrics.items()}
            for test_set, metrics in row.pop("uncertainty").items()
        }
    if "rows" in row:
        row["rows"] = {key: _renamed(counts, {"tune": "validation"}) for key, counts in row["rows"].items()}
    if "training" in row:
        names = {"content": "weights_hash", "terms": "loss_terms"}
        row["training"] = {role: _renamed(info, names) for role, info in row["training"].items()}
    if "device" in row:
        precision = row["device"].get("precision", "")
        row["device"] = row["device"] | {"precision": precision.removesuffix("-mixed")}
    paths = [info["path"] for info in row.get("training", {}).values() if "from_cache" in info]  # not the student
    row["cache_entries"] = [Path(path).name for path in paths]
    return row


# What runs did before there was a flag for it.
_BEFORE_THE_FLAG = {"validations_per_epoch": 2}
_SPELLINGS = {"mse": "mean_square_error", "cosine": "cosine_distance"}


def _renamed(entry: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in entry.items()}


def _as_line(row: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(row, allow_nan=False, ensure_ascii=False)}\n".encode()


def _run_of(line: bytes) -> str | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row.get("run") if isinstance(row, dict) else None


def _locked(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.name}.lock"))


def _ends_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
