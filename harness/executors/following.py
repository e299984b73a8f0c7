"""What workers elsewhere do, told to a launch's listeners as if it were done here."""

from collections.abc import Iterable, Mapping

from ablations.spec import Run
from harness import records
from harness.progress import status
from harness.progress.audience import Listeners


class Followed:
    """Reads how far the workers of a launch are, and tells.

    Attributes:
      finished: the records that were told.
      begun: run_ids of those that were seen to have trained an epoch, whatever has become of them.
    """

    def __init__(self, folder: records.Folder, runs: Iterable[Run], listeners: Listeners,
                 retried: Mapping[str, str] | None = None):
        """Follows runs.

        Args:
          retried: run_id -> when its record was finished, of the runs to be trained again: that record is not told.
        """
        self._folder, self._listeners, self._retried = folder, listeners, retried or {}
        self._waiting = {run.run_id: run for run in runs}
        self.finished: list[records.RunRecord] = []
        self.begun: set[str] = set()

    def look(self, ended: Iterable[str] = ()) -> list[tuple[Run, records.RunRecord]]:
        """Reads how far the workers are, and tells of runs that are recorded now.

        Args:
          ended: run_ids of jobs that have ended, whose records may be there.

        Returns:
          these runs, with their records.
        """
        told = []
        under_way = {run_id: run for progress in status.working(self._folder) for run_id, run in progress.runs.items()
                     if run_id in self._waiting and run.state != "waiting"}
        self.begun |= {run_id for run_id, run in under_way.items() if run.epoch}
        recorded = [run_id for run_id, run in under_way.items() if run.state in records.STATUSES]
        self._listeners.tally.adopt({run_id: run for run_id, run in under_way.items()
                                     if run.state not in records.STATUSES})
        for run_id in dict.fromkeys([*recorded, *ended]):
            record = self._folder.record(run_id, anew=True) if run_id in self._waiting else None
            if record is not None and record.finished_at != self._retried.get(run_id):
                run = self._waiting.pop(run_id)
                told.append((run, record))
                self.finished.append(record)
                self._listeners.finished(run, record)
        if self._listeners.file:
            self._listeners.file.refresh()
        return told

    @property
    def waiting(self) -> list[Run]:
        """Lists the runs that are not recorded yet."""
        return list(self._waiting.values())
