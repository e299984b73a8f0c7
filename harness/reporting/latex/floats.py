"""Tables as LaTeX floats with booktabs, no wider than a page of `article`, no higher either."""

import itertools
import math
from collections.abc import Iterable, Sequence

from harness.records.text import shortened
from harness.reporting.latex import text
from harness.reporting.latex.parts import GAP_PT, WIDTH_PT, Part, split
from harness.reporting.render import Table

_HIGHEST = 50  # lines of 9.5 pt on article's page of 550 pt, less a caption's distance from its table
_COLUMN_PT = 200.0  # notes below floats are as wide as a column, of two
_RULES = 2  # lines that a tabular's rules and its distance from the next take
_FONT = rf"\fontsize{{{text.SIZE_PT}}}{{{text.LINE_PT}}}\selectfont\raggedright"


def render(tables: Sequence[Table]) -> str:
    """Renders tables one below the other; none is wider than the page, whatever names and how many cells it has.

    `table*` is as wide as the page in two columns too. A table of more than one float has pages of its own.
    """
    return "\n".join([r"% needs \usepackage[T1]{fontenc} and \usepackage{array,booktabs}",
                      *(line for table in tables for line in _lines(table)), ""])


def _lines(table: Table) -> list[str]:
    # Not in the caption, which TeX first sets on one line: there is a longest line.
    notes = [rf"{text.breakable(sentence, _COLUMN_PT)}\par" for sentence in (*table.lead, *table.notes)]
    notes_lines = sum(len(text.wrapped(sentence, WIDTH_PT)) for sentence in (*table.lead, *table.notes))
    # Captions are of the document's size, up to 12 pt.
    caption_lines = math.ceil(1.5 * len(text.wrapped(shortened(table.title), WIDTH_PT / 1.3))) + 1
    floats, used = _floats(table, caption_lines)
    inside = used + notes_lines <= _HIGHEST
    lines = []
    for number, tabulars in enumerate(floats):
        caption = (rf"\caption{{\raggedright {text.breakable(shortened(table.title), WIDTH_PT / 2)}}}" if number == 0
                   else r"Table \thetable, continued\par\smallskip")
        lines += [r"\begin{table*}", _FONT, rf"\setlength{{\tabcolsep}}{{{GAP_PT / 2:g}pt}}", caption, *tabulars,
                  *(notes if inside and number == len(floats) - 1 else []), r"\end{table*}",
                  *([r"\clearpage"] if len(floats) > 1 else [])]
    return lines if inside else [*lines, rf"\begingroup{_FONT}", r"To Table \thetable:\par", *notes, r"\endgroup"]


def _floats(table: Table, caption_lines: int) -> tuple[list[list[str]], float]:
    """Lays tabulars out on floats of at most a page.

    Returns:
      [float] of lines, and the lines that the last one takes on the page.
    """
    floats: list[list[str]] = [[]]
    used: float = caption_lines
    for part in split(table) if table.rows else []:
        header = _header(table, part)
        heights = [_height(table, part, number) for number in range(len(table.rows))]
        first = 0
        while first < len(heights):
            if used + len(header) + _RULES + sum(heights[first:first + 3]) > _HIGHEST and floats[-1]:
                floats.append([])
                used = caption_lines
            last, used = first, used + len(header) + _RULES
            while last < len(heights) and (last == first or used + heights[last] <= _HIGHEST):
                used += heights[last]
                last += 1
            floats[-1] += _tabular(table, part, header, range(first, last))
            first = last
    return floats, used


def _tabular(table: Table, part: Part, header: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    columns = "".join(
        "r" if not table.columns[place].is_text else "l" if width is None
        else rf">{{\raggedright\arraybackslash}}p{{{width:.1f}pt}}" for place, width in part.widths.items())
    return [rf"{{\centering\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule",
            *(" & ".join(map(text.escape, line)) + r" \\" for line in header), r"\midrule",
            *(line for number in numbers for line in _row(table, part, number)), r"\bottomrule",
            r"\end{tabular}\par}\medskip"]


def _header(table: Table, part: Part) -> list[tuple[str, ...]]:
    """Breaks headers into lines that end on the same row."""
    names = [[piece for line in table.columns[place].header.split("\n")
              for piece in ([line] if width is None else text.wrapped(line, width))]
             for place, width in part.widths.items()]
    return list(itertools.zip_longest(*map(reversed, names), fillvalue=""))[::-1]


def _row(table: Table, part: Part, number: int) -> list[str]:
    cells = []
    for place, width in part.widths.items():
        cell = shortened(table.rows[number][place])
        shown = (text.breakable(cell, _room(table, number, place, width)) if width
                 else text.escape(cell) if table.columns[place].is_text else text.figures(cell))
        cells.append(rf"\textbf{{{shown}}}" if (number, place) in table.bold else shown)
    return [" & ".join(cells) + r" \\", *([r"\addlinespace"] if _is_wrapped(part) else [])]


def _height(table: Table, part: Part, number: int) -> float:
    """Counts a row's lines, with the distance from the next."""
    return 0.5 * _is_wrapped(part) + max(
        len(text.wrapped(shortened(table.rows[number][place]), _room(table, number, place, width))) if width else 1
        for place, width in part.widths.items())


def _room(table: Table, number: int, place: int, width: float) -> float:
    """Tells how wide text may be measured to fit a column: a little less, as the measure is good to half a percent."""
    return width / (text.BOLD if (number, place) in table.bold else 1.01)


def _is_wrapped(part: Part) -> bool:
    return any(part.widths.values())
