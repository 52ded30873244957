"""What an export needs of the machine and of a model's tokenizer, known before anything is trained."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from automm_distill.errors import UserError
from automm_distill.export.plain_tokenizer import backend_of
from automm_distill.export.vocabulary import require_trimmable
from automm_distill.export_formats import HF

LIBRARIES = ("onnx", "onnxruntime")


def require_exportable(flag: str, formats: Sequence[str], tokenizer: Any, *, trims: bool) -> None:
    """Refuse an export that would fail after training.

    :param flag: that asked for these ``formats``, for messages.
    :param tokenizer: transformers' own, of the model.
    :param trims: its vocabulary is to be cut.
    :raises UserError: when a library is missing, or the tokenizer cannot be written to a file, or not be cut.
    """
    absent = [name for name in LIBRARIES if find_spec(name) is None]
    if absent and {*formats} - {HF}:
        form = next(form for form in formats if form != HF)
        raise UserError(
            f"{flag} {form}: needs {' and '.join(absent)}, not installed here; pip install {' '.join(absent)}"
        )
    backend = backend_of(tokenizer)
    if trims:
        require_trimmable(backend)
