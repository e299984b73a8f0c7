"""Who is told how a sweep goes: the terminal, the progress file, TensorBoard if asked for."""

from collections.abc import Hashable, Mapping, Sequence

from rich.console import Console

from ablations.spec import Run
from harness.data.inputs import Inputs
from harness.progress.display import SweepProgress
from harness.progress.file import ProgressFile
from harness.progress.tally import Tally
from harness.training import estimate, processes
from harness.training.executor import Launch
from harness.training.watcher import Audience, Watcher


class Listeners(Audience):
    """Those who are told.

    Attributes:
      file: None in a process that writes nothing.
    """

    def __init__(self, watchers: Sequence[Watcher], tally: Tally, display: SweepProgress, file: ProgressFile | None):
        super().__init__(watchers)
        self.tally, self.display, self.file = tally, display, file


def gather(launch: Launch, runs: Sequence[Run], found: Mapping[Hashable, Inputs], work: Mapping[str, int],
           first: Watcher, console: Console, *, verbose: bool, tensorboard: bool) -> Listeners:
    """Gathers them.

    Args:
      runs: those to be trained.
      found: their inputs; see `executor.execute`.
      work: run_id -> MACs of an epoch; see `estimate.epoch_work`.
      first: is told before all others.
      tensorboard: whether event files are written.
    """
    folder, tally = launch.folder, Tally(runs, work, estimate.epochs(runs, found))
    display = SweepProgress(folder.ablation, launch.question, tally, console, verbose=verbose)
    file = ProgressFile(folder, tally, display.told) if processes.is_first() else None
    watchers: list[Watcher] = [first, tally, display, *([file] if file else [])]
    if tensorboard and file:
        from harness.progress.tensorboard import EventFiles  # what it needs takes seconds to import

        display.told(f"event files: tensorboard --logdir={folder.tensorboard}")
        watchers.append(EventFiles(folder, found, display.told))
    return Listeners(watchers, tally, display, file)
