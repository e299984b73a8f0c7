"""A run in training: what is known of it between two epochs."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from ablations.spec import Run
from harness.training import checkpoint, train
from harness.training.programs import Programs
from harness.training.watcher import Ended, Started


@dataclasses.dataclass(eq=False)
class Member:
    """A run in training.

    Attributes:
      checkpoints: the folder of its checkpoints.
      origin: what a checkpoint must agree with to be resumed: configuration, data, machine.
      traced: values of its config that the program takes as inputs.
      state: as of the last time it was copied from the devices; at the end, the final one.
      copied: the epoch that all of `state` is of; the weights are copied less often than what tells of progress.
      epochs_s: seconds that each epoch's training took, over all launches.
      validate_s: seconds in validation, over all launches.
      launches: processes that worked on it, this one included.
      layouts: those it trained in, in order, over all launches.
      at_once: the most runs that trained side by side with it, itself included, over all launches.
      programs: those it was last trained with.
      test: outcome of the "best" and the "last" weights.
    """

    run: Run
    checkpoints: pathlib.Path
    origin: dict[str, Any]
    program: train.Program
    state: train.TrainState
    traced: Any
    copied: int = 0
    epochs_s: list[float] = dataclasses.field(default_factory=list)
    validate_s: float = 0.0
    launches: int = 1
    layouts: list[str] = dataclasses.field(default_factory=list)
    at_once: int = 1
    programs: Programs | None = None
    test: dict[str, train.TestResult] | None = None

    def save(self) -> None:
        """Keeps the state as the run's checkpoint."""
        progress = {"epochs_s": self.epochs_s, "validate_s": self.validate_s, "launches": self.launches,
                    "layouts": self.layouts, "at_once": self.at_once, "origin": self.origin}
        checkpoint.save(self.checkpoints, int(self.state.epoch), self.state, progress)

    def as_started(self) -> Started:
        """Says where the run begins in this launch."""
        epoch = int(self.state.epoch)
        return Started(self.run, epoch, np.asarray(self.state.history)[:epoch], tuple(self.epochs_s))

    def as_ended(self) -> Ended:
        """Says what has come of the run."""
        state = self.state
        assert self.test is not None, "a run that has ended is scored"
        return Ended(self.run, int(state.epoch), int(state.best_epoch), bool(state.diverged), state.best.params,
                     self.test)

    @property
    def active(self) -> bool:
        """Whether there are epochs left to train."""
        return bool(train.is_active(self.state))
