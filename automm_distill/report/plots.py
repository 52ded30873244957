"""Pictures of a study, each as PNG and SVG."""

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context

from automm_distill.report import loss_curves, score_by_cost, score_by_flag
from automm_distill.report.runs import TaskRuns
from automm_distill.report.summary import Decision, Summary


def draw(study: TaskRuns, summaries: Sequence[Summary], chosen: Decision | None, folder: Path) -> dict[str, Path]:
    """Everything there is to draw of a study, into ``folder``: the PNG's path by what it shows."""
    mine = [each for each in summaries if (each.test_set, each.metric) == study.primary]
    figures = {f"Score by {flag}": score_by_flag.draw(study, mine, flag) for flag in study.flags}
    figures["Score by speed-up and size"] = score_by_cost.draw(study, mine, chosen)
    losses = loss_curves.draw(study)
    if losses:
        figures["Losses during training"] = losses
    made = {}
    for title, figure in figures.items():
        name = f"{study.name} {title}".lower().replace("->", "to").replace("+", "_")
        path = folder / (re.sub(r"[^a-z0-9_]+", "-", name) + ".png")
        figure.savefig(path, dpi=150, bbox_inches="tight")
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):  # text stays text; the same each time
            figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
        made[title] = path
    return made
