"""The ONNX forms: backbone and head in one graph, in single precision or with 8-bit weights."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automm_distill.export.classifier import Classifier
from automm_distill.export.exported import Texts
from automm_distill.export_formats import ONNX, WEIGHTS

OPSET = 17  # the newest that torch's tracing exporter writes


def write_onnx(model: Classifier, folder: Path, texts: Texts) -> None:
    """``model.onnx`` (``input_ids``, ``attention_mask``, ``token_type_ids`` if it reads them -> ``logits``) and
    ``tokenizer.json``, which truncates and pads; any number of rows of any length up to the longest.

    The graph's metadata say what its numbers mean, as JSON: ``classes``, in the order of the logits, none for a
    regression; and ``texts``, how many a row has.

    torch's older exporter is used: for these networks it writes the same numbers as the newer one, in a tenth of the
    time.

    :param texts: a few rows of different lengths to trace the network with.
    """
    graph = _Graph(model)
    batch = model.batch(texts)
    axes: dict[str, dict[int, str]] = {name: {0: "rows", 1: "tokens"} for name in model.inputs}
    folder.mkdir(parents=True, exist_ok=True)
    with _quiet(), torch.inference_mode():
        torch.onnx.export(
            graph,
            tuple(batch[name] for name in model.inputs),
            str(folder / WEIGHTS[ONNX]),
            input_names=model.inputs,
            output_names=["logits"],
            dynamic_axes=axes | {"logits": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    _describe(folder / WEIGHTS[ONNX], {"classes": model.classes, "texts": len(texts[0])})
    model.tokenizer.save(str(folder / "tokenizer.json"))


def write_int8(source: Path, folder: Path, *, embeddings: bool) -> None:
    """``model.onnx`` with 8-bit weights, one scale for each output of a layer; activations are scaled as they come.

    Weights take seven of the eight bits: on a CPU without VNNI instructions, sums of two products of eight bits each
    do not fit into the 16 that they get there, and saturate (onnxruntime, "reduce_range").

    :param source: folder of the single precision form.
    :param embeddings: the word embeddings too, most of a small multilingual model.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(source / WEIGHTS[ONNX], load_external_data=False).graph.node
    head = [node.name for node in nodes if node.name.startswith("/head/")]  # small, and the last word
    folder.mkdir(parents=True, exist_ok=True)
    with _quiet():
        quantize_dynamic(
            source / WEIGHTS[ONNX],
            folder / WEIGHTS[ONNX],
            op_types_to_quantize=["MatMul", *(["Gather"] if embeddings else [])],
            nodes_to_exclude=[
                *head,
                *(f"{name}_MatMul" for name in head),
            ],  # as onnxruntime calls it after a first step
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())


def _describe(path: Path, about: Mapping[str, object]) -> None:
    """Add to a model's metadata, which torch's exporter leaves empty and quantisation keeps."""
    import onnx

    whole = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(whole, {key: json.dumps(value) for key, value in about.items()})
    onnx.save(whole, path)


class _Graph(nn.Module):
    """Backbone and head, inputs by position."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        network: Any = deepcopy(model.parts.network)
        network.set_attn_implementation("eager")  # plain products, which every runtime knows how to fuse
        self.network = network
        classes, width = model.parts.weight.shape
        self.head = nn.Linear(width, classes)
        self.head.weight = nn.Parameter(model.parts.weight.clone())
        self.head.bias = nn.Parameter(model.parts.bias.clone())
        self.names = model.inputs

    def forward(self, *inputs: Tensor) -> Tensor:
        output = self.network(**dict(zip(self.names, inputs, strict=True)))
        logits: Tensor = self.head(output.last_hidden_state[:, 0])
        return logits


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters say that they are deprecated, constant-fold, and would like the model prepared first."""
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(level)
