"""The tables of scores beside accuracy and loss: those that all runs have, and the ablation's own metrics."""

from collections.abc import Mapping
from typing import Any

from harness.analysis import scores
from harness.analysis.cells import CellRow, Summary
from harness.analysis.stats import Estimate
from harness.records.text import printable
from harness.reporting import answer
from harness.reporting.render import DASH, Cell, Table
from harness.reporting.tables.columns import RowColumn, labels, scored, short, table, whole

Values = Mapping[str, Mapping[str, float]]


def tables(summary: Summary, values: Values) -> list[Table]:
    """Lays out a column per score; none where no run has one.

    Args:
      values: run_id -> name -> value of the runs that are done.
    """
    names = _names(summary, values)
    if not names:
        return []
    found = {row.cell: _of_cell(row, summary, values, names) for row in summary.rows}

    def column(name: str) -> RowColumn:
        unit = " %" if scores.is_fraction(name) else ""
        return RowColumn(f"{printable(short(name))}{unit}\n[95 % CI]",
                         lambda row: _cell(row, found[row.cell][name], name))

    fewer = [f"{printable(name)} of {row.label}, {known.n} of {row.runs['done']}" for row in summary.rows
             for name, known in found[row.cell].items() if 0 < known.n < row.runs["done"]]
    notes = ("Of the test set at the best validation epoch: mean over seeds with its 95 % t interval; n/a where no run "
             "keeps what the score is read from. Lower is better of a loss and of an error.",
             "Top-5: the true class is among the five of the highest logits. Balanced accuracy: mean recall over "
             "classes. Macro F1: mean over classes. Log loss: mean cross-entropy, the test loss. Calibration error: "
             "the expected one of the predicted class's probability, in 15 bins of equal width.",
             *([f"Averaged over the runs that keep what it takes: {answer.listed(fewer)}."] if fewer else []),
             *(["TTA accuracy: with test-time augmentation, of the probabilities averaged over views of each image; "
                "nothing was selected by it."] if "tta_accuracy" in names else []))
    columns = [*labels(summary), RowColumn("n", lambda row: whole(row.runs["done"])), *map(column, names)]
    return [table("Other scores of the test set", columns, summary.rows, notes=notes)]


def csv_rows(summary: Summary, values: Values) -> list[dict[str, Any]]:
    """Lists each cell's scores, unrounded."""
    names = _names(summary, values)
    rows = []
    for row in summary.rows if names else ():
        found = _of_cell(row, summary, values, names)
        rows.append({"cell": row.cell} | {f"{name}.{part}": getattr(found[name], part) for name in names
                                          for part in ("n", "mean", "sd", "low", "high")})
    return rows


def _names(summary: Summary, values: Values) -> list[str]:
    """Lists the scores there are to show; none where there is no other than the test loss by its other name."""
    known = {name for of_run in values.values() for name in of_run}
    if not known - {scores.LOG_LOSS}:
        return []
    few = all(len(record.dataset.class_names) <= scores.TOP for record in summary.records.values())
    absent = {"top5_accuracy"} if few else set()
    absent |= {"tta_accuracy"} - known
    return [*(name for name in scores.NAMES if name not in absent), *sorted(known - set(scores.NAMES))]


def _of_cell(row: CellRow, summary: Summary, values: Values, names: list[str]) -> dict[str, Estimate]:
    here = [values[run_id] for run_id in summary.runs[row.cell] if run_id in values]
    return {name: scores.estimated([of_run[name] for of_run in here if name in of_run], name) for name in names}


def _cell(row: CellRow, found: Estimate, name: str) -> Cell:
    return scored(found, name) if found.n else Cell("n/a" if row.runs["done"] else DASH)
