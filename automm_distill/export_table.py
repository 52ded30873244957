"""What came of an export, as a table and a sentence: on the screen, in summary.md and in the card."""

from collections.abc import Mapping, Sequence
from typing import Any

from automm_distill.export_formats import BF16, LATENCY, THROUGHPUT
from automm_distill.text_table import TextTable

NOT_RECOMMENDED = "not recommended"


def table(row: Mapping[str, Any]) -> TextTable:
    """The PyTorch models and the exported forms, one line each: size, speed, score.

    :param row: of a run, with its ``export``.
    """
    exported = row["export"]
    test_set, metrics = next(iter(row["scores"].items()))
    metric = next(iter(metrics))
    lines = []
    for role, model in exported["models"].items():
        lines.append([f"{role} (PyTorch)", *_costs(model), _number(metrics[metric].get(role), ".4f"), "", ""])
    for form, found in exported["forms"].items():
        lines.append(
            [
                form,
                *_costs(found),
                _number(found["scores"][test_set][metric], ".4f"),
                signed_points(found["gain"]),
                "" if found["recommended"] else NOT_RECOMMENDED,
            ]
        )
    headings = ["", "size", "one row", BF16, "rows/s", metric, f"- {exported['role']} (95 % CI)", ""]
    return _without_empty_columns(TextTable("", headings, lines, range(1, 7)))


def sentence(exported: Mapping[str, Any]) -> str:
    """From the teacher to the smallest form that is recommended; nothing without a teacher or where none is."""
    teacher = exported["models"].get("teacher")
    good = {form: found for form, found in exported["forms"].items() if found["recommended"]}
    if teacher is None or not good or exported["role"] == "teacher":
        return ""
    form = min(good, key=lambda form: good[form].get(LATENCY, good[form]["bytes"]))
    models = (("teacher", teacher), (f"{exported['role']} {form}", good[form]))
    sides = [
        f"{name} {megabytes(model['bytes'])}" + (f", {milliseconds(model[LATENCY])}" if LATENCY in model else "")
        for name, model in models
    ]
    times = f": {teacher[LATENCY] / good[form][LATENCY]:.1f}x" if LATENCY in teacher else ""
    return " -> ".join(sides) + times


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
        return value
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
