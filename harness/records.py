"""Records of finished runs, and the layout of a results folder, which this module alone knows.

`harness.run` writes them, `harness.report` and anyone with pandas reads them. A record is whole or absent: it is
written last, to a temporary file that is then renamed.
"""

import dataclasses
import json
import os
import pathlib
import typing
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness import schemas
from harness.configs import as_json, completed
from harness.run_record import (
    STATUSES,
    BackboneFacts,
    Cost,
    DatasetFacts,
    Environment,
    Placement,
    RunRecord,
    Scores,
    Status,
    Timing,
)

__all__ = ["CURVE_COLUMNS", "OWN_RESULTS", "SHIPPED_RESULTS", "STATUSES", "BackboneFacts", "Cost", "DatasetFacts",
           "Environment", "Folder", "Placement", "RecordError", "RunRecord", "Scores", "Status", "Timing",
           "ablations_in", "columns", "find", "read_all", "write_atomic"]

# Where launches write, and where reports look first.
OWN_RESULTS = "my_results"
# What the harness comes with, trained elsewhere. Reports find it; nothing writes records there unless told to, so that
# runs of another machine are not taken for one's own, nor mixed with them.
SHIPPED_RESULTS = "results"

CURVE_COLUMNS = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


class RecordError(Exception):
    """A record that cannot be read or may not be written; the message is one line."""


def write_atomic(path: pathlib.Path, content: bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(as_json(value), indent=1, allow_nan=False) + "\n").encode()


