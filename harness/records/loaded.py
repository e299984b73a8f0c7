"""What an ablation's runs left behind, each file read at most once and not before it is needed."""

import functools
import zipfile
from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.records.files import RecordError
from harness.records.folder import Folder
from harness.records.plan import Plan
from harness.records.record import RunRecord

Arrays = Mapping[str, np.ndarray]


class Loaded:
    """An ablation's folder in memory.

    Attributes:
      folder: what is read.
    """

    def __init__(self, folder: Folder):
        self.folder = folder
        self._exhibits: dict[str, Arrays | None] = {}

    @functools.cached_property
    def records(self) -> dict[str, RunRecord]:
        """Reads all records, by run_id."""
        return self.folder.records()

    @functools.cached_property
    def plan(self) -> Plan | None:
        """Reads the plan."""
        return self.folder.plan()

    @functools.cached_property
    def curves(self) -> dict[str, pd.DataFrame]:
        """Reads every run's learning curve."""
        return {run_id: self.folder.curve(run_id) for run_id in self.records}

    @functools.cached_property
    def predictions(self) -> dict[str, Arrays]:
        """Reads the test predictions of done runs; those that lack the true classes are left out.

        Raises:
          RecordError: if a file cannot be read.
        """
        known: dict[str, Arrays] = {}
        for run_id, record in self.records.items():
            path = self.folder.run(run_id) / "predictions.npz"
            if record.status == "done" and path.exists():
                try:
                    stored = self.folder.predictions(run_id)
                except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                    raise RecordError(f"{path} cannot be read: {error}") from None
                if {"predicted", "label"} <= stored.keys():
                    known[run_id] = stored
        return known

    @functools.cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Reads what the ablation's own metrics made of each done run's test predictions: run_id -> name -> value."""
        return {run_id: self.folder.scores(run_id) for run_id, record in self.records.items()
                if record.status == "done"}

    def exhibits(self, run_id: str) -> Arrays | None:
        """Reads what a run keeps to be looked at; None where it kept nothing that can be read."""
        if run_id not in self._exhibits:
            try:
                self._exhibits[run_id] = self.folder.exhibits(run_id)
            except RecordError:  # a picture does without it
                self._exhibits[run_id] = None
        return self._exhibits[run_id]
