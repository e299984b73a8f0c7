"""Compiles for the next cohort while one trains."""

from concurrent import futures
from typing import Protocol

import jax

from harness.training import stopping


class Cohort(Protocol):
    """What can be prepared to be trained."""

    def prepare(self) -> None:
        """Compiles what it is most likely to train with."""

    def release(self) -> None:
        """Frees what is compiled, and the data on the devices."""


class Ahead:
    """Compiles for the next cohort while one trains, where training leaves the processor free.

    Attributes:
      next: the cohort that comes next; None at the end.
    """

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, "ahead")
        self._preparing: futures.Future[None] | None = None
        self.next: Cohort | None = None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._thread.shutdown(wait=kind is not stopping.StoppedError, cancel_futures=True)

    def start(self) -> None:
        """Compiles for the next cohort from now on."""
        if self.next is not None and jax.default_backend() != "cpu":
            self._preparing = self._thread.submit(self.next.prepare)

    def wait(self, training: Cohort) -> None:
        """Waits for what is being prepared; what goes wrong with it will again, when its turn has come.

        Args:
          training: the cohort that trains now; where another launch has taken the one prepared for, that is let go.
        """
        if self._ended() and self.next is not None and self.next is not training:
            self.next.release()

    def let_go(self) -> bool:
        """Frees what was prepared, which has data on the devices of the cohort that trains; whether there was any."""
        if there := self._ended() and self.next is not None:
            self.next.release()
        return there

    def _ended(self) -> bool:
        """Waits for what is being prepared; whether anything was."""
        if self._preparing is None:
            return False
        futures.wait([self._preparing])
        self._preparing = None
        return True
