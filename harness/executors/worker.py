"""Trains a piece of a launch in a process of its own, on whichever machine that is."""

import contextlib
import copy
import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ablations import lookup, own_code
from ablations.spec import Run, SpecError
from harness import records
from harness.data import inputs
from harness.executors.sharing import Shared
from harness.progress.file import ProgressFile
from harness.progress.tally import Tally
from harness.records import configs
from harness.records.leases import Leases
from harness.training import cost, environment, estimate, executor, stopping
from harness.training.executor import Launch
from harness.training.watcher import Audience, Watcher


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a worker finds what the launch has found.

    Attributes:
      ablation: as the command names it.
      overrides: path -> value that the command sets in every run.
      cwd: the folder that relative paths begin at.
      data_dir, skip_unreadable, weights_dir: as `data.inputs` has them.
    """

    ablation: str
    overrides: Mapping[str, Any]
    cwd: str
    data_dir: str | None = None
    skip_unreadable: bool = False
    weights_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of a launch, as it is sent to a worker: names, from which the worker expands the ablation as it was here.

    Attributes:
      launch: without its planned runs.
      planned: run_ids of all planned runs of the cohort.
      seeds: theirs.
      run_ids: of the runs to train.
      hashes: of these runs' configurations.
      devices: how many the worker uses; None means all that it sees.
      memory_share: of a GPU's memory, where workers share one.
      takes_leases: whether the worker keeps other launches off; else the launch that sends the job does.
      retried: see `sharing.Shared`.
      tensorboard: whether event files are written.
    """

    source: Source
    launch: Launch
    planned: tuple[str, ...]
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    hashes: tuple[str, ...]
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
    planned = tuple(run.run_id for run in together)
    folder = records.Folder(launch.folder.results_dir, launch.folder.ablation)  # without what was read of it here
    part = dataclasses.replace(launch, planned=(), folder=folder, wanted=launch.wanted & set(planned))
    return Job(source, part, planned,
               tuple(dict.fromkeys(run.seed for run in together)), tuple(run.run_id for run in runs),
               tuple(map(_hash, runs)), **how)


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
    retried = dict(job.retried)
    absent_ids = [run_id for run_id in job.run_ids if (record := job.launch.folder.record(run_id, anew=True)) is None
                  or record.finished_at == retried.get(run_id)]
    if not absent_ids:
        return
    runs = _expanded(job)
    absent = [runs[run_id] for run_id in absent_ids]
    launch = dataclasses.replace(job.launch, devices=devices, planned=[runs[run_id] for run_id in job.planned])
    with environment.numerics(), contextlib.ExitStack() as stack:
        read = [run.config for run in absent]
        environment.refuse_precisions({config.precision for config in read})
        found = inputs.load_datasets(read, job.source.data_dir, skip_unreadable=job.source.skip_unreadable,
                                     tell=told.append)
        found = inputs.complete(found, read, job.source.weights_dir, devices, Console(quiet=True))
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
    """Sets jax up, once in a process; gives the number of devices to use: of CPUs, unless GPUs were asked for."""
    if memory_share < 1:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * memory_share:.3f}"
    # Neither Ray nor every Slurm hides a node's GPUs from a task that has asked for none.
    present = environment.configure(devices, cpus_alone=devices is not None)
    return devices or present


def _expanded(job: Job) -> dict[str, Run]:
    """Expands the ablation as the launch did: run_id -> run.

    Raises:
      SpecError: if its code, or the configurations that come of it, were edited after the launch began.
    """
    study = lookup.overridden(_loaded(job.source.ablation), job.source.overrides, job.seeds)
    runs = {run.run_id: run for run in study.runs()}
    there = [_hash(runs[name]) if name in runs else None for name in job.run_ids]
    # What another ablation of the command had imported counts as this one's there, and is not loaded here.
    stated, now = job.launch.provenance.sources, study.hashes
    is_edited = any(stated[path] != now[path] for path in stated.keys() & now.keys())
    if is_edited or not set(job.planned) <= runs.keys() or there != list(job.hashes):
        raise SpecError(f"{job.source.ablation} was edited while it trained: give the command again")
    return runs


@functools.cache
def _loaded(ablation: str) -> lookup.Study:
    """Finds an ablation, once in a process, and has its own code importable."""
    study = lookup.find(ablation)
    own_code.use(study.code)
    return study


def _hash(run: Run) -> str:
    return configs.config_hash(configs.as_json(run.config))


def _sendable(error: Exception) -> Exception:
    """Gives an error that the launch can read: in words where it is of the user's classes or cannot be made anew."""
    if type(error).__module__.partition(".")[0] not in ("builtins", "harness", "ablations", "models"):
        return RuntimeError(f"{type(error).__name__}: {error}")
    try:
        copy.deepcopy(error)  # which makes it anew of the same parts
    except Exception:  # whatever its constructor does with them
        return records.RecordError(str(error))
    return error
