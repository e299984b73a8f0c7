"""Who is told how a sweep goes: the display, the progress file, TensorBoard's event files.

`harness.executor` tells an `Audience`, which passes everything on.
"""

from collections.abc import Sequence

from ablations.spec import Run
from harness.fit import Epoch, Member
from harness.programs import Programs
from harness.records import RunRecord


class Watcher:
    """Is told how a sweep goes, as a `harness.fit.Observer` and more; what one does not care for it leaves out."""

    def starting(self, member: Member) -> None:
        """A run is loaded, at an epoch above 0 if it is resumed."""

    def compiled(self, programs: Programs) -> None:
        """Training starts, or goes on, with these programs."""

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        """Every run that is training has ended an epoch."""

    def ended(self, member: Member) -> None:
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

    def starting(self, member: Member) -> None:
        for watcher in self._watchers:
            watcher.starting(member)

    def compiled(self, programs: Programs) -> None:
        for watcher in self._watchers:
            watcher.compiled(programs)

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        for watcher in self._watchers:
            watcher.epochs(epochs)

    def ended(self, member: Member) -> None:
        for watcher in self._watchers:
            watcher.ended(member)

    def told(self, what: str) -> None:
        for watcher in self._watchers:
            watcher.told(what)

    def finished(self, run: Run, record: RunRecord) -> None:
        for watcher in self._watchers:
            watcher.finished(run, record)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
