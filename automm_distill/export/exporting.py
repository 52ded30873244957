"""A fitted model into files of several forms, whole or not at all: written, checked, timed, described."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automm_distill import cache
from automm_distill.automm import fitted_parts
from automm_distill.devices import best_precision
from automm_distill.export import card, checking, timing, writing
from automm_distill.export.checking import Reference
from automm_distill.export.classifier import Classifier, classifier
from automm_distill.export.exported import Exported
from automm_distill.export.source import Source
from automm_distill.export.trimming import trim
from automm_distill.export_formats import BF16, EXPORT, WEIGHTS

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
    :param margin: points by which a score may be worse before a form is not recommended.
    :param most_frequent: how many of the vocabulary's most frequent pieces stay besides those that rows use; None to
        keep all.
    :param batch_size: of the rows that are timed.
    :param budget: seconds for timing, about; None to leave it out.
    :return: for the result row: ``role``, ``margin``, ``threads``, ``batch_size``, ``models`` (size and speed of the
        PyTorch models) and ``forms`` (the same, how each did on the test rows, and its ``vocabulary`` if it was cut).
    :raises UserError: when no form of those asked for can be made.
    :raises TrainingError: when files that were written do not work.
    """
    model = classifier(fitted_parts(source.predictor), source.task)
    reference = Reference(source.task, source.splits.tests, source.logits(source.test_rows), source.pool)
    other_tokens = _rows_with_other_tokens(source, model)
    vocabulary = None
    if most_frequent is not None:
        model, vocabulary = trim(model, source, most_frequent)
    with _workspace(run_folder) as folder:
        forms: dict[str, dict[str, Any]] = {}
        for form, about in writing.write(model, source, formats, margin, folder).items():
            log.info("checking %s on %s test rows", form, f"{len(reference.logits):,}")
            forms[form] = {
                "path": str(place(run_folder, source.role, form).resolve()),
                "bytes": (folder / form / WEIGHTS[form]).stat().st_size,
                "max_tokens": model.parts.rows.max_tokens,
                "other_tokens": other_tokens,
                "vocabulary": vocabulary,
                **about,
                **checking.check(form, folder / form, reference),
            }
            forms[form]["recommended"] = is_recommended(forms[form], margin)
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
            "threads": timing.threads(),
            "batch_size": batch_size,
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


def is_recommended(form: Mapping[str, Any], margin: float) -> bool:
    """Whether a form's score, if one was found, is worse by no more than ``margin`` points."""
    gain = form["gain"]["value"]
    return gain is None or 100 * gain >= -margin


def _rows_with_other_tokens(source: Source, model: Classifier) -> int:
    """How many test rows the exported tokenizer reads in another way than training did."""
    rows = source.predictor.token_rows(source.test_rows)
    texts = source.texts(source.test_rows)
    read = (model.tokenizer.encode(*text).ids for text in texts)
    return sum(list(ours) != theirs for ours, theirs in zip(rows, read, strict=True))


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
    with cache.locked(run_folder / EXPORT, disposable=True):
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
