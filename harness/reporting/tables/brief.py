"""The report that fits a screen: question, answer, one table, the weightiest notes, and where the rest is."""

from collections.abc import Sequence

import rich.table
from rich.console import Console
from rich.text import Text

from harness.analysis.cells import CellRow, Summary
from harness.records import narrow
from harness.reporting import answer, captions, terminal
from harness.reporting.render import Table
from harness.reporting.tables.columns import columns, table

LINES = 30
# Most lines of each part.
_QUESTION, _ANSWER, _NOTES = 3, 10, 3
_STAR = "* is clear: p below 0.05 by the headline test, corrected; intervals are not."
_STAR_OF_LOOKS = "* is clear: p below 0.05 by the headline test, corrected as intervals are."


def show(summary: Summary, console: Console, tables: Sequence[Table], where: Sequence[str]) -> None:
    """Prints at most `LINES` lines, where the terminal is of a usual width.

    Args:
      tables: all tables, of which this shows one.
      where: lines that say where more is; never broken.
    """
    width, weighty = console.width, captions.weighty(summary)
    head = [terminal.sentence_text(f"{summary.ablation}: {summary.question}", width, "bold", _QUESTION),
            *_answer(answer.sentences(summary), width), Text()]
    left = _counted("note", sum(len(one.notes) for one in tables) - len(weighty[:_NOTES]))
    tail = [Text(f"{left} and {_counted('table', len(tables) - 1)} more with --full", "dim"), *map(Text, where), Text()]
    if any(row.comparison for row in summary.rows):  # also without a star: an interval may exclude zero
        star = _STAR_OF_LOOKS if summary.looked else _STAR
        unit = "Differences are in points; " if summary.view.is_fraction else ""
        tail.insert(0, terminal.sentence_text(f"{unit}{star}", width, "dim"))
    for lines in (2, 1):  # cells come before the ends of notes
        notes = [Text(), *(terminal.sentence_text(note, width, "yellow", lines) for note in weighty[:_NOTES])]
        taken = sum(part.plain.count("\n") + 1 for part in (*head, *notes, *tail))
        shown, left_out = _rows(summary, console, LINES - taken)
        if not left_out:
            break
    for part in (*head, shown, *left_out, *notes, *tail):
        console.print(part, soft_wrap=isinstance(part, Text))


def _answer(sentences: Sequence[str], width: int) -> list[Text]:
    """Writes the first sentences, as many as there is room for, each to its end."""
    for number in range(len(sentences), 0, -1):
        said = " ".join(sentences[:number]) + (f" {narrow.ELLIPSIS}" if number < len(sentences) else "")
        if number == 1 or len(narrow.wrapped(said, width)) <= _ANSWER:
            return [Text(), terminal.sentence_text(said, width, lines=_ANSWER)]
    return []


def _rows(summary: Summary, console: Console, lines: int) -> tuple[rich.table.Table, list[Text]]:
    """Lays out the main table: all cells, or the best and the baseline, as many as fit; and says what is left out."""
    def laid_out(rows: Sequence[CellRow]) -> rich.table.Table:
        return terminal.fitted(table("", columns(summary), rows), console.width)

    def fits(rows: Sequence[CellRow]) -> bool:
        return len(console.render_lines(laid_out(rows))) + (len(rows) < len(summary.rows)) <= lines

    if len(summary.rows) <= lines and fits(summary.rows):
        return laid_out(summary.rows), []
    best_first = sorted(summary.rows, key=lambda row: -_goodness(row, summary))

    def with_baselines(number: int) -> list[CellRow]:
        best = best_first[:number]
        needed = {row.cell for row in best} | {row.baseline for row in best}
        return [row for row in best_first if row.cell in needed]

    number = max(1, min(lines, len(best_first)))
    while number > 1 and not fits(with_baselines(number)):
        number -= 1
    rows = with_baselines(number)
    added = len(rows) - number
    return laid_out(rows), [Text(f"and {_counted('cell', len(summary.rows) - len(rows))} more; these are the best"
                                 + (f", with {'their baselines' if added > 1 else 'the baseline'}" if added else ""),
                                 "dim")]


def _goodness(row: CellRow, summary: Summary) -> float:
    if row.score.mean is None:
        return float("-inf")
    return -row.score.mean if summary.view.lower_is_better else row.score.mean


def _counted(name: str, number: int) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
