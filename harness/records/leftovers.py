"""What killed launches leave in an ablation's folder, and nobody else would come by to remove."""

import os
import pathlib
import shutil

from harness.records import leases
from harness.records.files import clear

_OTHERS = ("checkpoints", "tensorboard")  # whose files have forms of their own


def remove(folder: pathlib.Path) -> None:
    """Removes half-written files, checkpoints of runs that are recorded, and leases of processes that have ended.

    Args:
      folder: an ablation's; what others that train there have is left.
    """
    for path, below, names in os.walk(folder):
        if "checkpoints" in below and "record.json" in names:
            shutil.rmtree(pathlib.Path(path, "checkpoints"), ignore_errors=True)
        below[:] = [name for name in below if name not in _OTHERS]
        if any(name.endswith(".tmp") for name in names):
            clear(pathlib.Path(path))
    leases.clear(folder / "in_training")
