#!/usr/bin/env python3
"""A trained student, teacher or baseline as files that run without AutoGluon.

    python automm_distillation_export.py results/<run> --format hf onnx onnx-int8

The same as ``--export`` of the scripts that train, for a run that is over.
"""

import sys

from automm_distill.startup import start


def main() -> int:
    """The command ``automm-distill-export``."""
    start()
    from automm_distill.export.command import run_export

    return run_export()


if __name__ == "__main__":
    sys.exit(main())
