"""Trains what is missing of an ablation, cohort by cohort, and records every run."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from ablations import lookup
from ablations.spec import Run, SpecError
from harness import records
from harness.data import inputs
from harness.data.inputs import Inputs
from harness.records import configs, pooling
from harness.records.folder import CHOSEN_AGAIN
from harness.records.reading import FormError
from harness.records.record import LAYOUT_GIVEN
from harness.training import checkpoint, cohort, cost, environment, memory, probe, processes, stopping
from harness.training.ahead import Ahead
from harness.training.failure import Failure, is_a_runs_own
from harness.training.layout import Layout, Parallel, one_by_one
from harness.training.member import Member
from harness.training.recording import Recorder, now
from harness.training.trainer import Trainer
from harness.training.turns import Alone, Turns, in_turn
from harness.training.watcher import Audience, Epoch, Watcher
from harness.training.writing import Patient, Writing, with_room

# So many cohorts in a row that fail alike before their first step are no accident of one network.
BROKEN = 3


class BrokenError(Exception):
    """Cohort after cohort fails alike before its first step; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """What one command trains, and where.

    Attributes:
      question: the ablation's.
      planned: all runs of the ablation. How they lie on the devices follows from these, whatever is left to do:
        programs for different numbers of runs round differently, and a resumed run must not.
      folder: where records and checkpoints go.
      save_every_s: least seconds between two checkpoints.
      devices: how many devices to use.
      parallel: what lays programs out over them.
      device_memory: tells how many bytes each of so many devices has; None if that is not known.
      varied: paths of the fields that the ablation's factors set.
      provenance: where the ablation is written.
      keep_weights: see `recording.Recorder`.
      store_logits: whether all scores of the test set are kept with the predictions.
      wanted: run_ids of all that are to be trained, where several processes share in that; else empty.
      layout: that all train in; None has the fastest one found out.
    """

    question: str
    planned: Sequence[Run]
    folder: records.Folder
    save_every_s: float = 30.0
    devices: int = 1
    parallel: Parallel = "jit"
    device_memory: Callable[[int], int | None] = environment.device_memory_bytes
    varied: Sequence[str] = ()
    provenance: records.Provenance = records.Provenance()
    keep_weights: str = "none"
    store_logits: bool = False
    wanted: frozenset[str] = frozenset()
    layout: Layout | None = None

    def machine(self) -> records.Environment:
        """Describes the machine and the code that trains, also the user's where a configuration holds objects of it."""
        own = any(lookup.has_code_of_its_own(run.config) for run in self.planned)
        return environment.describe(self.provenance.sources if own else {})


def execute(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs], watcher: Watcher,
            turns: Turns | None = None) -> list[records.RunRecord]:
    """Trains runs and writes their records; a run that fails is recorded and the others go on.

    Args:
      absent: those planned runs to train now.
      found: `inputs.key` -> inputs, of all runs to train.
      watcher: told of all progress.
      turns: which runs are this process's, where others train in the folder too; None means all.

    Returns:
      the new records, in the order they were finished.

    Raises:
      pooling.MixtureError: if their records would not belong with those that are there.
      checkpoint.CheckpointError: if a checkpoint is of another configuration, data set or machine.
      BrokenError: if it looks as if nothing will train.
      stopping.StoppedError: if the user asked to stop; what was in training is saved.
    """
    finished: list[records.RunRecord] = []
    before = memory.resident()
    with stopping.on_signal(watcher.told) as stop, contextlib.closing(watcher):
        cohorts = _cohorts(launch, absent, found, watcher, stop)
        table = _table(launch, cohorts)
        for warning in _check(launch, cohorts, table):
            watcher.told(warning)
        hints = [cost.faster_forms(members[0], training.recorder.inputs) for members, training in cohorts]
        for hint in dict.fromkeys(filter(None, hints)):
            watcher.told(hint)
        alike: list[Failure] = []
        with Writing(watcher, finished, launch.folder.record, lambda: bool(stop)) as writing, Ahead() as ahead:
            patient = Patient(turns or Alone(), watcher.told, lambda: bool(stop))
            for members, training, following in in_turn(cohorts, patient, lambda: bool(stop)):
                if processes.any_of(bool(stop)):
                    raise stopping.StoppedError
                if not processes.several():  # of which one that refuses alone leaves the others waiting
                    table.look({record.run_id for record in finished})
                ahead.wait(training)
                # Not before this one's programs have been chosen: compiling tries kernels out, which would disturb
                # what is timed.
                ahead.next = following
                failure = training.train(members, memory.Peak(before), writing, ahead)
                training.release()
                alike = _alike(alike, failure)
                if len(alike) == BROKEN:
                    raise BrokenError(f"{BROKEN} cohorts in a row failed alike before their first step, the last with: "
                                      f"{alike[-1].message}; mend that, and train them again with --retry=error")
    return finished


