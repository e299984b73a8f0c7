"""Where an ablation's records, plan and progress lie, and what of them is whole.

A record is whole or absent: it is written last, to a temporary file that is then renamed.
"""

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.records import curves, kept, leases, outcomes, reading, schemas
from harness.records import sources as copies
from harness.records.configs import as_json
from harness.records.files import (
    REMEDY,
    DamagedFileError,
    Digests,
    RecordError,
    json_bytes,
    read_arrays,
    read_json,
    write_arrays,
    write_atomic,
)
from harness.records.plan import Plan
from harness.records.plan import checked as checked_plan
from harness.records.progress import Progress
from harness.records.progress import checked as checked_progress
from harness.records.reading import Kind
from harness.records.record import Provenance, RunRecord

# Where launches write, and where reports look first.
OWN_RESULTS = "my_results"
# What the harness comes with, trained elsewhere. Reports find it; nothing writes records there unless told to, so that
# runs of another machine are not taken for one's own, nor mixed with them.
SHIPPED_RESULTS = "results"

CHOSEN_AGAIN = "move the file away to have layouts chosen again, which may change the last digits of runs under way"


class Folder:
    """One ablation's folder below the results folder.

    Attributes:
      digests: sha256 of each file that was read, as it was then.
    """

    def __init__(self, results_dir: str | os.PathLike[str], ablation: str):
        self.path = pathlib.Path(results_dir).resolve() / ablation
        self.ablation = ablation
        self.digests: dict[pathlib.Path, str] = {}

    @property
    def results_dir(self) -> pathlib.Path:
        """The folder that this one is in, beside other ablations'."""
        return self.path.parent

    def run(self, run_id: str) -> pathlib.Path:
        """Locates a run's folder."""
        return self.path / "runs" / run_id

    def checkpoints(self, run_id: str) -> pathlib.Path:
        """Locates a run's checkpoints."""
        return self.run(run_id) / "checkpoints"

    @property
    def in_training(self) -> pathlib.Path:
        """Locates the leases on the runs that processes train now; see `records.leases`."""
        return self.path / "in_training"

    @property
    def tensorboard(self) -> pathlib.Path:
        """Locates the ablation's event files for TensorBoard, a folder per run, which names it there."""
        return self.path / "tensorboard"

    def write(self, run_id: str, record: RunRecord, curve: pd.DataFrame, predictions: Mapping[str, np.ndarray],
              exhibits: Mapping[str, np.ndarray] | None = None, network: Mapping[str, bytes] | None = None
              ) -> list[str]:
        """Writes a finished run: the curve, the test predictions and what there is to look at first, the record last.

        Args:
          run_id: the run's folder.
          record: states the run; from then on it counts as finished.
          curve: a row per epoch with `CURVE_COLUMNS`.
          predictions: "predicted", "label", the true class, and "rank", how many classes come before the true one,
            uint8 or uint16 [test example], "probability", float16, the predicted class's, and where asked for "logits",
            float16 [test example, class], and "tta_predicted", the class with test-time augmentation; empty unless the
            run is done.
          exhibits: test images ("index", "image") and first layer of a cell's first run; see `training.exhibits`.
          network: name -> content of the files that its trained network is kept in; see `training.keeping`.

        Returns:
          which of the exhibits and the network could not be written, as on a full disk, and why: the record does
          without.

        Raises:
          RecordError: if the run is already recorded; nothing is overwritten.
        """
        folder = self.run(run_id)
        there = RecordError(f"{folder / 'record.json'} exists already and is never overwritten")
        if self._has_record(run_id, anew=True):
            raise there
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "curve.csv", curve.to_csv(index=False, lineterminator="\n").encode())
        if predictions:
            write_arrays(folder / "predictions.npz", predictions)
        lost = []
        try:
            if exhibits:
                write_arrays(folder / "exhibits.npz", exhibits)
        except OSError as error:
            lost.append(f"pictures and first layer: {error}")
        try:
            for name, content in (network or {}).items():
                write_atomic(folder / name, content)
        except OSError as error:
            for name in network or {}:
                (folder / name).unlink(missing_ok=True)
            lost.append(f"trained weights: {error}")
        try:
            write_atomic(folder / "record.json", json_bytes(record), replaces=False)
        except FileExistsError:
            raise there from None
        shutil.rmtree(self.checkpoints(run_id), ignore_errors=True)  # nothing resumes from them any more
        return lost

    def set_aside(self, run_id: str) -> pathlib.Path:
        """Moves a run's folder to where nothing counts it, so that the run may be trained again.

        Returns:
          where it is now: every time another place.
        """
        place = self.path / "set_aside"
        place.mkdir(exist_ok=True)
        number = next(number for number in itertools.count(1) if not (place / f"{run_id},{number}").exists())
        return self.run(run_id).rename(place / f"{run_id},{number}")

    def provenance(self, origin: str, sources: Mapping[str, str], overrides: Mapping[str, Any]) -> Provenance:
        """States an ablation's provenance as it is kept here: of a file, its path from where the results folder is.

        A project that is moved with its results then keeps the origin.

        Raises:
          RecordError: if another ablation of the same name has its results here.
        """
        if pathlib.Path(origin).is_absolute():
            origin = pathlib.PurePath(os.path.relpath(origin, self.results_dir.parent)).as_posix()
        stated = Provenance(origin, dict(sources), dict(overrides))
        self._refuse_another(stated, self.plan())
        return stated

    def _refuse_another(self, own: Provenance | Plan, earlier: Plan | None) -> None:
        if earlier is None or own.origin == earlier.origin or (own.sources and own.sources == earlier.sources):
            return
        there, here = (one.origin or "the shipped ablation of that name" for one in (earlier, own))
        raise RecordError(f"{self.path} holds the results of {there}, not of {here}: rename one of the two, or give "
                          "this one another --results_dir")

    def write_plan(self, plan: Plan, sources: Mapping[str, bytes] | None = None) -> None:
        """States what is planned, so that a report can say what is missing; runs of an earlier plan stay planned.

        What was fixed before the first record stays as it was.

        Args:
          sources: path -> content of the files that the ablation is written in, kept beside the plan.

        Raises:
          RecordError: if the plan there is another ablation's.
        """
        with leases.exclusively(self.path / ".plan.lock"):
            earlier = self.plan()
            self._refuse_another(plan, earlier)
            copies.keep(self.path, sources or {})
            if earlier:
                plan = plan.joined_by(earlier, has_results=any(self.path.glob("runs/*/record.json")))
            write_atomic(self.path / "plan.json", json_bytes(plan))

    def plan(self) -> Plan | None:
        """Reads the plan; None if there is none."""
        path = self.path / "plan.json"
        if not path.exists():
            return None
        stored = read_json(path, ("question", "factors", "runs"), _WRITTEN_AGAIN, self.digests)
        return _as(Plan, {"ablation": self.ablation} | stored, path, checked_plan)

    def layouts(self) -> dict[str, Any]:
        """Reads the layouts chosen for cohorts on this machine, by the cohort's key; a resumed run needs the same."""
        path = self.path / "layouts.json"
        return read_json(path, (), CHOSEN_AGAIN) if path.exists() else {}

    def keep_layout(self, key: str, choice: Mapping[str, Any], *, replaces: bool = False) -> dict[str, Any]:
        """Keeps a cohort's layout: {"layout", "why"}.

        Args:
          replaces: whether it stands in the place of one that is there.

        Returns:
          the one that counts: another process, which trains runs of the same cohort, may have been first.
        """
        with leases.exclusively(self.path / ".layouts.lock"):
            known = self.layouts()
            if key in known and not replaces:
                return known[key]
            write_atomic(self.path / "layouts.json", json_bytes(known | {key: choice}))
            return dict(choice)

    def progress(self, of: str = "") -> Progress | None:
        """Reads how far the latest launch is, or a process beside it; None if there was none.

        Raises:
          RecordError: if the file is damaged.
        """
        path = self._progress(of)
        if not path.exists():
            return None
        return _as(Progress, read_json(path, (), _WRITTEN_AGAIN), path, checked_progress)

    def keep_progress(self, progress: Progress, of: str = "") -> None:
        """States how far this launch is, or this process beside it."""
        write_atomic(self._progress(of), json.dumps(as_json(progress), allow_nan=False).encode())

    def beside(self) -> list[str]:
        """Lists the processes that state their progress beside the latest launch."""
        return sorted(path.stem for path in self._progress("any").parent.glob("*.json"))

    def forget(self, of: str) -> None:
        """Removes what a process beside the latest launch has stated."""
        self._progress(of).unlink(missing_ok=True)

    def _progress(self, of: str) -> pathlib.Path:
        return self.path / "progress" / f"{of}.json" if of else self.path / "progress.json"

    def record(self, run_id: str, *, anew: bool = False) -> RunRecord | None:
        """Reads a run's record, whatever its schema; None while it is unfinished.

        Args:
          anew: whether to see also what another host has just written: NFS remembers for a minute that a file was not
            there, unless the folder that it is in is opened.
        """
        there = self._has_record(run_id, anew=anew)
        return read_record(self.run(run_id) / "record.json", self.digests) if there else None

    def _has_record(self, run_id: str, *, anew: bool) -> bool:
        path = self.run(run_id) / "record.json"
        for folder in (self.path, self.path / "runs", path.parent) if anew and not path.exists() else ():
            with contextlib.suppress(FileNotFoundError), os.scandir(folder):
                pass
        return path.exists()

    def records(self) -> dict[str, RunRecord]:
        """Reads all records, by run_id in its order."""
        return {run_id: read_record(self.run(run_id) / "record.json", self.digests) for run_id in self.recorded()}

    def recorded(self, besides: Container[str] = ()) -> list[str]:
        """Lists the runs that have a record, in order.

        Args:
          besides: runs to leave out, which nobody looks for then.
        """
        return sorted(path.name for path in self.path.glob("runs/*")
                      if path.name not in besides and (path / "record.json").exists())

    def has_weights(self, run_id: str) -> bool:
        """Whether a run keeps its trained network."""
        return (self.run(run_id) / kept.WEIGHTS).exists()

    def curve(self, run_id: str) -> pd.DataFrame:
        """Reads a run's learning curve, with `CURVE_COLUMNS`."""
        path = self.run(run_id) / "curve.csv"
        try:
            return curves.read(path, self.digests)
        except (OSError, ValueError, OverflowError, csv.Error) as error:
            raise DamagedFileError(path, f"cannot be read: {error}", curves.REMEDY) from None

    def predictions(self, run_id: str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """Reads a run's test predictions, or those arrays of them that are named."""
        path = self.run(run_id) / "predictions.npz"
        try:
            return read_arrays(path, names, self.digests)
        except (OSError, ValueError) as error:
            raise DamagedFileError(path, f"cannot be read: {error}", outcomes.REMEDY) from None

    def scores(self, run_id: str) -> dict[str, float]:
        """Reads what the ablation's own metrics made of a run's test predictions: name -> value."""
        path = self.run(run_id) / "scores.json"
        if not path.exists():
            return {}
        remedy = "delete it and run the ablation again to have it written anew"
        stored = read_json(path, (), remedy)
        try:
            return {name: reading.number(value) for name, value in stored.items()}
        except reading.FormError as error:
            raise DamagedFileError(path, f"has a value that is none: {error}", remedy) from None

    def keep_scores(self, run_id: str, scores: Mapping[str, float]) -> None:
        """Keeps them beside the run's record."""
        write_atomic(self.run(run_id) / "scores.json", json_bytes(scores))

    def exhibits(self, run_id: str) -> dict[str, np.ndarray] | None:
        """Reads what a run keeps to be looked at; None where it kept nothing, as all but a cell's lowest seed do.

        Returns:
          "index", int32 [image]: positions in the test set, the first 25 and then chosen mispredictions; "image",
          uint8 [image, height, width, channel]; "initial" and "trained", float16, the first layer's kernel, [input,
          unit] or [height, width, channel, filter], of its first units; "layer", its name; "units", how many it has.

        Raises:
          RecordError: if the file cannot be read.
        """
        path = self.run(run_id) / "exhibits.npz"
        if not path.exists():
            return None
        try:
            return read_arrays(path, digests=self.digests)
        except (OSError, ValueError) as error:
            raise DamagedFileError(path, f"cannot be read: {error}", "delete it to do without its pictures") from None


def ablations_in(results_dir: str | os.PathLike[str]) -> list[str]:
    """Lists the ablations that have a plan or a record, by name."""
    folder = pathlib.Path(results_dir)
    found = {path.parent.name for path in folder.glob("*/plan.json")}
    return sorted(found | {path.parents[2].name for path in folder.glob("*/runs/*/record.json")})


def shipped_runs(folder: Folder) -> int:
    """Counts the runs of an ablation that came with the harness, unless the folder is theirs."""
    shipped = Folder(SHIPPED_RESULTS, folder.ablation)
    return 0 if shipped.path == folder.path else len(shipped.recorded())


def find(results_dirs: Iterable[str | os.PathLike[str]]) -> tuple[list[Folder], list[Folder]]:
    """Finds the ablations of several results folders, each name in the first that has it.

    Returns:
      the folders found, those of the first results folder last, each in the order of names; and those hidden by them.
    """
    found: dict[str, Folder] = {}
    hidden: list[Folder] = []
    for results_dir in results_dirs:
        here = {name: Folder(results_dir, name) for name in ablations_in(results_dir)}
        hidden += [folder for name, folder in here.items() if name in found]
        found = {name: folder for name, folder in here.items() if name not in found} | found
    return list(found.values()), hidden


def read_record(path: pathlib.Path, digests: Digests | None = None) -> RunRecord:
    """Reads a record wherever it lies, whatever its schema.

    Args:
      digests: see `files.content`.

    Raises:
      RecordError: if it cannot be read.
    """
    stored = read_json(path, _REQUIRED, digests=digests)
    try:
        return reading.checked(reading.structured(RunRecord, schemas.migrated(stored)))
    except (schemas.SchemaError, reading.FormError) as error:
        raise DamagedFileError(path, str(error), REMEDY) from None


_WRITTEN_AGAIN = "move the file away to have it written again"
_REQUIRED = tuple(field.name for field in dataclasses.fields(RunRecord)
                  if field.default is field.default_factory is dataclasses.MISSING)


def _as(kind: type[Kind], stored: Mapping[str, Any], path: pathlib.Path, checked: Callable[[Kind], Kind]) -> Kind:
    try:
        return checked(reading.structured(kind, stored))
    except reading.FormError as error:
        raise DamagedFileError(path, str(error), _WRITTEN_AGAIN) from None
