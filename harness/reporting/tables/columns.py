"""What a row of a table shows: columns that write their cells from a summary's rows, and the main table's own."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from harness.analysis.cells import MARK, CellRow, Summary
from harness.analysis.stats import Estimate
from harness.records.text import printable
from harness.reporting import rounded
from harness.reporting.render import DASH, Cell, Column, Table
from harness.reporting.rounded import count, digits, size


@dataclasses.dataclass(frozen=True)
class RowColumn:
    """A column whose cells are written from a summary's rows.

    Attributes:
      cell: writes one from a row.
      is_label: names the cell.
      is_marked: bold in the row of the best cell.
      group, rank: as in `harness.reporting.render.Column`.
    """

    header: str
    cell: Callable[[CellRow], Cell]
    is_label: bool = False
    is_marked: bool = False
    group: int = 0
    rank: int = 0


def labels(summary: Summary) -> list[RowColumn]:
    """Lists the columns that name a cell: the factors that vary, sorted by the plan, where 64 comes before 128."""
    if not summary.factors:
        return [RowColumn("cell", lambda row: Cell(row.cell), is_label=True)]
    return [_factor(name, summary.rows) for name in summary.factors]


def _factor(name: str, rows: Sequence[CellRow]) -> RowColumn:
    places = {level: place for place, level in enumerate(dict.fromkeys(row.labels.get(name, DASH) for row in rows))}

    def level(row: CellRow) -> Cell:
        text = row.labels.get(name, DASH)
        return Cell(text, places[text])

    return RowColumn(printable(name), level, is_label=True)


def table(title: str, columns: Sequence[RowColumn], rows: Sequence[CellRow], **more: Any) -> Table:
    """Writes rows out; `more` is passed on to `Table`."""
    return Table(
        title, tuple(Column(column.header, column.is_label, column.group, column.rank) for column in columns),
        tuple(tuple(column.cell(row) for column in columns) for row in rows),
        frozenset((number, place) for number, row in enumerate(rows) for place, column in enumerate(columns)
                  if column.is_marked and row.is_best), **more)


def columns(summary: Summary) -> list[RowColumn]:
    """Lists the main table's columns: what names the cell, scores, cost; more of it where there is more to tell."""
    metric = summary.view.metric
    unit = " %" if summary.view.is_fraction else ""
    frozen = any(row.cost and row.cost.trainable_parameters not in (None, row.cost.parameters) for row in summary.rows)
    measured = any(row.cost and row.cost.measured_peak_bytes is not None for row in summary.rows)
    other = "test_accuracy" if metric != "test_accuracy" else "validation_accuracy"
    return [
        *labels(summary),
        RowColumn("n", lambda row: whole(row.score.n), rank=1),
        RowColumn(f"{short(metric)}{unit}\n[95 % CI]", lambda row: _score(row, metric), is_marked=True),
        RowColumn("\n".join(short(other).split()) + " %",
                  lambda row: number(getattr(row, other).mean, lambda mean: f"{100 * mean:.2f}", DASH), rank=2),
        RowColumn(f"difference\n{interval(summary)}", lambda row: _difference(row, metric)),
        *(RowColumn(header, _of(part, name, write), group=1, rank=rank) for header, part, name, write, rank in (
            ("params", "cost", "parameters", count, 3),
            *((("trained\nparams", "cost", "trainable_parameters", count, 4),) if frozen else ()),
            ("MACs", "cost", "macs_per_example", count, 5),
            ("memory\nest.", "cost", "memory_estimate_bytes", size, 7),
            ("compiled", "cost", "compiled_bytes", size, 10),
            *((("memory\nmeasured", "cost", "measured_peak_bytes", size, 9),) if measured else ()),
            ("train\nex/s", "timing", "throughput_examples_per_s", count, 8),
            *((("end to\nend ex/s", "timing", "end_to_end_examples_per_s", count, 6),) if frozen else ()),
            ("compile\ns", "timing", "compile_s", digits, 11), ("train\ns", "timing", "train_s", digits, 4)))]


def interval(summary: Summary) -> str:
    """Names the intervals of differences and effects: where seeds were added they are wider than one look's."""
    return "[repeated CI]" if summary.looked else "[95 % CI]"


def short(metric: str) -> str:
    """Abbreviates a metric's name for a header."""
    split, _, name = metric.partition("_")
    first, rest = {"validation": "val.", "top5": "top-5", "tta": "TTA"}.get(split, split), name.replace("_", " ")
    return f"{first} { {'accuracy': 'acc.', 'f1': 'F1'}.get(rest, rest)}".rstrip()


def scored(estimate: Estimate, metric: str, sign: str = "") -> Cell:
    """Writes a score with its interval; it sorts by its mean."""
    return Cell(rounded.score(estimate, metric, sign), estimate.mean)


def number(value: float | None, write: Callable[[float], str], absent: str = "n/a") -> Cell:
    """Writes a number that may not be known."""
    return Cell(absent if value is None else write(value), value)


def whole(value: int) -> Cell:
    """Writes a count without a unit."""
    return Cell(str(value), value)


def _score(row: CellRow, metric: str) -> Cell:
    return scored(row.score, metric) if row.score.n or not row.runs["done"] else Cell("n/a")


def _difference(row: CellRow, metric: str) -> Cell:
    if row.is_baseline:
        return Cell("baseline", 0.0)
    if row.difference.n == 0:
        return Cell("n/a" if row.runs["done"] else DASH)
    assert row.comparison is not None, "there is a difference"
    clear = "*" if row.comparison.verdict != "unclear" else ""
    return Cell(rounded.score(row.difference, metric, sign="+") + clear + (f" {MARK}" if row.comparison.unlike else ""),
                row.difference.mean)


def _of(part: str, name: str, write: Callable[[float], str]) -> Callable[[CellRow], Cell]:
    """Reads a field of a row's cost or timing: a dash without a done run, n/a where the platform does not tell."""
    def cell(row: CellRow) -> Cell:
        known = getattr(row, part)
        return number(getattr(known, name) if known and row.runs["done"] else None, write,
                      "n/a" if row.runs["done"] else DASH)
    return cell