def _alike(before: Sequence[Failure], failure: Failure | None) -> list[Failure]:
    """Adds a cohort's failure to those in a row that it is like. Too little memory is no sign of broken code."""
    if failure is None or failure.status == "oom":
        return []
    return [*before, failure] if before and before[-1].place == failure.place else [failure]


def check(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs]) -> list[str]:
    """Fails where `execute` would before it trains, and trains nothing.

    Args:
      found: as for `execute`; features are not needed.

    Returns:
      what tables will mark, in lines.

    Raises:
      pooling.MixtureError, checkpoint.CheckpointError: as `execute`.
    """
    cohorts = _cohorts(launch, absent, found, Watcher(), [])
    return _check(launch, cohorts, _table(launch, cohorts))


def missing(runs: Sequence[Run], folder: records.Folder, retry: Collection[str] = ()) -> list[Run]:
    """Lists the runs that have no record yet; of several processes, as the first one sees it.

    Args:
      retry: statuses whose records do not count.

    Raises:
      records.RecordError: if a record was made with another configuration, saying which fields differ.
    """
    absent = []
    for run in runs:
        record = folder.record(run.run_id)
        absent.append(record is None or record.status in retry)
        if record is None or absent[-1]:
            continue
        if changes := configs.config_differences(record.config, configs.as_json(run.config)):
            raise records.RecordError(
                f"{folder.run(run.run_id)} was recorded with another configuration ({'; '.join(changes)}); "
                "move the folder away, or give the changed ablation a name of its own")
    return [run for run, is_absent in zip(runs, processes.of_first(absent), strict=True) if is_absent]


class _Begun(Watcher):
    """Notices that an epoch has been trained."""

    def __init__(self) -> None:
        self.yes = False

    def epochs(self, epochs: Sequence[Epoch]) -> None:
        self.yes = True


