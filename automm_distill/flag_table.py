"""docs/flags.md, made from the fields of ``Settings``: ``python -m automm_distill.flag_table > docs/flags.md``."""

import re
from collections.abc import Mapping
from typing import Any

from automm_distill.cli import describe_default
from automm_distill.defaults import defaults
from automm_distill.flag import Benchmark, Flag
from automm_distill.settings import FLAGS
from automm_distill.text_table import TextTable, as_markdown

SCRIPTS: Mapping[Benchmark, str] = {"glue": "GLUE", "pawsx": "PAWS-X", "own": "Own rows"}
INTRODUCTION = """\
# Flags

All flags of `automm_distillation.py`, `automm_distillation_glue.py` and `automm_distillation_pawsx.py`.
`automm_distillation_sweep.py` takes them too and passes them on. A flag whose default is `true` or `false` can be given
without a value, which means `true`.

This page is made by `python -m automm_distill.flag_table > docs/flags.md`."""
DEMO = """\
## What `--demo` changes

The demo makes its own rows and checkpoints. Its networks start from random weights and need another schedule. Flags
given beside `--demo` still win."""


def flags_page() -> str:
    """The page in Markdown: one table for each group of flags, and one of the defaults that ``--demo`` changes."""
    groups: dict[str, list[list[str]]] = {}
    for name, flag in FLAGS.items():
        groups.setdefault(flag.group, []).extend(_rows(name, flag))
    parts = [INTRODUCTION]
    for group, rows in groups.items():
        title, _, note = group.partition(" (")
        parts.append(f"## {title.capitalize()}")
        if note:
            parts.append(_sentence(note.removesuffix(")")))
        parts.append(_table(["flag", "default", "meaning"], rows))
    return "\n\n".join([*parts, DEMO, _table(["flag", "default with `--demo`"], _demo_rows())])


def _table(headings: list[str], rows: list[list[str]]) -> str:
    return as_markdown(TextTable("", headings, rows, range(0)))


def _rows(name: str, flag: Flag) -> list[list[str]]:
    if flag.switches:
        return [[f"`--{value}`", "off", _sentence(meaning)] for value, meaning in flag.switches.items()]
    spellings = ", ".join(f"`--{spelling}`" for spelling in (name, *flag.aliases))
    shown = _by_script({script: _default(name, flag, script) for script in _scripts(flag)})
    return [[spellings, shown, _meaning(flag)]]


def _scripts(flag: Flag) -> list[Benchmark]:
    return [script for script in SCRIPTS if flag.only in (None, script)]


def _by_script(shown: Mapping[Benchmark, str]) -> str:
    """What all scripts have, or what each has, under its name."""
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{SCRIPTS[script]}: {text}" for script, text in shown.items())


def _default(name: str, flag: Flag, script: Benchmark) -> str:
    shown = describe_default(flag, defaults(script)[name])
    if flag.shown_default:
        return _as_code(shown, flag.choices)
    value, _, unit = shown.partition(" ")
    return f"`{value}` {unit}".rstrip()


def _meaning(flag: Flag) -> str:
    sentences = [flag.help]
    if flag.choices:
        amount = "any" if flag.metavar else "one"
        sentences.append(f"{amount} of {', '.join(_choices(flag.choices))}")
    if flag.only:
        sentences.append(f"{SCRIPTS[flag.only]} only")
    return " ".join(_sentence(text) for text in sentences)


def _choices(spellings: Mapping[str, str]) -> list[str]:
    """Each canonical value, with its other spellings in brackets."""
    shown = []
    for canonical in dict.fromkeys(spellings.values()):
        others = [f"`{spelling}`" for spelling, value in spellings.items() if value == canonical != spelling]
        shown.append(f"`{canonical}` ({', '.join(others)})" if others else f"`{canonical}`")
    return shown


def _sentence(text: str) -> str:
    """With a capital, a full stop, and flags and patterns as code: Markdown would take ``<config>`` for HTML."""
    coded = re.sub(r"--[a-z_]+|\S*<\S+>\S*", r"`\g<0>`", text)
    return f"{coded[0].upper()}{coded[1:]}."


def _as_code(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\w+", lambda word: f"`{word[0]}`" if word[0] in words else word[0], text)


def _demo_rows() -> list[list[str]]:
    rows = []
    for name, flag in FLAGS.items():
        changed = {
            script: _plain(name, defaults(script, {"demo": True})[name])
            for script in _scripts(flag)
            if defaults(script, {"demo": True})[name] != defaults(script)[name]
        }
        if changed:
            rows.append([f"`--{name}`", _by_script(changed)])
    return rows


def _plain(name: str, value: Any) -> str:
    if value is None:
        return {"student_model": "the teacher", "dataset_path": "generated"}[name]
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{' '.join(value) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    print(flags_page())
