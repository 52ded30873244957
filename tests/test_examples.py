"""Scripts in examples/, run as their users do, against the exported files' own logits."""

import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from automm_distill.automm import FittedParts, RowForm
from automm_distill.export.classifier import Classifier
from automm_distill.export.exported import Exported
from automm_distill.export.onnx_files import write_int8, write_onnx
from automm_distill.export.plain_tokenizer import plain_tokenizer
from automm_distill.export_formats import INT8, ONNX

from .conftest import SENTENCES

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "onnx_inference.py"
BATCH = 32  # of the script
CLASSES = ("no", "maybe so", "yes")
PAIRS = SENTENCES[["sentence1", "sentence2"]].to_numpy().tolist()[: 2 * BATCH + 6]
TEXTS = [row[:1] for row in PAIRS]
ALONE = ("tokenizers", "onnxruntime", "numpy")


def export(checkpoint: Path, folder: Path, classes: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
    """``onnx`` and ``onnx-int8`` of a network with random weights, under a head that is drawn at random."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    network = transformers.AutoModel.from_pretrained(checkpoint).eval()
    draw = torch.Generator().manual_seed(1)
    form = RowForm(
        tokenizer,
        max_tokens=12,  # some of the pairs are longer
        start=tokenizer.cls_token_id,
        separator=tokenizer.sep_token_id,
        end=None,
        segments=2,
    )
    weight = torch.randn(len(classes) or 1, network.config.hidden_size, generator=draw)
    model = Classifier(FittedParts(network, weight, torch.zeros(len(weight)), form), plain_tokenizer(form), classes)
    middle = model.logits(model.batch(rows)).mean(dim=0)  # taken off, so that rows differ in their label
    model = replace(model, parts=replace(model.parts, bias=-middle))
    write_onnx(model, folder / ONNX, rows[:2])
    write_int8(folder / ONNX, folder / INT8, embeddings=True)


@pytest.fixture(scope="module")
def pairs(checkpoints, tmp_path_factory) -> Path:
    """A folder with the ONNX forms of a classifier of pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    export(checkpoints / "student", folder, CLASSES, PAIRS)
    return folder


def run(
    folder: Path, rows: Sequence[Sequence[str]], python: Path | str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """The script's answer."""
    lines = "".join("\t".join(row) + "\n" for row in rows)
    command = [python, "-E", SCRIPT, folder]  # no libraries by way of PYTHONPATH
    return subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=False)


def answers(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def logits_of(form: str, folder: Path, rows: Sequence[Sequence[str]]) -> np.ndarray:
    """Of the rows in the script's batches, on which those of 8-bit weights depend a little."""
    exported = Exported(form, folder / form)
    batches = [exported.encode(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return np.concatenate([exported.run(batch) for batch in batches])


def assert_classified(given: list[list[str]], logits: np.ndarray) -> None:
    """Labels and probabilities are those of the logits, (rows, classes)."""
    probabilities = torch.tensor(logits).softmax(dim=1).numpy()
    assert [label for label, _ in given] == [CLASSES[best] for best in logits.argmax(axis=1)]
    assert len({label for label, _ in given}) > 1
    assert [float(share) for _, share in given] == pytest.approx(probabilities.max(axis=1), abs=1e-4)


@pytest.mark.parametrize("form", [ONNX, INT8])
def test_pairs_get_the_labels_and_probabilities_of_the_exported_files(pairs, form):
    assert_classified(answers(run(pairs / form, PAIRS)), logits_of(form, pairs, PAIRS))


def test_single_texts_are_classified(checkpoints, tmp_path):
    export(checkpoints / "student", tmp_path, CLASSES, TEXTS)
    assert_classified(answers(run(tmp_path / ONNX, TEXTS)), Exported(ONNX, tmp_path / ONNX).logits(TEXTS))


def test_a_regression_gives_its_numbers(checkpoints, tmp_path):
    export(checkpoints / "student", tmp_path, (), PAIRS)
    expected = Exported(ONNX, tmp_path / ONNX).logits(PAIRS)[:, 0]
    assert [float(number) for (number,) in answers(run(tmp_path / ONNX, PAIRS))] == pytest.approx(expected, abs=1e-4)


def test_no_rows_get_no_answers(pairs):
    assert answers(run(pairs / ONNX, [])) == []


@pytest.mark.parametrize("absent", ["model.onnx", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(pairs, tmp_path, absent):
    for file in (pairs / ONNX).iterdir():
        if file.name != absent:
            (tmp_path / file.name).symlink_to(file)
    done = run(tmp_path, PAIRS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}: no {absent} there; needs export/onnx or export/onnx-int8 of a run\n"


@pytest.mark.parametrize("row", [["one text"], ["three", "texts", "here"]], ids=len)
def test_a_line_with_another_number_of_texts_is_named(pairs, row):
    done = run(pairs / ONNX, [*PAIRS[: BATCH + 1], row, *PAIRS])
    assert done.returncode == 2
    assert done.stderr == f"line {BATCH + 2}: columns: {len(row)}; the model reads 2, with a tab between two\n"


@pytest.mark.slow
@pytest.mark.parametrize("form", [ONNX, INT8])
def test_the_script_needs_three_libraries_and_no_more(pairs, bare_python, form):
    assert answers(run(pairs / form, PAIRS, bare_python)) == answers(run(pairs / form, PAIRS))


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torch", "transformers", "autogluon"])
def test_where_the_script_was_run_there_is_no_other_library(bare_python, library):
    done = subprocess.run([bare_python, "-E", "-c", f"import {library}"], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{library}'"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """Python in an environment with the script's libraries, in the versions of requirements.txt, and what they need."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.partition("==")[0] in ALONE]
    assert len(pins) == len(ALONE)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    return python
