"""What an ablation's runs left behind, each file read at most once, and set apart what is damaged."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd

from harness.records import curves, outcomes
from harness.records.files import REMEDY, DamagedFileError, RecordError
from harness.records.folder import Folder
from harness.records.plan import Plan
from harness.records.reading import FormError
from harness.records.record import RunRecord

Arrays = Mapping[str, np.ndarray]
_Read = TypeVar("_Read")


@dataclasses.dataclass(frozen=True)
class Apart:
    """What of an ablation's folder counts nowhere.

    Attributes:
      damaged: each damaged file, its path within the folder, with what is wrong and what to do.
      removed: cell -> number of its runs, of cells that the ablation has had and no longer has.
    """

    damaged: tuple[str, ...] = ()
    removed: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Loaded:
    """An ablation's folder in memory: what is whole, and at one with what lies beside it.

    Attributes:
      folder: what is read.
      damaged: what has been found damaged by all that was read until now.
    """

    def __init__(self, folder: Folder):
        self.folder = folder
        self.damaged: list[DamagedFileError] = []
        self._exhibits: dict[str, Arrays | None] = {}
        self._labels: dict[bytes, np.ndarray] = {}

    @functools.cached_property
    def plan(self) -> Plan | None:
        """Reads the plan, without what the ablation no longer has; None where there is none or it is damaged."""
        plan = self._whole(self.folder.plan)
        return plan and plan.current()

    @functools.cached_property
    def apart(self) -> Apart:
        """Says what counts nowhere."""
        removed = collections.Counter(record.cell for run_id, (record, *_) in self._runs.items()
                                      if run_id not in self.records)
        _ = self.scores
        within = f"{self.folder.path}/"
        return Apart(tuple(f"{str(one.path).removeprefix(within)} {one.about}" for one in self.damaged),
                     dict(removed))

    @functools.cached_property
    def records(self) -> dict[str, RunRecord]:
        """Gives the records that count, by run_id."""
        cells = {run.cell for run in self.plan.runs} if self.plan else None
        return {run_id: record for run_id, (record, *_) in self._runs.items() if cells is None or record.cell in cells}

    def refuse_ruins(self) -> None:
        """Raises what was found damaged first if nothing else is left to report."""
        if not self.records and self.plan is None and self.damaged:
            raise self.damaged[0]

    @functools.cached_property
    def curves(self) -> dict[str, pd.DataFrame]:
        """Gives the learning curves of runs that count."""
        return {run_id: curve for run_id, (_, curve, _) in self._runs.items()
                if curve is not None and run_id in self.records}

    @functools.cached_property
    def predictions(self) -> dict[str, Arrays]:
        """Gives the test predictions of runs that count; those that lack the true classes are left out."""
        return {run_id: arrays for run_id, (*_, arrays) in self._runs.items()
                if arrays and {"predicted", "label"} <= arrays.keys() and run_id in self.records}

    @functools.cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Reads what the ablation's own metrics made of each done run's test predictions: run_id -> name -> value."""
        return {run_id: self._whole(functools.partial(self.folder.scores, run_id)) or {}
                for run_id, record in self.records.items() if record.status == "done"}

    def exhibits(self, run_id: str) -> Arrays | None:
        """Reads what a run keeps to be looked at; None where it kept nothing that can be read."""
        if run_id not in self._exhibits:
            try:
                self._exhibits[run_id] = self.folder.exhibits(run_id)
            except RecordError:  # a picture does without it
                self._exhibits[run_id] = None
        return self._exhibits[run_id]

    @functools.cached_property
    def _runs(self) -> dict[str, tuple[RunRecord, pd.DataFrame | None, Arrays | None]]:
        """Reads each run whose files tell of one and the same run: record, curve and predictions."""
        found = {}
        for run_id in self.folder.recorded():
            if (record := self._whole(functools.partial(self.folder.record, run_id))) is None:
                continue
            curve = self._whole(functools.partial(self._curve, run_id, record))
            arrays = self._whole(functools.partial(self._outcomes, run_id, record))
            if (other := (curves.contradiction(record, curve) if curve is not None else None)
                    or (outcomes.contradiction(record, arrays) if arrays else None)):
                self.damaged.append(DamagedFileError(self.folder.run(run_id) / "record.json", other, REMEDY))
            else:
                found[run_id] = record, curve, arrays
        return found

    def _curve(self, run_id: str, record: RunRecord) -> pd.DataFrame:
        curve = self.folder.curve(run_id)
        try:
            curves.check(record, curve)
        except FormError as error:
            raise DamagedFileError(self.folder.run(run_id) / "curve.csv", str(error), curves.REMEDY) from None
        return curve

    def _outcomes(self, run_id: str, record: RunRecord) -> Arrays | None:
        """Reads a done run's test predictions, of which a run may have kept none."""
        path = self.folder.run(run_id) / "predictions.npz"
        if record.status != "done" or not path.exists():
            return None
        arrays = self.folder.predictions(run_id, outcomes.REPORTED)
        try:
            outcomes.check(record, arrays)
        except FormError as error:
            raise DamagedFileError(path, str(error), outcomes.REMEDY) from None
        if "label" in arrays:  # the same in all runs on the same data
            arrays["label"] = self._labels.setdefault(arrays["label"].tobytes(), arrays["label"])
        return arrays

    def _whole(self, read: Callable[[], _Read]) -> _Read | None:
        """Reads what may be damaged, which then is set apart."""
        try:
            return read()
        except DamagedFileError as error:
            self.damaged.append(error)
            return None
