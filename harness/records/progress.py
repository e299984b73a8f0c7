"""How far a launch is, as `progress.json` states it while it trains."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from harness.records.reading import FormError
from harness.records.record import STATUSES

_STATES = ("waiting", "starting", "compiling", "training", *STATUSES)


@dataclasses.dataclass(frozen=True)
class RunProgress:
    """Where a run of a launch is.

    Attributes:
      state: "waiting", "starting" once it is loaded, "compiling", "training", and then its record's status.
      epoch_s: wall time of the latest epoch, validation included.
      examples_per_s: of training in the latest epoch.
      train_loss, train_accuracy, validation_loss, validation_accuracy: of the latest epoch; None before the first, and
        where it is no number.
    """

    state: str
    epoch: int
    epochs: int
    epoch_s: float = 0.0
    examples_per_s: float = 0.0
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a launch is.

    Attributes:
      host, pid, process_started: the process; see `files.started`.
      written: when this was stated, in seconds since 1970.
      runs: run_id -> where it is, of each run that the launch is to train.
      ended: whether the launch is over.
      compiling_since: in seconds since 1970; None while nothing is being compiled.
      left_s: estimated seconds until all runs are trained; None before the first epoch.
      namespace: of the process; see `files.here`.
    """

    host: str
    pid: int
    process_started: float
    written: float
    runs: dict[str, RunProgress]
    ended: bool = False
    compiling_since: float | None = None
    left_s: float | None = None
    namespace: str = ""


def checked(progress: Progress) -> Progress:
    """Checks what types cannot say.

    Raises:
      FormError: naming the field.
    """
    if not 0 < progress.pid < 2**31:
        raise FormError(f"has pid = {progress.pid}, which is no process")
    for name, value in _numbers(progress):
        if not math.isfinite(value) or value < 0:
            raise FormError(f"has {name} = {value}, which is no number of at least 0")
    for run_id, run in progress.runs.items():
        if run.state not in _STATES:
            raise FormError(f'has state "{run.state}" of {run_id}; there are {", ".join(_STATES)}')
    return progress


def _numbers(progress: Progress) -> Iterator[tuple[str, float]]:
    def within(part: Any, of: str) -> Iterator[tuple[str, float]]:
        return ((f"{field.name}{of}", value) for field in dataclasses.fields(part)
                if isinstance(value := getattr(part, field.name), int | float))

    yield from within(progress, "")
    for run_id, run in progress.runs.items():
        yield from within(run, f" of {run_id}")
