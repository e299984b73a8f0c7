"""Hands finished records to other experiment trackers, as files on this machine. Called by `harness.report --export`.

What all trackers get is decided here, `export_mlflow` and `export_wandb` write it. Names are the columns of
`records.read_all`. Exporting again adds what is new, and replaces a run whose record has changed.
"""

import dataclasses
import datetime
import hashlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from harness import export_mlflow, export_wandb
from harness.records import Folder, read_all

PARAMETERS = ("config.", "labels.", "seed")
METRICS = ("best.", "last.", "cost.", "timing.", "epochs_trained")
TAGS = ("ablation", "cell", "seed", "status", "message", "config_hash", "dataset.name", "dataset.fingerprint",
        "environment.git_commit", "environment.git_dirty", "environment.device", "environment.packages.jax")


class ExportError(Exception):
    """Nothing can be exported as asked; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """One recorded run, as any tracker takes it.

    Attributes:
      digest: sha256 of the record's file: which record this is.
      parameters, tags: of the run, by column; parameters keep their type.
      metrics: final figures, by column.
      curve: a row per epoch with `records.CURVE_COLUMNS`.
      files: what is kept beside these figures: record, curve and test predictions.
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


Write = Callable[[Sequence[Exported], pathlib.Path], int]
# What each tracker's name stands for: the package that must be there, what writes, and how to look at the outcome.
TRACKERS: dict[str, tuple[Write, str]] = {
    "mlflow": (export_mlflow.write, "mlflow ui --backend-store-uri sqlite:///{0}/mlflow.db"),
    "wandb": (export_wandb.write, "wandb sync {0}/wandb/offline-run-*"),
}


def export(results_dir: str, names: Sequence[str], tracker: str, target: str) -> str:
    """Exports every record that is not there yet; reaches no network.

    Args:
      names: ablations.
      tracker: one of `TRACKERS`.
      target: folder to write into, made if need be.

    Returns:
      what was done, in one line.

    Raises:
      ExportError: if there is no target, no record, or the tracker's package is not installed.
      harness.records.RecordError: if a record cannot be read.
    """
    if not target:
        raise ExportError(f"--export={tracker} needs --export_dir=DIR, a folder for {tracker} to keep")
    if importlib.util.find_spec(tracker) is None:
        raise ExportError(f"--export={tracker} needs the package {tracker}: pip install '.[{tracker}]'")
    runs = [run for name in names for run in describe(Folder(results_dir, name))]
    if not runs:
        raise ExportError(f"no records of {', '.join(names)} in {results_dir} yet")
    folder = pathlib.Path(target).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write, look = TRACKERS[tracker]
    written = write(runs, folder)
    return (f"{written} runs exported to {folder}, {len(runs) - written} were there already; "
            f"to look at them: {look.format(folder)}")


def describe(folder: Folder) -> list[Exported]:
    """Describes an ablation's records."""
    table = read_all(folder.path.parent, [folder.ablation])
    return [_describe(folder, {str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


def _describe(folder: Folder, row: dict[str, Any]) -> Exported:
    present = {name: value for name, value in row.items() if isinstance(value, list) or not pd.isna(value)}
    files = tuple(path for name in ("record.json", "curve.csv", "predictions.npz")
                  if (path := folder.run(row["run_id"]) / name).exists())
    return Exported(
        ablation=folder.ablation, run_id=row["run_id"], digest=hashlib.sha256(files[0].read_bytes()).hexdigest(),
        done=row["status"] == "done",
        parameters={name: value for name, value in present.items() if name.startswith(PARAMETERS)},
        tags={name: str(present[name]) for name in TAGS if present.get(name, "") != ""},
        metrics={name: float(value) for name, value in present.items()
                 if name.startswith(METRICS) and isinstance(value, int | float)},
        curve=folder.curve(row["run_id"]), files=files, started_s=_seconds(row["started_at"]),
        finished_s=_seconds(row["finished_at"]))


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()
