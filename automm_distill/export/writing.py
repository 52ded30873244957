"""The files of each form, one folder each."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from automm_distill.errors import UserError
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

    :param margin: points of the score that 8-bit word embeddings may cost on the hold-out.
    :return: the forms that were written, and what is special of them, for the result row.
    :raises UserError: when that is none.
    """
    written: dict[str, Any] = {}
    if HF in formats:
        log.info("exporting %s", HF)
        try:
            written[HF] = {"bf16_difference": write_hf(model, folder / HF, source.sample)}
        except UserError as error:
            if len(formats) == 1:
                raise
            log.warning("%s", error)
    if {ONNX, INT8} & {*formats}:
        log.info("exporting %s", " and ".join(form for form in (ONNX, INT8) if form in formats))
        write_onnx(model, folder / ONNX, source.sample[:TRACE_ROWS])
    if ONNX in formats:
        written[ONNX] = {}
    if INT8 in formats:
        written[INT8] = {"embeddings_int8": _write_int8(source, margin, folder)}
    return written


def _write_int8(source: Source, margin: float, folder: Path) -> bool:
    """With 8-bit word embeddings, unless they cost more than ``margin`` points on the hold-out.

    :return: whether they have 8 bits.
    """
    write_int8(folder / ONNX, folder / INT8, embeddings=True)
    validation = source.splits.student.validation
    reference = Reference(source.task, {"hold-out": validation}, source.logits(validation), pool=False)
    gain = checking.check(INT8, folder / INT8, reference)["gain"]["value"]
    if gain is None or 100 * gain >= -margin:
        return True
    log.info("8-bit word embeddings cost %.1f points on the hold-out: they stay in single precision", -100 * gain)
    write_int8(folder / ONNX, folder / INT8, embeddings=False)
    return False
