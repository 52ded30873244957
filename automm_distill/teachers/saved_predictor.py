"""A teacher that is a saved ``MultiModalPredictor``: checked against the task, and known by its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from automm_distill import cache
from automm_distill.errors import UserError, some_of
from automm_distill.inputs.checkpoints.finding import Checkpoint, find_checkpoint
from automm_distill.inputs.rows.cleaning import label_numbers
from automm_distill.tasks import Task

FLAG = "--teacher_predictor"


@dataclass(frozen=True)
class SavedPredictor:
    """A predictor's folder. ``fingerprint`` is a hash of its weights, its tokenizer and its labels.

    ``columns`` are its own names of the task's ``model_columns``; ``classes`` the task's numbers of its classes, in the
    order of its logits, none for a regression. ``network`` is its configuration and tokenizer, without weights.
    ``bytes`` is the weights' size.
    """

    path: Path
    fingerprint: str
    bytes: int
    columns: Mapping[str, str]
    classes: tuple[int, ...]
    network: Checkpoint

    @property
    def about(self) -> dict[str, Any]:
        """What a result row says of it."""
        return {"kind": "predictor", "name": self.path.name, "fingerprint": self.fingerprint}


def open_predictor(folder: Path, task: Task) -> SavedPredictor:
    """
    :raises UserError: when it is no text model of one backbone, or one of another task.
    """
    from automm_distill.automm import SAVED_FILES, saved_facts

    where = f"{FLAG} {folder}"
    facts = saved_facts(where, folder)
    if facts.models != ("hf_text",):
        raise UserError(
            f"{where}: is made of {some_of(facts.models)}; needs a predictor of one text backbone (model.names hf_text)"
        )
    if facts.problem_type != task.problem_type:
        raise UserError(f"{where}: was trained for a {facts.problem_type} problem, and {task.name} is {_kind(task)}")
    own = next((names for names in (task.model_columns, task.text_columns) if set(names) == set(facts.columns)), None)
    if own is None:
        raise UserError(
            f"{where}: was trained on columns {some_of(facts.columns)}; needs texts in "
            f"{' and '.join(task.text_columns)}"
        )
    classes: tuple[int, ...] = ()
    if not task.is_regression:
        numbers = label_numbers(pd.Series(list(facts.classes), dtype=object), task, where)
        if sorted(numbers) != list(range(len(task.classes))):
            raise UserError(
                f"{where}: has the classes {some_of(facts.classes)}; {task.name} has {some_of(task.classes)}"
            )
        classes = tuple(int(number) for number in numbers)
    hashes = cache.hash_folder(folder, SAVED_FILES)
    digest, size = cache.fingerprint(hashes), (folder / "model.ckpt").stat().st_size
    network = Checkpoint(folder / "hf_text", digest, size, facts.max_tokens)
    return SavedPredictor(
        folder.resolve(), digest, size, dict(zip(task.model_columns, own, strict=True)), classes, network
    )


def pretrained_checkpoint(saved: SavedPredictor, layers: str) -> tuple[str, Checkpoint]:
    """What a predictor of an earlier run was made of, which a baseline of its layers begins as; and its name.

    :param layers: that are asked for, for messages.
    :raises UserError: when that is not written down, or is no longer there.
    """
    try:
        name = json.loads((saved.path / cache.MANIFEST).read_text(encoding="utf-8"))["training_info"]["checkpoint"]
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"--student_layers {layers}: the baseline begins as the teacher's pretrained checkpoint, and {FLAG} "
            f"{saved.path} does not say which that was; give --student_model too"
        ) from None
    try:
        return name, find_checkpoint(f"{FLAG} {saved.path}: its pretrained checkpoint", name)
    except UserError as error:
        raise UserError(f"--student_layers {layers}: {error}; give --student_model too") from error


def _kind(task: Task) -> str:
    return "a regression" if task.is_regression else f"{task.problem_type}, of {len(task.classes)} classes"
