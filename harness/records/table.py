"""All records as one table for pandas."""

import os
import pathlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from harness.records.configs import as_json, completed
from harness.records.fields import columns
from harness.records.files import RecordError
from harness.records.folder import Folder, ablations_in
from harness.records.record import RunRecord


def nested(run_id: str, record: RunRecord) -> dict[str, Any]:
    """Gives a record's fields as JSON has them, its configuration with defaults for what was added since."""
    return {"run_id": run_id} | {field: value for field, value in as_json(record).items() if value is not None} | {
        "config": completed(record.config)}


def _named(results_dir: pathlib.Path, asked: str | Iterable[str] | None) -> list[str]:
    if not results_dir.is_dir():
        raise RecordError(f"there is no folder of results {results_dir}; looked for in {pathlib.Path.cwd()}")
    if (results_dir / "plan.json").exists() or (results_dir / "runs").is_dir():
        raise RecordError(f"{results_dir} is an ablation's own folder: give the one that it lies in, "
                          f"{results_dir.parent}")
    there = ablations_in(results_dir)
    names = there if asked is None else [asked] if isinstance(asked, str) else list(asked)
    if absent := [name for name in names if name not in there]:
        raise RecordError(f"{results_dir} has no ablation {absent[0]}; there are {', '.join(there) or 'none'}")
    return names


def read_all(results_dir: str | os.PathLike[str] = "results", ablations: str | Iterable[str] | None = None
             ) -> pd.DataFrame:
    """Reads every record into one table, a row per finished run, in the order of ablation and run_id.

    Columns are `run_id` and the record's fields, nested ones joined by a dot, such as `best.test_accuracy`;
    results/README.md lists them. All of `columns` are there, whatever the runs came to: what a run has not is missing
    (NaN, or NA among whole numbers); a field that was added to configurations since has its default. Lists stay lists.

    Args:
      results_dir: the folder that holds one folder per ablation.
      ablations: names to read, or one; None reads all.

    Raises:
      RecordError: if a record cannot be read, naming its file, or there is no such folder or ablation.
    """
    names = _named(pathlib.Path(results_dir), ablations)
    table = pd.json_normalize([nested(run_id, record) for name in names
                               for run_id, record in Folder(results_dir, name).records().items()])
    ordered: list[str] = []
    for name in columns():
        family = name.removesuffix("*")
        members = sorted(column for column in map(str, table) if column.startswith(family))
        ordered += members if name.endswith("*") else [name]
    table = table.reindex(columns=ordered)
    whole = [name for name, kind in columns().items() if kind in (int, int | None)]
    return table.astype(dict.fromkeys(whole, "Int64"))
