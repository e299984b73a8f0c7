"""Who is told how a sweep goes: the terminal, the progress file, TensorBoard if asked for."""

from collections.abc import Hashable, Mapping, Sequence

from rich.console import Console

from ablations.spec import Run
from harness.data.inputs import Inputs
from harness.progress.display import SweepProgress
from harness.progress.file import ProgressFile
from harness.progress.tally import Tally
from harness.training import estimate
from harness.training.executor import Launch
from harness.training.watcher import Audience, Watcher


def gather(launch: Launch, runs: Sequence[Run], found: Mapping[Hashable, Inputs], work: Mapping[str, int],
           first: Watcher, console: Console, *, verbose: bool, tensorboard: bool) -> Audience:
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
    watchers: list[Watcher] = [first, tally, display, ProgressFile(folder, tally, display.told)]
    if tensorboard:
        from harness.progress.tensorboard import EventFiles  # what it needs takes seconds to import

        display.told(f"event files: tensorboard --logdir={folder.tensorboard}")
        watchers.append(EventFiles(folder, found, display.told))
    return Audience(watchers)
