"""What the fits will run on: how many GPUs, and in which precision."""

import contextlib
import ctypes
import logging
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from automm_distill.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """``num_gpus`` is 0 on a CPU; ``precision`` is "16", "bf16" (both mixed) or "32", one that the device has."""

    num_gpus: int
    precision: str
    name: str
    threads: int

    @property
    def prediction_precision(self) -> str:
        """Of the finished models: on a CPU AutoGluon 1.6.3 computes in single precision (utils/precision.py:68)."""
        return self.precision if self.num_gpus else "32"

    @property
    def accelerator(self) -> str:
        """AutoGluon 1.6.3 takes all GPUs when told 0 of them (learners/base.py:1135), unless this says "cpu"."""
        return "gpu" if self.num_gpus else "cpu"


def choose_device(num_gpu: int, precision: str) -> Device:
    """Resolve ``--num_gpu`` (-1 = all) and ``--precision`` against this machine.

    :raises UserError: when more GPUs are asked for than there are.
    """
    import torch

    present = torch.cuda.device_count()
    if num_gpu > present:
        raise UserError(f"--num_gpu {num_gpu}: this machine has {present}; use 0 for the CPU or -1 for all")
    used = present if num_gpu == -1 else num_gpu
    name = torch.cuda.get_device_name(0) if used else "CPU"
    best = best_precision(on_gpu=used > 0)
    supported = {"32", best} | ({"16"} if used else set())
    if precision == "auto":
        precision = best
    elif precision not in supported:
        replacement = "32" if used else best  # on a GPU, 16 would need weights that bear it
        log.warning("precision %s is not supported on this %s; using %s", precision, name, replacement)
        precision = replacement
    return Device(used, precision, name, torch.get_num_threads())


def best_precision(*, on_gpu: bool) -> str:
    """The fastest precision of the device that trains as well as single precision does."""
    import torch

    if on_gpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
    # Without instructions for it, bf16 is slower than single precision. torch before 2.12 does not tell.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32"


def cpu_name() -> str:
    """As the operating system gives it; its architecture if it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def prepare_arithmetic(*, on_gpu: bool) -> None:
    """Make the device fast in this process: TensorFloat-32 on a GPU, freed memory kept on a CPU."""
    import torch

    if on_gpu:
        torch.set_float32_matmul_precision("high")
    else:
        disable_malloc_trim()


def disable_malloc_trim() -> None:
    """Have glibc keep the memory that a training step frees for the next one, instead of returning it to the system.

    On a CPU, every step would otherwise ask for its large activations anew and pay for their pages: a step of 32 rows
    of 250 tokens through six layers of width 384 spent a third of its time in the kernel, and took 1.6 times as long.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        m_trim_threshold, m_mmap_max = -1, -4  # from malloc.h
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
