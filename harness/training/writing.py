"""Writes records while training goes on, each as soon as there is room for it."""

import collections
import errno
import functools
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TypeVar

import jax

from ablations.spec import Run
from harness import records
from harness.training.stopping import StoppedError
from harness.training.turns import Turns
from harness.training.watcher import Watcher

# Between two tries to write a record.
AGAIN_S = 10.0
_LOOK_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)
Value = TypeVar("Value")


def with_room(call: Callable[[], Value], tell: Callable[[str], None], stop_requested: Callable[[], bool]) -> Value:
    """Makes a call that writes something, as soon as a full disk has room for it.

    Raises:
      StoppedError: if the user asked to stop before.
    """
    is_told = False
    while True:
        try:
            return call()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            if not is_told:
                tell(f"warning: {error.filename}: {(error.strerror or str(error)).lower()}; free some room: training "
                     f"goes on once there is some, which is tried every {AGAIN_S:.0f} s")
            is_told = True
        if not _is_time_again(stop_requested):
            raise StoppedError


def _is_time_again(stop_requested: Callable[[], bool]) -> bool:
    """Waits until it is time to try again; false if the user asks to stop meanwhile."""
    again_at = time.monotonic() + AGAIN_S
    while time.monotonic() < again_at:
        if stop_requested():
            return False
        time.sleep(_LOOK_S)
    return True


class Patient:
    """Turns that wait for room where taking them writes on a full disk."""

    def __init__(self, turns: Turns, tell: Callable[[str], None], stop_requested: Callable[[], bool]):
        self._turns, self._tell, self._stop_requested = turns, tell, stop_requested

    def take(self, runs: Sequence[Run]) -> list[Run]:
        return with_room(functools.partial(self._turns.take, runs), self._tell, self._stop_requested)

    def again(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Run]:
        return self._turns.again(runs, stopped)


class Writing:
    """Writes records one after another while training goes on; what was handed in is written, whatever happens.

    Where one cannot be written, as on a full disk, it is kept in memory and tried again until it can be, or until the
    user asks to stop. Where another launch has recorded the run meanwhile, as one may while this machine sleeps and
    renews no lease, that record counts.
    """

    def __init__(self, watcher: Watcher, finished: list[records.RunRecord],
                 recorded: Callable[[str], records.RunRecord | None], stop_requested: Callable[[], bool]):
        """Writes for one launch.

        Args:
          watcher: told of each run that is recorded.
          finished: given the records written here, in their order.
          recorded: reads the record that a run has.
          stop_requested: asked while a record cannot be written.
        """
        self._watcher, self._finished, self._recorded = watcher, finished, recorded
        self._stop_requested = stop_requested
        self._thread = futures.ThreadPoolExecutor(1, "write")
        self._pending: collections.deque[tuple[Run, futures.Future[tuple[records.RunRecord, bool]]]] = (
            collections.deque())

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.told(wait=True)
        finally:
            self._thread.shutdown()

    def add(self, run: Run, write: Callable[[], records.RunRecord]) -> None:
        """Has a record written after those before it, and tells of what has been written meanwhile."""
        self._pending.append((run, self._thread.submit(self._written, run, write)))
        self.told(wait=jax.default_backend() == "cpu")  # training is what the cores are for there

    def told(self, *, wait: bool) -> None:
        """Tells of written records in their order; raises what kept one from being written."""
        while self._pending and (wait or self._pending[0][1].done()):
            run, written = self._pending.popleft()
            record, is_own = written.result()
            if not is_own:
                self._watcher.told(f"{run.run_id}: another launch has recorded it meanwhile, and that record stays")
            else:
                self._finished.append(record)
                if count := record.non_finite_gradients:
                    self._watcher.told(f"{run.run_id}: {count} steps had a gradient that was not finite")
            self._watcher.finished(run, record)

    def _written(self, run: Run, write: Callable[[], records.RunRecord]) -> tuple[records.RunRecord, bool]:
        """Writes a record; gives the one that counts, and whether it is this launch's."""
        failed = False
        while True:
            try:
                return write(), True
            except records.RecordError:
                if (other := self._recorded(run.run_id)) is None:
                    raise
                return other, False
            except OSError as error:
                if not failed:
                    self._watcher.told(
                        f"warning: {error.filename or run.run_id}: {(error.strerror or str(error)).lower()}; free some "
                        f"room or mend who may write there: {run.run_id} is kept in memory, and its record is tried "
                        f"again every {AGAIN_S:.0f} s until it is written or you stop")
                failed = True
            if not _is_time_again(self._stop_requested):
                self._watcher.told(f"warning: {run.run_id} has no record; it is trained again from its last "
                                   "checkpoint, if it has one")
                raise StoppedError
