"""Shows a launch: live on a terminal, elsewhere a line for each run that ends."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ablations.spec import Run
from harness.progress import screen
from harness.progress.status import launched
from harness.progress.tally import Tally
from harness.records import RunRecord
from harness.records.narrow import distinct, wrapped
from harness.training.watcher import Compiled, Epoch, Started, Watcher

_EVERY_S = 0.25
# Cells that how a run ended takes, with its number, beside its name.
_OUTCOME, _LEAST_NAME = 62, 12


class SweepProgress(Watcher):
    """Shows what a tally has counted, and tells how each run has ended."""

    def __init__(self, ablation: str, question: str, tally: Tally, console: Console, *, verbose: bool = False,
                 clock: Callable[[], float] = time.time):
        """Begins to show a launch.

        Args:
          tally: told before this is.
          verbose: whether each epoch is told, and what was compiled.
          clock: tells the seconds since 1970.
        """
        self._ablation, self._question, self._tally = ablation, question, tally
        self._console, self._verbose, self._clock = console, verbose, clock
        ids = list(tally.progress.runs)
        # On a terminal how a run ended takes a line; in a log its name can be searched for.
        names = distinct(ids, max(_LEAST_NAME, console.width - _OUTCOME))[1] if console.is_terminal else ids
        self._names = dict(zip(ids, names, strict=True))
        self._finished = 0
        self._live = Live(console=console, get_renderable=self._drawn, auto_refresh=False, transient=True)
        # rich's own thread may draw between a line's position and its writing, and then the line is drawn over.
        self._drawing, self._closed = threading.RLock(), threading.Event()
        self._clockwork = threading.Thread(target=self._keep_drawing, daemon=True)
        if console.is_terminal:
            self._live.start(refresh=True)
            self._clockwork.start()

    def close(self) -> None:
        self._closed.set()
        if self._clockwork.is_alive():
            self._clockwork.join()
        self._live.stop()

    def starting(self, started: Started) -> None:
        """Tells that a run is resumed."""
        if started.epoch:
            self.told(f"{self._names[started.run.run_id]}: resumed after epoch {started.epoch}")

    def compiled(self, compiled: Compiled) -> None:
        """Tells what programs training goes on with."""
        if compiled.is_new and self._verbose:
            self.told(f"compiled in {compiled.seconds:.1f} s: {compiled.layout}")

    def told(self, what: str) -> None:
        """Passes a line on: broken between words on a terminal, where the live display must know how many lines."""
        lines = wrapped(what, self._console.width) if self._console.is_terminal else [what]
        # Where a log lies on a disk that is full, or a terminal has gone, training goes on without a word.
        with self._drawing, contextlib.suppress(OSError):
            self._console.print(Text("\n".join(lines)), soft_wrap=True)

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        """Tells an epoch of each run that is training."""
        for epoch in epochs if self._verbose else ():
            planned = self._tally.progress.runs[epoch.run.run_id].epochs
            self.told(f"{self._names[epoch.run.run_id]}: epoch {epoch.epoch}/{planned}, "
                      f"loss {epoch.scores['train_loss']:.4f}, train {100 * epoch.scores['train_accuracy']:.2f} %, "
                      f"validation {100 * epoch.scores['validation_accuracy']:.2f} %, "
                      f"{epoch.examples / epoch.train_s:,.0f} examples/s")

    def finished(self, run: Run, record: RunRecord) -> None:
        """Tells how a run ended."""
        self._finished += 1
        outcome = f"{record.status}: {record.message}"
        if record.best:
            outcome = (f"test {100 * record.best.test_accuracy:.2f} %, val. "
                       f"{100 * record.best.validation_accuracy:.2f} % "
                       f"(epoch {record.best.epoch} of {record.epochs_trained})")
        seconds = f", {record.timing.train_s:,.1f} s" if record.timing else ""
        total = len(self._names)
        self.told(f"[{self._finished:>{len(str(total))}}/{total}] {self._names[run.run_id]}: {outcome}{seconds}")

    def _keep_drawing(self) -> None:
        """Draws again and again, so that seconds go on while a program compiles."""
        while not self._closed.wait(_EVERY_S):
            with self._drawing:
                self._live.refresh()

    def _drawn(self) -> Group:
        """Draws the launch as it stands."""
        sweep = launched(self._ablation, self._question, self._tally.progress, self._clock())
        return screen.draw(sweep, self._console.width, self._console.height - 1 - screen.AROUND, active_alone=True)