@dataclasses.dataclass(frozen=True)
class _Cohort:
    """Trains runs of one cohort.

    Attributes:
      runs: all of it, also those that are not to be trained now.
    """

    launch: Launch
    runs: Sequence[Run]
    trainer: Trainer
    recorder: Recorder
    watcher: Watcher

    def prepare(self) -> None:
        """Compiles what the cohort is most likely to train with."""
        if not (processes.several() or self.launch.layout or _layouts(self.launch.folder).get(self._key)):
            self.trainer.prepare(self.runs, self.launch.devices, self.launch.parallel)
        else:
            self.trainer.programs(self._chosen().layout, self.runs[0])

    def release(self) -> None:
        """Frees what is compiled, and the data on the devices."""
        self.trainer.release()

    def train(self, runs: Sequence[Run], peak: memory.Peak, writing: Writing, ahead: Ahead) -> Failure | None:
        """Trains runs as many at once as is fastest, fewer if memory runs out, one by one if something else fails.

        Whatever keeps one from being trained becomes its record, and the others train.

        Returns:
          what kept every one of them from its first step; None if any got there.
        """
        waiting = {run.run_id: run for run in runs}
        started_at, begun, failures = now(), _Begun(), list[Failure]()
        chosen = self._chosen()
        ahead.start()
        layout, alone = chosen.layout, True

        def ended(member: Member) -> None:
            nonlocal alone
            del waiting[member.run.run_id]
            # Of runs side by side nobody can tell which one takes how much.
            alone = alone and member.at_once == 1
            writing.add(member.run, functools.partial(
                self._recorded, member, chosen.why, started_at, frozenset(waiting), peak.bytes if alone else None))

        with peak:
            while waiting:
                if self.trainer.stop_requested():
                    raise stopping.StoppedError
                failure = self._until_one_fails(list(waiting.values()), layout, Audience([begun, self.watcher]), ended)
                if failure is None or (failure.status == "oom" and ahead.let_go()):
                    continue
                asked_for = self.launch.layout
                devices = asked_for.devices if asked_for else self.launch.devices
                fewer = (self.trainer.smaller(layout, self.runs[0], devices) if failure.status == "oom"
                         else one_by_one(layout))
                if fewer is None:  # a single run: the failure is its own
                    failures.append(failure)
                    for run_id in self._beyond_hope(list(waiting), failures, begun):
                        writing.add(waiting[run_id], functools.partial(
                            self.recorder.failed, waiting.pop(run_id), failure, started_at))
                        failure = failure.expected()
                    layout = chosen.layout
                elif failure.status == "oom":
                    self.watcher.told(f"out of memory with {layout}; going on with {fewer}")
                    layout = fewer
                    chosen = probe.Choice(layout, f"{chosen.why}; then out of memory")
                    # One that was asked for is this launch's alone, and several processes choose none.
                    if asked_for is None and not processes.several():
                        self._keep(chosen, replaces=True)
                else:
                    layout = fewer
        return failures[-1] if failures and not begun.yes else None

    def _until_one_fails(self, runs: Sequence[Run], layout: Layout, watcher: Watcher, ended: Callable[[Member], None]
                         ) -> Failure | None:
        """Trains runs, handing on each that has ended; what goes wrong then is no failure of a run."""
        training = self.trainer.fit(runs, self._checkpoints, layout, watcher)
        while True:
            try:
                member = next(training, None)
            # Of another launch's checkpoint, or of processes that do not see the same.
            except (stopping.StoppedError, checkpoint.CheckpointError, processes.JoinError):
                raise
            except Exception as error:  # a stranger's network may raise anything
                if not is_a_runs_own(error):
                    raise
                return Failure.of(error)
            if member is None:
                return None
            ended(member)
            del member  # which holds its programs, and they a copy of the data

    def _beyond_hope(self, waiting: Sequence[str], failures: Sequence[Failure], begun: _Begun) -> Sequence[str]:
        """Lists the runs that have failed: the first one that waits, or all if the program they share is what fails."""
        places = {failure.place for failure in failures}
        return waiting if len(failures) > 1 and len(places) == 1 and not begun.yes else waiting[:1]

    def _recorded(self, member: Member, why: str, started_at: str, waiting: frozenset[str], peak_bytes: int | None
                  ) -> records.RunRecord:
        try:
            return self.recorder.finished(member, why, started_at, waiting, peak_bytes)
        except (OSError, records.RecordError):
            raise
        except Exception as error:  # as where a stranger's network can be trained and not be described
            return self.recorder.failed(member.run, Failure.of(error), started_at)

    def _checkpoints(self, run: Run) -> pathlib.Path:
        return self.launch.folder.checkpoints(run.run_id)

    def _chosen(self) -> probe.Choice:
        """Reads which layout the cohort trains in here, or finds it out and keeps it: a resumed run must not change."""
        if processes.several():  # which must not depend on what one of them measures
            return probe.Choice(Layout(1, self.launch.devices), "all devices of all processes train one run")
        if self.launch.layout is not None:
            return probe.Choice(self.launch.layout, LAYOUT_GIVEN)
        if (kept := _layouts(self.launch.folder).get(self._key)) is not None:
            return kept
        self.watcher.compiling(())
        try:
            choice = self.trainer.choose(self.runs, self.launch.devices, self.launch.parallel)
        except stopping.StoppedError:
            raise
        except Exception as error:  # which of the runs it is will be seen one by one
            return probe.Choice(Layout(1, parallel=self.launch.parallel), f"not probed: {Failure.of(error).message}")
        return self._keep(choice)

    def _keep(self, choice: probe.Choice, *, replaces: bool = False) -> probe.Choice:
        """Keeps a choice, and gives the one that counts."""
        folder = self.launch.folder
        return _as_kept(folder, with_room(
            functools.partial(folder.keep_layout, self._key, configs.as_json(choice), replaces=replaces),
            self.watcher.told, self.trainer.stop_requested))

    @property
    def _key(self) -> str:
        """Names the cohort on this machine."""
        what = cohort.signature(self.runs[0].config), len(self.runs), self.launch.parallel, self.launch.devices
        return configs.config_hash({"cohort": repr(what), "machine": self.recorder.machine.device})[:16]


