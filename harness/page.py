"""`report.html` of an ablation: answer, table, charts, figures and every run, in one file without a network.

`harness.report` calls it. The same records give the same bytes. Text from records is escaped by the template or goes
through JSON and is set as text, so that none of it is ever markup.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from harness import tables
from harness.page_runs import Record, runs_json
from harness.page_shell import image, render
from harness.stats import Estimate
from harness.summary import CellRow, Summary

_SCRIPTS = ("dom.js", "tables.js", "charts.js", "effects.js", "curves.js", "details.js", "gallery.js", "report.js")
_SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
           "TiB": 2.0**40}


class Figure(Protocol):
    """A picture with what it shows."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def png(self) -> bytes: ...


def ablation_page(summary: Summary, records: Mapping[str, Record], curves: Mapping[str, pd.DataFrame],
                  figures: Sequence[Figure]) -> bytes:
    """Builds an ablation's page.

    Args:
      summary: the table's rows and caption.
      records: run_id -> record.
      curves: run_id -> learning curve; runs without one show none.
      figures: in the order of the gallery.
    """
    places = {row.cell: place for place, row in enumerate(summary.rows)}
    data = runs_json(records, places, curves) | {
        "ablation": summary.ablation,
        "cells": [{"label": row.label, "baseline": row.is_baseline, "runs": row.runs, "facts": _facts(row),
                   "accuracy": _interval(row.test_accuracy), "difference": _interval(row.difference)}
                  for row in summary.rows],
    }
    warnings = [sentence for sentence in summary.caption if sentence.startswith("Warning")]
    return render(
        "report.html", data, _SCRIPTS, charts=True,
        ablation=summary.ablation, question=summary.question, answer=answer(summary),
        facts=_key_facts(summary, records),
        warnings=[*_absences(summary), *warnings],
        caption=[sentence for sentence in summary.caption if sentence not in warnings],
        factors=_filters(summary), table=_table(summary), run_count=len(records),
        figures=[{"name": figure.name, "title": figure.title, "caption": figure.caption, "address": image(figure.png)}
                 for figure in figures])


def answer(summary: Summary) -> str:
    """Puts what the table says of the best cell into one or two sentences."""
    done = sorted((row for row in summary.rows if row.test_accuracy.mean is not None),
                  key=lambda row: -(row.test_accuracy.mean or 0.0))
    if not done:
        return "No run is done yet."
    first = done[0]
    text = f"{first.label} has the highest test accuracy: {tables.percent(first.test_accuracy)} %"
    baseline = next((row for row in summary.rows if row.is_baseline), None)
    if first.is_baseline:
        text += "; it is the baseline"
    elif baseline and first.difference.mean is not None:
        text += f", {tables.percent(first.difference, sign='+')} points from the baseline {baseline.label}"
    if len(done) == 1:
        return f"{text}."
    lead = "is clear of zero" if first.is_best else "is not clear of zero"
    return f"{text}. Its lead over the second, {done[1].label} ({tables.percent(done[1].test_accuracy)} %), {lead}."


def _key_facts(summary: Summary, records: Mapping[str, Record]) -> list[tuple[str, str]]:
    def distinct(values: Any) -> str:
        return ", ".join(dict.fromkeys(map(str, values))) or "n/a"

    found = list(records.values())
    done, planned = (sum(row.runs[status] for row in summary.rows) for status in ("done", "planned"))
    return [
        ("Runs done", f"{done} of {planned}" if planned else f"{done}"),
        ("Cells", f"{len(summary.rows)}"),
        ("Seeds", distinct(sorted({record["seed"] for record in found}))),
        ("Data", distinct(record["dataset"]["name"] for record in found)),
        ("Device", distinct(record["environment"].get("device") for record in found)),
        ("Commit", distinct(str(record["environment"].get("git_commit") or "unknown")[:12] for record in found)),
    ]


def _absences(summary: Summary) -> list[str]:
    """Says per cell what its mean does not contain."""
    absent = [f"{row.label} ({', '.join(parts)})" for row in summary.rows
              if (parts := [f"{number} {status}" for status, number in row.runs.items()
                            if number and status not in ("planned", "done")])]
    shown = absent[:10] + ([f"and {len(absent) - 10} more cells"] if len(absent) > 10 else [])
    return [f"Runs that no mean contains: {'; '.join(shown)}."] if absent else []


def _filters(summary: Summary) -> list[dict[str, Any]]:
    """Lists the factors by which the table can be filtered: their columns come first, in this order."""
    factors = summary.factors if len(summary.factors) > 1 else ()
    return [{"name": name, "column": column, "levels": list(dict.fromkeys(row.labels.get(name, tables.DASH)
                                                                          for row in summary.rows))}
            for column, name in enumerate(factors)]


def _table(summary: Summary) -> dict[str, Any]:
    columns = tables.columns(summary)
    # A label sorts by its place in the plan, where 64 comes before 128 and the reference before all.
    places = {column.header: {text: place for place, text in enumerate(dict.fromkeys(map(column.text, summary.rows)))}
              for column in columns if column.is_label}
    return {
        "headers": [{"text": column.header.replace("\n", " "), "label": column.is_label} for column in columns],
        "rows": [{"label": row.label, "best": row.is_best,
                  "cells": [{"text": text, "order": places[column.header][text] if column.is_label else _order(text),
                             "label": column.is_label, "bold": column.is_marked and row.is_best}
                            for column in columns for text in [column.text(row)]]}
                 for row in summary.rows],
    }


def _order(text: str) -> float | None:
    """Reads the number at the start of a printed value, with its unit; None sorts last."""
    found = re.match(r"\s*([<>≤≥]?\s*)([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)(?:\s*([kMGTB]|[KMGT]iB)\b)?", text)
    if found:
        return float(found[2].replace(",", "")) * _SCALES.get(found[3], 1.0)
    return 0.0 if text == "baseline" else None


def _interval(estimate: Estimate) -> dict[str, Any] | None:
    """Gives an estimate in percent, for a chart."""
    if estimate.mean is None:
        return None
    return {"n": estimate.n} | {name: None if value is None else round(100 * value, 4) for name, value in (
        ("mean", estimate.mean), ("low", estimate.low), ("high", estimate.high))}


def _facts(row: CellRow) -> list[tuple[str, str]]:
    """Lists everything known of a cell as text, whatever fields a row has."""
    facts = []
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if field.name in ("cell", "label", "labels", "is_baseline", "is_best"):
            continue
        if isinstance(value, Estimate):
            facts.append((field.name, _estimate(field.name, value)))
        elif isinstance(value, Mapping):
            facts.append((field.name, ", ".join(f"{name} {part}" for name, part in value.items())))
        elif dataclasses.is_dataclass(value):
            facts += [(f"{field.name}.{part.name}", _plain(getattr(value, part.name)))
                      for part in dataclasses.fields(value) if part.name != "layers"]
        else:
            facts.append((field.name, _plain(value)))
    return facts


def _estimate(name: str, value: Estimate) -> str:
    if value.mean is None:
        return "n/a"
    unit = " points" if "difference" in name else " %"
    spread = "" if value.sd is None else f", standard deviation {100 * value.sd:.2f}"
    return f"{tables.percent(value, sign='+' if 'difference' in name else '')}{unit}, n = {value.n}{spread}"


def _plain(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
