"""Counts how far this launch is: the one state that the terminal shows and `progress.json` keeps."""

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ablations.spec import Run
from harness.progress.left import Pace, estimate
from harness.records import STATUSES, Progress, RunProgress, RunRecord
from harness.records.files import here, started
from harness.training import cohort
from harness.training.watcher import Compiled, Epoch, Started, Watcher


class Tally(Watcher):
    """States where each run of this launch is; told of everything before those who read it.

    Attributes:
      progress: the state, replaced as a whole, so that another thread may read it.
    """

    def __init__(self, runs: Sequence[Run], work: Mapping[str, int], epochs: Mapping[str, int]):
        """Counts runs that are all waiting.

        Args:
          runs: all that are to be trained in this launch.
          work: run_id -> work of an epoch, as `left.Pace` has it.
          epochs: run_id -> how many it is to train.
        """
        together = cohort.partition(runs)
        self._cohorts = {run.run_id: number for number, members in enumerate(together) for run in members}
        self._paces = [Pace(work[members[0].run_id]) for members in together]
        self._since = time.monotonic()
        host, namespace = here()
        self.progress = Progress(
            host, os.getpid(), started(os.getpid()), time.time(),
            {run.run_id: RunProgress("waiting", 0, epochs[run.run_id]) for run in runs}, namespace=namespace)
        self._all_work = self._work_left(self.progress.runs)
        # Of workers elsewhere: when the first run was seen under way, and how many epochs each had when it first was.
        self._began: float | None = None
        self._had: dict[str, int] = {}

    def starting(self, started: Started) -> None:
        self._put({started.run.run_id: {"state": "starting", "epoch": started.epoch}})

    def compiling(self, runs: Sequence[Run]) -> None:
        self._since = time.monotonic()
        self._put({run.run_id: {"state": "compiling"} for run in runs
                   if self.progress.runs[run.run_id].state == "starting"}, compiling_since=time.time())

    def compiled(self, compiled: Compiled) -> None:
        now = time.monotonic()
        compiling = [run_id for run_id, run in self.progress.runs.items() if run.state == "compiling"]
        for number in {self._cohorts[run_id] for run_id in compiling}:
            pace = self._paces[number]
            self._paces[number] = dataclasses.replace(pace, compile_s=(pace.compile_s or 0.0) + now - self._since)
        self._since = now
        self._put({run_id: {"state": "training"} for run_id in compiling}, compiling_since=None)

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        now = time.monotonic()
        took, self._since = now - self._since, now
        number = self._cohorts[epochs[0].run.run_id]
        pace = self._paces[number]
        self._paces[number] = dataclasses.replace(
            pace, epochs=pace.epochs + len(epochs), seconds=pace.seconds + took)
        self._put({epoch.run.run_id: {
            "state": "training", "epoch": epoch.epoch, "epoch_s": took,
            "examples_per_s": epoch.examples / epoch.train_s,
            # JSON has no word for what a diverging run computes.
            **{name: score if abs(score) < float("inf") else None for name, score in epoch.scores.items()}}
            for epoch in epochs})

    def finished(self, run: Run, record: RunRecord) -> None:
        self._since = time.monotonic()
        self._put({run.run_id: {"state": record.status, "epoch": record.epochs_trained}}, compiling_since=None)

    def close(self) -> None:
        self._put({}, ended=True, compiling_since=None)

    def adopt(self, runs: Mapping[str, RunProgress]) -> None:
        """States where runs are that workers elsewhere train: all of those that have begun."""
        changed = {run_id: dataclasses.replace(run, state="waiting") for run_id, run in self.progress.runs.items()
                   if run.state not in ("waiting", *STATUSES)} | dict(runs)
        now = self.progress.runs | changed
        if runs and self._began is None:  # before, they waited for their turn
            self._began = time.monotonic()
        self._had = {run_id: run.epoch for run_id, run in runs.items()} | self._had
        left = self._work_left(now)
        done = self._all_work - left - sum(epoch * self._work(run_id) for run_id, epoch in self._had.items())
        left_s = (time.monotonic() - self._began) * left / done if self._began is not None and done > 0 else None
        self.progress = dataclasses.replace(self.progress, written=time.time(), runs=now, left_s=left_s)

    def _work_left(self, runs: Mapping[str, RunProgress]) -> float:
        return sum((run.epochs - run.epoch) * self._work(run_id) for run_id, run in runs.items()
                   if run.state not in STATUSES)

    def _work(self, run_id: str) -> float:
        return self._paces[self._cohorts[run_id]].work

    def _put(self, runs: Mapping[str, Mapping[str, Any]], **changes: Any) -> None:
        now = self.progress
        changed = now.runs | {run_id: dataclasses.replace(now.runs[run_id], **parts) for run_id, parts in runs.items()}
        self.progress = dataclasses.replace(now, written=time.time(), runs=changed, left_s=self._left(changed),
                                            **changes)

    def _left(self, runs: Mapping[str, RunProgress]) -> float | None:
        left = [0] * len(self._paces)
        for run_id, run in runs.items():
            if run.state not in STATUSES:
                left[self._cohorts[run_id]] += run.epochs - run.epoch
        return estimate([dataclasses.replace(pace, epochs_left=epochs)
                         for pace, epochs in zip(self._paces, left, strict=True)])
