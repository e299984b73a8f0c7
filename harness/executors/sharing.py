"""Keeps launches that share a results folder off each other's runs."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ablations.spec import Run
from harness import records
from harness.records import leases
from harness.records.leases import Leases
from harness.training import stopping
from harness.training.watcher import Watcher


class Shared(Watcher):
    """Takes a lease on each run before it is trained, and gives it back once it is recorded.

    These are `training.turns.Turns`, and a watcher that is told after the others.
    """

    def __init__(self, folder: records.Folder, held: Leases, retried: Mapping[str, str], watcher: Watcher):
        """Decides for one launch.

        Args:
          held: entered by the caller.
          retried: run_id -> when its record was finished, of the runs to be trained again.
          watcher: told of runs that another launch has recorded, and of those that one trains.
        """
        self._folder, self._leases, self._retried, self._watcher = folder, held, retried, watcher
        self._passed_over: dict[str, Run] = {}  # which another launch trained when it was their turn

    def take(self, runs: Sequence[Run]) -> list[Run]:
        """Gives those runs that no other process trains and that are not recorded."""
        taken, mine = set(self._leases.take([run.run_id for run in runs])), []
        self._tell_of_others()
        for run in runs:
            if run.run_id not in taken:
                self._passed_over[run.run_id] = run
                continue
            self._passed_over.pop(run.run_id, None)
            # Which another may have written before it gave the lease back.
            record = self._folder.record(run.run_id, anew=True)
            if record is None:
                mine.append(run)
            elif record.finished_at == self._retried.get(run.run_id):
                self._folder.set_aside(run.run_id)
                mine.append(run)
            else:
                self._leases.release(run.run_id)
                self._watcher.finished(run, record)
        return mine

    def again(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Run]:
        """Gives those runs whose owner has ended; waits as long as that takes to tell.

        Raises:
          stopping.StoppedError: if the user asks to stop meanwhile.
        """
        left = [run for run in runs if not self._is_recorded(run)]
        self._tell_of_others()
        known = self._leases.until_known([run.run_id for run in left], stopped)
        if stopped():
            raise stopping.StoppedError
        return [run for run in left if run.run_id not in known and not self._is_recorded(run)]

    def finished(self, run: Run, record: records.RunRecord) -> None:
        self._leases.release(run.run_id)

    def _tell_of_others(self) -> None:
        """Tells of the runs that were passed over and that another launch has recorded since."""
        for run_id in self._passed_over.keys() & set(self._folder.recorded() if self._passed_over else ()):
            if (record := self._recorded(run_id)) is not None:
                self._watcher.finished(self._passed_over.pop(run_id), record)

    def _is_recorded(self, run: Run) -> bool:
        return self._recorded(run.run_id) is not None

    def _recorded(self, run_id: str) -> records.RunRecord | None:
        record = self._folder.record(run_id, anew=True)
        return None if record is None or record.finished_at == self._retried.get(run_id) else record


def retried(folder: records.Folder, runs: Sequence[Run], statuses: Collection[str]) -> dict[str, str]:
    """Says which records are to be set aside: run_id -> when it was finished; one written later is another's.

    Args:
      statuses: of the records; another launch may have written one of another status meanwhile.
    """
    known = {run.run_id: folder.record(run.run_id) for run in runs} if statuses else {}
    return {run_id: record.finished_at for run_id, record in known.items() if record and record.status in statuses}


def elsewhere(folder: records.Folder, runs: Sequence[Run]) -> str:
    """Says which of these runs other launches train, and how many are left; empty if none are."""
    owners = leases.held_by_others(folder.in_training, [run.run_id for run in runs])
    return leases.told(owners, len(runs) - len(owners)) if owners else ""
