"""`index.html`: every ablation of a results folder with its question, its answer and a link to its page.

The same records and pages give the same bytes.
"""

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from harness.analysis.cells import Summary
from harness.records import RunRecord
from harness.reporting.captions import apart_sentences
from harness.reporting.page import cells
from harness.reporting.page.shell import render
from harness.reporting.render import DASH


@dataclasses.dataclass(frozen=True)
class Entry:
    """An ablation in the index.

    Attributes:
      summary: None where its records cannot be summed up; `problem` then says why.
      records: run_id -> record.
      has_page: whether `<ablation>/report.html` is there to be linked to.
      results_dir: the folder of the ablation's folder, as a command would name it.
    """

    ablation: str
    summary: Summary | None
    records: Mapping[str, RunRecord]
    has_page: bool
    results_dir: str
    problem: str = ""


def index_page(entries: Sequence[Entry]) -> bytes:
    """Builds the page over all ablations, in the order given."""
    return render("index.html", {}, ("dom.js", "tables.js", "index.js"), charts=False,
                  entries=[_row(entry) for entry in entries])


def _row(entry: Entry) -> dict[str, Any]:
    def distinct(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values))) or DASH

    rows = entry.summary.rows if entry.summary else ()
    done, planned = (sum(row.runs[status] for row in rows) for status in ("done", "planned"))
    found = entry.records.values()
    return {
        "name": entry.ablation,
        "address": f"{quote(entry.ablation, safe='')}/report.html" if entry.has_page else None,
        "question": entry.summary.question if entry.summary else entry.problem,
        "answer": [*cells.answer(entry.summary), *apart_sentences(entry.summary.apart)] if entry.summary else [],
        "readable": entry.summary is not None,
        "command": None if entry.has_page or not entry.summary else shlex.join(
            ["python", "-m", "harness.report", f"--results_dir={entry.results_dir}", f"--ablation={entry.ablation}"]),
        "runs": f"{done} of {planned}" if planned else f"{done}",
        "done": done,
        "complete": done >= planned,
        "data": distinct(record.dataset.name for record in found),
        "device": distinct(record.environment.device for record in found),
        "finished": max((record.finished_at for record in found), default=DASH)[:10],
    }
