"""Trains a launch's cohorts in this process, one after another."""

from collections.abc import Hashable, Mapping, Sequence

from ablations.spec import Run
from harness import records
from harness.data.inputs import Inputs
from harness.executors.sharing import Shared
from harness.records.leases import Leases
from harness.training import executor, processes
from harness.training.processes import InStep
from harness.training.watcher import Audience, Watcher


def train(launch: executor.Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs],
          retried: Mapping[str, str], watcher: Watcher) -> list[records.RunRecord]:
    """Trains those of the runs that no other launch trains; see `executor.execute`."""
    if not processes.is_first():
        return executor.execute(launch, absent, found, watcher, InStep(None))
    with Leases(launch.folder.in_training) as held:
        shared = Shared(launch.folder, held, retried, watcher)
        return executor.execute(launch, absent, found, Audience([watcher, shared]),
                                InStep(shared) if processes.several() else shared)
