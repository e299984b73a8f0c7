"""Tables too long for the report's first page: scores per class, and parameters, activations and memory per layer.

The same rows come as Markdown, for reading, and as CSV, for everything else.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.cells import CellRow, Summary
from harness.analysis.classes import ClassScores, class_scores
from harness.analysis.compare import Predictions
from harness.records import Layer, RunRecord
from harness.records.text import printable
from harness.reporting.render import DASH, Cell, Column, Table
from harness.reporting.rounded import count, single, size
from harness.reporting.tables.columns import number

_MEMORY = {"parameters_bytes": "parameters", "gradients_bytes": "gradients", "optimizer_bytes": "optimizer state",
           "activations_bytes": "activations", "average_bytes": "moving average", "memory_estimate_bytes": "estimate",
           "compiled_bytes": "compiled program", "measured_peak_bytes": "measured peak"}
_NAMED = 4  # cells in a heading


def class_rows(summary: Summary, records: Mapping[str, RunRecord], predictions: Mapping[str, Predictions]
               ) -> dict[str, tuple[int, list[ClassScores]]]:
    """Scores the classes of each cell that has predictions.

    Returns:
      cell -> number of runs and the class scores, in the summary's order.
    """
    runs: dict[str, list[str]] = {}
    for run_id in predictions:
        runs.setdefault(records[run_id].cell, []).append(run_id)
    return {row.cell: (len(runs[row.cell]), class_scores([predictions[run_id] for run_id in runs[row.cell]],
                                                         records[runs[row.cell][0]].dataset.class_names))
            for row in summary.rows if row.cell in runs}


def classes(summary: Summary, rows: Mapping[str, tuple[int, Sequence[ClassScores]]]) -> list[Table]:
    """Lays out a table of classes for each cell."""
    columns = (Column("class", is_text=True), *(Column(name) for name in (
        "precision %", "recall %", "F1 %", "support", "predicted")))
    notes = ("Means over runs, on the test set, at the best validation epoch. Precision: share of a class's "
             "predictions that are right; recall: share of its examples that are found; F1: their harmonic mean. "
             "Predicted: how often the class is predicted, to be held against its support. As in scikit-learn with "
             "zero_division=0, the averages are over the classes that a run has, with test examples or predictions: "
             "of these, one never predicted has precision 0, and one without examples recall 0. A class that no run "
             "has is n/a and in no average.",)
    found: list[Table] = []
    for row in (row for row in summary.rows if row.cell in rows):
        runs, scores = rows[row.cell]
        found.append(Table(
            f"{printable(row.label)} ({runs} run{'' if runs == 1 else 's'})", columns,
            tuple((Cell(one.name),
                   *(Cell(single(score, "accuracy"), score) for score in (one.precision, one.recall, one.f1)),
                   _whole(one.support), Cell(f"{one.predicted:,.1f}", one.predicted)) for one in scores),
            lead=() if found else notes))
    return found


def class_records(rows: Mapping[str, tuple[int, Sequence[ClassScores]]]) -> list[dict[str, Any]]:
    """Gives the class scores as one row per cell and class, unrounded; None where the table has n/a."""
    return [{"cell": cell, "runs": runs, "class": one.name, "precision": one.precision, "recall": one.recall,
             "f1": one.f1, "support": one.support, "predicted": one.predicted}
            for cell, (runs, scores) in rows.items() for one in scores]


def layers(summary: Summary) -> list[Table]:
    """Lays out the memory of each cell part by part, and the layers of each network."""
    averaged = any(row.cost and row.cost.average_bytes for row in summary.rows)
    shown_parts = [name for name in _MEMORY if averaged or name != "average_bytes"]
    names = ("cell", *(_MEMORY[name] for name in shown_parts))
    memory = Table(
        "Memory of one run, estimated part by part, beside the compiled program's own figure and the measured peak",
        tuple(Column(name, is_text=name == "cell") for name in names),
        tuple((Cell(row.label, place), *(_bytes(row, name) for name in shown_parts))
              for place, row in enumerate(summary.rows)),
        notes=("Estimate: the sum of the parts to its left; parameters are the whole network's, gradients and "
               "optimizer state those of what is trained, activations the outputs of all trained layers for one batch. "
               "Compiled program: per device, with the data, the other runs and all temporaries. Measured peak: the "
               "most in use while the run trained, of the process above its start on a CPU, of the device elsewhere; "
               "n/a where other runs trained beside it and nobody can tell them apart.",))
    columns = (Column("layer", is_text=True), Column("trained", is_text=True), Column("output", is_text=True),
               Column("parameters"),
               Column("activations\nper example"), Column("MACs"))
    found = [memory]
    for rows, cells in _networks(summary):
        shown = tuple((Cell(layer.name, place), Cell(_trained(layer)), Cell(" x ".join(map(str, layer.output_shape))),
                       *map(_whole, (layer.parameters, math.prod(layer.output_shape), layer.macs)))
                      for place, layer in enumerate(rows))
        totals = (sum(layer.parameters for layer in rows),
                  sum(math.prod(layer.output_shape) for layer in rows), sum(layer.macs for layer in rows))
        found.append(Table(
            f"Layers of {'; '.join(printable(row.label) for row in cells[:_NAMED])}"
            + (f"; and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""), columns,
            (*shown, (Cell("total", len(rows)), Cell(""), Cell(""), *map(_whole, totals))),
            lead=(f"{count(totals[0])} parameters, {count(totals[1])} activations and {count(totals[2])} MACs for one "
                  "example.",)))
    return found


def layer_records(summary: Summary) -> list[dict[str, Any]]:
    """Gives the layers as one row per cell and layer."""
    return [{"cell": row.cell, "layer": layer.name, "trained": not layer.frozen,
             "output_shape": " x ".join(map(str, layer.output_shape)),
             "parameters": layer.parameters, "activations_per_example": math.prod(layer.output_shape),
             "macs_per_example": layer.macs} for row in summary.rows for layer in row.layers]


def _networks(summary: Summary) -> list[tuple[tuple[Layer, ...], list[CellRow]]]:
    """Groups cells whose networks have the same layers."""
    found: list[tuple[tuple[Layer, ...], list[CellRow]]] = []
    for row in (row for row in summary.rows if row.layers):
        same = next((cells for layers, cells in found if layers == row.layers), None)
        if same is None:
            found.append((row.layers, [row]))
        else:
            same.append(row)
    return found


def _trained(layer: Layer) -> str:
    return "no, computed beforehand" if layer.beforehand else "no" if layer.frozen else "yes"


def _whole(value: int) -> Cell:
    return Cell(f"{value:,}", value)


def _bytes(row: CellRow, name: str) -> Cell:
    return Cell(DASH) if row.cost is None else number(getattr(row.cost, name), size)
