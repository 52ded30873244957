"""A real run from its start to the first optimizer step, its seconds divided among phases: run by ``scale.py``.

    python -m benchmarks.first_step MEASURED.json STARTED glue|pawsx [flags of the script]

The functions that do the work are wrapped to be timed, and the training module ends the process once it has taken a
step; all else is the script's own. STARTED is when the process was started, in Unix seconds.
"""

import builtins
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What is timed: the phase, and the function that it is, where its caller looks it up.
FUNCTIONS = [
    ("reading", "automm_distill.inputs.rows.splits", "read_splits"),
    ("cleaning", "automm_distill.inputs.rows.splits", "clean"),
    ("hold-out", "automm_distill.inputs.rows.splits", "hold_out"),
    ("row checks", "automm_distill.inputs.rows.row_checks", "warn_about_rows"),
    ("other checks", "automm_distill.preflight", "preflight"),
    ("estimate", "automm_distill.duration", "tell"),
    ("keys", "automm_distill.automm.token_store", "row_keys"),
    ("tokenizing", "automm_distill.automm.token_store", "tokenize"),
    ("token store", "automm_distill.automm.tokenized_rows", "tokens_of"),
    ("fit", "automm_distill.automm", "fit"),
]
PHASES = ["imports", *dict.fromkeys(phase for phase, _, _ in FUNCTIONS), "rest"]


class Clock:
    """Seconds of each phase, without those of the phases that began and ended within it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.running: list[str] = ["rest"]
        self.since = time.perf_counter()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, its seconds counted for ``phase``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.switch(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(None)

        return call

    def switch(self, phase: str | None) -> None:
        """Begin ``phase``, or end the one that is running."""
        now = time.perf_counter()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now
        if phase is None:
            self.running.pop()
        else:
            self.running.append(phase)


def main(measured: Path, started: float, benchmark: str, argv: list[str]) -> None:
    """Run the script until the first step, and leave what was measured."""
    clock = Clock()
    clock.seconds["imports"] += time.time() - started  # Python itself, and this file
    builtins.__import__ = clock.timed("imports", builtins.__import__)
    importlib.import_module = clock.timed("imports", importlib.import_module)
    from automm_distill.cli import no_garbage_collection, run_script

    with no_garbage_collection():  # as the script imports them
        for phase, module, name in FUNCTIONS:
            owner = importlib.import_module(module)
            setattr(owner, name, clock.timed(phase, getattr(owner, name)))
        from automm_distill.automm.lightning_modules import FineTuneModule

    on_train_batch_end = FineTuneModule.on_train_batch_end

    def end_after_first_step(self: FineTuneModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        on_train_batch_end(self, outputs, batch, batch_idx)
        if self.trainer.global_step:
            clock.switch("rest")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            found = {"seconds": time.time() - started, "cpu_seconds": time.process_time(), "peak_bytes": peak}
            measured.write_text(json.dumps(found | {"phases": clock.seconds}))
            os._exit(0)  # as a run that is killed: nothing is cleaned up

    FineTuneModule.on_train_batch_end = end_after_first_step  # type: ignore[method-assign]
    sys.exit(run_script("glue" if benchmark == "glue" else "pawsx", argv))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
