#!/usr/bin/env python3
"""Run a script over a grid of its flags and several seeds, side by side, and only what is not done yet.

    python automm_distillation_sweep.py glue --grid output_feature_loss_weight=0,0.01,0.1 --seeds 1 2 3 \\
        --glue_task rte --max_epochs 3

Flags that the sweep does not know go to the script as they are. Every trial is a run of the script with --resume: it
appends its row to the same results.jsonl, and teachers, baselines and the teachers' outputs are made once, in the cache
folder. The same command again runs what is missing; a run counts as done only for the same settings, rows, checkpoints,
library versions and precision. With --search asha bad points are stopped early, and the best alone get several seeds.
"""

import sys

from automm_distill.startup import start


def main(argv: list[str] | None = None) -> int:
    """The command ``automm-distill-sweep``."""
    start()
    from automm_distill.sweep import command

    return command.main(argv, __doc__)


if __name__ == "__main__":
    sys.exit(main())
