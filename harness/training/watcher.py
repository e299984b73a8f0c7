"""Who is told how a sweep goes, and of what: small facts, copied from what trains."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ablations.spec import Run
from harness.records import RunRecord
from harness.training.layout import Layout
from harness.training.train import TestResult


@dataclasses.dataclass(frozen=True)
class Started:
    """A run is loaded.

    Attributes:
      epoch: how many are behind it; above 0 if it is resumed.
      history: their rows of `train.HISTORY`, [epoch, metric].
      epochs_s: seconds that training took in each.
    """

    run: Run
    epoch: int
    history: np.ndarray
    epochs_s: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Training starts, or goes on, with compiled programs.

    Attributes:
      seconds: that compiling took.
      is_new: whether they are others than before.
    """

    layout: Layout
    seconds: float
    is_new: bool


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch of one run.

    Attributes:
      scores: the epoch's row of `train.HISTORY`.
    """

    run: Run
    epoch: int
    scores: dict[str, float]
    train_s: float
    examples: int


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run has come to its end and has been scored; it is recorded next.

    Attributes:
      epoch, best_epoch: the last one, and the best by validation.
      diverged: whether a loss was not finite.
      best: the parameters at the best epoch.
      test: outcome of the "best" and the "last" weights.
    """

    run: Run
    epoch: int
    best_epoch: int
    diverged: bool
    best: Any
    test: Mapping[str, TestResult]


class Watcher:
    """Is told how a sweep goes; what one does not care for it leaves out."""

    def starting(self, started: Started) -> None:
        """A run is loaded."""

    def compiling(self, runs: Sequence[Run]) -> None:
        """Programs for these runs are made ready; with none loaded yet, layouts are compiled and timed."""

    def compiled(self, compiled: Compiled) -> None:
        """Training starts, or goes on, with these programs."""

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        """Every run that is training has ended an epoch."""

    def ended(self, ended: Ended) -> None:
        """A run has come to its end and has been scored; it is recorded next."""

    def told(self, what: str) -> None:
        """Something out of the ordinary has happened, in one line."""

    def finished(self, run: Run, record: RunRecord) -> None:
        """A run is recorded, whether it is done or has failed."""

    def close(self) -> None:
        """The sweep is over or broken off."""


class Audience(Watcher):
    """Passes on what happens, to each watcher in order."""

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def starting(self, started: Started) -> None:
        for watcher in self._watchers:
            watcher.starting(started)

    def compiling(self, runs: Sequence[Run]) -> None:
        for watcher in self._watchers:
            watcher.compiling(runs)

    def compiled(self, compiled: Compiled) -> None:
        for watcher in self._watchers:
            watcher.compiled(compiled)

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        for watcher in self._watchers:
            watcher.epochs(epochs)

    def ended(self, ended: Ended) -> None:
        for watcher in self._watchers:
            watcher.ended(ended)

    def told(self, what: str) -> None:
        for watcher in self._watchers:
            watcher.told(what)

    def finished(self, run: Run, record: RunRecord) -> None:
        for watcher in self._watchers:
            watcher.finished(run, record)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
