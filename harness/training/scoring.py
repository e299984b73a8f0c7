"""What an ablation's own metrics make of its runs' test predictions, kept beside their records.

Reports read the values and execute no code.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ablations.metrics import INPUTS, Metric
from harness import records
from harness.records.files import DamagedFileError


def score(run_ids: Iterable[str], metrics: Mapping[str, Metric], folder: records.Folder, tell: Callable[[str], None]
          ) -> None:
    """Computes each metric for each run that is done, and keeps the values: those of an earlier launch are replaced.

    Args:
      tell: told in a line of each metric that some runs have no value of, and why; and of each damaged file.
    """
    absent: dict[str, list[str]] = {}
    for run_id in run_ids if metrics else ():
        record = folder.record(run_id)
        if record is None or record.status != "done":
            continue
        try:
            found = _inputs(folder, run_id)
        except DamagedFileError as error:
            tell(f"no value of {', '.join(metrics)}: {error}")
            continue
        values = {}
        for name, metric in metrics.items():
            try:
                values[name] = _value(metric, found)
            except Exception as error:  # a stranger's code may raise anything
                why = f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
                absent.setdefault(why, []).append(run_id)
        if values != _kept(folder, run_id):
            folder.keep_scores(run_id, values)
    for why, runs in absent.items():
        tell(f"no value of {why} ({len(runs)} runs, the first is {runs[0]})")


def _kept(folder: records.Folder, run_id: str) -> dict[str, float] | None:
    """Reads the values of an earlier launch; None where they are damaged, and to be written anew."""
    try:
        return folder.scores(run_id)
    except DamagedFileError:
        return None


def _inputs(folder: records.Folder, run_id: str) -> dict[str, np.ndarray]:
    """Reads what metrics may ask for, as far as the run has kept it."""
    if not (folder.run(run_id) / "predictions.npz").exists():
        return {}
    stored = folder.predictions(run_id)
    found = {name: stored[kept].astype(np.int64) for name, kept in (("predicted", "predicted"), ("labels", "label"))
             if kept in stored}
    if "logits" in stored:
        logits = found["logits"] = stored["logits"].astype(np.float64)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        found["probabilities"] = powers / powers.sum(1, keepdims=True)
    return found


def _value(metric: Metric, found: Mapping[str, np.ndarray]) -> float:
    asked = [name for name in INPUTS if name in inspect.signature(metric).parameters]
    if lacking := [name for name in asked if name not in found]:
        why = "was trained without --store_logits" if found else "keeps no predictions"
        raise ValueError(f"the run {why}, so that {lacking[0]} are not known; move its folder away to have it trained "
                         "again")
    value = float(metric(**{name: found[name] for name in asked}))
    if not math.isfinite(value):
        raise ValueError(f"it gives {value}")
    return value
