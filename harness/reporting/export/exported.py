"""A recorded run as any experiment tracker takes it. `harness.reporting.export.exporters` has records described here.

Names are the columns of `records.read_all`.
"""

import dataclasses
import datetime
import hashlib
import pathlib
from typing import Any

import pandas as pd

from harness.records import CURVE_COLUMNS, Folder
from harness.records.loaded import Loaded
from harness.records.table import nested

PARAMETERS = ("config.", "labels.", "seed")
METRICS = ("best.", "last.", "cost.", "timing.", "epochs_trained")
TAGS = ("ablation", "cell", "seed", "status", "message", "config_hash", "dataset.name", "dataset.fingerprint",
        "environment.git_commit", "environment.git_dirty", "environment.device", "environment.packages.jax")


@dataclasses.dataclass(frozen=True)
class Exported:
    """One recorded run, as any tracker takes it.

    Attributes:
      digest: sha256 of the record's file: which record this is.
      parameters, tags: of the run, by column; parameters keep their type.
      metrics: final figures, by column.
      curve: a row per epoch with `records.CURVE_COLUMNS`.
      files: what is kept beside these figures: record, curve, test predictions and exhibits.
      started_s, finished_s: seconds since 1970.
    """

    ablation: str
    run_id: str
    digest: str
    done: bool
    parameters: dict[str, Any]
    tags: dict[str, str]
    metrics: dict[str, float]
    curve: pd.DataFrame
    files: tuple[pathlib.Path, ...]
    started_s: float
    finished_s: float


def describe(loaded: Loaded) -> list[Exported]:
    """Describes the records of an ablation that a report counts; one whose curve is damaged has an empty one."""
    # One by one: a column of several would make fractions of whole numbers where a run has none.
    rows = {run_id: pd.json_normalize(nested(run_id, record)).to_dict("records")[0]
            for run_id, record in loaded.records.items()}
    return [_describe(loaded.folder, {str(name): value for name, value in row.items()},
                      loaded.curves.get(run_id, pd.DataFrame(columns=list(CURVE_COLUMNS))))
            for run_id, row in rows.items()]


def _describe(folder: Folder, row: dict[str, Any], curve: pd.DataFrame) -> Exported:
    present = {name: value for name, value in row.items() if isinstance(value, list) or not pd.isna(value)}
    files = tuple(path for name in ("record.json", "curve.csv", "predictions.npz", "exhibits.npz")
                  if (path := folder.run(row["run_id"]) / name).exists())
    return Exported(
        ablation=folder.ablation, run_id=row["run_id"], digest=hashlib.sha256(files[0].read_bytes()).hexdigest(),
        done=row["status"] == "done",
        parameters={name: value for name, value in present.items() if name.startswith(PARAMETERS)},
        tags={name: str(present[name]) for name in TAGS if present.get(name, "") != ""},
        metrics={name: float(value) for name, value in present.items()
                 if name.startswith(METRICS) and isinstance(value, int | float)},
        curve=curve, files=files, started_s=_seconds(row["started_at"]),
        finished_s=_seconds(row["finished_at"]))


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()
