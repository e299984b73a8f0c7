"""What a page tells of single runs: a row each, the whole record on demand, and the commands that train it again.

Everything comes out as JSON values; the page's scripts write them as text, never as HTML.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from harness.records import CURVE_COLUMNS, RunRecord, again
from harness.records.configs import as_json
from harness.reporting.page.shell import intern
from harness.reporting.page.words import plainly, told

# Shown in the row or by the page, or of no use to a reader.
_ELSEWHERE = {"ablation", "question", "cell", "labels", "seed", "status", "message", "best", "last", "schema"}
# Alike in many runs, so kept once.
_SHARED = ("config", "dataset", "environment", "cost", "layers", "placement")
_DIGITS = 5  # after the point, of a curve's value
_MOST = 1_000_000  # values of all curves, about 8 MB; 10,000 runs of 25 epochs


def runs_json(found: Mapping[str, RunRecord], cells: Mapping[str, int],
              curves: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Describes runs for the page.

    Args:
      found: run_id -> record.
      cells: cell -> its row in the table.
      curves: run_id -> learning curve, of as many runs as have one.

    Returns:
      "runs", one object per record, by cell and seed; "shared", parts they refer to by position, each as rows of name
      and text; "curve_columns"; "curve_step", every which epoch of all curves is kept.
    """
    ordered = sorted(found.items(), key=lambda item: (cells[item[1].cell], item[1].seed))
    records = {run_id: as_json(record) for run_id, record in ordered}
    written: dict[str, dict[str, Any]] = {}
    parts = {(run_id, name): part for run_id, record in records.items()
             for name, part in _parts(record, written).items()}
    shared, where = intern(parts)
    step = max(1, -(-sum(curve.size - len(curve) for curve in curves.values()) // _MOST))
    return {
        "runs": [{
            "id": run_id,
            "cell": cells[record["cell"]],
            "seed": record["seed"],
            "status": record["status"],
            "message": record["message"],
            "best": record["best"],
            "last": record["last"],
            "commands": again.commands(run_id, found[run_id]),
            "advice": _advice(found[run_id]),
            "train_s": (record["timing"] or {}).get("train_s"),
            "epochs": record["epochs_trained"],
            "folder": f"runs/{quote(run_id, safe='')}/",
            "shared": {name: where[run_id, name] for name in _SHARED if (run_id, name) in where},
            "more": [row for name, value in record.items() if name not in _ELSEWHERE and name not in _SHARED
                     and value is not None for row in told(value, name)],
            "curve": _curve(curves[run_id], step) if run_id in curves else None,
        } for run_id, record in records.items()],
        "shared": shared,
        "curve_columns": CURVE_COLUMNS[1:],
        "curve_step": step,
    }


def _parts(record: Mapping[str, Any], written: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Writes the parts that recur: as rows of name and text, layers as a table.

    Args:
      written: those of other runs, by what they say, as many runs have the same.
    """
    parts: dict[str, Any] = {}
    for name in _SHARED:
        if record.get(name) is not None:
            says = f"{name} {record[name]!r}"
            if says not in written:
                written[says] = _part(name, record[name])
            parts |= written[says]
    return parts


def _part(name: str, value: Any) -> dict[str, Any]:
    if name != "cost":
        return {name: (plainly if name == "config" else told)(value)}
    cost = dict(value)
    layers = [told(layer) for layer in cost.pop("layers")]
    table = {"headers": [name for name, _ in layers[0]],
             "rows": [[text for _, text in layer] for layer in layers]} if layers else None
    return {"cost": told(cost)} | ({"layers": table} if table else {})


def _advice(record: RunRecord) -> list[str]:
    """Says what else the commands need."""
    machine = record.environment
    held = {"data_dir": "the data sets", "weights_dir": "the weights"}
    return [*(f"--{flag}: the folder of {held[flag]}." for flag in again.folders(record)),
            *(["The code had uncommitted changes: its commit may give other numbers."] if machine.git_dirty else []),
            *(["The commit is not known."] if not machine.git_commit else [])]


def _curve(curve: pd.DataFrame, step: int) -> list[list[float | None]]:
    """Rounds a curve to what can be seen: [column after epoch][every which epoch], None where a value is not finite."""
    columns = np.round(curve.to_numpy(dtype=float).T[1:, step - 1::step], _DIGITS)
    if np.isfinite(columns).all():
        return columns.tolist()
    return [[value if math.isfinite(value) else None for value in column] for column in columns.tolist()]
