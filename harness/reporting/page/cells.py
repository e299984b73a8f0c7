"""What a page tells of cells: the answer, the facts above the table, the table with what it sorts by, every number.

Everything comes out as text and numbers, which the template escapes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from harness.analysis.cells import CellRow, Summary
from harness.analysis.stats import Estimate
from harness.records import RunRecord
from harness.reporting.answer import sentences
from harness.reporting.page.words import told
from harness.reporting.render import DASH, Cell
from harness.reporting.tables import columns

# Shown by the table, or the same as another field in the view that a page shows.
_ELSEWHERE = ("cell", "label", "labels", "is_baseline", "is_best", "score", "difference",
              "layers")


def answer(summary: Summary) -> list[str]:
    """Says in a few sentences what the table says, and how the source's claims have fared."""
    return sentences(summary)


def key_facts(summary: Summary, records: Mapping[str, RunRecord]) -> list[tuple[str, str]]:
    """Lists what a reader wants to know before the numbers."""
    def distinct(values: Any) -> str:
        return ", ".join(dict.fromkeys(map(str, values))) or "n/a"

    found = list(records.values())
    done, planned = (sum(row.runs[status] for row in summary.rows) for status in ("done", "planned"))
    return [
        ("Runs done", f"{done} of {planned}" if planned else f"{done}"),
        ("Cells", f"{len(summary.rows)}"),
        ("Seeds", distinct(sorted({record.seed for record in found}))),
        ("Data", distinct(record.dataset.name for record in found)),
        ("Device", distinct(record.environment.device for record in found)),
        ("Commit", distinct((record.environment.git_commit or "unknown")[:12] for record in found)),
    ]


def absences(summary: Summary) -> list[str]:
    """Says per cell what its mean does not contain."""
    absent = [f"{row.label} ({', '.join(parts)})" for row in summary.rows
              if (parts := [f"{number} {status}" for status, number in row.runs.items()
                            if number and status not in ("planned", "done")])]
    shown = absent[:10] + ([f"and {len(absent) - 10} more cells"] if len(absent) > 10 else [])
    return [f"Runs that no mean contains: {'; '.join(shown)}."] if absent else []


def filters(summary: Summary) -> list[dict[str, Any]]:
    """Lists the factors by which the table can be filtered, with their levels."""
    factors = summary.factors if len(summary.factors) > 1 else ()
    return [{"name": factor, "levels": list(dict.fromkeys(row.labels.get(factor, DASH) for row in summary.rows))}
            for factor in factors]


def cells_table(summary: Summary) -> dict[str, Any]:
    """Gives the table's headers and rows as text, each cell with what it sorts by; one column names the cell."""
    labels, others = ([column for column in columns.columns(summary) if column.is_label == is_label]
                      for is_label in (True, False))
    names = [", ".join(column.cell(row).text for column in labels) for row in summary.rows]
    return {
        "name": ", ".join(column.header for column in labels),
        "headers": [{"text": column.header, "key": column.rank == 0} for column in others],
        # Of the first column, in characters: its labels break anywhere, but only where they are long.
        "width": min(22, 4 + max(map(len, names), default=0)),
        "rows": [{"label": row.label, "name": name,
                  "cells": [cell(column.cell(row), is_text=False, bold=column.is_marked and row.is_best,
                                 key=column.rank == 0) for column in others]}
                 for name, row in zip(names, summary.rows, strict=True)],
    }


def cell(cell: Cell, *, is_text: bool, **more: Any) -> dict[str, Any]:
    """Gives the text of a table's cell with what it sorts by: figures without a value sort last."""
    without = cell.text if is_text else -1e300
    return {"text": cell.text, "order": without if cell.value is None else cell.value, "label": is_text} | more


def interval(estimate: Estimate) -> dict[str, Any] | None:
    """Gives an estimate in percent, for a chart."""
    if estimate.mean is None:
        return None
    return {"n": estimate.n} | {name: None if value is None else round(100 * value, 4) for name, value in (
        ("mean", estimate.mean), ("low", estimate.low), ("high", estimate.high))}


def facts(row: CellRow) -> list[tuple[str, str]]:
    """Lists everything known of a cell as text, whatever fields a row has."""
    cost = row.cost and {field.name: getattr(row.cost, field.name) for field in dataclasses.fields(row.cost)
                         if field.name not in _ELSEWHERE}
    known = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)} | {"cost": cost}
    return [fact for name, value in known.items() if name not in _ELSEWHERE for fact in told(value, name)]
