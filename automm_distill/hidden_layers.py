"""Which of the student's layers is compared with which of the teacher's: the value of ``--hidden_states_layers``."""

import re

from automm_distill.errors import UserError

EVEN, LAST = "even", "last"
FLAG = "--hidden_states_layers"

Pairs = tuple[tuple[int, int], ...]  # the student's layer, the teacher's, both counted from 0; in the student's order


def canonical_pairs(value: str) -> str:
    """The one spelling of a value: pairs in the student's order, without blanks.

    Pairs may also be separated by blanks, as ``--grid`` needs it, where a comma ends a value.

    :raises UserError: when it is none of the forms.
    """
    if value.strip() in (EVEN, LAST):
        return value.strip()
    text = re.sub(r"\s*,\s*|\s+", ",", re.sub(r"\s*:\s*", ":", value.strip()))
    if not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        raise UserError(
            f"{FLAG} {value}: needs {EVEN}, {LAST}, or pairs of layers counted from 0, student:teacher, such as "
            "0:1,1:3,2:5"
        )
    pairs = _pairs(text)
    layers = [student for student, _ in pairs]
    if len({*layers}) < len(layers):
        raise UserError(f"{FLAG} {value}: a layer of the student is there twice")
    return ",".join(f"{student}:{teacher}" for student, teacher in pairs)


def resolve(value: str, student_layers: int, teacher_layers: int) -> Pairs:
    """The pairs of a canonical value, for networks with so many layers.

    "even" compares every layer of the student with the teacher's at the same share of the depth (the PKD-Skip of
    Sun et al. 2019, and the last layers too): of 3 and 6, 0:1, 1:3 and 2:5.

    :raises UserError: when a layer is not there.
    """
    if value == LAST:
        return ((student_layers - 1, teacher_layers - 1),)
    if value == EVEN:
        ends = (-(-(layer + 1) * teacher_layers // student_layers) for layer in range(student_layers))
        return tuple((layer, end - 1) for layer, end in enumerate(ends))
    pairs = _pairs(value)
    for what, place, count in (("student", 0, student_layers), ("teacher", 1, teacher_layers)):
        highest = max(pair[place] for pair in pairs)
        if highest >= count:
            raise UserError(f"{FLAG} {value}: the {what} has layers 0 to {count - 1}, and no layer {highest}")
    return pairs


def _pairs(text: str) -> Pairs:
    found = (pair.split(":") for pair in text.split(","))
    return tuple(sorted((int(student), int(teacher)) for student, teacher in found))
