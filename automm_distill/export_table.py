"""What came of an export, as a table and a sentence: on the screen, in summary.md and in the card."""

from collections.abc import Mapping, Sequence
from typing import Any

from automm_distill.evaluation.metrics import Metric, of_row
from automm_distill.export_formats import BF16, LATENCY, THROUGHPUT
from automm_distill.text_table import TextTable


def table(row: Mapping[str, Any]) -> TextTable:
    """The PyTorch models and the exported forms, one line each: size, speed, score.

    :param row: of a run, with its ``export``.
    """
    exported = row["export"]
    test_set, scores = next(iter(row["scores"].items()))
    metric = of_row(row, next(iter(scores)))
    lines = []
    for role, model in exported["models"].items():
        lines.append([f"{role} (PyTorch)", *_costs(model), metric.score_text(scores[metric.name].get(role)), ""])
    for form, found in exported["forms"].items():
        lines.append(
            [
                form if found["recommended"] else f"{form} *",
                *_costs(found),
                metric.score_text(found["scores"][test_set][metric.name]),
                gain_text(found["gains"][test_set], metric),
            ]
        )
    headings = ["", "size", "one row", "in bf16", "rows/s", metric.name, "change (95 % CI)"]
    return _without_empty_columns(TextTable("", headings, lines, range(1, 7)))


def warning(row: Mapping[str, Any]) -> str:
    """Which forms are not recommended, and why; nothing where all are.

    :param row: of a run, with its ``export``.
    """
    exported = row["export"]
    metric = of_row(row, next(iter(next(iter(row["scores"].values())))))
    bad = [found for found in exported["forms"].values() if not found["recommended"]]
    if not bad:
        return ""
    changes = [change for found in bad for change in judged_changes(found, metric).items()]
    test_set, worst = min(changes, key=lambda change: change[1])
    unit = "%" if metric.lower_is_better else "points"
    return (
        f"* not recommended: {-worst:.2f} {unit} worse on {test_set}, more than --export_margin {exported['margin']:g}"
    )


def judged_changes(found: Mapping[str, Any], metric: Metric) -> dict[str, float]:
    """How much better a form is than the PyTorch model, by test set, as far as there are scores.

    In points; of an error in percent of the PyTorch model's.

    :param found: a form of a row's ``export``.
    :param metric: the headline.
    """
    changes = {}
    for test_set, gain in found["gains"].items():
        if gain["value"] is not None:
            score = found["scores"][test_set][metric.name]
            of_pytorch = score + gain["value"] if metric.lower_is_better else score - gain["value"]
            changes[test_set] = metric.judged(gain["value"], of_pytorch)
    return changes


def sentence(exported: Mapping[str, Any]) -> str:
    """From the teacher to the fastest form that is recommended; nothing without a teacher or where none is."""
    teacher = exported["models"].get("teacher")
    good = {form: found for form, found in exported["forms"].items() if found["recommended"]}
    if teacher is None or LATENCY not in teacher or not good or exported["role"] == "teacher":
        return ""
    form = min(good, key=lambda form: good[form][LATENCY])
    models = (("teacher", teacher), (f"{exported['role']} {form}", good[form]))
    sides = [f"{name} {megabytes(model['bytes'])}, {milliseconds(model[LATENCY])}" for name, model in models]
    return f"{' -> '.join(sides)}: {teacher[LATENCY] / good[form][LATENCY]:.1f}x"


def megabytes(size: int) -> str:
    """Of bytes."""
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def milliseconds(seconds: float) -> str:
    """Of seconds."""
    return f"{1e3 * seconds:.1f} ms"


def _costs(model: Mapping[str, Any]) -> list[str]:
    if LATENCY not in model:
        return [megabytes(model["bytes"]), "", "", ""]
    in_bf16 = milliseconds(model[BF16][LATENCY]) if BF16 in model else ""
    return [megabytes(model["bytes"]), milliseconds(model[LATENCY]), in_bf16, f"{model[THROUGHPUT]:,.0f}"]


def gain_text(gain: Mapping[str, float | None], metric: Metric) -> str:
    """A gain as the metric shows it, with its interval."""
    if gain["value"] is None:
        return "n/a"
    value = metric.gain_text(gain["value"], 2)
    if gain["low"] is None or gain["high"] is None:
        return f"{value} (n/a)"
    return f"{value} ({metric.gain_text(gain['low'], 2)}, {metric.gain_text(gain['high'], 2)})"


def _without_empty_columns(whole: TextTable) -> TextTable:
    kept = [
        number
        for number, heading in enumerate(whole.headings)
        if number == 0 or any(line[number] for line in whole.rows)
    ]

    def chosen(cells: Sequence[str]) -> list[str]:
        return [cells[number] for number in kept]

    return TextTable(whole.title, chosen(whole.headings), [chosen(line) for line in whole.rows], range(1, len(kept)))
