"""Finds the folder of a trained network by what a command names: a run's folder, or an ablation's."""

import pathlib
import statistics

from harness import records
from harness.records import again
from harness.records.files import DamagedFileError, in_home
from harness.records.folder import read_record
from harness.records.kept import WEIGHTS, KeptError
from harness.records.loaded import Loaded


def find(run: str) -> tuple[pathlib.Path, str]:
    """Finds the folder that has the network's files.

    Args:
      run: a run's folder, or a copy of its files anywhere; of an ablation's folder, the first run of the cell with the
        highest mean validation accuracy is taken, of those cells that the ablation has now.

    Returns:
      the folder, and a line on how it was chosen; empty if it was named.

    Raises:
      KeptError: if there is no network there, saying how to have one.
      harness.records.RecordError: if no record can be read.
    """
    path = in_home(run).resolve()
    if (path / WEIGHTS).is_file():
        return path, ""
    if (path / "record.json").is_file():
        raise _without_weights(path)
    if (path / "runs").is_dir():
        return _best(records.Folder(path.parent, path.name))
    if not path.exists():
        raise KeptError(f"--run={run}: there is no such folder; give a run's, such as my_results/quickstart/runs/RUN")
    raise KeptError(f"--run={run} is neither the folder of a run nor of an ablation: it has no {WEIGHTS} and no runs/")


def _best(folder: records.Folder) -> tuple[pathlib.Path, str]:
    """Chooses by validation, since the test set is not there to choose by."""
    accuracies: dict[str, list[float]] = {}
    first: dict[str, tuple[int, str]] = {}
    found, damaged = _whole(folder)
    plan = Loaded(folder).plan
    cells = {run.cell for run in plan.runs} if plan else {record.cell for record in found.values()}
    for run_id, record in found.items():
        if record.cell in cells and record.status == "done" and record.best:
            accuracies.setdefault(record.cell, []).append(record.best.validation_accuracy)
            first[record.cell] = min(first.get(record.cell, (record.seed, run_id)),
                                     (record.seed, run_id), key=lambda one: (not folder.has_weights(one[1]), one))
    if not accuracies and damaged:
        raise damaged[0]
    if not accuracies:
        raise KeptError(f"{folder.path} has no run that is done; python -m harness.run trains some")
    means = {cell: statistics.fmean(values) for cell, values in accuracies.items()}
    cell = max(means, key=lambda one: means[one])
    run_id = first[cell][1]
    if not folder.has_weights(run_id):
        raise _without_weights(folder.run(run_id))
    return folder.run(run_id), (f"{run_id}: the first run of the cell with the highest validation accuracy, "
                                f"{means[cell]:.4f} on average over {_runs(len(accuracies[cell]))}")


def _whole(folder: records.Folder) -> tuple[dict[str, records.RunRecord], list[DamagedFileError]]:
    """Reads the records that can be read, by run_id, and tells of the others."""
    found, damaged = dict[str, records.RunRecord](), list[DamagedFileError]()
    for run_id in folder.recorded():
        try:
            found[run_id] = read_record(folder.run(run_id) / "record.json")
        except DamagedFileError as error:
            damaged.append(error)
    return found, damaged


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def _without_weights(path: pathlib.Path) -> KeptError:
    """Says how to have the network of a run's folder, or of a copy of one, that does not keep it."""
    record = read_record(path / "record.json")
    if record.status != "done":
        return KeptError(f"{path}: the run is {record.status} and has no network to keep")
    run_id = record.run_id
    if path.parent.name == "runs" and len(path.parents) > 2:
        run_id, folder = path.name, records.Folder(path.parents[2], path.parents[1].name)
        cell = (one for one, other in _whole(folder)[0].items()
                if other.cell == record.cell and folder.has_weights(one))
        if sibling := next(cell, None):
            return KeptError(f"{path} has no {WEIGHTS}; of its cell's runs {sibling} has: --run={folder.run(sibling)}")
    return KeptError(f"{path} has a record and no {WEIGHTS}: it was trained without --keep_weights, or the file was "
                     f"not copied; train it again: {again.commands(run_id, record)[-1]}")
