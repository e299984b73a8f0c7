"""What an ablation's files give to draw from, read when a picture needs it, and which cells and runs are shown.

Pictures of single cells are of the baseline and the cell with the highest mean, those of single runs of the latter's
lowest seed: the folder stays small and shows the answer.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import predictions
from harness.analysis.cells import CellRow, Summary, ranked
from harness.records import DatasetFacts, RunRecord
from harness.records.loaded import Arrays, Loaded
from harness.reporting import answer
from harness.reporting.figures.style import short


@dataclasses.dataclass(frozen=True)
class Material:
    """What the files give; nothing is read before a picture needs it."""

    loaded: Loaded
    summary: Summary

    @property
    def found(self) -> dict[str, RunRecord]:
        """Gives the records, by run_id."""
        return self.loaded.records

    @functools.cached_property
    def done(self) -> dict[str, list[str]]:
        """Gives the done runs of each cell, the lowest seed first."""
        runs = sorted((run for run, record in self.found.items() if record.status == "done"),
                      key=lambda run: self.found[run].seed)
        found: dict[str, list[str]] = {row.cell: [] for row in self.summary.rows}
        for run in runs:
            found[self.found[run].cell].append(run)
        return found

    def accuracy(self, run: str) -> float:
        """Gives the test accuracy of a done run."""
        best = self.found[run].best
        assert best is not None, "done runs have scores"
        return best.test_accuracy

    @functools.cached_property
    def curves(self) -> dict[str, list[pd.DataFrame]]:
        """Reads the learning curves of each cell's done runs."""
        return {cell: [self.loaded.curves[run] for run in runs if run in self.loaded.curves]
                for cell, runs in self.done.items()}

    @functools.cached_property
    def ranked(self) -> list[CellRow]:
        """Lists cells with done runs: one that the evidence calls best, then the highest mean first."""
        return sorted(ranked(self.summary), key=lambda row: not row.is_best)

    @functools.cached_property
    def shown(self) -> list[CellRow]:
        """Picks the highest cell that is no baseline, and before it its baseline, if that has done runs."""
        top = next((row for row in self.of_one_data if not row.is_baseline), None)
        baseline = [row for row in self.of_one_data if row.is_baseline and (top is None or row.cell == top.baseline)]
        return baseline[:1] + ([top] if top else [])

    @property
    def data(self) -> DatasetFacts:
        """Gives the facts of the data set that the highest cell was tested on."""
        return self._data(self.ranked[0])

    @functools.cached_property
    def of_one_data(self) -> list[CellRow]:
        """Lists the ranked cells whose data set has the classes of the highest cell's; of others nothing is drawn."""
        return [row for row in self.ranked if self._data(row).class_names == self.data.class_names]

    def _data(self, row: CellRow) -> DatasetFacts:
        """Gives the facts of the data set that a cell with done runs was tested on, the same in all of these."""
        return self.found[self.done[row.cell][0]].dataset

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names the classes, not yet inert."""
        return list(map(str, self.data.class_names))

    @functools.cached_property
    def predictions(self) -> dict[str, list[Arrays]]:
        """Gives the usable predictions of the cells shown, one per done run."""
        found = {row.cell: [self.usable(run) for run in self.done[row.cell]] for row in self.shown}
        return {cell: known for cell, all_of in found.items() if (known := [one for one in all_of if one])}

    @functools.cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """Gives title -> confusion counts, [seed, true class, predicted class], of the cells shown."""
        return {self.name(row, known): np.stack([predictions.confusion(
            label=one["label"], predicted=one["predicted"], classes=len(self.classes)) for one in known])
            for row in self.shown if (known := self.predictions.get(row.cell))}

    def usable(self, run: str) -> Arrays | None:
        """Reads a run's predictions; None where labels are missing or do not fit."""
        stored = self.loaded.predictions.get(run)
        if not stored or {"predicted", "label", "probability"} - stored.keys():
            return None
        try:
            if predictions.confusion(label=stored["label"], predicted=stored["predicted"],
                                  classes=len(self.classes)).sum() == 0:
                return None
        except ValueError:
            return None
        return stored if len(stored["probability"]) == len(stored["label"]) else None

    @functools.cached_property
    def exhibit(self) -> tuple[CellRow, str, Arrays] | None:
        """Finds the run whose images and weights are shown: of the highest cell that kept some."""
        for row in self.of_one_data:
            for run in self.done[row.cell]:
                stored = self.loaded.exhibits(run)
                if stored and {"index", "image"} <= stored.keys():
                    return row, run, stored
        return None

    @functools.cached_property
    def images(self) -> dict[str, np.ndarray] | None:
        """Gives index, images, label, predicted and probability of the images kept; None without predictions."""
        if not self.exhibit:
            return None
        _, run, stored = self.exhibit
        known = self.usable(run)
        fits = stored["image"].ndim == 4 and len(stored["image"]) == len(stored["index"])
        if not known or not fits or not len(stored["index"]) or stored["index"].max() >= len(known["label"]):
            return None
        return {"index": stored["index"], "images": stored["image"]} | {
            name: known[name][stored["index"]] for name in ("label", "predicted", "probability")}

    def name(self, row: CellRow, drawn: Sequence[Any]) -> str:
        """Names a cell and the part it plays, and counts what is drawn, one per run."""
        parts = ["baseline"] * row.is_baseline + ([
            "best" if row.is_best else "highest mean"] if row is self.ranked[0] else [])
        return f"{short(row.label, 44)} ({', '.join([*parts, f'n={len(drawn)}'])})"

    def choice(self) -> str:
        """Says which cells are shown and on what evidence."""
        chosen = answer.lead(self.summary) if len(self.ranked) > 1 else "It is the one cell with done runs."
        left_out = len(self.ranked) - len(self.of_one_data)
        return chosen + (f" Cells on data of other classes ({left_out}) are left out." if left_out else "")
