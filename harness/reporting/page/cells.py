"""What a page tells of cells: the answer, the facts above the table, the table with what it sorts by, every number.

Everything comes out as text and numbers, which the template escapes.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from harness.analysis.cells import CellRow, Summary
from harness.analysis.stats import Estimate
from harness.records import RunRecord
from harness.reporting import rounded
from harness.reporting.answer import sentences
from harness.reporting.render import DASH
from harness.reporting.tables import columns

_SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
           "TiB": 2.0**40}
_IN_THE_TABLE = ("cell", "label", "labels", "is_baseline", "is_best")


def answer(summary: Summary) -> str:
    """Puts what the table says into a few sentences."""
    return " ".join(sentences(summary)) or "Too few cells are done to compare them."


def name(summary: Summary, row: CellRow) -> str:
    """Names a cell where no heading says what its label is a level of."""
    return f"{summary.factors[0]}={row.label}" if len(summary.factors) == 1 else row.label


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
    """Lists the factors by which the table can be filtered: their columns come first, in this order."""
    factors = summary.factors if len(summary.factors) > 1 else ()
    return [{"name": factor, "column": column,
             "levels": list(dict.fromkeys(row.labels.get(factor, DASH) for row in summary.rows))}
            for column, factor in enumerate(factors)]


def cells_table(summary: Summary) -> dict[str, Any]:
    """Gives the table's headers and rows as text, each cell with what it sorts by."""
    shown = columns.columns(summary)
    # A label sorts by its place in the plan, where 64 comes before 128 and the reference before all.
    places = {column.header: {text: place for place, text in enumerate(dict.fromkeys(map(column.text, summary.rows)))}
              for column in shown if column.is_label}
    return {
        "headers": [{"text": column.header, "label": column.is_label} for column in shown],
        # Of the first column, in characters: its labels break anywhere, but only where they are long.
        "width": min(30, 5 + max((len(shown[0].text(row)) for row in summary.rows), default=0)),
        "rows": [{"label": row.label, "best": row.is_best,
                  "cells": [{"text": text, "order": places[column.header][text] if column.is_label else order(text),
                             "label": column.is_label, "bold": column.is_marked and row.is_best}
                            for column in shown for text in [column.text(row)]]}
                 for row in summary.rows],
    }


def order(text: str) -> float:
    """Reads the number at the start of a printed value, with its unit; text without one sorts last."""
    found = re.match(r"\s*([<>≤≥]?\s*)([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)(?:\s*([kMGTB]|[KMGT]iB)\b)?", text)
    if found:
        return float(found[2].replace(",", "")) * _SCALES.get(found[3], 1.0)
    return 0.0 if text == "baseline" else -1e300


def interval(estimate: Estimate) -> dict[str, Any] | None:
    """Gives an estimate in percent, for a chart."""
    if estimate.mean is None:
        return None
    return {"n": estimate.n} | {name: None if value is None else round(100 * value, 4) for name, value in (
        ("mean", estimate.mean), ("low", estimate.low), ("high", estimate.high))}


def facts(row: CellRow) -> list[tuple[str, str]]:
    """Lists everything known of a cell as text, whatever fields a row has."""
    return [fact for field in dataclasses.fields(row) if field.name not in _IN_THE_TABLE
            for fact in _told(field.name, getattr(row, field.name))]


def _told(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Estimate):
        return [(name, _estimate(name, value))]
    if isinstance(value, Mapping):
        return [(name, ", ".join(f"{key} {part}" for key, part in value.items()))]
    if dataclasses.is_dataclass(value):
        return [fact for field in dataclasses.fields(value)
                for fact in _told(f"{name}.{field.name}", getattr(value, field.name))]
    return [] if isinstance(value, tuple) else [(name, _plain(value))]  # a tuple holds rows of a table of its own


def _estimate(name: str, value: Estimate) -> str:
    if value.mean is None:
        return "n/a"
    unit = " points" if "difference" in name else " %"
    spread = "" if value.sd is None else f", standard deviation {100 * value.sd:.2f}"
    return f"{rounded.percent(value, sign='+' if 'difference' in name else '')}{unit}, n = {value.n}{spread}"


def _plain(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
