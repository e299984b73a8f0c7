"""Which columns of a table stand side by side, and how wide those of text are, so that all fit the page."""

import dataclasses
from collections.abc import Sequence

from harness.records.text import shortened
from harness.reporting.latex import text
from harness.reporting.render import Table

WIDTH_PT = 341.0  # article's page of text is 345 pt wide at 10 pt, and wider else
GAP_PT = 8.0  # twice \tabcolsep
_NARROW_PT = 50.0  # rather than make columns of text narrower, the table is split


@dataclasses.dataclass(frozen=True)
class Part:
    """Columns that stand side by side.

    Attributes:
      widths: place of a column -> points, or None where it is as wide as its widest cell.
    """

    widths: dict[int, float | None]


def split(table: Table) -> list[Part]:
    """Splits a table's columns into parts that fit the page; the text columns that it begins with are in all of them.

    One part if possible, else one for each group, else more.
    """
    natural = [_natural(table, place) for place in range(len(table.columns))]
    keys = next((place for place, column in enumerate(table.columns) if not column.is_text), len(table.columns))
    rest = range(keys, len(table.columns))
    found: list[list[int]] = []
    groups = [list(rest)] if _fits(table, range(len(table.columns)), natural) else [
        [place for place in rest if table.columns[place].group == group]
        for group in sorted({table.columns[place].group for place in rest})]
    for group in groups or [[]]:
        found.append(list(range(keys)))
        for place in group:
            if len(found[-1]) > keys and not _fits(table, [*found[-1], place], natural):
                found.append(list(range(keys)))
            found[-1].append(place)
    return [Part(_widths(table, places, natural)) for places in found]


def _natural(table: Table, place: int) -> float:
    header = [text.width(line) for line in table.columns[place].header.split("\n")]
    return max(*header, *(text.width(shortened(row[place]), bold=(number, place) in table.bold)
                          for number, row in enumerate(table.rows)), 0.0)


def _fits(table: Table, places: Sequence[int], natural: Sequence[float]) -> bool:
    least = [min(natural[place], _NARROW_PT) if table.columns[place].is_text else natural[place] for place in places]
    return sum(least) + GAP_PT * (len(places) - 1) <= WIDTH_PT


def _widths(table: Table, places: Sequence[int], natural: Sequence[float]) -> dict[int, float | None]:
    """Gives columns of text what figures leave: a little each, and of the rest the same part of what each needs."""
    words = [place for place in places if table.columns[place].is_text]
    room = WIDTH_PT - GAP_PT * (len(places) - 1) - sum(natural[place] for place in places if place not in words)
    wanted = sum(natural[place] for place in words)
    if wanted <= room:
        return dict.fromkeys(places)
    narrow = min(_NARROW_PT, room / len(words))
    least = {place: min(natural[place], narrow) for place in words}
    share = (room - sum(least.values())) / (wanted - sum(least.values()))
    return {place: least[place] + share * (natural[place] - narrow) if natural[place] > narrow and place in words
            else None for place in places}
