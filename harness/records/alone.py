"""One process trains in an ablation's folder at a time."""

import contextlib
from collections.abc import Iterator

import filelock

from harness.records.files import RecordError
from harness.records.folder import Folder


@contextlib.contextmanager
def alone_in(folder: Folder) -> Iterator[None]:
    """Keeps other processes from training in a folder.

    Raises:
      RecordError: if one does.
    """
    try:
        with filelock.FileLock(folder.path / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise RecordError(f"another process is training {folder.ablation} in {folder.path}: wait for it or stop it"
                          ) from None
