"""What a run prints when it is done, and the whole of it in ``<run>/summary.md``."""

import math
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from automm_distill import class_scores, export_table
from automm_distill.evaluation.metrics import Metric, of_row
from automm_distill.evaluation.scores import POOLED
from automm_distill.evaluation.verdict import judge_gain
from automm_distill.export_formats import EXPORT
from automm_distill.layer_choice import student_name
from automm_distill.predictions import PREDICTIONS
from automm_distill.settings import LOSS_WEIGHTS
from automm_distill.teacher_choice import teacher_name
from automm_distill.teacher_diagnosis import remark, sentence
from automm_distill.text_table import TextTable, as_markdown, as_text

SUMMARY = "summary.md"
PATHS = ("student", "details", "results")
MAX_LINES = 14
ROLES = ("teacher", "baseline", "student")
LITTLE, DOMINANT = 0.01, 0.95  # shares of the gradient that earn a line of advice
LABEL_WIDTH, WIDTH = 9, 80
FEW_LANGUAGES = 3
RATIO = "Distillation ratio = (student - baseline) / (teacher - baseline): 0 is no gain, 1 the teacher's score."

Row = Mapping[str, Any]


def print_summary(row: Row, folder: Path, console: Console, *, everything: bool = False) -> None:
    """Print the result of one run: at most 14 lines of 80 columns, eight more of an export, unless ``everything``.

    A narrower terminal gets more lines.

    :param folder: that of the run, as the user will look for it.
    """
    width = min(WIDTH, console.width)
    if everything:
        console.out(markdown(row))
    head = [_title(row), _losses(row), as_text(_score_table(row, worst_only=True), width), *_caveats(row)]
    head = [text if "\n" in text else _wrapped(text, width) for text in head]
    answer = _wrapped(verdict(row), width)
    exported = _export_lines(row, width)
    room = MAX_LINES - len(PATHS) - sum(text.count("\n") + 1 for text in (*head, answer))
    for text in (*head, *(_wrapped(line, width) for line in [*_floor(row), *advice(row)][: max(0, room)])):
        console.out(text)
    for text in exported:
        console.out(text)
    console.out(answer, style="bold")
    places = dict(zip(PATHS, (folder / "student", folder / SUMMARY, folder.parent), strict=True))
    if exported:
        places = {"export": folder / EXPORT} | places
    for label, path in places.items():
        console.out(f"{label:<{LABEL_WIDTH}}{path}")


def print_export(row: Row, folder: Path, console: Console) -> None:
    """Print what came of an export: at most eight lines of 80 columns.

    :param folder: that of the run, as the user will look for it.
    """
    for text in _export_lines(row, min(WIDTH, console.width)):
        console.out(text)
    console.out(f"{'export':<{LABEL_WIDTH}}{folder / EXPORT}")


def write_summary(row: Row, folder: Path) -> None:
    """Leave everything there is to say of a run in its folder, with the scores of each class by its predictions."""
    parts = [markdown(row)]
    if _classes(row) and (folder / PREDICTIONS).exists():
        roles = [role for role in class_scores.ROLES if role in row["training"]]
        predictions = pd.read_parquet(folder / PREDICTIONS, columns=["label", *roles])
        parts += ["## Classes", as_markdown(class_scores.table(predictions, _classes(row)))]
    (folder / SUMMARY).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def verdict(row: Row) -> str:
    """Is the student better than the baseline, as far as the test rows can tell?"""
    test_set, metrics = next(iter(row["bootstrap"].items()))
    metric, estimate = next(iter(metrics.items()))
    measure = of_row(row, metric)
    count = row["rows"]["test"][test_set]
    gain = estimate["gain"]
    if gain is None:
        return "No baseline was trained: what distillation gained is unknown."
    if estimate["not_judged"]:
        return str(estimate["not_judged"])
    if gain["value"] is None:
        return f"The {metric} of a model is undefined on {test_set}: what distillation gained is unknown."
    if gain["low"] is None:
        shown = measure.gain_text(gain["value"], 1)
        return f"No verdict: these {count:,} rows do not tell how far the gain of {shown} may be off."
    baseline = row["scores"][test_set][metric]["baseline"]
    low, high = (measure.judged(gain[key], baseline) for key in ("low", "high"))
    found = judge_gain(low, high, estimate["mcnemar"], measure.judged_in)
    text = f"{found.words.capitalize()}: {measure.gain_sentence(gain['value'], 1)} on {count:,} rows."
    if found.more is not None:
        text += (
            f" Seeing one {measure.judged_in} would take about {found.more * count:,.0f} rows, or "
            f"{math.ceil(found.more):,} seeds."
        )
    return text


