"""How a sweep stands: in a launch from its tally, elsewhere from files alone, plan, records and progress."""

import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.records import STATUSES, Folder, Plan, Progress, RecordError, RunProgress, RunRecord
from harness.records.files import lives

_Read = TypeVar("_Read")

STALE_S = 300.0
DAMAGED = "damaged"
# The order of the rows: what happens now, what went wrong, what has just ended, what is to come.
STATES = ("training", "compiling", "starting", "broken off", DAMAGED, "error", "oom", "diverged", "done", "waiting",
          "missing")
ACTIVE = ("training", "compiling", "starting")
_LONGEST_S = 100 * 365 * 86_400.0


@dataclasses.dataclass(frozen=True)
class RunState:
    """One planned run.

    Attributes:
      state: one of `STATES`: "missing" has no record and is in no launch; "broken off" was in training when its process
        ended, and goes on from its last checkpoint when the command is given again; "damaged" has a record that cannot
        be read.
      train_loss, validation_loss, validation_accuracy: of the latest epoch, and of a run that is done of its best one.
      test_accuracy: of a run that is done.
      left_s: estimated seconds to its end; None if nothing tells.
      ended_at: when it was recorded; empty before.
    """

    run_id: str
    state: str
    epoch: int = 0
    epochs: int | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    left_s: float | None = None
    ended_at: str = ""

    @property
    def part(self) -> float:
        """Tells how much of it is behind it, from 0 to 1."""
        return 1.0 if self.state in STATUSES else min(1.0, self.epoch / self.epochs) if self.epochs else 0.0


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One ablation at one moment.

    Attributes:
      runs: all that are planned, in the plan's order.
      news: what to know of the process that trains: empty if it is alive and well.
      examples_per_s: of all runs in training together.
      left_s: estimated seconds until this launch has trained all its runs; None if nothing tells.
      compiling_s: for how long programs have been compiling; None if none are.
      damaged: a line for each file that cannot be read.
      going_on: whether a process lives that has trained here, as far as is known: between two stages nothing trains.
    """

    ablation: str
    question: str
    runs: tuple[RunState, ...]
    news: str
    examples_per_s: float
    left_s: float | None
    compiling_s: float | None = None
    damaged: tuple[str, ...] = ()
    going_on: bool = False

    @property
    def recorded(self) -> int:
        """Counts the runs that have a record, one that cannot be read included."""
        return sum(run.state in (*STATUSES, DAMAGED) for run in self.runs)


class Reader:
    """Reads one ablation again and again; a record never changes, so it is read once, until it is set aside."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._recorded: dict[str, RunState] = {}

    def read(self, now: float) -> Sweep:
        """Reads how the sweep stands.

        Args:
          now: seconds since 1970.

        What is damaged is named, and is as if it were not there.
        """
        damaged: list[str] = []
        plan = _whole(self._folder.plan, damaged)
        progress = _whole(functools.partial(gathered, self._folder), damaged)
        self._forget_retried(progress)
        recorded = self._read_records(plan, damaged)
        planned = [run.run_id for run in plan.current().runs] if plan else [*recorded, *(
            run_id for run_id in (progress.runs if progress else ()) if run_id not in recorded)]
        question = plan.question if plan else ""
        if progress is None:
            runs = tuple(recorded.get(run_id, RunState(run_id, "missing")) for run_id in planned)
            news = "" if recorded else "no process has trained here yet"
            return Sweep(self._folder.ablation, question, runs, news, 0.0, None,
                         damaged=tuple(damaged))
        over = is_over(progress)
        runs = tuple(recorded.get(run_id) or _unrecorded(run_id, progress, now, alive=not over) for run_id in planned)
        return dataclasses.replace(launched(self._folder.ablation, question, progress, now, runs, alive=not over),
                                   news=_news(progress, now, over=over), damaged=tuple(damaged),
                                   going_on=_lives(progress) or is_training(progress, now))

    def _forget_retried(self, progress: Progress | None) -> None:
        """Forgets the records that are there no more, of runs that a launch trains again."""
        again = [run_id for run_id, run in (progress.runs.items() if progress else ())
                 if run_id in self._recorded and run.state not in STATUSES]
        there = self._folder.recorded() if again else ()
        for run_id in set(again).difference(there):
            del self._recorded[run_id]

    def _read_records(self, plan: Plan | None, damaged: list[str]) -> dict[str, RunState]:
        """Reads the records that are new, of the runs that are known of, else of all."""
        known = [run.run_id for run in plan.runs] if plan else self._folder.recorded()
        ruined = {}
        for run_id in known:
            if run_id in self._recorded:
                continue
            before = len(damaged)
            if (record := _whole(functools.partial(self._folder.record, run_id), damaged)) is not None:
                self._recorded[run_id] = _recorded(run_id, record)
            elif len(damaged) > before:
                ruined[run_id] = RunState(run_id, DAMAGED)
        return self._recorded | ruined


