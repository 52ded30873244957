"""The estimate of a run's memory against the peaks of real runs, and what a machine or a container has left."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
from transformers import AutoModel

from automm_distill.inputs import demo
from automm_distill.inputs.rows.splits import TrainValidation
from automm_distill.memory import available_memory, estimate_peak, longest_row, read_network_size

from .conftest import SENTENCES, write_splits
from .test_duration import context

RUN = """
import re, sys
from pathlib import Path
from automm_distill.cli import parse_settings
from automm_distill.experiment import run
from automm_distill.memory import estimate_peak
from automm_distill.preflight import preflight
context = preflight(parse_settings("glue", sys.argv[1:]))
run(context)
# Not getrusage: its peak is never below that of the process which started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print("bytes", estimate_peak(context, on_gpu=False), peak)
"""


def estimated_and_measured(folder: Path, teacher: str) -> tuple[int, int]:
    """The peak of one run with that teacher, in bytes, by both ways."""
    flags = {
        **dict(dataset_path=folder / "data", glue_task="rte", teacher_model=folder / teacher, num_gpu=0, batch_size=32),
        **dict(student_model=folder / "small", max_epochs=1, teacher_max_epochs=1, train_nodistill="false"),
        **dict(finetuned_model_cache_folder=folder / f"cache-{teacher}", output_folder=folder / f"results-{teacher}"),
    }
    argv = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *argv], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert ended.returncode == 0, ended.stderr
    estimate, peak = re.search(r"^bytes (\d+) (\d+)$", ended.stdout, re.MULTILINE).groups()
    return int(estimate), int(peak)


@pytest.mark.slow
def test_estimate_is_within_a_factor_of_two_of_real_peaks(tmp_path):
    """Of a run that is all libraries, and of one whose teacher has weights and activations worth counting."""
    rows = SENTENCES.assign(label=1 - SENTENCES["label"])
    for column in ("sentence1", "sentence2"):
        rows[column] = rows[column].map(lambda text: " ".join([text] * 8))  # as long as the checkpoints can take
    write_splits(tmp_path / "data" / "rte", {"train": rows[:50], "validation": rows[50:60]})
    shapes = {"small": demo.Shape(1, 32, 4, longest=128), "large": demo.Shape(4, 512, 8, longest=128)}
    for name, shape in shapes.items():
        demo.make_checkpoint(tmp_path / name, [*rows["sentence1"]], shape, seed=1)
    small, small_peak = estimated_and_measured(tmp_path, "small")
    large, large_peak = estimated_and_measured(tmp_path, "large")
    assert small_peak / 2 < small < small_peak * 2
    assert large_peak / 2 < large < large_peak * 2
    growth = large_peak - small_peak
    assert growth > 300e6, "the larger teacher must matter"
    assert growth / 2 < large - small < growth * 2


def test_parameters_are_counted_from_the_configuration(checkpoints):
    for role in ("teacher", "student"):
        model = AutoModel.from_pretrained(checkpoints / role, add_pooling_layer=False)
        counted = read_network_size(checkpoints / role).parameters
        assert counted == pytest.approx(sum(weights.numel() for weights in model.parameters()), rel=0.1)


def test_sizes_under_other_names_and_sizes_that_are_not_there(tmp_path):
    (tmp_path / "config.json").write_text('{"dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 128}')
    size = read_network_size(tmp_path)
    assert (size.hidden, size.layers, size.heads, size.feed_forward) == (64, 3, 4, 128)
    assert (size.vocabulary, size.max_tokens) == (30522, 512)


def test_activations_are_those_of_the_paper_at_the_usual_width(tmp_path):
    """Korthikanti et al. 2022, equation 2, for GPT-3's layer: 34 + 5 * 96 * 2048 / 12288 = 114 bytes for each s*b*h."""
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 12288, "num_hidden_layers": 1, "num_attention_heads": 96, "intermediate_size": 49152}'
    )
    assert read_network_size(tmp_path).activation_bytes(rows=1, tokens=2048) == 2 * 114 * 2048 * 12288


def test_longest_row_counts_all_its_texts():
    frame = pd.DataFrame({"id": ["0", "1"], "a": ["x" * 30, "x"], "b": ["x" * 30, "x" * 3], "label": [0, 1]})
    assert longest_row(frame) == 23


def test_memory_is_that_of_the_system_or_what_is_left_in_the_container(tmp_path):
    assert available_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("9000\n")
    (tmp_path / "memory.stat").write_text("anon 8000\ninactive_file 500\n")
    assert available_memory(tmp_path) > 10_000
    (tmp_path / "memory.max").write_text("10000\n")
    assert available_memory(tmp_path) == 1500
    (tmp_path / "memory.max").write_text("8000\n")
    assert available_memory(tmp_path) == 0


def test_rows_that_are_cut_take_less_memory(checkpoints, tmp_path):
    run = context(checkpoints, tmp_path)
    long = run.splits.student.train.assign(sentence1="word " * 100)
    data = TrainValidation(long, run.splits.student.validation)
    run = replace(run, splits=replace(run.splits, student=data, teacher=data))
    cut = replace(run, teacher=replace(run.teacher, max_tokens=16), student=replace(run.student, max_tokens=16))
    assert estimate_peak(cut, on_gpu=False) < estimate_peak(run, on_gpu=False)
