"""Memory and disk that do not suffice: one line that says what helps. The errors are those of the real libraries."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from automm_distill.command import guarded
from automm_distill.errors import TrainingError, UserError, machine_limit


def raised_by(work):
    try:
        work()
    except Exception as error:  # noqa: BLE001  libraries differ in what they raise
        return error
    return None


def test_allocation_that_pytorch_refuses_on_a_cpu():
    line = machine_limit(raised_by(lambda: torch.empty(2**55)))
    assert line.startswith("out of memory on the CPU; try a smaller --per_gpu_batch_size")


def test_allocation_that_numpy_refuses():
    assert machine_limit(raised_by(lambda: np.empty(2**55))).startswith("out of memory on the CPU")


def test_full_gpu():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert machine_limit(error).startswith("out of memory on the GPU; try a smaller --per_gpu_batch_size")


def test_disk_that_is_full_while_python_writes():
    def write():
        with Path("/dev/full").open("wb") as file:
            file.write(bytes(100_000))

    assert machine_limit(raised_by(write)).startswith("the disk is full")


def test_disk_that_is_full_while_pytorch_writes():
    line = machine_limit(raised_by(lambda: torch.save(torch.zeros(1_000_000), "/dev/full")))
    assert line.startswith("the disk is full")
    assert "--output_folder" in line


LIMITED = """
import resource, sys, torch
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from automm_distill.errors import machine_limit
try:
    {write}
except Exception as error:
    print(machine_limit(error))
"""


@pytest.mark.parametrize(
    "write",
    [
        "torch.save(torch.zeros(1_000_000), sys.argv[1])",
        "import safetensors.torch; safetensors.torch.save_file({'a': torch.zeros(1_000_000)}, sys.argv[1])",
        "import numpy; numpy.save(sys.argv[1], numpy.zeros(1_000_000))",
        "import pandas; pandas.DataFrame({'a': range(1_000_000)}).to_parquet(sys.argv[1])",
    ],
)
def test_file_that_may_not_grow(tmp_path, write):
    """A quota or a limit of the shell: what PyTorch, safetensors, NumPy and Arrow raise is understood."""
    code = LIMITED.format(write=write)
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, text=True).stdout
    assert out.startswith("the disk is full"), out


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError(errno.EACCES, "no"), RuntimeError("shape mismatch"), KeyError("a")]
)
def test_any_other_error_is_none_of_these(error):
    assert machine_limit(error) is None


def allocate_too_much(rank):
    torch.empty(2**55)


def kill_oneself(rank):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("work", [allocate_too_much, kill_oneself])
def test_memory_that_ends_one_of_several_processes(work):
    error = raised_by(lambda: torch.multiprocessing.spawn(work, nprocs=2))
    assert machine_limit(error).startswith("out of memory on the CPU")


def test_gpu_without_room_for_its_libraries():
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    assert machine_limit(error).startswith("out of memory on the GPU")


def test_words_that_only_resemble_a_failed_write():
    assert machine_limit(RuntimeError("3 tensors were requested and none given")) is None


def test_every_end_has_its_line_and_status(capsys):
    def fail(error):
        def work():
            raise error

        return work

    for error, status, line in (
        (UserError("--seed x: no"), 2, "prog: error: --seed x: no"),
        (TrainingError("diverged"), 1, "prog: diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "prog: out of memory on the GPU"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "prog: the disk is full while writing /a/b"),
        (KeyboardInterrupt(), 130, "prog: come again"),
    ):
        assert guarded("prog", fail(error), "come again") == status
        captured = capsys.readouterr().err
        assert captured.startswith(line)
        assert captured.count("\n") == 1
    assert guarded("prog", lambda: 0, "") == 0
    with pytest.raises(RuntimeError, match="a bug"):
        guarded("prog", fail(RuntimeError("a bug")), "")


def test_lightnings_exit_on_ctrl_c_counts_as_interruption(capsys):
    def work():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert guarded("prog", work, "come again") == 130
    with pytest.raises(SystemExit):
        guarded("prog", lambda: sys.exit(3), "")