def _layouts(folder: records.Folder) -> dict[str, probe.Choice]:
    """Reads the layouts chosen on this machine, by the cohort's key.

    Raises:
      records.RecordError: if one of them is none.
    """
    return {key: _as_kept(folder, stored) for key, stored in folder.layouts().items()}


def _as_kept(folder: records.Folder, stored: Mapping[str, Any]) -> probe.Choice:
    try:
        return probe.kept(stored)
    except FormError as error:
        raise records.RecordError(f"{folder.path / 'layouts.json'} {error}; {CHOSEN_AGAIN}") from None


def _cohorts(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs], watcher: Watcher,
             stop: Sequence[int]) -> list[tuple[list[Run], _Cohort]]:
    """Groups the runs to train into cohorts; training ends early when `stop` holds something."""
    machine = launch.machine()  # before training, so that an edit meanwhile is not mistaken for what runs
    wanted = {run.run_id for run in absent}
    cohorts = []
    for together in cohort.partition(launch.planned):
        if members := [run for run in together if run.run_id in wanted]:
            read = found[inputs.key(members[0].config)]
            trainer = Trainer(read.examples, launch.save_every_s, lambda: processes.any_of(bool(stop)),
                              launch.device_memory, read.backbone, read.weights.sha256 if read.weights else "", machine,
                              keeps_logits=launch.store_logits, tell=watcher.told, compacts=launch.layout is None)
            recorder = Recorder(launch.question, launch.folder, together, read, machine, trainer.start,
                                watcher.told, launch.provenance, launch.keep_weights, launch.wanted)
            cohorts.append((members, _Cohort(launch, together, trainer, recorder, watcher)))
    return cohorts


def _table(launch: Launch, cohorts: Sequence[tuple[Sequence[Run], _Cohort]]) -> pooling.Table:
    """Joins what is there and what is intended."""
    # One of many processes does not read what all others have recorded.
    near = {run.run_id for _, training in cohorts for run in training.runs} if launch.wanted else None
    intended = {run.run_id: training.recorder.intended(run) for members, training in cohorts for run in members}
    return pooling.Table(launch.folder, near, intended, launch.varied)


def _check(launch: Launch, cohorts: Sequence[tuple[Sequence[Run], _Cohort]], table: pooling.Table) -> list[str]:
    """Refuses now what would be refused after hours of training, and says what tables will mark."""
    _layouts(launch.folder)
    table.refuse_mixtures()
    splits = processes.several() or (launch.layout is not None and launch.layout.data > 1)
    for members, training in cohorts:
        if splits and training.trainer.start(members[0])[0].whole_batches:
            raise SpecError(f"{members[0].run_id}: a network in plain Flax needs whole batches, since its batch norm "
                            "and what it draws are not told which examples lie where: train it without --distributed, "
                            'and in a --layout without "batches split"')
        for run in members:
            training.trainer.check(run, launch.folder.checkpoints(run.run_id))
    differing = [fact for fact in pooling.unlike(table.records.values()) if fact != pooling.LAYOUT]
    return [f"warning: these runs and those recorded before differ in {', '.join(differing)}; the tables will say "
            "where both meet"] if differing else []
