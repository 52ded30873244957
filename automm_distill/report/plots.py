"""The plots of one task, each as PNG and SVG."""

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context

from automm_distill.report import confusion, loss_curves, score_by_cost, score_by_flag
from automm_distill.report.runs import TaskRuns
from automm_distill.report.summary import Decision, Summary, best_run, of_primary


def draw(
    task_runs: TaskRuns,
    summaries: Sequence[Summary],
    decisions: Sequence[Decision],
    chosen: Decision | None,
    folder: Path,
) -> dict[str, Path]:
    """Draw every plot of a task into ``folder``: the PNG's path by its title."""
    primary_summaries = of_primary(task_runs, summaries)
    figures = {
        f"Score by {flag}": score_by_flag.draw(task_runs, primary_summaries, flag) for flag in task_runs.varied_flags
    }
    figures["Score by speed-up and size"] = score_by_cost.draw(task_runs, primary_summaries, chosen)
    only = decisions[0] if len(decisions) == 1 else None
    shown = chosen or only
    confused = None if shown is None else confusion.of_run(best_run(shown), task_runs.name, is_chosen=only is None)
    if confused:
        figures["Classes taken for others"] = confused
    losses = loss_curves.draw(task_runs)
    if losses:
        figures["Losses during training"] = losses
    paths = {}
    for title, figure in figures.items():
        name = f"{task_runs.name} {title}".lower().replace("->", "to").replace("+", "_")
        path = folder / (re.sub(r"[^a-z0-9_]+", "-", name) + ".png")
        figure.savefig(path, dpi=150, bbox_inches="tight")
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):  # text stays text; the same each time
            figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
        paths[title] = path
    return paths
