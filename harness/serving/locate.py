"""Finds the folder of a trained network by what a command names: a run's folder, or an ablation's."""

import pathlib
import shlex
import statistics
from collections.abc import Mapping
from typing import Any

from harness import records
from harness.records.files import in_home
from harness.records.kept import WEIGHTS, KeptError


def find(run: str) -> tuple[pathlib.Path, str]:
    """Finds the folder that has the network's files.

    Args:
      run: a run's folder, or a copy of its files anywhere; of an ablation's folder, the first run of the cell with the
        highest mean validation accuracy is taken.

    Returns:
      the folder, and a line on how it was chosen; empty if it was named.

    Raises:
      KeptError: if there is no network there, saying how to have one.
      harness.records.RecordError: if a record cannot be read.
    """
    path = in_home(run).resolve()
    if (path / WEIGHTS).is_file():
        return path, ""
    if (path / "record.json").is_file():
        raise _without_weights(records.Folder(path.parents[2], path.parents[1].name), path.name)
    if (path / "runs").is_dir():
        return _best(records.Folder(path.parent, path.name))
    if not path.exists():
        raise KeptError(f"--run={run}: there is no such folder; give a run's, such as my_results/quickstart/runs/RUN")
    raise KeptError(f"--run={run} is neither the folder of a run nor of an ablation: it has no {WEIGHTS} and no runs/")


def _best(folder: records.Folder) -> tuple[pathlib.Path, str]:
    """Chooses by validation, since the test set is not there to choose by."""
    accuracies: dict[str, list[float]] = {}
    first: dict[str, tuple[int, str]] = {}
    for run_id, record in folder.records().items():
        if record.status == "done" and record.best:
            accuracies.setdefault(record.cell, []).append(record.best.validation_accuracy)
            first[record.cell] = min(first.get(record.cell, (record.seed, run_id)),
                                     (record.seed, run_id), key=lambda one: (not folder.has_weights(one[1]), one))
    if not accuracies:
        raise KeptError(f"{folder.path} has no run that is done; python -m harness.run trains some")
    means = {cell: statistics.fmean(values) for cell, values in accuracies.items()}
    cell = max(means, key=lambda one: means[one])
    run_id = first[cell][1]
    if not folder.has_weights(run_id):
        raise _without_weights(folder, run_id)
    return folder.run(run_id), (f"{run_id}: the first run of the cell with the highest validation accuracy, "
                                f"{means[cell]:.4f} on average over {_runs(len(accuracies[cell]))}")


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def _without_weights(folder: records.Folder, run_id: str) -> KeptError:
    record = folder.record(run_id)
    assert record is not None, "found by it"
    if record.status != "done":
        return KeptError(f"{folder.run(run_id)}: the run is {record.status} and has no network to keep")
    cell = (one for one, other in folder.records().items() if other.cell == record.cell and folder.has_weights(one))
    if sibling := next(cell, None):
        return KeptError(f"{folder.run(run_id)} has no {WEIGHTS}; of its cell's runs {sibling} has: "
                         f"--run={folder.run(sibling)}")
    shipped = folder.results_dir == pathlib.Path(records.SHIPPED_RESULTS).resolve()
    mend = "train it" if shipped else "move this folder away and train it again"
    into = "" if shipped or folder.results_dir.name == records.OWN_RESULTS else f" --results_dir={folder.results_dir}"
    return KeptError(f"{folder.run(run_id)} has a record and no {WEIGHTS}, because it was trained without "
                     f"--keep_weights; {mend}: {_command(record, run_id)}{into}")


def _command(record: records.RunRecord, run_id: str) -> str:
    settings = [f"--set={path}={_written(value)}" for path, value in record.overrides.items()]
    only = run_id.removesuffix(f",seed={record.seed}")
    return shlex.join(["python", "-m", "harness.run", f"--ablation={_ablation(record)}", f"--only={only}",
                       f"--seeds={record.seed}", *settings])


def _ablation(record: records.RunRecord) -> str:
    return record.origin or record.ablation.partition(",")[0]


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "".join(f"{item}," for item in value)
    return str(value if not isinstance(value, Mapping) else dict(value))
