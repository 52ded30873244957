"""Classify texts by an exported model: a folder ``onnx`` or ``onnx-int8``, and nothing of the project that trained it.

    pip install tokenizers onnxruntime numpy
    python examples/onnx_inference.py FOLDER < texts.tsv > answers.tsv

Each line of texts.tsv is a row; a model of pairs reads two texts with a tab between them. Each line of the answer is a
label, a tab, and the label's probability; of a regression, the number.
"""

import argparse
import io
import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # of an encoded row

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path, help="export/onnx or export/onnx-int8 of a run")
folder = parser.parse_args().folder
for name in ("model.onnx", "tokenizer.json"):
    if not (folder / name).is_file():
        parser.exit(2, f"{folder}: no {name} there; needs export/onnx or export/onnx-int8 of a run\n")
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
inputs = [each.name for each in session.get_inputs()]
about = session.get_modelmeta().custom_metadata_map
classes, texts = json.loads(about["classes"]), json.loads(about["texts"])

lines = enumerate(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig"), start=1)
while batch := list(islice(lines, 32)):
    rows = [line.rstrip("\n").split("\t") for _, line in batch]
    for (number, _), row in zip(batch, rows, strict=True):
        if len(row) != texts:
            parser.exit(2, f"line {number}: columns: {len(row)}; the model reads {texts}, with a tab between two\n")
    encoded = tokenizer.encode_batch([tuple(row) if texts == 2 else row[0] for row in rows])
    (logits,) = session.run(None, {name: np.array([getattr(each, PARTS[name]) for each in encoded]) for name in inputs})
    if not classes:
        print(*(f"{value:.4f}" for value in logits[:, 0]), sep="\n")
        continue
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    for row in weights / weights.sum(axis=1, keepdims=True):
        print(f"{classes[row.argmax()]}\t{row.max():.4f}")