def advice(row: Row) -> list[str]:
    """One line for each loss that trained next to nothing or nearly alone."""
    terms = row["training"]["student"].get("loss_terms") or {}
    if not any(log["feature_share"] for log in terms.values()):
        return []  # no gradient was finite when it was measured
    flags = {term: name for name, term in LOSS_WEIGHTS.items()}
    lines = []
    for term, log in terms.items():
        share, flag = log["feature_share"], f"--{flags[term]}"
        if len(terms) > 1 and share < LITTLE:
            lines.append(f"{flag}: {share:.1%} of the gradient; raise it or set it to 0")
        elif len(terms) > 1 and share > DOMINANT:
            lines.append(f"{flag}: {share:.0%} of the gradient; lower it, or others hardly count")
    return lines


def markdown(row: Row) -> str:
    """The whole result of a run as Markdown."""
    return "\n\n".join(_sections(row))


def _sections(row: Row) -> Iterator[str]:
    yield f"# {_title(row)}"
    teacher, student = _models(row)
    yield f"Task: {row['task']}. Teacher `{teacher}`, student `{student}`."
    yield _losses(row)
    yield f"**{verdict(row)}**"
    yield from _caveats(row)
    yield as_markdown(_score_table(row, worst_only=False))
    yield _definitions(row)
    yield from _ratio_reasons(row)
    yield "## 95 % confidence intervals (over test rows)"
    yield as_markdown(_interval_table(row))
    terms = row["training"]["student"].get("loss_terms")
    if terms:
        yield "## Loss terms"
        yield as_markdown(_loss_table(terms))
        yield from advice(row)
    if "teacher_diagnosis" in row:  # older rows have none
        yield "## Teacher"
        yield from filter(None, [_finished_teacher(row)])
        yield from filter(None, (sentence(row["teacher_diagnosis"], _classes(row)), remark(row["teacher_diagnosis"])))
    yield "## Speed-up of the student over the teacher"
    yield _speed_text(row)
    if row.get("export"):
        yield "## Export"
        yield from _export_sections(row)
    yield "## Training time"
    yield _training_time(row)
    yield "## Files"
    yield "\n".join(f"- {name.replace('_', ' ')}: `{path}`" for name, path in row["paths"].items())
    columns = ", ".join(f'"{column}": [...]' for column in row["text_columns"])
    yield f"Use the student: `MultiModalPredictor.load({row['paths']['student']!r}).predict({{{columns}}})`"
    folder = shlex.quote(str(Path(row["paths"]["results"]).parent))
    yield f"Compare runs: `python automm_distillation_report.py {folder}`, or `automm-distill-report {folder}`"


def _title(row: Row) -> str:
    models = " -> ".join(name.rstrip("/").rsplit("/", 1)[-1] for name in _models(row))
    return f"{_short_task(row)}, seed {row['settings']['seed']}: {models}"


def _models(row: Row) -> tuple[str, str]:
    """The names of teacher and student; rows before 0.5 have no layers."""
    settings = row["settings"]
    return teacher_name(settings), student_name(settings["student_model"], row.get("student_layers", ()))


def _finished_teacher(row: Row) -> str:
    """What a teacher was that the run did not train; nothing of another."""
    if "teacher" not in row:
        return ""
    about = row["teacher"]
    whole = {
        "predictions": "a file of predictions",
        "classifier": "a classifier of which the outputs alone were used",
        "predictor": "a saved predictor",
    }[about["kind"]]
    text = f"It was {whole}, `{about['name']}` (fingerprint `{about['fingerprint'][:16]}`), and was not trained here."
    if "coverage" in about:
        counts = ", ".join(f"{known:,} of {rows:,} {name}" for name, (known, rows) in about["coverage"].items())
        text += f" It holds {about['form']}, found by the rows' {about['found_by']}, of {counts} rows."
    return text


def _short_task(row: Row) -> str:
    """The task; many languages are counted rather than named."""
    name, _, languages = row["task"].partition(" ")
    sides = [side.split("+") for side in languages.split(" -> ")]
    if max(map(len, sides)) <= FEW_LANGUAGES:
        return row["task"]
    counts = [f"{len(side)} languages" for side in sides]
    return f"{name} {' -> '.join(dict.fromkeys(counts))}"


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)


def _losses(row: Row) -> str:
    settings = row["settings"]
    weights = [f"{term.replace('_', ' ')} {settings[name]:g}" for name, term in LOSS_WEIGHTS.items() if settings[name]]
    squared = " squared" if settings["temperature_scaling"] == "squared" else ""
    temperature = "" if row["problem_type"] == "regression" else f"; T {settings['temperature']:g}{squared}"
    return f"losses: {', '.join(weights)}{temperature}"


