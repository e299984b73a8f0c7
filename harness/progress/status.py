"""How a sweep stands, read from its files alone: plan, records, progress file."""

import dataclasses
import datetime
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from harness.records import STATUSES, Folder, RunRecord

STALE_S = 300.0
# The order of the rows: what happens now, what went wrong, what has just ended, what is to come.
STATES = ("training", "starting", "broken off", "error", "oom", "diverged", "done", "waiting", "missing")


@dataclasses.dataclass(frozen=True)
class RunState:
    """One planned run.

    Attributes:
      state: one of `STATES`: "missing" has no record and is in no launch; "broken off" was in training when its process
        ended, and goes on from its last checkpoint when the command is given again.
      scores: of the latest epoch, and "test_accuracy" of a run that is done.
      left_s: estimated seconds to its end; None if nothing tells.
      ended_at: when it was recorded; empty before.
    """

    run_id: str
    state: str
    epoch: int = 0
    epochs: int | None = None
    scores: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    left_s: float | None = None
    ended_at: str = ""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One ablation at one moment.

    Attributes:
      runs: all that are planned, in the plan's order.
      news: what to know of the process that trains: empty if it is alive and well.
      examples_per_s: of all runs in training together.
      left_s: estimated seconds until this launch has trained all its runs; None if nothing tells.
    """

    ablation: str
    question: str
    runs: tuple[RunState, ...]
    news: str
    examples_per_s: float
    left_s: float | None

    @property
    def recorded(self) -> int:
        """Counts the runs that have a record."""
        return sum(run.state in STATUSES for run in self.runs)


class Reader:
    """Reads one ablation again and again; a record never changes, so it is read once."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._recorded: dict[str, RunRecord] = {}

    def read(self, now: float) -> Sweep:
        """Reads how the sweep stands.

        Args:
          now: seconds since 1970.

        Raises:
          harness.records.RecordError: if a file cannot be read, naming it.
        """
        plan = self._folder.plan()
        progress = self._folder.progress()
        planned = [run.run_id for run in plan.runs] if plan else []
        for run_id in planned:
            if run_id not in self._recorded and (record := self._folder.record(run_id)) is not None:
                self._recorded[run_id] = record
        news = "no process has trained here yet" if progress is None else _news(progress, now)
        alive = progress is not None and not _over(progress)
        launched = progress["runs"] if progress else {}
        waited_s = now - progress["written"] if progress and alive else 0.0
        runs = tuple(self._recorded_run(run_id) if run_id in self._recorded
                     else _unrecorded(run_id, launched.get(run_id), alive, waited_s) for run_id in planned)
        training = [launched[run.run_id] for run in runs if run.state == "training"]
        return Sweep(
            self._folder.ablation, plan.question if plan else "", runs, news,
            sum(run["examples_per_s"] for run in training),
            _left(progress, waited_s) if progress and alive else None)

    def _recorded_run(self, run_id: str) -> RunState:
        record = self._recorded[run_id]
        return RunState(run_id, record.status, record.epochs_trained, record.config.get("epochs"),
                        dataclasses.asdict(record.best) if record.best else {}, None, record.finished_at)


def latest(folders: Sequence[Folder]) -> Folder:
    """Finds the folder whose progress was stated last; the last one where there is no progress at all."""
    return max(folders, key=lambda folder: (folder.progress() or {}).get("written", 0.0))


def _unrecorded(run_id: str, launched: Mapping[str, Any] | None, alive: bool, waited_s: float) -> RunState:
    """Describes a run from what the latest launch says of it, if it trains it at all."""
    if launched is None or launched["state"] in STATUSES:  # or it had a record, which somebody has moved away
        return RunState(run_id, "missing")
    state, epoch, epochs = launched["state"], launched["epoch"], launched["epochs"]
    if not alive:
        return RunState(run_id, "missing" if state == "waiting" else "broken off", epoch, epochs, launched)
    left_s = max(0.0, launched["epoch_s"] * (epochs - epoch) - waited_s) if state == "training" else None
    return RunState(run_id, state, epoch, epochs, launched, left_s)


def _over(progress: Mapping[str, Any]) -> bool:
    """Whether the process that stated its progress is known to have ended; of another machine's, nothing is known."""
    if progress.get("ended"):
        return True
    if progress["host"] != socket.gethostname():
        return False
    try:
        # Numbers of processes come again; their starts do not.
        return abs(psutil.Process(progress["pid"]).create_time() - progress["process_started"]) > 1
    except psutil.NoSuchProcess:
        return True


def _news(progress: Mapping[str, Any], now: float) -> str:
    waited = now - progress["written"]
    if _over(progress):
        return f"the process that trained here ended {duration(waited)} ago; its command goes on from there"
    return f"no news for {duration(waited)} from process {progress['pid']}" if waited > STALE_S else ""


def _left(progress: Mapping[str, Any], waited_s: float) -> float | None:
    """Estimates the time left from the epochs of the launch so far."""
    if not progress.get("trained_epochs"):
        return None
    epochs = sum(run["epochs"] - run["epoch"] for run in progress["runs"].values() if run["state"] not in STATUSES)
    return max(0.0, progress["training_s"] / progress["trained_epochs"] * epochs - waited_s)


def duration(seconds: float | None) -> str:
    """Writes seconds as hours, minutes and seconds; nothing for what is not known."""
    return "" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))
