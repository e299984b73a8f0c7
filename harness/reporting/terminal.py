"""Tables and sentences as terminal text: no line wider than the screen, no word broken inside.

Columns that do not fit share the width and break between words; where that would be unreadable, a table becomes a
list of its rows.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import rich.box
import rich.table
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from harness.records import narrow
from harness.records.text import printable, shortened
from harness.reporting.render import Table

_GAP = 2
# A label takes no more than this while columns wait for room.
_WIDEST_LABEL = 24
_TALLEST_CELL = 5


def show(tables: Sequence[Table], console: Console) -> None:
    """Prints tables whole, in their groups where the terminal is too narrow for all columns."""
    width = console.width
    for table in tables:
        console.print(Text("\n".join(narrow.wrapped(shortened(table.title), width)), style="bold"))
        for sentence in table.lead:
            console.print(sentence_text(sentence, width))
        for part in _parts(table, width) if table.rows else ():
            console.print()
            console.print(part)
        console.print()
        for sentence in table.notes:
            console.print(sentence_text(sentence, width, "yellow" if sentence.startswith("Warning") else "dim"))
        if table.notes:
            console.print()


def sentence_text(sentence: str, width: int, style: str = "", lines: int | None = None) -> Text:
    """Breaks a sentence between words; with `lines`, what is longer is cut."""
    text = printable(sentence)
    return Text("\n".join(narrow.paragraph(text, width, lines) if lines else narrow.wrapped(text, width)), style)


def fitted(table: Table, width: int) -> rich.table.Table:
    """Lays a table out in one piece: columns of the highest rank are left out until it fits, then labels broken."""
    places = list(range(len(table.columns)))
    natural = _naturals(table, places)
    wanted = natural | {place: min(natural[place], max(_WIDEST_LABEL, _least(table, place)))
                        for place in _text(table, places)}
    while _total(wanted[place] for place in places) > width and (
            rank := max(table.columns[place].rank for place in places)):
        places.remove(max(place for place in places if table.columns[place].rank == rank))
    if _total(natural[place] for place in places) > width:
        table = _without_common(table, places)
    natural = _naturals(table, places)
    # Below that, names are cut; figures never are.
    least = {place: min(natural[place], 4 if table.columns[place].is_text else natural[place]) for place in places}
    return _grid(table, places, _shared(natural, least, width))


def _parts(table: Table, width: int) -> list[RenderableType]:
    places = list(range(len(table.columns)))
    if _total((natural := _naturals(table, places)).values()) <= width:
        return [_grid(table, places, natural)]
    return [_part(table, group, width) for group in groups(table)]


def _part(table: Table, places: Sequence[int], width: int) -> RenderableType:
    """Lays columns out beside each other, or, where no width is left for them, one below the other."""
    natural = _naturals(table, places)
    least = natural | {place: _least(table, place) for place in _text(table, places)}
    if _total(least.values()) <= width:
        widths = _shared(natural, least, width)
        if max(_height(table, row, widths) for row in table.rows) <= _TALLEST_CELL:
            return _grid(table, places, widths)
    return _listed(table, places, width)


def groups(table: Table) -> list[list[int]]:
    """Lists the places of each group's columns, with those of text in all."""
    numbers = sorted({column.group for column in table.columns if not column.is_text}) or [0]
    return [[place for place, column in enumerate(table.columns) if column.is_text or column.group == number]
            for number in numbers]


def _listed(table: Table, places: Sequence[int], width: int) -> Text:
    """Writes each row as a paragraph; what all rows have in common stands once above them."""
    common = [place for place in places if len({row[place] for row in table.rows}) == 1 and len(table.rows) > 1]

    def said(row: Sequence[str], chosen: Sequence[int]) -> str:
        return "; ".join(f"{printable(table.columns[place].header)}: {shortened(row[place])}" for place in chosen)

    lines = narrow.wrapped(said(table.rows[0], common), width) if common else []
    for row in table.rows:
        first, *more = narrow.wrapped(said(row, [place for place in places if place not in common]), width - 4)
        lines += [f"  {first}", *(f"    {line}" for line in more)]
    return Text("\n".join(lines))


def _grid(table: Table, places: Sequence[int], widths: dict[int, int]) -> rich.table.Table:
    shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    for place in places:
        column = table.columns[place]
        header = [line for part in column.header.split("\n") for line in narrow.wrapped(part, widths[place])]
        shown.add_column(Text("\n".join(header)), justify="left" if column.is_text else "right", vertical="bottom",
                         no_wrap=True)
    for number, row in enumerate(table.rows):
        shown.add_row(*(Text("\n".join(narrow.wrapped(shortened(row[place]), widths[place])),
                             style="bold" if (number, place) in table.bold else "") for place in places))
    return shown


def _shared(natural: dict[int, int], least: dict[int, int], width: int) -> dict[int, int]:
    """Takes from the widest column that can give, until all fit or none can."""
    widths = dict(natural)
    while _total(widths.values()) > width:
        able = [place for place in widths if widths[place] > least[place]]
        if not able:
            break
        widths[max(able, key=lambda place: widths[place])] -= 1
    return widths


def _without_common(table: Table, places: Sequence[int]) -> Table:
    """Leaves out what all labels of a column begin or end with."""
    columns = {place: narrow.without_common([row[place] for row in table.rows]) for place in _text(table, places)}
    return dataclasses.replace(table, cells=tuple(
        tuple(dataclasses.replace(cell, text=columns[place][number]) if place in columns else cell
              for place, cell in enumerate(row)) for number, row in enumerate(table.cells)))


def _text(table: Table, places: Sequence[int]) -> list[int]:
    return [place for place in places if table.columns[place].is_text]


def _height(table: Table, row: Sequence[str], widths: dict[int, int]) -> int:
    return max(len(narrow.wrapped(shortened(row[place]), width)) for place, width in widths.items())


def _naturals(table: Table, places: Sequence[int]) -> dict[int, int]:
    """Measures each column with no line broken."""
    return {place: max(cell_len(text) for text in (*table.columns[place].header.split("\n"),
                                                   *(shortened(row[place]) for row in table.rows)))
            for place in places}


def _least(table: Table, place: int) -> int:
    return max(narrow.narrowest(text) for text in (table.columns[place].header,
                                                   *(shortened(row[place]) for row in table.rows)))


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) - _GAP
