"""Where the wall time of a command goes: its start, compiling, training, the report."""

import time
from collections.abc import Sequence

import psutil

from ablations.spec import Run
from harness.training.watcher import Compiled, Watcher


class Clock(Watcher):
    """Divides the time since the process began."""

    def __init__(self) -> None:
        self._began = psutil.Process().create_time()
        self._started = self._trained = self._since = time.time()
        self._compile_s = 0.0

    def compiling(self, runs: Sequence[Run]) -> None:
        self._since = time.time()

    def compiled(self, compiled: Compiled) -> None:
        self._compile_s += time.time() - self._since

    def close(self) -> None:
        self._trained = time.time()

    def line(self) -> str:
        """Says in one line what the command took up to now."""
        now = time.time()
        parts = {"start": self._started - self._began, "compiling": self._compile_s,
                 "training and recording": self._trained - self._started - self._compile_s,
                 "report": now - self._trained}
        return f"{now - self._began:.1f} s: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())
