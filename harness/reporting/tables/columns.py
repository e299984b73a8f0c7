"""What a row of a table shows: columns that write their cells from a summary's rows, and the main table's own."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from harness.analysis.cells import MARK, CellRow, Summary
from harness.records.text import printable
from harness.reporting import rounded
from harness.reporting.render import DASH, Column, Table
from harness.reporting.rounded import count, digits, size


@dataclasses.dataclass(frozen=True)
class RowColumn:
    """A column whose cells are written from a summary's rows.

    Attributes:
      is_label: names the cell.
      is_marked: bold in the row of the best cell.
      group: as in `harness.reporting.render.Column`.
    """

    header: str
    text: Callable[[CellRow], str]
    is_label: bool = False
    is_marked: bool = False
    group: int = 0


def labels(summary: Summary) -> list[RowColumn]:
    """Lists the columns that name a cell: the factors that vary."""
    if not summary.factors:
        return [RowColumn("cell", lambda row: row.cell, is_label=True)]
    return [RowColumn(printable(name), lambda row, name=name: row.labels.get(name, DASH), is_label=True)  # type: ignore[misc]
            for name in summary.factors]


def table(title: str, columns: Sequence[RowColumn], rows: Sequence[CellRow], **more: Any) -> Table:
    """Writes rows out; `more` is passed on to `Table`."""
    return Table(
        title, tuple(Column(column.header, column.is_label, column.group) for column in columns),
        tuple(tuple(column.text(row) for column in columns) for row in rows),
        frozenset((number, place) for number, row in enumerate(rows) for place, column in enumerate(columns)
                  if column.is_marked and row.is_best), **more)


def columns(summary: Summary) -> list[RowColumn]:
    """Lists the main table's columns: what names the cell, scores, cost; more of it where there is more to tell."""
    metric = summary.view.metric
    unit = "" if summary.view.is_loss else " %"
    frozen = any(row.cost and row.cost.trainable_parameters not in (None, row.cost.parameters) for row in summary.rows)
    measured = any(row.cost and row.cost.measured_peak_bytes is not None for row in summary.rows)
    other = "test_accuracy" if metric != "test_accuracy" else "validation_accuracy"
    return [
        *labels(summary),
        RowColumn("n", lambda row: str(row.runs["done"])),
        RowColumn(f"{short(metric)}{unit}\n[95 % CI]", lambda row: rounded.score(row.score, metric), is_marked=True),
        RowColumn("\n".join(short(other).split()) + " %",
                  lambda row: DASH if (mean := getattr(row, other).mean) is None else f"{100 * mean:.2f}"),
        RowColumn("difference\n[95 % CI]", lambda row: _difference(row, metric)),
        *(RowColumn(header, _of(part, name, write), group=1) for header, part, name, write in (
            ("params", "cost", "parameters", count),
            *((("trained\nparams", "cost", "trainable_parameters", count),) if frozen else ()),
            ("MACs", "cost", "macs_per_example", count),
            ("memory\nest.", "cost", "memory_estimate_bytes", size), ("compiled", "cost", "compiled_bytes", size),
            *((("memory\nmeasured", "cost", "measured_peak_bytes", size),) if measured else ()),
            ("train\nex/s", "timing", "throughput_examples_per_s", count),
            *((("end to\nend ex/s", "timing", "end_to_end_examples_per_s", count),) if frozen else ()),
            ("compile\ns", "timing", "compile_s", digits), ("train\ns", "timing", "train_s", digits)))]


def short(metric: str) -> str:
    """Abbreviates a metric's name for a header."""
    split, _, name = metric.partition("_")
    return f"{ {'validation': 'val.'}.get(split, split)} { {'accuracy': 'acc.'}.get(name, name)}"


def _difference(row: CellRow, metric: str) -> str:
    if row.is_baseline:
        return "baseline"
    if row.difference.n == 0:
        return "n/a" if row.runs["done"] else DASH
    assert row.comparison is not None, "there is a difference"
    clear = "*" if row.comparison.verdict != "unclear" else ""
    return rounded.score(row.difference, metric, sign="+") + clear + (f" {MARK}" if row.comparison.unlike else "")


def _of(part: str, name: str, write: Callable[[float], str]) -> Callable[[CellRow], str]:
    """Reads a field of a row's cost or timing: a dash without a done run, n/a where the platform does not tell."""
    def text(row: CellRow) -> str:
        known = getattr(row, part)
        value = getattr(known, name) if known else None
        return DASH if not row.runs["done"] else "n/a" if value is None else write(value)
    return text