def _caveats(row: Row) -> list[str]:
    lines = []
    coverage = row.get("teacher", {}).get("coverage", {})
    lacking = [
        f"{known:,} of {rows:,} {name}" for name, (known, rows) in coverage.items() if "test" in name and known < rows
    ]
    if lacking:
        lines.append(f"The teacher's score is n/a where its file lacks test rows: it has {', '.join(lacking)}.")
    if "reason" in row["speed_up"]:
        lines.append(f"Speed-up n/a: {row['speed_up']['reason']}.")
    if row["demonstration"]:
        lines.append("Demonstration on generated sentences: the scores say nothing about real tasks.")
    return lines


def _score_table(row: Row, *, worst_only: bool) -> TextTable:
    """Scores, gain, ratio and speed-up; of several languages ``all`` and the worst, or every one."""
    cells = [(test_set, metric) for test_set, metrics in row["scores"].items() for metric in metrics]
    names = {cell: _cell_name(row, *cell) for cell in cells}
    if worst_only and POOLED in row["scores"]:
        worst = min(cells[1:], key=lambda cell: of_row(row, cell[1]).merit(row["scores"][cell[0]][cell[1]]["student"]))
        cells = [cells[0], worst]
        names[worst] = f"worst: {names[worst]}"
    speed_up = row["speed_up"].get("forward")
    lines = []
    for test_set, metric in cells:
        by_role = row["scores"][test_set][metric]
        estimate, measure = row["bootstrap"][test_set][metric], of_row(row, metric)
        lines.append(
            [
                names[test_set, metric],
                *(measure.score_text(by_role.get(role)) for role in ROLES),
                _gain(estimate["gain"], measure),
                format_number(estimate["ratio"]["value"] if estimate["ratio"] else None, ".2f"),
                f"{speed_up['ratio']:.2f}x" if speed_up else "n/a",
            ]
        )
    headings = [_first_heading(row), *ROLES, "gain (95 % CI)", "ratio", "speed-up"]
    if not worst_only and _has_floor(row):
        headings.append("TF-IDF")
        for line, (test_set, metric) in zip(lines, cells, strict=True):
            line.append(of_row(row, metric).score_text(row["floor"][test_set][metric]))
    return TextTable("", headings, lines, range(1, len(headings)))


def _has_floor(row: Row) -> bool:
    return bool(row.get("floor")) and "reason" not in row["floor"]


def _floor(row: Row) -> list[str]:
    """What a model of seconds reaches, in a line."""
    if not _has_floor(row):
        return []
    metric, score = next(iter(next(iter(row["floor"].values())).items()))
    return [f"TF-IDF and a linear model, for comparison: {metric} {of_row(row, metric).score_text(score)}"]


def _cell_name(row: Row, test_set: str, metric: str) -> str:
    rows = f"({row['rows']['test'][test_set]:,})"
    if len(row["scores"]) == 1:
        return metric
    return f"{test_set} {rows}" if len(row["scores"][test_set]) == 1 else f"{test_set} {metric} {rows}"


def _first_heading(row: Row) -> str:
    if len(row["scores"]) == 1:
        ((test_set, count),) = row["rows"]["test"].items()
        return f"{test_set} ({count:,})"
    return " ".join(dict.fromkeys(metric for metrics in row["scores"].values() for metric in metrics))


def _classes(row: Row) -> Sequence[str]:
    """The task's; rows before 0.7 have none."""
    classes: Sequence[str] = row.get("classes", ())
    return classes


def _definitions(row: Row) -> str:
    used = dict.fromkeys(metric for metrics in row["scores"].values() for metric in metrics)
    errors = [name for name in used if of_row(row, name).lower_is_better]
    gains = ["Gain = student - baseline, in points (hundredths)."] if len(errors) < len(used) else []
    if errors:
        gains.append(f"Of {' and '.join(errors)}, less is better: gain = baseline - student, in the label's unit.")
    return " ".join([*gains, RATIO])


def _gain(gain: Mapping[str, float | None] | None, metric: Metric) -> str:
    if gain is None or gain["value"] is None:
        return "n/a"
    return f"{metric.gain_text(gain['value'], 1)} ({_range(gain, partial(metric.gain_text, decimals=1), ', ')})"


def _ratio_reasons(row: Row) -> Iterator[str]:
    for test_set, metrics in row["distillation_ratio"].items():
        for metric, ratio in metrics.items():
            gap, score = row["bootstrap"][test_set][metric]["teacher_gap"], of_row(row, metric).score_text
            if ratio["value"] is None:
                yield f"Distillation ratio n/a on {test_set} ({metric}): {ratio['reason']}."
            elif row["bootstrap"][test_set][metric]["ratio"] is None:
                yield (
                    f"Distillation ratio n/a on {test_set} ({metric}): the teacher's lead over the baseline, "
                    f"{score(gap['value'])} (95 % CI {_range(gap, score)}), is not clearly above 0."
                )


