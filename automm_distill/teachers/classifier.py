"""A teacher that is a fine-tuned ``ForSequenceClassification`` checkpoint, of which the outputs alone are used."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill import cache
from automm_distill.cache import keyed_parts
from automm_distill.cache.keyed_parts import KeyedParts, row_keys
from automm_distill.devices import Device
from automm_distill.errors import NotFiniteError, UserError, some_of
from automm_distill.inputs.checkpoints.finding import find_checkpoint
from automm_distill.inputs.checkpoints.opening import load_tokenizer, longest_row, refusing
from automm_distill.inputs.rows.class_names import class_of
from automm_distill.progress import batch_starts
from automm_distill.tasks import Task
from automm_distill.versions import library_versions

FLAG = "--teacher_predictor"
LOGITS, PART_ROWS = "logits.npy", 16384
NO_LIMIT = 1 << 20  # tokens: more than any network takes; tokenizers without a limit say 1e30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classifier:
    """A checkpoint with a classification head.

    ``fingerprint`` depends on the content of its files; ``classes`` are the task's numbers of its classes, in the order
    of its logits, none for a regression; ``bytes`` is the weights' size in single precision.
    """

    path: Path
    name: str
    fingerprint: str
    bytes: int
    classes: tuple[int, ...]

    @property
    def about(self) -> dict[str, Any]:
        """What a result row says of it."""
        return {"kind": "classifier", "name": self.name, "fingerprint": self.fingerprint}


def open_classifier(name: str, task: Task) -> Classifier:
    """The checkpoint in a folder, or on the hub.

    :raises UserError: when it is not there, has no head, or one for other classes than the task's.
    """
    where = f"{FLAG} {name}"
    checkpoint = find_checkpoint(FLAG, name)
    config = json.loads((checkpoint.path / "config.json").read_text(encoding="utf-8"))
    named = config.get("architectures") or []
    architectures = [named] if isinstance(named, str) else named
    if not any(str(each).endswith("ForSequenceClassification") for each in architectures):
        raise UserError(
            f"{where}: is a {some_of(architectures) or 'checkpoint without a head'}; needs a fine-tuned "
            "...ForSequenceClassification, or the folder of a saved MultiModalPredictor"
        )
    classes = _classes(where, _labels(where, config), task)
    return Classifier(checkpoint.path, name, checkpoint.fingerprint, checkpoint.bytes, classes)


def logits_of(
    teacher: Classifier, frame: pd.DataFrame, task: Task, device: Device, batch_size: int, cache_folder: Path
) -> tuple[np.ndarray, Path]:
    """Logits (rows, classes) of all rows in the order of the task's classes, or a regression's values (rows, 1).

    They are kept in the cache folder, where the next run finds them; the entry's folder is returned too.

    :raises NotFiniteError: when one is not finite.
    """
    precision = device.prediction_precision
    recipe = {
        "classifier": teacher.fingerprint,
        "columns": list(task.model_columns),
        "arithmetic": precision,
        "versions": library_versions(),
    }
    folder = cache_folder / f"outputs-{cache.fingerprint(recipe)}"
    keys = row_keys(frame, task.model_columns)

    def tell(missing: int, rows: int) -> None:
        if missing:
            log.info("computing the teacher's outputs for %s of %s rows", f"{missing:,}", f"{rows:,}")

    def compute(chosen: np.ndarray) -> dict[str, np.ndarray]:
        texts = [frame[column].iloc[chosen].tolist() for column in task.model_columns]
        return {LOGITS: _compute(teacher, texts, device, batch_size)}

    parts = keyed_parts.get_or_compute(
        folder, recipe, keys, compute, part_rows=PART_ROWS, tell=tell, about={"checkpoint": teacher.name}
    )
    kept = KeyedParts(parts, (LOGITS,))
    arrays = kept.arrays
    logits = np.stack([arrays[part][0][row] for part, row in zip(*kept.places(kept.find(keys)), strict=True)])
    order = list(np.argsort(teacher.classes)) if teacher.classes else [0]
    return logits[:, order].astype(np.float64), folder


def _compute(teacher: Classifier, texts: list[list[str]], device: Device, batch_size: int) -> np.ndarray:
    """Logits (rows, classes) in the checkpoint's own order, as single precision numbers; ``texts`` by column."""
    import torch
    import transformers

    where = f"{FLAG} {teacher.name}"
    tokenizer = load_tokenizer(teacher.path)
    with refusing(where, "its weights cannot be read"):
        network, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            teacher.path, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    if report["missing_keys"]:
        raise UserError(f"{where}: its files lack weights, such as {sorted(report['missing_keys'])[0]}")
    limit = longest_row(network.config, network, tokenizer, most=NO_LIMIT)
    # Of rows that are longer than the network reads, the longest text is cut.
    rows = tokenizer(*texts, truncation=True, max_length=limit, verbose=False)
    lengths = np.array([len(tokens) for tokens in rows["input_ids"]])
    order = np.argsort(-lengths, kind="stable")
    place = torch.device("cuda" if device.num_gpus else "cpu")
    network = network.to(place).eval()
    types = {"16": torch.float16, "bf16": torch.bfloat16}
    precision = device.prediction_precision
    results = np.empty((len(order), network.config.num_labels), dtype=np.float32)
    for start in batch_starts("the teacher reads", len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = tokenizer.pad({kind: [values[row] for row in chosen] for kind, values in rows.items()})
        inputs = {kind: torch.tensor(values).to(place) for kind, values in batch.items()}
        with (
            torch.inference_mode(),
            torch.autocast(place.type, dtype=types.get(precision), enabled=precision in types),
            refusing(where, "its network cannot read a row"),
        ):
            results[chosen] = network(**inputs).logits.float().cpu().numpy()
    if not np.isfinite(results).all():
        raise NotFiniteError("logits are not finite")
    return results


def _labels(where: str, config: Mapping[str, Any]) -> list[str]:
    """The names of its logits, in their order: transformers has two without names where there is nothing of them.

    :raises UserError: when they are not written as transformers writes them.
    """
    named, number_of_labels = config.get("id2label") or {}, config.get("num_labels") or 2
    if not isinstance(named, Mapping):
        raise UserError(f'{where}: id2label in its config.json is {named!r}; needs names by number, {{"0": "no"}}')
    if not isinstance(number_of_labels, int):
        raise UserError(f"{where}: num_labels in its config.json is {number_of_labels!r}; needs a number")
    count = len(named) or number_of_labels
    return [str(named.get(str(number), f"LABEL_{number}")) for number in range(count)]


def _classes(where: str, labels: list[str], task: Task) -> tuple[int, ...]:
    """The task's number of each label."""
    if task.is_regression:
        if len(labels) != 1:
            raise UserError(f"{where}: has {len(labels)} classes ({some_of(labels)}), and {task.name} is a regression")
        return ()
    if len(labels) != len(task.classes):
        raise UserError(
            f"{where}: has {len(labels)} classes ({some_of(labels)}); {task.name} has {len(task.classes)} "
            f"({some_of(task.classes)})"
        )
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        log.info("%s: its classes have no names; they are taken for %s, in this order", where, some_of(task.classes))
        return tuple(range(len(labels)))
    numbers = [number for label in labels if (number := class_of(label, task.classes)) is not None]
    if len(set(numbers)) < len(labels):
        raise UserError(
            f"{where}: its classes (id2label in config.json) are {some_of(labels)}; {task.name} has "
            f"{some_of(task.classes)}"
        )
    return tuple(numbers)