def gathered(folder: Folder) -> Progress | None:
    """Reads how far all processes together are that train in a folder: launches, and workers of a cluster.

    Raises:
      harness.records.RecordError: if a file cannot be read, naming it.
    """
    launch, beside = folder.progress(), working(folder)
    if not beside:
        return launch
    runs = dict(launch.runs) if launch else {}
    if launch is None or not is_training(launch, time.time()):  # what it trained waits, if nobody else trains it
        runs = {run_id: run if run.state in STATUSES else dataclasses.replace(run, state="waiting")
                for run_id, run in runs.items()}
    else:
        beside = [launch, *beside]
    beside.sort(key=lambda progress: progress.written)
    for progress in beside:
        runs |= {run_id: run for run_id, run in progress.runs.items() if run.state != "waiting" or run_id not in runs}
    left = [progress.left_s for progress in beside if progress.left_s is not None]
    compiling = [progress.compiling_since for progress in beside if progress.compiling_since is not None]
    return dataclasses.replace(beside[-1], runs=runs, left_s=max(left, default=None),
                               compiling_since=min(compiling, default=None))


def working(folder: Folder) -> list[Progress]:
    """Reads what processes state that train beside the latest launch; those that have ended are left out."""
    found = []
    for name in folder.beside():
        with contextlib.suppress(RecordError):  # it has just been removed
            if (progress := folder.progress(name)) is not None and is_training(progress, time.time()):
                found.append(progress)
    return found


def launched(ablation: str, question: str, progress: Progress, now: float, runs: Sequence[RunState] | None = None, *,
             alive: bool = True) -> Sweep:
    """Says how a launch stands.

    Args:
      now: seconds since 1970.
      runs: all that are planned; None means those of the launch.
      alive: whether it still trains.
    """
    if runs is None:
        runs = [_under_way(run_id, run, now - progress.written) for run_id, run in progress.runs.items()]
    training = [progress.runs[run.run_id] for run in runs if run.state == "training"]
    waited_s = max(0.0, now - progress.written)
    left_s, since = (progress.left_s, progress.compiling_since) if alive else (None, None)
    return Sweep(ablation, question, tuple(runs), "", sum(run.examples_per_s for run in training),
                 None if left_s is None else max(0.0, left_s - waited_s),
                 None if since is None else max(0.0, now - since))


def latest(folders: Sequence[Folder]) -> Folder:
    """Finds the folder whose progress was stated last; the last one where there is no progress at all."""
    def written(folder: Folder) -> float:
        progress = _whole(functools.partial(gathered, folder), [])
        return progress.written if progress else 0.0

    return max(folders, key=written)


def _whole(read: Callable[[], _Read], damaged: list[str]) -> _Read | None:
    """Reads a file; where it is damaged, adds what is to be said of it."""
    try:
        return read()
    except RecordError as error:
        damaged.append(str(error))
        return None


def _recorded(run_id: str, record: RunRecord) -> RunState:
    best = record.best
    epochs = None if record.config.get("steps") else record.config.get("epochs")
    return RunState(run_id, record.status, record.epochs_trained, epochs,
                    best.train_loss if best else None, best.validation_loss if best else None,
                    best.validation_accuracy if best else None, best.test_accuracy if best else None,
                    ended_at=record.finished_at)


def _unrecorded(run_id: str, progress: Progress, now: float, *, alive: bool) -> RunState:
    """Describes a run from what the latest launch says of it, if it trains it at all."""
    run = progress.runs.get(run_id)
    if run is None or run.state in STATUSES:  # or it had a record, which somebody has moved away
        return RunState(run_id, "missing")
    known = _under_way(run_id, run, now - progress.written)
    if alive:
        return known
    return dataclasses.replace(known, state="missing" if run.state == "waiting" else "broken off", left_s=None)


def _under_way(run_id: str, run: RunProgress, waited_s: float) -> RunState:
    left_s = max(0.0, run.epoch_s * (run.epochs - run.epoch) - max(0.0, waited_s)) if run.epoch_s else None
    return RunState(run_id, run.state, run.epoch, run.epochs, run.train_loss, run.validation_loss,
                    run.validation_accuracy, left_s=left_s if run.state == "training" else None)


def is_over(progress: Progress) -> bool:
    """Whether the process that stated its progress is known to have ended; of another machine's, nothing is known."""
    return progress.ended or _lives(progress) is False


def is_training(progress: Progress, now: float) -> bool:
    """Whether a process trains, as far as is known: silence, as of a long epoch, tells only of one elsewhere."""
    alive = _lives(progress)
    return not progress.ended and (now - progress.written < STALE_S if alive is None else alive)


def _lives(progress: Progress) -> bool | None:
    return lives(progress.pid, progress.process_started, progress.host, progress.namespace)


def _news(progress: Progress, now: float, *, over: bool) -> str:
    waited = now - progress.written
    if over:
        return f"the process that trained here ended {duration(waited)} ago; its command goes on from there"
    return f"no news for {duration(waited)} from process {progress.pid}" if waited > STALE_S else ""


def duration(seconds: float | None) -> str:
    """Writes seconds as hours, minutes and seconds; nothing for what is not known.

    Below 0, as where the clock of another machine is ahead, counts as 0.
    """
    return "" if seconds is None else str(datetime.timedelta(seconds=round(min(max(0.0, seconds), _LONGEST_S))))