def _interval_table(row: Row) -> TextTable:
    headings = ["test set", "metric", *ROLES, "gain", "distillation ratio", "McNemar's test"]
    lines = []
    for test_set, metrics in row["bootstrap"].items():
        for metric, estimate in metrics.items():
            measure = of_row(row, metric)
            lines.append(
                [
                    test_set,
                    metric,
                    *(_range(estimate["scores"].get(role), partial(measure.score_text, decimals=3)) for role in ROLES),
                    _range(estimate["gain"], partial(measure.gain_text, decimals=1)),
                    _range(estimate["ratio"], _two_decimals),
                    "" if estimate["mcnemar"] is None else f"p = {estimate['mcnemar']:.2g}",
                ]
            )
    return TextTable("", headings, lines, range(2, len(headings)))


def _loss_table(terms: Mapping[str, Mapping[str, float | None]]) -> TextTable:
    headings = ["loss", "weight", "first epoch", "last epoch", "gradient share, logits", "gradient share, feature"]
    lines = [
        [
            name.replace("_", " "),
            f"{term['weight']:g}",
            format_number(term["first_epoch"], ".4g"),
            format_number(term["last_epoch"], ".4g"),
            f"{term['logits_share']:.1%}",
            f"{term['feature_share']:.1%}",
        ]
        for name, term in terms.items()
    ]
    return TextTable("", headings, lines, range(1, len(headings)))


def _speed_text(row: Row) -> str:
    if "reason" in row["speed_up"]:
        return f"n/a: {row['speed_up']['reason']}."
    kinds = (("forward", "forward pass"), ("latency", "one row at a time"), ("end_to_end", "`predict`, end to end"))
    lines = [
        [
            name,
            f"{measured['ratio']:.2f}x",
            _range(measured, _two_decimals),
            f"{measured['rows']}",
            f"{measured['batch_size']}",
        ]
        for kind, name in kinds
        if (measured := row["speed_up"].get(kind))
    ]
    table = TextTable("", ["", "speed-up", "95 % CI", "rows", "batch"], lines, range(1, 5))
    device, forward = row["device"], row["speed_up"]["forward"]
    tokens = f", rows of {forward['tokens'][0]:.0f} tokens" if forward.get("tokens") else ""
    precision = device.get("prediction_precision", device["precision"])  # rows before 0.4 have one for all
    where = f"{device['name']}, {_count(device['threads'], 'thread')}, precision {precision}{tokens}."
    return f"{as_markdown(table)}\n\n{where}"


def _export_sections(row: Row) -> Iterator[str]:
    exported = row["export"]
    if "reason" in exported:
        yield f"None: {exported['reason']}."
        return
    yield as_markdown(export_table.table(row))
    yield from filter(None, [export_table.warning(row), export_table.sentence(exported)])
    yield "\n".join(f"- {form}: `{found['path']}`, {_agreement(found)}" for form, found in exported["forms"].items())


def _agreement(found: Mapping[str, Any]) -> str:
    same = "" if found["agreement"] is None else f"the same label on {found['agreement']:.2%} of "
    return f"{same or 'checked on '}{found['rows']:,} test rows, largest difference {found['largest_difference']:.2g}"


def _export_lines(row: Row, width: int) -> list[str]:
    """At most seven: of each model and form, and which of them are not recommended, or how far the best has come."""
    if not row.get("export"):
        return []
    if "reason" in row["export"]:
        return [_wrapped(f"Not exported: {row['export']['reason']}", width)]
    told = export_table.warning(row) or export_table.sentence(row["export"])
    return [as_text(export_table.table(row), width), *([_wrapped(told, width)] if told else [])]


def _training_time(row: Row) -> str:
    parts: Sequence[str] = [
        f"{role} {info['seconds']:.0f} s{' (earlier: it came from the cache)' if info.get('from_cache') else ''}"
        for role, info in row["training"].items()
        if "seconds" in info  # a teacher that was finished before has none
    ]
    return f"{', '.join(parts)}; the teacher's outputs {row['seconds'].get('teacher_outputs', 0.0):.0f} s."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def format_number(value: float | None, form: str) -> str:
    """A number as text, "n/a" for None."""
    return "n/a" if value is None else format(value, form)


def _range(interval: Mapping[str, float | None] | None, shown: Callable[[float], str], between: str = " to ") -> str:
    if interval is None or interval["low"] is None or interval["high"] is None:
        return "n/a"
    return f"{shown(interval['low'])}{between}{shown(interval['high'])}"


def _two_decimals(number: float) -> str:
    return f"{number:.2f}"
