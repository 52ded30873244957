"""Which class a name stands for."""

import contextlib
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache


def plain_name(name: str) -> str:
    """A class's name without what people vary: "Not entailment" is not_entailment."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def class_of(name: object, classes: tuple[str, ...]) -> int | None:
    """The number of the class of this name; None if there is none.

    The class that is spelled so, else the one class that differs in no more than :func:`plain_name` takes away.
    """
    return _numbers(classes).get(name, _plain_numbers(classes).get(plain_name(str(name))))


def class_of_number(value: float, classes: tuple[str, ...]) -> int | None:
    """The class whose name is this number; where no class's is a number, the class with this number."""
    values = _values(classes)
    if values:
        return values.get(value)
    return int(value) if value in range(len(classes)) else None


@lru_cache(maxsize=8)
def _numbers(classes: tuple[str, ...]) -> Mapping[object, int]:
    return {name: number for number, name in enumerate(classes)}


@lru_cache(maxsize=8)
def _values(classes: tuple[str, ...]) -> Mapping[float, int]:
    found = {}
    for number, name in enumerate(classes):
        with contextlib.suppress(ValueError):
            found[float(name)] = number
    return found


@lru_cache(maxsize=8)
def _plain_numbers(classes: tuple[str, ...]) -> Mapping[str, int]:
    """Without those that several classes share."""
    plain = [plain_name(name) for name in classes]
    count = Counter(plain)
    return {name: number for number, name in enumerate(plain) if count[name] == 1}
