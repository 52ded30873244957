"""The card of an exported form: ``README.md`` in its folder, as the Hugging Face hub shows it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from automm_distill.defaults import with_defaults
from automm_distill.errors import some_of
from automm_distill.evaluation.metrics import Metric, of_row
from automm_distill.export_formats import HF, INT8, LATENCY, TITLES
from automm_distill.export_table import gain_text, sentence, table
from automm_distill.flag import Flag
from automm_distill.inputs.rows.own_sources import hub_id
from automm_distill.layer_choice import student_name
from automm_distill.settings import DATA, DISTILLATION, MACHINE, TRAINING, flags_of
from automm_distill.tasks import DEMO_TASK, GLUE_TASKS, Task, own_task, pawsx_task
from automm_distill.teacher_choice import teacher_name
from automm_distill.text_table import TextTable, as_markdown

FILE = "README.md"
MOST_NAMED = 20  # classes
# The hub's names.
_METRICS = {"matthews": "matthews_correlation", "pearson": "pearsonr", "spearman": "spearmanr"}
_EXAMPLES = (("A man is playing a guitar.", "Somebody makes music."), ("It rains.", "The sun is out."))
# Flags that others take their defaults from.
_SHAPING = ("preset", "demo", "student_layers", "student_model", "teacher_predictor", "teacher_predictions")

Row = Mapping[str, Any]


def card(form: str, row: Row) -> str:
    """What a form is, how it was made, how good it is, and how to use it.

    :param row: of the run, with its ``export``.
    """
    header = yaml.safe_dump(_header(form, row), sort_keys=False, allow_unicode=True, width=1000)
    licence = "# license: yours to fill in; those of the checkpoint and of the data apply"
    return f"---\n{licence}\n{header}---\n\n" + "\n\n".join(_sections(form, row)) + "\n"


def short_name(model: str) -> str:
    """A checkpoint as others may know it: its name on the hub, or the last part of a path."""
    return Path(model).name if model.startswith(("/", ".", "~")) or model.count("/") > 1 else model


def command(row: Row) -> str:
    """The call of the script that made a run, with short names in the place of paths."""
    benchmark = row["settings"]["benchmark"]
    script = "automm_distillation" if benchmark == "own" else f"automm_distillation_{benchmark}"
    return shlex.join(["python", f"{script}.py", *_flags(row)])


def _header(form: str, row: Row) -> dict[str, Any]:
    settings, task = row["settings"], _task(row)
    data = task.hub_id or ("generated" if row["demonstration"] else task.name)
    base = short_name(settings["student_model"] or teacher_name(settings))
    scores = row["export"]["forms"][form]["scores"]
    results = [
        {
            "task": {"type": "text-classification"},
            "dataset": {"type": data, "name": f"{row['task']}, {test_set}"},
            "metrics": [
                {"type": _METRICS.get(metric, metric), "value": round(value, 4)}
                for metric, value in metrics.items()
                if value is not None
            ],
        }
        for test_set, metrics in scores.items()
    ]
    return {
        **({"language": languages} if (languages := _languages(row)) else {}),
        "library_name": "transformers" if form == HF else "onnx",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "knowledge-distillation", *([] if form == HF else ["onnx"])]
        + (["int8"] if form == INT8 else []),
        **({"base_model": base} if base.count("/") == 1 else {}),
        **({"datasets": [task.hub_id]} if task.hub_id else {}),
        "metrics": [_METRICS.get(metric, metric) for metric in task.metrics],
        "model-index": [{"name": _name(row), "results": results}],
    }


def _sections(form: str, row: Row) -> Iterator[str]:
    exported, task = row["export"], _task(row)
    found = exported["forms"][form]
    yield f"# {_name(row)}, {TITLES[form]}"
    yield _description(row, task)
    if not found["recommended"]:
        yield f"**Not recommended**: it is worse than the PyTorch model by more than {_margin(row)}."
    yield "## Use"
    yield f"```python\n{_usage(form, row, task)}\n```"
    yield "## Scores"
    yield as_markdown(_score_table(row, found))
    yield _checked(row, found)
    yield "## Size and speed"
    yield as_markdown(table(row))
    yield from filter(None, [sentence(exported)])
    if LATENCY in found:
        yield (
            f"Forward passes on {exported['cpu']} (threads: {exported['threads']}) over rows tokenised beforehand: one "
            f"row by itself, and rows/s in batches of {exported['batch_size']}. PyTorch in single precision."
        )
    yield "## How it was made"
    yield _made(row, found)
    yield "## Limits"
    yield "\n".join(f"- {limit}" for limit in _limits(form, row, task, found))
    yield "## Versions"
    yield f"Trained by {_listed(row['versions'])}. Exported {exported['finished']} by {_listed(exported['versions'])}."


def _of_file(row: Row) -> bool:
    return row.get("teacher", {}).get("kind") == "predictions"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _margin(row: Row) -> str:
    number = row["export"]["margin"]
    if _headline(row).lower_is_better:
        return f"{number:g} %"
    return "1 point" if number == 1 else f"{number:g} points"


def _description(row: Row, task: Task) -> str:
    role, teacher = row["export"]["role"], short_name(teacher_name(row["settings"]))
    of = f"`{teacher}`" if "teacher" in row else f"a fine-tuned `{teacher}`"
    made = {
        "student": f"distilled from {'the predictions in ' if _of_file(row) else ''}{of}",
        "teacher": f"a fine-tuned `{teacher}`",
        "baseline": "fine-tuned without a teacher",
    }[role]
    reads = "Two texts in, " if len(row["text_columns"]) == 2 else "A text in, "
    classes = some_of((f"`{name}`" for name in task.classes), MOST_NAMED)
    answer = "a number out" if task.is_regression else f"one of {classes} out"
    if task.label_range is not None:
        answer += f" ({task.label_range[0]:g} to {task.label_range[1]:g} in training)"
    kind = "regressor" if task.is_regression else "classifier"
    return f"A text {kind} for {row['task']}, {made}. {reads}{answer}."


def _usage(form: str, row: Row, task: Task) -> str:
    pair = len(row["text_columns"]) == 2
    if form == HF:
        given = [{"text": first, "text_pair": second} if pair else first for first, second in _EXAMPLES]
        return (
            "from transformers import pipeline\n\n"
            'classify = pipeline("text-classification", "FOLDER", truncation=True)\n'
            f"print(classify({json.dumps(given)}))"
        )
    rows = [[first, second] if pair else first for first, second in _EXAMPLES]
    answer, names = "logits[:, 0]", ""
    if not task.is_regression:
        answer = "[classes[best] for best in logits.argmax(axis=1)]"
        names = 'classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])\n'
    return (
        f"import {'' if task.is_regression else 'json, '}numpy, onnxruntime, tokenizers\n\n"
        'tokenizer = tokenizers.Tokenizer.from_file("FOLDER/tokenizer.json")\n'
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")\n'
        f"rows = tokenizer.encode_batch({json.dumps(rows)})\n"
        'parts = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}\n'
        "names = [each.name for each in session.get_inputs()]\n"
        "inputs = {name: numpy.array([getattr(row, parts[name]) for row in rows]) for name in names}\n"
        "(logits,) = session.run(None, inputs)\n"
        f"{names}print({answer})"
    )


def _score_table(row: Row, found: Row) -> TextTable:
    """Of every test set and metric: the models of the run, this form, and what distillation gained."""
    roles = [role for role in ("teacher", "baseline", "student") if role in row["training"]]
    gains = row["export"]["role"] == "student" and "baseline" in roles
    lines = [
        [
            *(test_set, metric, f"{row['rows']['test'][test_set]:,}"),
            *(of_row(row, metric).score_text(by_role.get(role)) for role in roles),
            of_row(row, metric).score_text(found["scores"][test_set][metric]),
            *([_interval(row, test_set, metric)] if gains else []),
        ]
        for test_set, metrics in row["scores"].items()
        for metric, by_role in metrics.items()
    ]
    headings = ["test set", "metric", "rows", *roles, "**this form**"]
    unit = " and ".join(
        dict.fromkeys(of_row(row, name).shown_in for of_set in row["scores"].values() for name in of_set)
    )
    headings += [f"gain over the baseline, {unit} (95 % CI)"] if gains else []
    return TextTable("", headings, lines, range(2, len(headings)))


def _checked(row: Row, found: Row) -> str:
    same = "" if found["agreement"] is None else f"the PyTorch model's label on {found['agreement']:.2%} of them, "
    gain, metric = next(iter(found["gains"].values())), _headline(row)
    better = " (more is better)" if metric.lower_is_better else ""
    changed = f" Its score changed by {gain_text(gain, metric)} {metric.shown_in}{better}, with a paired 95 % interval."
    return (
        f"Checked on all {found['rows']:,} test rows, without AutoGluon: {same}a largest difference of "
        f"{found['largest_difference']:.2g} in a logit.{'' if gain['value'] is None else changed}"
    )


def _made(row: Row, found: Row) -> str:
    role, vocabulary = row["export"]["role"], found["vocabulary"]
    rows = row["rows"]["teacher" if role == "teacher" else "student"]
    unlabelled = f", {rows['unlabelled']:,} rows without labels" if rows.get("unlabelled") and role == "student" else ""
    text = (
        f"Trained on {rows['train']:,} rows{unlabelled}; checkpoints were chosen on {rows['validation']:,} others. "
        f"Teacher `{short_name(teacher_name(row['settings']))}`, student `{_student(row)}`. The command, with paths "
        f"cut short:\n\n```\n{command(row)}\n```\n\nand then `python automm_distillation_export.py`."
    )
    if vocabulary is not None:
        more = f", and the {vocabulary['most_frequent']:,} most frequent others" if vocabulary["most_frequent"] else ""
        text += (
            f"\n\nIts vocabulary was cut from {vocabulary['before']:,} to {vocabulary['after']:,} pieces: those of the "
            f"training rows and the hold-out, single characters{more}."
        )
    return text


def _limits(form: str, row: Row, task: Task, found: Row) -> Iterator[str]:
    languages = f" ({', '.join(_languages(row))})" if _languages(row) else ""
    yield f"Texts like those of {row['task']}{languages}; others were not tried."
    if len(task.text_columns) > 2:
        second = " and ".join(f"`{column}`" for column in task.text_columns[1:])
        yield f"The second text is {second}, one below the other."
    yield f"Rows of up to {found['max_tokens']} tokens; what is longer is cut, the longer text first."
    if task.unlabelled_splits:
        yield "The test rows are the public validation split, where the benchmark keeps its test labels to itself."
    if row["settings"].get("max_test_rows"):
        yield f"Of each test set, {row['settings']['max_test_rows']:,} rows were used."
    if found["other_tokens"]:
        long_texts = "have two texts that are each longer than half a row"
        why = "have pieces that were cut" if found["vocabulary"] else long_texts
        yield f"{found['other_tokens']:,} test rows are read otherwise than in training: they {why}."
    if form == HF:
        worst = {kind: (f"{carried:.2g}", f"{plain:.2g}") for kind, (carried, plain) in found["half_precision"].items()}
        said = "; ".join(f"{kind} {carried} ({plain} with a plain head)" for kind, (carried, plain) in worst.items())
        yield (
            "AutoGluon's head is linear; the family's own, which has more to it, was set so that it computes the same. "
            f"Largest difference of a logit from single precision, on a few training rows: {said}."
        )
    if form == INT8:
        yield (
            "Activations are scaled over a whole batch: a row's logits depend a little on the rows beside it. It was "
            "checked row by row."
        )
        if not found["embeddings_int8"]:
            yield "The word embeddings stayed in single precision; with 8 bits the score on the hold-out fell too far."


def _flags(row: Row) -> Iterator[str]:
    """The flags of a run that differ from the script's defaults, but for those that say where things are."""
    settings = row["settings"]
    shaping = {name: settings[name] for name in _SHAPING if settings.get(name)}
    needed = {"train_path": settings["train_path"]} if settings["benchmark"] == "own" else {}  # it has no default
    usual, plain = (
        vars(with_defaults(settings["benchmark"], given | needed)) | dict.fromkeys(needed) for given in (shaping, {})
    )
    for name, declared in flags_of(settings["benchmark"]).items():
        value, default = settings.get(name), (plain if name in _SHAPING else usual)[name]
        if name == "dataset_path" or declared.group not in (DATA, TRAINING, DISTILLATION, MACHINE) or value is None:
            continue
        values = list(value) if isinstance(value, list | tuple) else [value]
        if values != (list(default) if isinstance(default, tuple) else [default]):
            yield f"--{name}"
            if value is not True:
                yield from (_spelled(each, declared) for each in values)


