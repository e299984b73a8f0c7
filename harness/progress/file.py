"""Keeps `progress.json` up to date while an ablation trains, for `harness.progress.live` in another process.

The file is written whole, when a run starts or ends and otherwise about once a second.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from ablations.spec import Run
from harness.records import Folder, RunRecord
from harness.training.watcher import Compiled, Epoch, Started, Watcher

_LEAST_S = 1.0


class ProgressFile(Watcher):
    """States where each run of this launch is.

    Attributes:
      folder: the ablation's; `Folder.progress` describes the file.
      runs: all that this launch is to train.
      complain: told, once, why the file is no longer written. A full disk must not end training here: it will where
        something is to be kept.
    """

    def __init__(self, folder: Folder, runs: Sequence[Run], complain: Callable[[str], None]):
        self._folder, self._complain = folder, complain
        self._runs: dict[str, dict[str, Any]] = {
            run.run_id: {"state": "waiting", "epoch": 0, "epochs": run.config.epochs} for run in runs}
        self._launch: dict[str, Any] = {
            "host": socket.gethostname(), "pid": os.getpid(), "process_started": psutil.Process().create_time(),
            "trained_epochs": 0, "training_s": 0.0, "ended": False}
        self._training_since: float | None = None
        self._epochs_ended = 0.0
        self._written = float("-inf")
        self._broken = False
        self._write()

    def starting(self, started: Started) -> None:
        self._runs[started.run.run_id] |= {"state": "starting", "epoch": started.epoch}
        self._write()

    def compiled(self, compiled: Compiled) -> None:
        self._epochs_ended = time.monotonic()
        self._training_since = self._training_since or self._epochs_ended

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        now = time.monotonic()
        assert self._training_since is not None, "programs are compiled before an epoch ends"
        self._launch["trained_epochs"] += len(epochs)
        self._launch["training_s"] = now - self._training_since
        for epoch in epochs:
            self._runs[epoch.run.run_id] |= {
                "state": "training", "epoch": epoch.epoch, "epoch_s": now - self._epochs_ended,
                "examples_per_s": epoch.examples / epoch.train_s,
                # JSON has no word for what a diverging run computes.
                **{name: score if abs(score) < float("inf") else None for name, score in epoch.scores.items()}}
        self._epochs_ended = now
        if now - self._written >= _LEAST_S:
            self._write()

    def finished(self, run: Run, record: RunRecord) -> None:
        self._runs[run.run_id] |= {"state": record.status, "epoch": record.epochs_trained}
        self._write()

    def close(self) -> None:
        self._launch["ended"] = True
        self._write()

    def _write(self) -> None:
        if self._broken:
            return
        try:
            self._folder.keep_progress({**self._launch, "written": time.time(), "runs": self._runs})
        except OSError as error:
            self._broken = True
            self._complain(f"progress is no longer written for --watch: {error}")
        self._written = time.monotonic()
