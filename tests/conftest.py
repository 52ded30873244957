"""Tiny data and tiny checkpoints, made on the spot: the tests need no network and nothing outside the repository."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from automm_distill.defaults import defaults
from automm_distill.flag import Benchmark
from automm_distill.inputs import demo
from automm_distill.settings import Settings

TEACHER_LAYERS, STUDENT_LAYERS = 2, 1
SENTENCES = demo.make_pairs(demo.LANGUAGES["en"], 400, seed=5)
GERMAN = demo.make_pairs(demo.LANGUAGES["de"], 400, seed=6)


def make_settings(benchmark: Benchmark = "glue", **changes: Any) -> Settings:
    """Settings of a script's defaults with ``changes``."""
    own = {"teacher_model": "teacher", "student_model": "student"}
    return Settings(benchmark=benchmark, **(defaults(benchmark) | own | changes))


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """Also where the tests are a background job of a script, which starts them deaf to it, and so what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _ctrl_c_stays_pytests() -> Iterator[None]:
    """A command that is called in this process leaves Ctrl-C as it should be at the end of its own."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Path:
    """A folder with ``teacher`` (2 layers, width 32) and ``student`` (1 layer, width 16)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    texts = [text for pairs in (SENTENCES, GERMAN) for column in ("sentence1", "sentence2") for text in pairs[column]]
    demo.make_checkpoint(folder / "teacher", texts, demo.Shape(layers=TEACHER_LAYERS, width=32, heads=2), seed=1)
    # A tokenizer of its own: a character before all others in its alphabet, so that all pieces have other numbers.
    demo.make_checkpoint(
        folder / "student", [*texts, "an apple a day!"], demo.Shape(layers=STUDENT_LAYERS, width=16, heads=2), seed=2
    )
    return folder


@pytest.fixture(scope="session")
def teachers(checkpoints, tmp_path_factory) -> Path:
    """A folder with a fitted teacher of each task of ``fits.LABELS``, under the task's name."""
    from .fits import LABELS, fit_teacher  # AutoGluon is imported where it is needed

    folder = tmp_path_factory.mktemp("teachers")
    for name in LABELS:
        fit_teacher(checkpoints, folder / name, name)
    return folder


@pytest.fixture(scope="session")
def datasets_folder(tmp_path_factory) -> Path:
    """rte, stsb, cola, mnli and PAWS-X (en, de) in the shape that the hub gives them, with generated sentences."""
    folder = tmp_path_factory.mktemp("data")
    pairs = SENTENCES
    rte = pairs.assign(label=1 - pairs["label"])
    write_splits(folder / "rte", {"train": rte[:120], "validation": rte[120:180]})
    stsb = pairs.assign(label=pairs["label"] * 3.0 + pairs["idx"] % 5 * 0.5)
    write_splits(folder / "stsb", {"train": stsb[:120], "validation": stsb[120:180]})
    cola = pairs[["idx", "sentence1", "label"]].rename(columns={"sentence1": "sentence"})
    write_splits(folder / "cola", {"train": cola[:120], "validation": cola[120:180]})
    mnli = pairs.rename(columns={"sentence1": "premise", "sentence2": "hypothesis"}).assign(label=pairs["idx"] % 3)
    write_splits(
        folder / "mnli",
        {"train": mnli[:120], "validation_matched": mnli[120:160], "validation_mismatched": mnli[160:220]},
    )
    for language, rows in (("en", SENTENCES), ("de", GERMAN)):
        rows = rows.rename(columns={"idx": "id"})
        rows.loc[250, "sentence2"] = "NS"
        write_splits(folder / language, {"train": rows[:120], "validation": rows[120:180], "test": rows[200:260]})
    return folder


def write_splits(folder: Path, splits: dict[str, pd.DataFrame]) -> None:
    """``<folder>/<split>.parquet`` for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        rows.to_parquet(folder / f"{split}.parquet", index=False)
