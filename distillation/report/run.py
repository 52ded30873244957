"""The last thing on screen: the table of scores, the speed-up, and where everything is."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..settings import WEIGHTS

ROLES = {"teacher": "Teacher", "baseline": "Pretrained\n(baseline)", "student": "Student\n(distilled)"}


def show(row: Mapping[str, Any], console: Console) -> None:
    """Print the row of one run as :func:`experiment.run` made it."""
    speed_up = row["speed_up"]["forward"]
    table = Table(title=_title(row), title_justify="left", title_style="bold")
    table.add_column("Test set")
    table.add_column("Metric")
    for heading in (*ROLES.values(), "Distillation\nratio", "Speed-up"):
        table.add_column(heading, justify="right")
    reasons = []
    for test_set, metrics in row["scores"].items():
        for metric, scores in metrics.items():
            ratio = row["distillation_ratio"][test_set][metric]
            judged = row["uncertainty"][test_set][metric]
            shown = number(ratio["value"], ".4f")
            if ratio["value"] is None:
                reasons.append(f"n/a on {test_set} ({metric}): {ratio['reason']}.")
            elif judged["ratio"] is None:
                shown = "undefined"
                reasons.append(
                    f"undefined on {test_set} ({metric}): the teacher's lead over the baseline, "
                    f"{judged['lead']['value']:.4f} (95 %: {_range(judged['lead'], '.4f')}), is not clearly above 0."
                )
            table.add_row(
                f"{test_set} ({row['rows']['test'][test_set]:,})",
                metric,
                *(number(scores.get(role), ".5f") for role in ROLES),
                shown,
                f"{speed_up['ratio']:.2f}x",
            )
    console.print(table)
    for reason in reasons:
        console.print(f"Distillation ratio {reason}")
    _show_uncertainty(row["uncertainty"], console)
    _show_terms(row["training"]["student"].get("terms"), console)
    console.print(_speed_line(row))
    console.print(_cost_line(row))
    console.print("Distillation ratio = (student - baseline) / (teacher - baseline): 0 no gain, 1 the teacher's score.")
    if row["demonstration"]:
        console.print("This was a demonstration on generated sentences; its scores say nothing about real tasks.")
    console.print()
    for name, path in row["paths"].items():
        console.print(f"{name.replace('_', ' '):<12} {path}", soft_wrap=True, highlight=False)
    columns = ", ".join(f'"{column}": [...]' for column in row["text_columns"])
    console.print(
        f'{"use it":<12} MultiModalPredictor.load("{row["paths"]["student"]}").predict({{{columns}}})',
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    folder = shlex.quote(str(Path(row["paths"]["results"]).parent))
    console.print(
        f"{'compare runs':<12} python automm_distillation_report.py {folder}", soft_wrap=True, highlight=False
    )
    console.print()
    console.print(verdict(row), style="bold", highlight=False)


def verdict(row: Mapping[str, Any]) -> str:
    """One plain sentence: is the student better than the baseline, as far as the test rows can tell?"""
    test_set, metrics = next(iter(row["uncertainty"].items()))
    metric, judged = next(iter(metrics.items()))
    rows = f"on these {row['rows']['test'][test_set]:,} test rows"
    gain = judged["gain"]
    if gain is None:
        return f"Without a baseline nothing can be said of what distillation gained {rows}."
    if gain["value"] is None:
        return f"The {metric} of a model is undefined {rows}: nothing can be said of what distillation gained."
    points, low, high = (100 * gain[key] for key in ("value", "low", "high"))
    better = "better" if points >= 0 else "worse"
    sure = "" if low > 0 or high < 0 else ": not distinguishable from noise"
    return (
        f"The student's {metric} is {abs(points):.1f} points {better} than the baseline's {rows} "
        f"(95 %: {low:.1f} to {high:.1f}){sure}."
    )


def _show_uncertainty(judgements: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Intervals of everything in the first table that comes from test rows."""
    table = Table(
        title="How far the test rows can be trusted: 95 % intervals", title_justify="left", title_style="bold"
    )
    table.add_column("Test set")
    for heading in (*ROLES.values(), "Student -\nbaseline", "Distillation\nratio", "McNemar's\ntest"):
        table.add_column(heading, justify="right")
    for test_set, metrics in judgements.items():
        for metric, judged in metrics.items():
            table.add_row(
                f"{test_set}\n{metric}",
                *(_range(judged["scores"].get(role), ".3f") for role in ROLES),
                _range(judged["gain"], "+.3f"),
                "undefined" if judged["ratio"] is None else _range(judged["ratio"], ".2f"),
                "" if judged["mcnemar"] is None else f"p = {judged['mcnemar']:.2g}",
            )
    console.print(table)


