"""Keeps `progress.json` up to date while an ablation trains, for `harness.progress.live` in another process.

The file is written whole, when a run starts or ends, when compiling does, and otherwise about once a second.
"""

import time
from collections.abc import Callable, Sequence

from ablations.spec import Run
from harness.progress.tally import Tally
from harness.records import Folder, RunRecord
from harness.training.watcher import Compiled, Epoch, Started, Watcher

_LEAST_S = 1.0


class ProgressFile(Watcher):
    """Writes what a tally has counted."""

    def __init__(self, folder: Folder, tally: Tally, complain: Callable[[str], None]):
        """Writes the file for the first time.

        Args:
          folder: the ablation's.
          tally: told before this is.
          complain: told, once, why the file is no longer written. A full disk must not end training here: it will
            where something is to be kept.
        """
        self._folder, self._tally, self._complain = folder, tally, complain
        self._written = float("-inf")
        self._broken = False
        self._write()

    def starting(self, started: Started) -> None:
        self._write()

    def compiling(self, runs: Sequence[Run]) -> None:
        self._write()

    def compiled(self, compiled: Compiled) -> None:
        self._write()

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        if time.monotonic() - self._written >= _LEAST_S:
            self._write()

    def finished(self, run: Run, record: RunRecord) -> None:
        self._write()

    def close(self) -> None:
        self._write()

    def _write(self) -> None:
        if self._broken:
            return
        try:
            self._folder.keep_progress(self._tally.progress)
        except OSError as error:
            self._broken = True
            self._complain(f"progress is no longer written for --watch: {error}")
        self._written = time.monotonic()
