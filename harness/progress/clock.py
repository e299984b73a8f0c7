"""Where the wall time of a command goes: its start, what precedes training, training itself, the report."""

import time
from collections.abc import Sequence

import psutil

from harness.training.watcher import Compiled, Ended, Epoch, Watcher


class Clock(Watcher):
    """Divides the time since the process began.

    What passes before a cohort's programs are compiled is no training: data is loaded, a layout is chosen.
    """

    def __init__(self) -> None:
        self._began = psutil.Process().create_time()
        self._started = self._trained = time.time()
        self._since: float | None = self._started  # from when on nothing has been trained
        self._before_s = 0.0

    def compiled(self, compiled: Compiled) -> None:
        if self._since is not None:
            self._before_s += time.time() - self._since
        self._since = None

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        self._since = None

    def ended(self, ended: Ended) -> None:
        self._since = self._since or time.time()

    def close(self) -> None:
        self._trained = time.time()

    def line(self) -> str:
        """Says in one line what the command took up to now."""
        now = time.time()
        parts = {"start": self._started - self._began, "loading and compiling": self._before_s,
                 "training and recording": self._trained - self._started - self._before_s,
                 "report": now - self._trained}
        return f"{now - self._began:.1f} s: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())