class Folder:
    """One ablation's folder below the results folder."""

    def __init__(self, results_dir: str | os.PathLike[str], ablation: str):
        self.path = pathlib.Path(results_dir).resolve() / ablation
        self.ablation = ablation

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
    def tensorboard(self) -> pathlib.Path:
        """Locates the ablation's event files for TensorBoard, a folder per run, which names it there."""
        return self.path / "tensorboard"

    def write(self, run_id: str, record: RunRecord, curve: pd.DataFrame, predictions: Mapping[str, np.ndarray],
              exhibits: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes a finished run: the curve, the test predictions and what there is to look at first, the record last.

        Args:
          run_id: the run's folder.
          record: states the run; from then on it counts as finished.
          curve: a row per epoch with `CURVE_COLUMNS`.
          predictions: "predicted" and "label", the true class, uint8 or uint16 [test example], and "probability",
            float16, the predicted class's; empty unless the run is done.
          exhibits: test images ("index", "image") and first layer of a cell's first run; see `harness.exhibits`.

        Raises:
          RecordError: if the run is already recorded; nothing is overwritten.
        """
        folder = self.run(run_id)
        if (folder / "record.json").exists():
            raise RecordError(f"{folder / 'record.json'} exists already and is never overwritten")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "curve.csv", curve.to_csv(index=False, lineterminator="\n").encode())
        for name, arrays in (("predictions", predictions), ("exhibits", exhibits)):
            if arrays:
                temporary = folder / f".{name}.{os.getpid()}.tmp.npz"
                np.savez_compressed(temporary, allow_pickle=False, **arrays)
                temporary.replace(folder / f"{name}.npz")
        write_atomic(folder / "record.json", _json_bytes(record))

    def write_plan(self, question: str, runs: Iterable[Mapping[str, Any]], factors: Mapping[str, list[str]],
                   claims: Iterable[Any] = (), varied: Iterable[str] = ()) -> None:
        """States what is planned, so that a report can say what is missing; runs of an earlier plan stay planned.

        Args:
          question: the ablation's.
          runs: {"run_id", "cell", "labels", "seed"} of each planned run, cells in the ablation's order.
          factors: name -> labels, the reference level first.
          claims: the source's figures, as `ablations.claim.Claim` states them.
          varied: paths of the fields that factors set.
        """
        planned = {run["run_id"]: dict(run) for run in runs}
        if earlier := self.plan():
            planned |= {run["run_id"]: run for run in earlier["runs"] if run["run_id"] not in planned}
        write_atomic(self.path / "plan.json", _json_bytes(
            {"ablation": self.ablation, "question": question, "factors": factors, "varied": list(varied),
             "claims": list(claims), "runs": list(planned.values())}))

    def plan(self) -> dict[str, Any] | None:
        """Reads the plan as given to `write_plan`; None if there is none."""
        path = self.path / "plan.json"
        if not path.exists():
            return None
        return {"claims": [], "varied": []} | _read_json(path, ("question", "factors", "runs"))

    def layouts(self) -> dict[str, Any]:
        """Reads the layouts chosen for cohorts on this machine, by the cohort's key; a resumed run needs the same."""
        path = self.path / "layouts.json"
        return _read_json(path, ()) if path.exists() else {}

    def keep_layout(self, key: str, choice: Mapping[str, Any]) -> None:
        """Keeps a cohort's layout: {"layout", "why"}."""
        write_atomic(self.path / "layouts.json", _json_bytes(self.layouts() | {key: choice}))

    def progress(self) -> dict[str, Any] | None:
        """Reads how far the latest launch is; None if there was none.

        Returns:
          "host", "pid", "process_started": the process, its start in seconds since 1970; "ended": whether it is over;
          "written": when this was stated, in seconds since 1970; "trained_epochs", "training_s": done in this launch;
          "runs": run_id -> {"state", "epoch", "epochs"} of each run that it trains, and of those that have ended an
          epoch "epoch_s" (wall time, validation included), "examples_per_s" and that epoch's `CURVE_COLUMNS`.
        """
        path = self.path / "progress.json"
        return _read_json(path, ("host", "pid", "process_started", "written", "runs")) if path.exists() else None

    def keep_progress(self, progress: Mapping[str, Any]) -> None:
        """States how far this launch is, as `progress` reads it."""
        write_atomic(self.path / "progress.json", json.dumps(progress, allow_nan=False).encode())

    def record(self, run_id: str) -> dict[str, Any] | None:
        """Reads a run's record as JSON in the form of `RunRecord`, whatever its schema; None while it is unfinished."""
        path = self.run(run_id) / "record.json"
        return _read_record(path) if path.exists() else None

    def records(self) -> dict[str, dict[str, Any]]:
        """Reads all records, by run_id in its order."""
        return {run_id: _read_record(self.run(run_id) / "record.json") for run_id in self.recorded()}

    def recorded(self) -> list[str]:
        """Lists the runs that have a record, in order."""
        return sorted(path.parent.name for path in self.path.glob("runs/*/record.json"))

    def curve(self, run_id: str) -> pd.DataFrame:
        """Reads a run's learning curve, with `CURVE_COLUMNS`."""
        path = self.run(run_id) / "curve.csv"
        try:
            return pd.read_csv(path, usecols=list(CURVE_COLUMNS))
        except (OSError, ValueError) as error:
            raise RecordError(f"{path} cannot be read: {error}") from None

    def predictions(self, run_id: str) -> dict[str, np.ndarray]:
        """Reads a run's test predictions."""
        return _read_arrays(self.run(run_id) / "predictions.npz")

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
            return _read_arrays(path)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RecordError(f"{path} cannot be read: {error}; delete it to do without its pictures") from None


def ablations_in(results_dir: str | os.PathLike[str]) -> list[str]:
    """Lists the ablations that have a plan or a record, by name."""
    folder = pathlib.Path(results_dir)
    found = {path.parent.name for path in folder.glob("*/plan.json")}
    return sorted(found | {path.parents[2].name for path in folder.glob("*/runs/*/record.json")})


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


def columns() -> dict[str, Any]:
    """Lists the columns of `read_all` with their types; a name that ends in .* stands for as many as there are."""
    return {"run_id": str} | dict(_columns(RunRecord, ""))


def _columns(record: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, annotated in typing.get_type_hints(record).items():
        kinds = typing.get_args(annotated)
        kind = next((part for part in (annotated, *kinds) if dataclasses.is_dataclass(part)), None)
        if kind is not None:
            yield from _columns(kind, f"{prefix}{name}.")
        elif typing.get_origin(annotated) is dict:
            yield f"{prefix}{name}.*", typing.get_args(annotated)[1]
        else:
            yield prefix + name, annotated


def read_all(results_dir: str | os.PathLike[str] = "results", ablations: Iterable[str] | None = None) -> pd.DataFrame:
    """Reads every record into one table, a row per finished run, in the order of ablation and run_id.

    Columns are `run_id` and the record's fields, nested ones joined by a dot, such as `best.test_accuracy`; BUILD.md
    lists them with their units. All of `columns` are there, whatever the runs came to: what a run has not is missing
    (NaN, or NA among whole numbers); a field that was added to configurations since has its default. Lists stay lists.

    Args:
      results_dir: the folder that holds one folder per ablation.
      ablations: names to read; None reads all.

    Raises:
      RecordError: if a record cannot be read, naming its file.
    """
    names = ablations_in(results_dir) if ablations is None else ablations
    rows = [{"run_id": run_id} | {field: value for field, value in record.items() if value is not None}
            | {"config": completed(record["config"])}
            for name in names for run_id, record in Folder(results_dir, name).records().items()]
    table = pd.json_normalize(rows)
    ordered: list[str] = []
    for name in columns():
        family = name.removesuffix("*")
        members = sorted(column for column in map(str, table) if column.startswith(family))
        ordered += members if name.endswith("*") else [name]
    table = table.reindex(columns=ordered)
    whole = [name for name, kind in columns().items() if kind in (int, int | None)]
    return table.astype(dict.fromkeys(whole, "Int64"))


_REMEDY = "move the run's folder away to have it trained again"
_REQUIRED = tuple(field.name for field in dataclasses.fields(RunRecord) if field.default is dataclasses.MISSING)


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    # numpy leaves a file that it opened itself open if it is damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _read_record(path: pathlib.Path) -> dict[str, Any]:
    stored = _read_json(path, _REQUIRED)
    try:
        return schemas.migrated(stored)
    except schemas.SchemaError as error:
        raise RecordError(f"{path} {error}; {_REMEDY}") from None


def _read_json(path: pathlib.Path, required: Iterable[str]) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}; {_REMEDY}") from None
    lacking = [name for name in required if not isinstance(value, dict) or name not in value]
    if lacking:
        raise RecordError(f"{path} lacks {', '.join(lacking)}; {_REMEDY}")
    return value
