"""Tables, and how they become Markdown, with every string from a record made inert; `terminal` prints them.

`harness.reporting.tables.report` and `harness.reporting.tables.details` say what is in them.
pandas and tabulate pad Markdown's cells and escape nothing in them.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

from harness.records.text import printable, shortened

DASH = "–"  # noqa: RUF001 - the typographic dash of an empty table cell


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's header; a line break in it is where it may be folded.

    Attributes:
      is_text: left-aligned words, not right-aligned figures.
      group: columns of one group stay together where a page or terminal is too narrow for all; text is repeated.
      rank: where there is room for few columns, those of the highest rank are left out first; those of 0 stay.
    """

    header: str
    is_text: bool = False
    group: int = 0
    rank: int = 0


@dataclasses.dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
      text: as printed.
      value: what a figure or a level sorts by, in the units of the records; None sorts words by themselves and figures
        last.
    """

    text: str
    value: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      title: one line above it.
      lead: sentences between title and table.
      cells: [row][column].
      bold: (row, column) places.
      notes: sentences below it.
    """

    title: str
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    lead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The text of [row][column], for what prints it."""
        return tuple(tuple(cell.text for cell in row) for row in self.cells)


def escape_markdown(text: str) -> str:
    """Escapes what Markdown or HTML would act on; an underscore in a word and a bracket outside a link do nothing."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]))", r"\\\1", text)


def escape_csv(text: str) -> str:
    """Keeps a spreadsheet from reading text as a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def markdown(tables: Sequence[Table]) -> str:
    """Renders tables one below the other."""
    lines = []
    for table in tables:
        lines += [f"**{escape_markdown(shortened(table.title))}**", ""]
        for sentence in table.lead:
            lines += [escape_markdown(sentence), ""]
        if table.rows:
            lines += [f"| {' | '.join(escape_markdown(column.header) for column in table.columns)} |",
                      f"|{'|'.join(' :-- ' if column.is_text else ' --: ' for column in table.columns)}|"]
        for place, row in enumerate(table.rows):
            cells = [escape_markdown(shortened(cell)) for cell in row]
            cells = [f"**{cell}**" if (place, column) in table.bold else cell for column, cell in enumerate(cells)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *(f"- {escape_markdown(sentence)}" for sentence in table.notes), *([""] if table.notes else [])]
    return "\n".join([*lines[:-1], ""])
