"""What is declared of a flag, and what follows from it: the check of a value, and its canonical form."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from automm_distill.errors import UserError
from automm_distill.hidden_layers import canonical_pairs
from automm_distill.layer_choice import canonical_layers

Benchmark = Literal["glue", "pawsx", "own"]


@dataclass(frozen=True)
class Flag:
    """How one field of the settings looks on the command line.

    ``choices`` maps each accepted spelling to its canonical one. ``minimum`` and ``maximum`` are inclusive, ``above``
    is not. ``loss_term`` is the loss that a weight belongs to. ``changes_result`` is False for what may differ between
    two runs with the same outcome. ``kind`` "model", "rows", "folder", "file" and "paths" (several) are paths, and get
    one spelling too, as "layers" and "layer pairs" do; "model" and "rows" may be names on the hub; ``words`` may stand
    in the place of a path. Of "columns" the order counts.
    """

    help: str
    group: str
    unit: str = ""
    shown_default: str = ""
    aliases: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    hint: str = ""
    loss_term: str = ""
    changes_result: bool = True
    only: Benchmark | None = None
    kind: str = ""
    words: tuple[str, ...] = ()
    metavar: str = ""
    switches: Mapping[str, str] = field(default_factory=dict)


def flag(help: str, group: str, *, default: Any = ..., **how: Any) -> Any:
    """A dataclass field with a :class:`Flag`; without ``default`` it has to be given."""
    metadata = {"flag": Flag(help, group, **how)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def names(*names: str) -> Mapping[str, str]:
    """Choices that have one spelling each."""
    return {name: name for name in names}


def local_path(path: str) -> str:
    """One spelling for each place: ``~`` expanded, ``./`` and ``//`` gone. Symbolic links stay.

    :raises UserError: for the home folder of a user that there is not.
    """
    expanded = os.path.expanduser(path)  # noqa: PTH111 - pathlib takes ./~name for ~name
    if expanded.startswith("~"):
        user = path.partition("/")[0]
        raise UserError(f"{path}: there is no user {user[1:]}; a folder here with that name is ./{path}")
    normal = os.path.normpath(expanded)
    return f"./{normal}" if normal.startswith("~") else normal  # for the next who expands it


def canonical(declared: Flag, field_type: Any, value: Any) -> Any:
    """The one form of a value, however it was spelled."""
    if field_type is float:
        return float(value) + 0.0  # 5 is 5.0, and -0 is 0
    if isinstance(value, tuple):  # "de en" and "en de" are the same languages
        if declared.kind == "paths":
            return tuple(sorted({_word_or_path(each, declared.words) for each in value}))
        if declared.kind == "columns":
            return value
        return tuple(choice for choice in declared.choices if choice in value)
    if declared.choices:
        return declared.choices.get(value, value)
    if declared.kind == "layers":
        return canonical_layers(value)
    if declared.kind == "layer pairs":
        return canonical_pairs(value)
    return _in_utf8(local_path(value)) if _is_path(declared, value) else value


def _is_path(declared: Flag, value: Any) -> bool:
    """Rather than a word, or a name on the hub."""
    if declared.kind == "model":
        return Path(local_path(value)).is_dir()
    if declared.kind == "rows":
        return Path(local_path(value)).exists()
    return declared.kind in ("folder", "file")


def _word_or_path(value: str, words: Collection[str]) -> str:
    if value in words:
        return value
    path = _in_utf8(local_path(value))
    return f"./{path}" if path in words else path  # a file that is called like a word


def _in_utf8(path: str) -> str:
    """Refuse a path that the libraries cannot write to, nor results.jsonl name, once models are trained.

    :raises UserError: naming it.
    """
    whole = os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."
    try:
        whole.encode()
    except UnicodeEncodeError as error:
        shown = whole.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UserError(f"{shown}: the name is not in UTF-8; rename the folder, or use another one") from error
    return path


def check_not_empty(name: str, value: Any) -> None:
    """Refuse an empty text.

    :raises UserError: naming the flag.
    """
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise UserError(f"--{name} '': is empty; a shell variable that is not set?")


def check_range(name: str, declared: Flag, value: Any) -> None:
    """Refuse a number that the flag does not take.

    :raises UserError: naming flag, value and what would work.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if not math.isfinite(value):
        raise UserError(f"--{name} {value}: needs a finite number")
    hint = f" ({declared.hint})" if declared.hint else ""
    if declared.above is not None and value <= declared.above:
        raise UserError(f"--{name} {value}: needs a number above {declared.above:g}{hint}")
    if (
        declared.minimum is not None
        and declared.maximum is not None
        and not declared.minimum <= value <= declared.maximum
    ):
        raise UserError(f"--{name} {value}: needs a number from {declared.minimum} to {declared.maximum}{hint}")
    if declared.minimum is not None and value < declared.minimum:
        raise UserError(f"--{name} {value}: needs {declared.minimum} or more{hint}")