def _range(interval: Mapping[str, float | None] | None, form: str) -> str:
    if interval is None or interval["low"] is None or interval["high"] is None:
        return "n/a"
    return f"{interval['low']:{form}} to {interval['high']:{form}}"


def _show_terms(terms: Mapping[str, Mapping[str, float | None]] | None, console: Console) -> None:
    """What each loss did during the student's training."""
    if not terms:
        return
    table = Table(title="What trained the student", title_justify="left", title_style="bold")
    table.add_column("Loss")
    for heading in (
        "Weight",
        "Mean in the\nfirst epoch",
        "Mean in the\nlast epoch",
        "Share of gradient\nat the logits",
        "Share of gradient\nat the feature",
    ):
        table.add_column(heading, justify="right")
    for name, term in terms.items():
        table.add_row(
            name.replace("_", " "),
            f"{term['weight']:g}",
            number(term["first_epoch"], ".4g"),
            number(term["last_epoch"], ".4g"),
            f"{term['logits_share']:.1%}",
            f"{term['feature_share']:.1%}",
        )
    console.print(table)


def number(value: float | None, form: str) -> str:
    """A number as text, "n/a" for None."""
    return "n/a" if value is None else format(value, form)


def _title(row: Mapping[str, Any]) -> str:
    settings = row["settings"]
    weights = ", ".join(
        f"{name.removesuffix('_weight').removesuffix('_loss').replace('_', ' ')} {settings[name]:g}"
        for name in WEIGHTS
        if settings[name]
    )
    squared = " (loss times its square)" if settings["temperature_scaling"] == "squared" else ""
    temperature = "" if row["problem_type"] == "regression" else f"; temperature {settings['temperature']:g}{squared}"
    return (
        f"{row['task']}: {settings['teacher_model']} -> {settings['student_model']}, seed {settings['seed']}\n"
        f"losses: {weights}{temperature}"
    )


def _cost_line(row: Mapping[str, Any]) -> str:
    parts = [
        f"{role} {fit['seconds']:.0f} s{' (earlier, now from the cache)' if fit.get('from_cache') else ''}"
        for role, fit in row["training"].items()
    ]
    return f"Training took: {', '.join(parts)}; the teacher's outputs {row['seconds']['teacher_outputs']:.0f} s."


def _speed_line(row: Mapping[str, Any]) -> str:
    kinds = (("forward", "forward pass"), ("latency", "one row at a time"), ("end_to_end", "predict, end to end"))
    figures = ", ".join(
        f"{name} {row['speed_up'][kind]['ratio']:.2f}x "
        f"({row['speed_up'][kind]['low']:.2f} to {row['speed_up'][kind]['high']:.2f})"
        for kind, name in kinds
    )
    device = row["device"]
    forward = row["speed_up"]["forward"]
    return (
        f"Speed-up of the student over the teacher (95 % interval): {figures}; {device['name']}, "
        f"{device['threads']} threads, precision {device['precision']}, batch {forward['batch_size']}, "
        f"{forward['rows']} rows of {forward['tokens'][0]:.0f} tokens."
    )
