"""An export that is used as its users will: files and public libraries alone. No AutoGluon is imported here.

    python -m automm_distill.export.exported rows.parquet logits.npy onnx-int8 results/<run>/export/onnx-int8

writes the logits of all rows, (rows, classes), in single precision, and says on standard output how many are done.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automm_distill.export_formats import HF, INT8, ONNX, WEIGHTS

BATCH = 32

Arrays = Mapping[str, np.ndarray]
Texts = Sequence[Sequence[str]]  # of each row, its one or two texts


class Exported:
    """One form of a model in ``folder``.

    :param threads: that it may use; None for all.
    """

    def __init__(self, form: str, folder: Path, threads: int | None = None) -> None:
        self.form = form
        self._run, self._encode = (_open_hf if form == HF else _open_onnx)(folder, threads)

    def encode(self, texts: Texts) -> Arrays:
        """Rows of one or two texts as the model's inputs, int64 of (rows, longest row) each."""
        return self._encode(texts)

    def run(self, batch: Arrays) -> np.ndarray:
        """Logits, (rows, classes)."""
        return self._run(batch)

    def logits(self, texts: Texts, tell: Callable[[int], None] = lambda rows: None) -> np.ndarray:
        """Of all rows, (rows, classes), in their order.

        Of 8-bit weights row by row: activations have one scale for a whole batch, so that what a row gets depends
        on the others.

        :param tell: is called with how many rows are done, after each batch.
        """
        order = sorted(range(len(texts)), key=lambda row: -sum(map(len, texts[row])))
        size = 1 if self.form == INT8 else BATCH
        results: list[Any] = [None] * len(texts)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            for row, logits in zip(rows, self.run(self.encode([texts[row] for row in rows])), strict=True):
                results[row] = logits
            tell(start + len(rows))
        return np.array(results, dtype=np.float32)


def _open_onnx(folder: Path, threads: int | None) -> tuple[Callable[[Arrays], Any], Callable[[Texts], Arrays]]:
    import onnxruntime
    import tokenizers

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(folder / WEIGHTS[ONNX], options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = [each.name for each in session.get_inputs()]
    return lambda batch: session.run(None, dict(batch))[0], lambda texts: encode(tokenizer, texts, names)


def encode(tokenizer: Any, texts: Texts, names: Sequence[str]) -> Arrays:
    """What a network with these inputs is given of the rows.

    :param tokenizer: of the ``tokenizers`` library.
    """
    rows = tokenizer.encode_batch([row[0] if len(row) == 1 else tuple(row) for row in texts])
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: np.array([getattr(row, columns[name]) for row in rows], dtype=np.int64) for name in names}


def _open_hf(folder: Path, threads: int | None) -> tuple[Callable[[Arrays], Any], Callable[[Texts], Arrays]]:
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def encode_hf(texts: Texts) -> Arrays:
        columns = [list(column) for column in zip(*texts, strict=True)]
        return dict(tokenizer(*columns, padding=True, truncation=True, return_tensors="np"))

    def run(batch: Arrays) -> np.ndarray:
        with torch.inference_mode():
            logits: torch.Tensor = network(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits
        return logits.numpy()

    return run, encode_hf


def main(rows: str, logits: str, form: str, folder: str) -> None:
    """Write the logits of the texts in the Parquet file ``rows``, one column for each text of a row."""
    texts = pd.read_parquet(rows).to_numpy().tolist()

    def tell(rows: int) -> None:
        sys.stdout.write(f"{rows}\n")
        sys.stdout.flush()

    np.save(logits, Exported(form, Path(folder)).logits(texts, tell))


if __name__ == "__main__":
    main(*sys.argv[1:])
