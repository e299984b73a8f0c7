"""Trains a piece of a launch in a process of its own, on whichever machine that is."""

import contextlib
import dataclasses
import functools
import os
import pickle
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ablations import lookup, own_code
from ablations.spec import Run
from harness.data import inputs
from harness.executors.sharing import Shared
from harness.progress.file import ProgressFile
from harness.progress.tally import Tally
from harness.records.leases import Leases
from harness.training import cost, environment, estimate, executor, stopping
from harness.training.executor import Launch
from harness.training.watcher import Audience, Watcher


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a worker finds what the launch has found.

    Attributes:
      ablation: as the command names it; its file is loaded before anything of its classes is.
      cwd: the folder that relative paths begin at.
      data_dir, skip_unreadable, weights_dir: as `data.inputs` has them.
    """

    ablation: str
    cwd: str
    data_dir: str | None = None
    skip_unreadable: bool = False
    weights_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of a launch, as it is sent to a worker.

    Attributes:
      pickled: the launch and the runs to train.
      run_ids: theirs.
      devices: how many the worker uses; None means all that it sees.
      memory_share: of a GPU's memory, where workers share one.
      takes_leases: whether the worker keeps other launches off; else the launch that sends the job does.
      retried: see `sharing.Shared`.
      tensorboard: whether event files are written.
    """

    source: Source
    pickled: bytes
    run_ids: tuple[str, ...]
    devices: int | None = None
    memory_share: float = 1.0
    takes_leases: bool = False
    retried: tuple[tuple[str, str], ...] = ()
    tensorboard: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
      told: lines for the user.
      error: what ended it before its time, as the local executor would have raised it.
      stopped: whether it was asked to stop; what was in training is saved.
    """

    told: tuple[str, ...] = ()
    error: Exception | None = None
    stopped: bool = False


def job(launch: Launch, runs: Sequence[Run], together: Sequence[Run], source: Source, **how: Any) -> Job:
    """Makes a job of runs of one cohort.

    Args:
      together: all planned runs of the cohort.
      how: further fields of the job.
    """
    part = dataclasses.replace(launch, planned=tuple(together),
                               wanted=launch.wanted & {run.run_id for run in together})
    return Job(source, pickle.dumps((part, tuple(runs))), tuple(run.run_id for run in runs), **how)


def work(job: Job) -> Outcome:
    """Trains a job's runs that are not recorded yet, resumed from their checkpoints."""
    told: list[str] = []
    try:
        with contextlib.chdir(job.source.cwd):
            _work(job, told)
    except stopping.StoppedError:
        return Outcome(tuple(told), stopped=True)
    except Exception as error:
        return Outcome(tuple(told), _sendable(error))
    return Outcome(tuple(told))


def _work(job: Job, told: list[str]) -> None:
    devices = _configured(job.devices, job.memory_share)
    _loaded(job.source.ablation)
    launch, runs = pickle.loads(job.pickled)  # noqa: S301 -- from the launch itself
    launch = dataclasses.replace(launch, devices=devices)
    retried = dict(job.retried)
    absent = [run for run in runs if (record := launch.folder.record(run.run_id)) is None
              or record.finished_at == retried.get(run.run_id)]
    if not absent:
        return
    with environment.numerics(), contextlib.ExitStack() as stack:
        configs = [run.config for run in absent]
        environment.refuse_precisions({config.precision for config in configs})
        found = inputs.load_datasets(configs, job.source.data_dir, skip_unreadable=job.source.skip_unreadable,
                                     tell=told.append)
        found = inputs.complete(found, configs, job.source.weights_dir, devices, Console(quiet=True))
        work = estimate.epoch_work(absent, found, cost.measure_all(absent, found))
        tally = Tally(absent, work, estimate.epochs(absent, found))
        watchers: list[Watcher] = [tally, _Lines(told),
                                   ProgressFile(launch.folder, tally, told.append, is_worker=True)]
        if job.tensorboard:
            from harness.progress.tensorboard import EventFiles  # what it needs takes seconds to import

            watchers.append(EventFiles(launch.folder, found, told.append))
        turns = None
        if job.takes_leases:
            held = stack.enter_context(Leases(launch.folder.in_training))
            turns = Shared(launch.folder, held, retried, Audience(watchers))
            watchers.append(turns)
        executor.execute(launch, absent, found, Audience(watchers), turns)


class _Lines(Watcher):
    """Keeps what is told, for whoever sent the job."""

    def __init__(self, told: list[str]):
        self._told = told

    def told(self, what: str) -> None:
        self._told.append(what)


@functools.cache
def _configured(devices: int | None, memory_share: float) -> int:
    """Sets jax up, once in a process; gives the number of devices to use."""
    if memory_share < 1:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * memory_share:.3f}"
    present = environment.configure(devices)
    return devices or present


@functools.cache
def _loaded(ablation: str) -> None:
    """Loads an ablation's own file, whose classes a pickled configuration names."""
    own_code.use(lookup.find(ablation).code)


def _sendable(error: Exception) -> Exception:
    """Gives an error that can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- what was just written
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
