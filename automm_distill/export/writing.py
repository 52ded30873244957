"""The files of each form, one folder each."""

import logging
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automm_distill.errors import UserError, first_line, machine_limit
from automm_distill.export import checking
from automm_distill.export.checking import Reference
from automm_distill.export.classifier import Classifier
from automm_distill.export.hf import write_hf
from automm_distill.export.onnx_files import write_int8, write_onnx
from automm_distill.export.source import Source
from automm_distill.export_formats import HF, INT8, ONNX

TRACE_ROWS = 2

log = logging.getLogger(__name__)


def write(model: Classifier, source: Source, formats: Sequence[str], margin: float, folder: Path) -> dict[str, Any]:
    """The forms, each in ``folder / form``; those that this kind of network has.

    :param margin: points of the score, or percent of an error, that 8-bit word embeddings may cost on the hold-out.
    :return: the forms that were written, and what is special of them, for the result row.
    :raises UserError: when that is none.
    """
    wanted = dict.fromkeys(formats)
    writers: dict[str, Callable[[], dict[str, Any]]] = {
        HF: lambda: {"half_precision": write_hf(model, folder / HF, source.sample)},
        ONNX: lambda: _write_onnx(model, source, folder),
        INT8: lambda: {"embeddings_int8": _write_int8(source, margin, folder)},
    }
    if INT8 in wanted:  # which is made of the other one
        wanted = {form: None for form in (HF, ONNX, INT8) if form in wanted or form == ONNX}
    written: dict[str, Any] = {}
    refusals: list[UserError] = []
    for form in wanted:
        log.info("exporting %s", form)
        try:
            with _refusing(form):
                written[form] = writers[form]()
        except UserError as error:
            refusals.append(error)
            if form == ONNX:
                break  # nor is there one with 8 bits
    found = {form: about for form, about in written.items() if form in formats}
    if not found:
        raise refusals[-1]
    for refusal in refusals:
        log.warning("%s", refusal)
    return found


@contextmanager
def _refusing(form: str) -> Iterator[None]:
    """Make one line of whatever the libraries raise over a network that they cannot export.

    Every exception: torch's exporter raises what its operators do.

    :raises UserError: in its place.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if machine_limit(error) is not None:
            raise
        reason = textwrap.shorten(first_line(error), 300, placeholder=" ...")
        raise UserError(f"export {form}: this network cannot be exported ({type(error).__name__}: {reason})") from error


def _write_onnx(model: Classifier, source: Source, folder: Path) -> dict[str, Any]:
    write_onnx(model, folder / ONNX, source.sample[:TRACE_ROWS])
    return {}


def _write_int8(source: Source, margin: float, folder: Path) -> bool:
    """With 8-bit word embeddings, unless they cost more than ``margin`` on the hold-out.

    :return: whether they have 8 bits.
    """
    write_int8(folder / ONNX, folder / INT8, embeddings=True)
    validation = source.splits.student.validation
    reference = Reference(source.task, {"hold-out": validation}, source.logits(validation), pool=False)
    if checking.is_recommended(checking.check(INT8, folder / INT8, reference), source.task, margin):
        return True
    log.info("8-bit word embeddings cost more than %g on the hold-out: they stay in single precision", margin)
    write_int8(folder / ONNX, folder / INT8, embeddings=False)
    return False
