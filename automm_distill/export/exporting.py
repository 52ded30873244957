"""A fitted model into files of several forms, whole or not at all: written, checked, timed, described."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from automm_distill import __version__, cache
from automm_distill.automm import fitted_parts
from automm_distill.devices import best_precision, cpu_name
from automm_distill.errors import TrainingError
from automm_distill.export import card, checking, timing, writing
from automm_distill.export.checking import Reference
from automm_distill.export.classifier import classifier
from automm_distill.export.exported import Exported
from automm_distill.export.source import Source
from automm_distill.export.trimming import Vocabulary, trim
from automm_distill.export_formats import BF16, EXPORT
from automm_distill.versions import library_versions

log = logging.getLogger(__name__)


def export(
    source: Source,
    formats: Sequence[str],
    run_folder: Path,
    row: Mapping[str, Any],
    *,
    margin: float,
    most_frequent: int | None,
    batch_size: int,
    budget: float | None,
) -> dict[str, Any]:
    """Leave the forms in ``<run>/export/``, each in a folder of its own, and say how they do.

    :param row: that of the run, for the cards.
    :param margin: by how much a score may be worse before a form is not recommended: points, of an error percent.
    :param most_frequent: how many of the vocabulary's most frequent pieces stay besides those that rows use; None to
        keep all.
    :param batch_size: of the rows that are timed.
    :param budget: seconds for timing, about; None to leave it out.
    :return: for the result row: ``role``, ``margin``, when and by what it was made, ``models`` (size and speed of the
        PyTorch models) and ``forms`` (the same, how each did on the test rows, and its ``vocabulary`` if it was cut).
    :raises UserError: when no form of those asked for can be made.
    :raises TrainingError: when files that were written do not work.
    """
    model = classifier(fitted_parts(source.predictor), source.task)
    reference = Reference(source.task, source.splits.tests, source.logits(source.test_rows), source.pool)
    vocabulary = None
    if most_frequent is not None:
        model, vocabulary = trim(model, source, most_frequent)
    with _workspace(run_folder) as folder:
        forms: dict[str, dict[str, Any]] = {}
        for form, about in writing.write(model, source, formats, margin, folder).items():
            log.info("checking %s on %s test rows", form, f"{len(reference.logits):,}")
            forms[form] = {
                "path": str(place(run_folder, source.role, form).resolve()),
                "bytes": sum(file.stat().st_size for file in (folder / form).iterdir()),
                "max_tokens": model.parts.rows.max_tokens,
                "other_tokens": other_tokens(source, form, folder / form, vocabulary),
                "vocabulary": None if vocabulary is None else vocabulary.counts,
                **about,
                **checking.check(form, folder / form, reference),
            }
            forms[form]["recommended"] = checking.is_recommended(forms[form], source.task, margin)
        models: dict[str, dict[str, Any]] = {role: {"bytes": each.bytes} for role, each in source.models.items()}
        if budget is not None:
            log.info("timing %s", ", ".join([*models, *forms]))
            for name, times in _times(source, {form: folder / form for form in forms}, batch_size, budget).items():
                role, _, precision = name.partition(" ")
                about = forms[name] if name in forms else models[role]
                about.update({precision: times} if precision else times)
        exported = {
            "role": source.role,
            "margin": margin,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpu": cpu_name(),
            "threads": timing.threads(),
            "batch_size": batch_size,
            "versions": versions(),
            "models": models,
            "forms": forms,
        }
        for form in forms:
            (folder / form / card.FILE).write_text(card.card(form, {**row, "export": exported}), encoding="utf-8")
            _put(folder / form, place(run_folder, source.role, form))
    return exported


def place(run_folder: Path, role: str, form: str) -> Path:
    """The folder of a form; those of other models than the student have their role in the name."""
    return run_folder / EXPORT / (form if role == "student" else f"{role}-{form}")


def other_tokens(source: Source, form: str, folder: Path, vocabulary: Vocabulary | None) -> int:
    """How many test rows the exported tokenizer reads in other pieces than training did.

    With a whole vocabulary these are rows of two long texts, where it is the other one that keeps one token more.

    :raises TrainingError: when there are others.
    """
    exported, texts = Exported(form, folder), source.texts(source.test_rows)
    differing = 0
    for ours, text in zip(source.predictor.token_rows(source.test_rows), texts, strict=True):
        theirs = exported.encode([text])["input_ids"][0]
        if vocabulary is not None:
            theirs = vocabulary.kept[theirs]
        if not np.array_equal(ours, theirs):
            differing += 1
            if vocabulary is None and not (len(text) == 2 and len(ours) == len(theirs) == source.longest_row):
                raise TrainingError(f"export {form}: its tokenizer reads {text} otherwise than training did")
    return differing


def versions() -> dict[str, str]:
    """Of what made an export."""
    found = {name: version(name) for name in ("onnx", "onnxruntime") if find_spec(name) is not None}
    return {"automm_distill": __version__, **library_versions(), **found}


def _times(source: Source, folders: Mapping[str, Path], batch_size: int, budget: float) -> dict[str, dict[str, float]]:
    """By model and form, and by ``<role> bf16`` where the CPU has instructions for it."""
    passes = {role: timing.passes_of_predictor(model, "32") for role, model in source.models.items()}
    if best_precision(on_gpu=False) == BF16:
        passes |= {f"{role} {BF16}": timing.passes_of_predictor(model, BF16) for role, model in source.models.items()}
    passes |= {
        form: timing.passes_of_export(Exported(form, folder, timing.threads()), source.task.model_columns)
        for form, folder in folders.items()
    }
    return timing.measure(passes, source.test_rows, batch_size, budget)


@contextmanager
def _workspace(run_folder: Path) -> Iterator[Path]:
    """A hidden folder of the run, gone afterwards, also what a killed process left of one."""
    prefix = f".{EXPORT}-"
    with cache.locked(run_folder / EXPORT):
        for left in run_folder.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=run_folder) as folder:
            yield Path(folder)


def _put(built: Path, where: Path) -> None:
    """Move a folder that is whole to its place; what stood there before goes."""
    where.parent.mkdir(exist_ok=True)
    if where.exists():
        where.rename(built.with_name(f"{built.name}-before"))
    built.rename(where)
