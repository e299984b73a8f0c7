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
from harness.reporting.figures.figures import Figure
from harness.reporting.page import cells
from harness.reporting.page.runs import runs_json
from harness.reporting.page.shell import image, render
from harness.reporting.render import Table

_SCRIPTS = ("dom.js", "tables.js", "charts.js", "effects.js", "curves.js", "details.js", "gallery.js", "report.js")


def ablation_page(summary: Summary, records: Mapping[str, RunRecord], curves: Mapping[str, pd.DataFrame],
                  figures: Sequence[Figure], details: Sequence[Table] = ()) -> bytes:
    """Builds an ablation's page.

    Args:
      summary: the table's rows and caption.
      records: run_id -> record.
      curves: run_id -> learning curve; runs without one show none.
      figures: in the order of the gallery.
      details: more tables, such as of effects, claims or classes, shown below that of the cells.
    """
    places = {row.cell: place for place, row in enumerate(summary.rows)}
    data = runs_json(records, places, curves) | {
        "ablation": summary.ablation,
        "cells": [{"label": row.label, "baseline": row.is_baseline, "facts": cells.facts(row),
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
        factors=cells.filters(summary), table=cells.cells_table(summary),
        details=[_details(table) for table in details],
        figures=[{"name": figure.name, "title": figure.title, "caption": figure.caption, "address": image(figure.png)}
                 for figure in figures])


def _details(table: Table) -> dict[str, Any]:
    return {
        "title": table.title, "lead": table.lead, "notes": table.notes,
        "headers": [{"text": column.header, "label": column.is_text} for column in table.columns],
        "rows": [[{"text": text, "label": column.is_text, "bold": (place, number) in table.bold,
                   "order": text if column.is_text else cells.order(text)}
                  for number, (column, text) in enumerate(zip(table.columns, row, strict=True))]
                 for place, row in enumerate(table.rows)],
    }
