"""Keeps `progress.json` up to date while an ablation trains, for `harness.progress.live` in another process.

A process that trains beside another one keeps a file of its own in `progress/`.

The file is written whole, when a run starts or ends, when compiling does, and otherwise about once a second; that of a
large launch at most once a second, since it takes as long to write as there are runs.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

from ablations.spec import Run
from harness.progress.status import is_over, is_training
from harness.progress.tally import Tally
from harness.records import Folder, RecordError, RunRecord
from harness.training.watcher import Compiled, Epoch, Started, Watcher

_LEAST_S = 1.0
_LARGE = 200


class ProgressFile(Watcher):
    """Writes what a tally has counted."""

    def __init__(self, folder: Folder, tally: Tally, complain: Callable[[str], None], *,
                 is_worker: bool = False):
        """Writes the file for the first time.

        Args:
          folder: the ablation's.
          tally: told before this is.
          complain: told, once, why the file is no longer written. A full disk must not end training here: it will
            where something is to be kept.
          is_worker: whether another process states how far the whole launch is.
        """
        self._folder, self._tally, self._complain = folder, tally, complain
        self._written = float("-inf")
        self._complained = False
        self._of = self._own_name() if is_worker or self._another_trains() else ""
        self._write()

    def starting(self, started: Started) -> None:
        self._tell()

    def compiling(self, runs: Sequence[Run]) -> None:
        self._tell()

    def compiled(self, compiled: Compiled) -> None:
        self._tell()

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Writes the file unless that was just done."""
        if time.monotonic() - self._written >= _LEAST_S:
            self._write()

    def finished(self, run: Run, record: RunRecord) -> None:
        self._tell()

    def close(self) -> None:
        self._written = float("-inf")  # the end is stated however lately writing has failed
        self._write()

    def _tell(self) -> None:
        if len(self._tally.progress.runs) > _LARGE:
            self.refresh()
        else:
            self._write()

    def _write(self) -> None:
        if self._complained and time.monotonic() - self._written < _LEAST_S:
            return
        try:
            self._folder.keep_progress(self._tally.progress, self._of)
        except OSError as error:  # which may pass, as a full disk does
            if not self._complained:
                self._complain(f"progress cannot be written for --watch: {error}")
            self._complained = True
        self._written = time.monotonic()

    def _own_name(self) -> str:
        """Names this process among those beside a launch, and forgets those that have ended."""
        for name in self._folder.beside():
            with contextlib.suppress(OSError, RecordError):
                if (progress := self._folder.progress(name)) is not None and is_over(progress):
                    self._folder.forget(name)
        return f"{self._tally.progress.host}.{self._tally.progress.pid}"

    def _another_trains(self) -> bool:
        with contextlib.suppress(RecordError):  # a damaged one is written anew
            progress = self._folder.progress()
            return (progress is not None and is_training(progress, time.time()) and (progress.host, progress.pid)
                    != (self._tally.progress.host, self._tally.progress.pid))
        return False
