"""A table of texts, as Markdown or on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

NARROW = 60  # columns of a terminal, below which a boxed table is all box


@dataclass(frozen=True)
class TextTable:
    """The columns in ``numbers`` are aligned to the right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: range


def as_markdown(table: TextTable) -> str:
    """The table in Markdown, without its title."""
    alignment = ["---:" if number in table.numbers else "---" for number in range(len(table.headings))]
    cells = [
        [" ".join(text.splitlines()).replace("|", "\\|") for text in row]
        for row in (table.headings, alignment, *table.rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def as_rich(table: TextTable, title: str) -> Table:
    """The table for the screen, boxed, under ``title``."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for number, heading in enumerate(table.headings):
        shown.add_column(heading, justify="right" if number in table.numbers else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def as_text(table: TextTable, width: int) -> str:
    """The table as plain lines, columns one blank apart; where these are too long, a block of lines for each row."""
    lines = [table.headings, *table.rows]
    widths = [max(len(row[number]) for row in lines) for number in range(len(table.headings))]
    if sum(widths) + len(widths) - 1 > width:
        return as_blocks(table)
    return "\n".join(
        " ".join(
            text.rjust(width) if number in table.numbers else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    )


def as_blocks(table: TextTable) -> str:
    """Each row as lines of a heading and a cell, its first cell above them: for terminals that are too narrow."""
    first, *others = table.headings
    lines = []
    for row in table.rows:
        lines.append(f"{first} {row[0]}".strip())
        lines += [f"  {heading}: {cell}" for heading, cell in zip(others, row[1:], strict=True)]
    return "\n".join(lines)