def _spelled(value: Any, declared: Flag) -> str:
    if declared.kind in ("model", "rows", "paths", "file"):
        return short_name(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _languages(row: Row) -> list[str]:
    if row["settings"]["benchmark"] == "own":
        return []  # nobody has said
    side = "teacher" if row["export"]["role"] == "teacher" else "student"
    return list(row["settings"].get(f"pawsx_{side}_tasks") or ["en"])


def _student(row: Row) -> str:
    model = row["settings"]["student_model"]
    return student_name(None if model is None else short_name(model), row.get("student_layers", ()))


def _name(row: Row) -> str:
    return f"{row['task'].replace(' -> ', ' to ')} {row['export']['role']}"


def _task(row: Row) -> Task:
    settings = row["settings"]
    if settings["benchmark"] == "pawsx":
        return pawsx_task(settings["pawsx_student_tasks"][0])
    if settings["benchmark"] == "own":
        task = own_task(row["task"], settings["text_columns"], row["classes"], settings["metric"], has_validation=False)
        return replace(task, hub_id=hub_id(settings["train_path"]) or "")
    return DEMO_TASK if settings["demo"] else GLUE_TASKS[settings["glue_task"]]


def _headline(row: Row) -> Metric:
    return of_row(row, next(iter(next(iter(row["scores"].values())))))


def _interval(row: Row, test_set: str, metric: str) -> str:
    gain = row["bootstrap"][test_set][metric]["gain"]
    return "n/a" if gain is None else gain_text(gain, of_row(row, metric))
