"""What the command lines of all benchmarks share, and the machine that a figure is from."""

import argparse
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from automm_distill.command import Parser

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results"


def make_parser(name: str, description: str | None) -> Parser:
    """That of ``python -m benchmarks.<name>``, without arguments yet."""
    return Parser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_both_tasks(parser: Parser, *, required: bool = True) -> None:
    """The rows of GLUE and PAWS-X, and the checkpoints that the students' benchmarks start from."""
    parser.add_argument("--dataset_path", required=True, help="folder with glue/ and paws-x/, as the scripts read them")
    parser.add_argument("--english", required=required, help="teacher's checkpoint for GLUE: all-MiniLM-L6")
    parser.add_argument(
        "--multilingual", required=required, help="teacher's checkpoint for PAWS-X: multilingual-e5-small"
    )


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    import torch

    from automm_distill.versions import library_versions

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return dict(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        machine=platform.machine(),
        threads=torch.get_num_threads(),
        gpu=gpu,
        versions=library_versions(),
    )
