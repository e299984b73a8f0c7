"""Shows a sweep's progress: a live display on a terminal, a line per epoch elsewhere."""

import datetime
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ablations.spec import Run
from harness.records import RunRecord
from harness.training.watcher import Compiled, Epoch, Started, Watcher


class SweepProgress(Watcher):
    """Counts the epochs of a sweep, and tells what each run is at.

    Attributes:
      runs: all that are to be trained in this launch.
    """

    def __init__(self, runs: Sequence[Run], console: Console):
        self._console = console
        self._epochs = {run.run_id: run.config.epochs for run in runs}
        self._runs, self._finished, self._trained_epochs = len(runs), 0, 0
        self._started: float | None = None
        self._live = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"), console=console, disable=not console.is_terminal)
        self._sweep = self._live.add_task("runs", total=self._runs, status="")
        self._tasks: dict[str, TaskID] = {}

        self._live.start()

    def close(self) -> None:
        self._live.stop()

    def starting(self, started: Started) -> None:
        """Tells that a run is loaded, at an epoch above 0 if it is resumed."""
        run, epoch = started.run, started.epoch
        if run.run_id not in self._tasks:
            self._tasks[run.run_id] = self._live.add_task(escape(run.run_id), total=run.config.epochs, status="")
        self._live.update(self._tasks[run.run_id], completed=epoch, status="starting")
        self._epochs[run.run_id] = run.config.epochs - epoch
        if epoch:
            self._console.print(f"{escape(run.run_id)}: resumed after epoch {epoch}", highlight=False)

    def compiled(self, compiled: Compiled) -> None:
        """Tells that training starts, or goes on in another layout."""
        self._started = self._started or time.perf_counter()
        if compiled.is_new and not self._console.is_terminal:
            self.told(f"compiled in {compiled.seconds:.1f} s: {compiled.layout}")

    def told(self, what: str) -> None:
        """Passes a line on."""
        self._console.print(what, markup=False, highlight=False, soft_wrap=True)

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        """Tells an epoch of each run that is training."""
        for epoch in epochs:
            self._epochs[epoch.run.run_id] -= 1
        self._trained_epochs += len(epochs)
        left = self._left()
        self._live.update(self._sweep, status=left)
        for epoch in epochs:
            run = epoch.run
            scores = (f"loss {epoch.scores['train_loss']:.4f}  train {epoch.scores['train_accuracy']:.2%}  "
                      f"validation {epoch.scores['validation_accuracy']:.2%}  "
                      f"{epoch.examples / epoch.train_s:,.0f} examples/s")
            self._live.update(self._tasks[run.run_id], completed=epoch.epoch, status=scores)
            if not self._console.is_terminal:
                self._console.print(
                    f"[{self._finished}/{self._runs} runs] {run.run_id} epoch {epoch.epoch}/{run.config.epochs}: "
                    f"{scores}  {left}", markup=False, highlight=False, soft_wrap=True)

    def finished(self, run: Run, record: RunRecord) -> None:
        """Tells how a run ended."""
        self._finished += 1
        self._epochs[run.run_id] = 0
        self._live.advance(self._sweep)
        if task := self._tasks.pop(run.run_id, None):
            self._live.remove_task(task)
        outcome = f"{record.status}: {record.message}"
        if record.best:
            outcome = (f"test accuracy {record.best.test_accuracy:.2%} "
                       f"(best validation epoch {record.best.epoch} of {record.epochs_trained})")
        self._console.print(f"[{self._finished}/{self._runs} runs] {run.run_id}: {outcome}", markup=False,
                            highlight=False, soft_wrap=True)

    def _left(self) -> str:
        """Estimates the time left from the epochs of this launch so far."""
        if not self._started or not self._trained_epochs:
            return ""
        seconds = (time.perf_counter() - self._started) / self._trained_epochs * sum(self._epochs.values())
        return f"about {datetime.timedelta(seconds=round(seconds))} left"
