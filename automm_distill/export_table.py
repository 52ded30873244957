"""What came of an export, as a table and a sentence: on the screen, in summary.md and in the card."""

from collections.abc import Mapping, Sequence
from typing import Any

from automm_distill.export_formats import BF16, LATENCY, THROUGHPUT
from automm_distill.text_table import TextTable


def table(row: Mapping[str, Any]) -> TextTable:
    """The PyTorch models and the exported forms, one line each: size, speed, score.

    :param row: of a run, with its ``export``.
    """
    exported = row["export"]
    test_set, metrics = next(iter(row["scores"].items()))
    metric = next(iter(metrics))
    lines = []
    for role, model in exported["models"].items():
        lines.append([f"{role} (PyTorch)", *_costs(model), _number(metrics[metric].get(role), ".4f"), ""])
    for form, found in exported["forms"].items():
        lines.append(
            [
                form if found["recommended"] else f"{form} *",
                *_costs(found),
                _number(found["scores"][test_set][metric], ".4f"),
                signed_points(found["gains"][test_set]),
            ]
        )
    headings = ["", "size", "one row", "in bf16", "rows/s", metric, "change (95 % CI)"]
    return _without_empty_columns(TextTable("", headings, lines, range(1, 7)))


def warning(exported: Mapping[str, Any]) -> str:
    """Which forms are not recommended, and why; nothing where all are."""
    bad = [form for form, found in exported["forms"].items() if not found["recommended"]]
    gains = [gain for form in bad for gain in exported["forms"][form]["gains"].items() if gain[1]["value"] is not None]
    if not bad:
        return ""
    test_set, worst = min(gains, key=lambda gain: gain[1]["value"])
    points = f"{-100 * worst['value']:.2f} points worse on {test_set}"
    return f"* not recommended: {points}, more than --export_margin {exported['margin']:g}"


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


def signed_points(gain: Mapping[str, float | None]) -> str:
    """A difference of scores in points, with its interval."""
    if gain["value"] is None:
        return "n/a"
    value = f"{100 * gain['value']:+.2f}"
    if gain["low"] is None or gain["high"] is None:
        return f"{value} (n/a)"
    return f"{value} ({100 * gain['low']:+.2f}, {100 * gain['high']:+.2f})"


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _without_empty_columns(whole: TextTable) -> TextTable:
    kept = [
        number
        for number, heading in enumerate(whole.headings)
        if number == 0 or any(line[number] for line in whole.rows)
    ]

    def chosen(cells: Sequence[str]) -> list[str]:
        return [cells[number] for number in kept]

    return TextTable(whole.title, chosen(whole.headings), [chosen(line) for line in whole.rows], range(1, len(kept)))
