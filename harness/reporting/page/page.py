"""`report.html` of an ablation: answer, table, charts, figures and every run, in one file without a network.

The same records give the same bytes. Text from records is escaped by the template or goes through JSON and is set as
text, so that none of it is ever markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analysis.cells import Summary
from harness.records import RunRecord
from harness.reporting.captions import caption
from harness.reporting.colours import cell_colours
from harness.reporting.figures.figures import Figure
from harness.reporting.page import cells
from harness.reporting.page.runs import runs_json
from harness.reporting.page.shell import image, render
from harness.reporting.render import DASH, Table
from harness.reporting.tables.evidence import CLAIMS, EFFECTS

_SCRIPTS = ("dom.js", "tables.js", "charts.js", "effects.js", "curves.js", "details.js", "gallery.js", "contents.js",
            "report.js")
# Rows from which on a table lies in the page as data, of which the scripts draw what is shown: a browser takes long to
# read the rows of 500 cells in six tables, results/executors says how long.
_MANY = 100


def ablation_page(summary: Summary, records: Mapping[str, RunRecord], curves: Mapping[str, pd.DataFrame],
                  figures: Sequence[Figure], details: Mapping[str, Sequence[Table]] | None = None) -> bytes:
    """Builds an ablation's page.

    Args:
      summary: the table's rows and caption.
      records: run_id -> record.
      curves: run_id -> learning curve; runs without one show none.
      figures: in the order of the gallery.
      details: more tables by what they are of, such as evidence or classes; one at a time is shown.
    """
    colours = cell_colours(summary)
    places = {row.cell: place for place, row in enumerate(summary.rows)}
    table = cells.cells_table(summary)
    more = {group: [_details(one) for one in tables] for group, tables in (details or {}).items() if tables}
    long = _long(table, [one for tables in more.values() for one in tables])
    data = runs_json(records, places, curves) | {
        "ablation": summary.ablation, "tables": long,
        "cells": [{"label": row.label, "levels": [row.labels.get(factor, DASH) for factor in summary.factors],
                   "baseline": row.is_baseline, "base": places.get(row.cell if row.is_baseline else row.baseline or ""),
                   "colour": colours[row.cell], "facts": cells.facts(row),
                   "accuracy": cells.interval(row.score),
                   "difference": cells.interval(row.difference),
                   "clear": bool(row.comparison and row.comparison.verdict != "unclear")} for row in summary.rows],
    }
    sentences = caption(summary)
    warnings = [sentence for sentence in sentences if sentence.startswith("Warning")]
    return render(
        "report.html", data, _SCRIPTS, charts=True,
        ablation=summary.ablation, question=summary.question, answer=cells.answer(summary),
        facts=cells.key_facts(summary, records),
        warnings=[*cells.absences(summary), *warnings],
        caption=[sentence for sentence in sentences if sentence not in warnings],
        factors=cells.filters(summary), table=table, details=more, in_data=set(long), first=_first(summary),
        figures=[{"name": figure.name, "title": figure.title, "caption": figure.caption, "address": image(figure.png)}
                 for figure in figures])


def _first(summary: Summary) -> str:
    """Names the table shown first: claims that do not hold, then effects of factors; "" for what comes first."""
    refuted = any(claim.verdict == "does not hold" for claim in summary.claims)
    return CLAIMS if refuted else EFFECTS if summary.effects and summary.effects.together else ""


def _long(table: Mapping[str, Any], more: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Any]]]:
    """Gives the rows of the tables that have many, as the scripts read them.

    Returns:
      "cells" or the place among the further tables -> rows; those of cells begin with label and name.
    """
    rows = {"cells": [[row["label"], row["name"], *map(_brief, row["cells"])] for row in table["rows"]]}
    rows |= {f"{place}": [[*map(_brief, row)] for row in one["rows"]] for place, one in enumerate(more)}
    return {name: found for name, found in rows.items() if len(found) > _MANY}


def _brief(cell: Mapping[str, Any]) -> list[Any]:
    """Gives a cell as the scripts read it: its text, what it sorts by, and 1 if it is bold."""
    return [cell["text"], cell["order"], *([1] if cell["bold"] else [])]


def _details(table: Table) -> dict[str, Any]:
    return {
        "title": table.title, "lead": table.lead, "notes": table.notes,
        "headers": [{"text": column.header, "label": column.is_text} for column in table.columns],
        "rows": [[cells.cell(cell, is_text=column.is_text, bold=(place, number) in table.bold)
                  for number, (column, cell) in enumerate(zip(table.columns, row, strict=True))]
                 for place, row in enumerate(table.cells)],
    }
