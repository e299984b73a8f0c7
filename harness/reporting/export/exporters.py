"""Hands finished records to other experiment trackers, as files on this machine.

`export_mlflow` and `export_wandb` write what `exported` describes. Exporting again adds what is new, and replaces a
run whose record has changed.
"""

import importlib.util
import pathlib
import shlex
from collections.abc import Callable, Sequence

from harness.records import Folder
from harness.records.files import in_home
from harness.records.loaded import Loaded
from harness.reporting.export import mlflow, wandb
from harness.reporting.export.exported import Exported, describe


class ExportError(Exception):
    """Nothing can be exported as asked; the message is one line."""


Write = Callable[[Sequence[Exported], pathlib.Path], int]
# What each tracker's name stands for: the package that must be there, what writes, and how to look at the outcome.
TRACKERS: dict[str, tuple[Write, str]] = {
    "mlflow": (mlflow.write, "pip install mlflow; mlflow ui --backend-store-uri {0}"),
    "wandb": (wandb.write, "wandb sync {1}/wandb/offline-run-*"),
}


def export(folders: Sequence[Folder], tracker: str, target: str) -> str:
    """Exports every record that is not there yet; reaches no network.

    Args:
      folders: ablations.
      tracker: one of `TRACKERS`.
      target: folder to write into, made if need be.

    Returns:
      what was done, in one line.

    Raises:
      ExportError: if there is no target, no record, or the tracker's package is not installed.
      harness.records.RecordError: if a folder cannot be read.
    """
    if not target:
        raise ExportError(f"--export={tracker} needs --export_dir=DIR, a folder for {tracker} to keep")
    if importlib.util.find_spec(tracker) is None:
        raise ExportError(f"--export={tracker} needs the package {tracker}: pip install -c constraints.txt -e "
                          f"'.[{tracker}]'")
    loaded = [Loaded(folder) for folder in folders]
    runs = [run for one in loaded for run in describe(one)]
    damaged = [error for one in loaded for error in one.damaged]
    if damaged and not runs:
        raise damaged[0]
    if not runs:
        raise ExportError(f"no records in {', '.join(str(folder.path) for folder in folders)} yet")
    folder = in_home(target).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write, look = TRACKERS[tracker]
    written = write(runs, folder)
    quoted = [shlex.quote(text) for text in (f"sqlite:///{folder}/mlflow.db", str(folder))]
    removed = sum(number for one in loaded for number in one.apart.removed.values())
    return (f"{written} run{'' if written == 1 else 's'} exported to {folder}, {len(runs) - written} there already; "
            f"to look at them: {look.format(*quoted)}"
            + (f"; damaged and left out: {', '.join(str(error.path) for error in damaged)}" if damaged else "")
            + (f"; left out of cells that their ablations no longer have: {removed}" if removed else ""))
