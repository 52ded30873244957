"""Which of a network's layers a student keeps: the value of ``--student_layers``, and how such a student is called."""

import re
from collections.abc import Sequence

from automm_distill.errors import UserError

_FLAG = "--student_layers"
_NUMBER = r"[0-9]{1,4}"
_FORMS = "a number of layers (3: spread over the depth), first:3, or the layers themselves from 0 on (0,2,4; one: 2,)"


def canonical_layers(text: str) -> str:
    """The one spelling of a choice: ``3``, ``first:3``, ``0,2,4``, or ``2,`` for one layer.

    Layers may also be separated by blanks, as ``--grid`` needs it, where a comma ends a value.

    :raises UserError: when it is none, whatever the network.
    """
    if count := re.fullmatch(rf"(first:)?\s*({_NUMBER})", text.strip()):
        if int(count[2]) == 0:
            raise UserError(f"{_FLAG} {text}: needs 1 layer or more (the first one alone is 0,)")
        return f"{count[1] or ''}{int(count[2])}"
    words = re.split(r"\s*,\s*|\s+", text.strip().removesuffix(",").rstrip())
    if not all(re.fullmatch(_NUMBER, word) for word in words):
        raise UserError(f"{_FLAG} {text}: needs {_FORMS}")
    layers = list(map(int, words))
    if layers != sorted(set(layers)):
        raise UserError(f"{_FLAG} {text}: needs ascending layers, each once, such as {spelled(sorted(set(layers)))}")
    return spelled(layers)


def chosen_layers(choice: str, name: str, total: int) -> tuple[int, ...]:
    """The layers that ``choice``, in its canonical spelling, takes of a network with ``total`` layers.

    :param name: of the network's checkpoint, for messages.
    :raises UserError: when it has no such layers, or not as many.
    """
    if "," in choice:
        layers = tuple(int(layer) for layer in choice.removesuffix(",").split(","))
    else:
        count = int(choice.removeprefix("first:"))
        span = count if choice.startswith("first:") else max(count, total)
        layers = tuple(place * span // count for place in range(count))
    if layers[-1] >= total:
        raise UserError(f"{_FLAG} {choice}: {name} has {total} layer{'s' * (total > 1)}, 0 to {total - 1}")
    return layers


def student_name(model: str | None, layers: Sequence[int]) -> str:
    """A student for people: its checkpoint, and in brackets the layers that it keeps of it: ``bert[0,2,4]``.

    :param model: None for layers of the fine-tuned teacher: ``teacher[0,2,4]``.
    """
    name = "teacher" if model is None else model.rstrip("/")
    return f"{name}[{','.join(map(str, layers))}]" if layers else name


def spelled(layers: Sequence[int]) -> str:
    """These layers as the flag takes them: ``0,2,4``, or ``2,`` for one."""
    return ",".join(map(str, layers)) + "," * (len(layers) == 1)
