"""The parts of a fitted predictor do what the predictor does: a test that fails where AutoGluon moves them."""

from functools import partial

import numpy as np
import pytest

from automm_distill import automm
from automm_distill.automm import fitted_parts
from automm_distill.export.classifier import classifier
from automm_distill.tasks import GLUE_TASKS

from .checkpoint_formats import write_google_bert, write_mminilm
from .conftest import SENTENCES
from .fits import FRAME, LABELS, RTE, load, make_options, rows_of

ROWS = FRAME[96:116]
TEXTS = ROWS[["sentence1", "sentence2"]].to_numpy().tolist()


@pytest.mark.parametrize("name", LABELS)
def test_parts_answer_as_the_predictor(teachers, name):
    predictor = load(teachers / name, name)
    model = classifier(fitted_parts(predictor), GLUE_TASKS[name])
    batch = model.batch(TEXTS)
    expected = predictor.outputs(ROWS, "32")
    assert np.allclose(model.states(batch).numpy(), expected[1], atol=1e-6)
    logits = expected[0] if predictor.label_scaler is None else predictor.label_scaler.inverse_transform(expected[0])
    assert np.allclose(model.logits(batch).numpy(), logits, atol=1e-5)


@pytest.mark.parametrize(("write", "segments"), [(partial(write_google_bert, layers=1), 2), (write_mminilm, 0)])
def test_rows_are_those_that_the_predictor_reads(write, segments, tmp_path):
    """With segments, and with separators that are not the family's own."""
    write(tmp_path / "student", [*SENTENCES["sentence1"], *SENTENCES["sentence2"]])
    automm.fit(tmp_path / "fitted", rows_of("rte"), RTE, make_options(tmp_path, "baseline"))
    predictor = load(tmp_path / "fitted")
    model = classifier(fitted_parts(predictor), RTE)
    assert model.parts.rows.segments == segments
    assert ("token_type_ids" in model.inputs) == bool(segments)
    assert np.allclose(model.logits(model.batch(TEXTS)).numpy(), predictor.outputs(ROWS, "32")[0], atol=1e-5)
    for row, text in zip(predictor.token_rows(ROWS), TEXTS, strict=True):
        encoded = model.tokenizer.encode(*text)
        assert encoded.ids == row.tolist()
        assert max(encoded.type_ids) == (1 if segments else 0)
    assert predictor.tokenizer is fitted_parts(predictor).rows.tokenizer
