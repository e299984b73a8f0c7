"""How much memory training really takes, measured while it runs: of the process on a CPU, of the device elsewhere."""

import threading
from types import TracebackType
from typing import Self

import jax
import psutil

_EVERY_S = 0.02


class Peak:
    """The most memory in use while it watches, above what the process held at its start.

    On a CPU the process's resident memory is looked at fifty times a second, so that a shorter peak may be missed. An
    accelerator keeps its own count, which cannot be set back and tells nothing of what takes less than what was before.

    Attributes:
      bytes: so far; None where the platform does not tell, or where the process gave back more than it took.
    """

    def __init__(self, start: int):
        """Watches from when it is entered.

        Args:
          start: `resident` before anything was trained.
        """
        self._start, self._most, self._before = start, 0, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = _of_device() or 0
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int | None:
        if jax.default_backend() == "cpu":
            most = max(self._most, resident())
            return most - self._start if most > self._start else None
        most = _of_device() or 0
        return most if most > self._before else None

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._most = max(self._most, resident())


def _of_device() -> int | None:
    """Reads the most bytes that the first accelerator had in use so far; None where it does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")


def resident() -> int:
    """Reads how many bytes of memory this process holds."""
    return int(psutil.Process().memory_info().rss)
