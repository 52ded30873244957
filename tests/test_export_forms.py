"""What each exported form computes, for each family, against the network and a linear head in float64."""

import json
import re
from copy import deepcopy

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
import transformers

from automm_distill import progress
from automm_distill.errors import UserError
from automm_distill.export.checking import logits_of
from automm_distill.export.exported import Exported
from automm_distill.export.hf import write_hf
from automm_distill.export.linear_head import carry
from automm_distill.export.onnx_files import write_int8, write_onnx
from automm_distill.export_formats import HF, INT8, ONNX

from .tiny_classifiers import FAMILIES, LONGEST, TEXTS, make_classifier

ROWS = TEXTS[:40]
CARRIED = [family for family in FAMILIES if family != "modernbert"]


def expected_logits(model, texts=ROWS):
    """Row by row, without padding; the head in float64."""
    states = [model.states(model.batch([row]))[0].double().numpy() for row in texts]
    return np.stack(states) @ model.parts.weight.double().numpy().T + model.parts.bias.double().numpy()


@pytest.mark.parametrize("family", CARRIED)
def test_hf_form_carries_the_head(family, tmp_path):
    model = make_classifier(family)
    differences = write_hf(model, tmp_path, TEXTS[40:])
    exported, expected = Exported(HF, tmp_path), expected_logits(model)
    assert max(map(len, exported.encode(ROWS)["input_ids"])) == LONGEST
    assert np.abs(exported.logits(ROWS) - expected).max() < 3e-5
    for carried, plain in differences.values():
        assert 0 < plain < 0.1 * np.abs(expected).max()
        assert 0 < carried < 0.2 * np.abs(expected).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_form_is_backbone_and_head(family, tmp_path):
    model = make_classifier(family)
    write_onnx(model, tmp_path / ONNX, TEXTS[:2])
    exported = Exported(ONNX, tmp_path / ONNX)
    assert sorted(exported.encode(ROWS)) == sorted(model.inputs)
    assert np.abs(exported.logits(ROWS) - expected_logits(model)).max() < 1e-5, "rows of all lengths, with padding"
    for row in (["a"], ["the nurse paints the bridge"]):
        assert np.abs(exported.logits([row]) - expected_logits(model, [row])).max() < 1e-5, "one text, a batch of one"


def test_check_shows_how_far_it_is(tmp_path, monkeypatch, caplog):
    model = make_classifier("bert")
    write_onnx(model, tmp_path, TEXTS[:2])
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    caplog.set_level("INFO", logger="automm_distill")
    logits = logits_of(ONNX, tmp_path, pd.DataFrame([row for row in ROWS if len(row) == 2]))
    assert len(logits) == len([row for row in ROWS if len(row) == 2])
    (first, *_) = caplog.messages
    assert re.match(rf"checking onnx: \d+ of {len(logits)} rows, \d+ s left", first)


@pytest.mark.parametrize("embeddings", [True, False])
def test_int8_form_is_close_and_smaller(embeddings, tmp_path):
    model = make_classifier("bert")
    write_onnx(model, tmp_path / ONNX, TEXTS[:2])
    write_int8(tmp_path / ONNX, tmp_path / INT8, embeddings=embeddings)
    exported, expected = Exported(INT8, tmp_path / INT8), expected_logits(model)
    logits = exported.logits(ROWS)
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.9
    assert np.array_equal(logits[3:9], exported.logits(ROWS[3:9])), "a row does not depend on the others"
    graph = onnx.load(tmp_path / INT8 / "model.onnx").graph
    layers = 2 * 6  # of two blocks: query, key, value, output, and two of the feed-forward network
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == layers
    table = next(
        each
        for each in graph.initializer
        if tuple(each.dims) == model.parts.network.get_input_embeddings().weight.shape
    )
    assert table.data_type == (onnx.TensorProto.UINT8 if embeddings else onnx.TensorProto.FLOAT)
    kept = [onnx.numpy_helper.to_array(each) for each in graph.initializer if each.data_type == onnx.TensorProto.INT8]
    assert max(np.abs(each.astype(int)).max() for each in kept) <= 64, "seven bits"


def test_pipeline_gives_the_classes_by_name(tmp_path):
    model = make_classifier("bert")
    write_hf(model, tmp_path, TEXTS[40:])
    classify = transformers.pipeline("text-classification", str(tmp_path), truncation=True)
    answers = classify([{"text": one, "text_pair": other} for one, other in ROWS[:10]])
    assert [answer["label"] for answer in answers] == [
        model.classes[best] for best in expected_logits(model)[:10].argmax(1)
    ]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert config["label2id"] == {"no": 0, "yes": 1, "maybe": 2}
    assert not list(tmp_path.glob("*.py"))


def test_pipeline_gives_a_regressions_value(tmp_path):
    model = make_classifier("xlm-roberta", classes=())
    write_hf(model, tmp_path, TEXTS[40:])
    rate = transformers.pipeline("text-classification", str(tmp_path), truncation=True)
    answers = rate([{"text": one, "text_pair": other} for one, other in ROWS[:10]])
    assert np.abs([answer["score"] for answer in answers] - expected_logits(model)[:10, 0]).max() < 3e-5


def test_a_family_that_cannot_carry_the_head_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^export hf: a modernbert network of transformers cannot carry AutoGluon's"):
        write_hf(make_classifier("modernbert"), tmp_path, TEXTS[40:])


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_states_twice_as_large_as_any_seen_are_carried(family):
    model = make_classifier(family)
    config = deepcopy(model.parts.network.config)
    config.num_labels = 3
    network = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    network.base_model.load_state_dict(model.parts.network.state_dict(), strict=False)
    batch = model.batch(ROWS)
    states = model.states(batch)
    carry(
        network,
        model.parts.weight,
        model.parts.bias,
        states[:1] / states[:1].abs().max() * states.abs().max() / 1.9,
        batch,
    )
    with torch.inference_mode():
        logits = network(**batch).logits.double().numpy()
    assert np.abs(logits - expected_logits(model)).max() < 3e-5
