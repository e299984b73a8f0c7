"""Trains what is missing of an ablation, cohort by cohort, and records every run. Called by `harness.run`."""

import contextlib
import dataclasses
import datetime
import signal
import statistics
import traceback
from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from rich.console import Console

from ablations.spec import Run
from harness import cohort, configs, cost, environment, exhibits, fit, inputs, memory, pooling, probe, records, train
from harness.audience import Audience, Watcher
from harness.inputs import Inputs
from harness.layout import Layout, Parallel, smaller
from harness.programs import is_out_of_memory
from harness.progress import SweepProgress
from harness.progress_file import ProgressFile


def execute(question: str, planned: Sequence[Run], absent: Sequence[Run],
            found: Mapping[Hashable, Inputs], folder: records.Folder, console: Console,
            save_every_s: float = 30.0, devices: int = 1, parallel: Parallel = "jit",
            device_memory: Callable[[int], int | None] = environment.device_memory_bytes,
            watchers: Sequence[Watcher] = ()) -> list[records.RunRecord]:
    """Trains runs and writes their records; a run that fails is recorded and the others go on.

    Args:
      planned: all runs of the ablation. How they lie on the devices follows from these, whatever is left to do:
        programs for different numbers of runs round differently, and a resumed run must not.
      absent: those of them to train now.
      found: `inputs.key` -> inputs, of all runs to train.
      folder: where records and checkpoints go.
      save_every_s: least seconds between two checkpoints.
      devices: how many devices to use.
      parallel: what lays programs out over them.
      device_memory: tells how many bytes each of so many devices has; None if that is not known.
      watchers: told of all progress, beside the display and the progress file.

    Returns:
      the new records, in the order they were finished.

    Raises:
      pooling.MixtureError: if their records would not belong with those that are there.
      checkpoint.CheckpointError: if a checkpoint is of another configuration, data set or machine.
      fit.StoppedError: if the user asked to stop; what was in training is saved.
    """
    finished: list[records.RunRecord] = []
    before = memory.resident()
    machine = environment.describe()  # before training, so that an edit meanwhile is not mistaken for what runs
    wanted = {run.run_id for run in absent}
    with (SweepProgress(absent, console) as display, _stop_on_signal(console) as stop,
          contextlib.closing(Audience([display, ProgressFile(folder, absent, display.told), *watchers])) as progress):
        sweeps = []
        for together in cohort.partition(planned):
            if members := [run for run in together if run.run_id in wanted]:
                read = found[inputs.key(members[0].config)]
                trainer = fit.Trainer(read.examples, save_every_s, lambda: bool(stop), device_memory, read.backbone,
                                      read.weights.sha256 if read.weights else "")
                sweeps.append((members, _Sweep(question, together, devices, parallel, read, machine, folder, trainer,
                                               progress)))
        # What would be refused after hours of training is refused now.
        intended = [sweep.intended(run) for members, sweep in sweeps for run in members]
        joined = [*folder.records().values(), *intended]
        pooling.refuse_mixtures(joined, (folder.plan() or {}).get("varied", ()))
        if differing := [fact for fact in pooling.unlike(joined) if fact != pooling.LAYOUT]:
            progress.told(f"warning: these runs and those recorded before differ in {', '.join(differing)}; the tables "
                          "will say where both meet")
        for members, sweep in sweeps:
            for run in members:
                sweep.trainer.check(run, folder.checkpoints(run.run_id))
        for number, (members, sweep) in enumerate(sweeps):
            with memory.Peak(before, is_first=number == 0) as peak:
                for run, record in sweep.train(members, peak):
                    progress.finished(run, record)
                    finished.append(record)
            sweep.trainer.release()
    return finished


def missing(runs: Sequence[Run], folder: records.Folder) -> list[Run]:
    """Lists the runs that have no record yet.

    Raises:
      records.RecordError: if a record was made with another configuration, saying which fields differ.
    """
    absent = []
    for run in runs:
        if (record := folder.record(run.run_id)) is None:
            absent.append(run)
        elif changes := configs.config_differences(record["config"], configs.as_json(run.config)):
            raise records.RecordError(
                f"{folder.run(run.run_id)} was recorded with another configuration ({'; '.join(changes)}); "
                "move the folder away, or give the changed ablation a name of its own")
    return absent


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """What every run of a cohort has in common.

    Attributes:
      cohort: all of its runs, also those that are not to be trained now.
    """

    question: str
    cohort: Sequence[Run]
    devices: int
    parallel: Parallel
    inputs: Inputs
    machine: records.Environment
    folder: records.Folder
    trainer: fit.Trainer
    progress: Watcher

    def intended(self, run: Run) -> dict[str, Any]:
        """Says of a run what its record will say, as far as it matters for which other records it may join."""
        return {"cell": run.cell, "seed": run.seed, "config": configs.as_json(run.config),
                "dataset": {"fingerprint": self.inputs.dataset.fingerprint},
                "environment": configs.as_json(self.machine),
                "backbone": configs.as_json(self.inputs.facts(run.config.model))}

    def train(self, runs: Sequence[Run], peak: memory.Peak) -> Iterator[tuple[Run, records.RunRecord]]:
        """Trains runs as many at once as is fastest, fewer if memory runs out, one by one if something else fails."""
        waiting = {run.run_id: run for run in runs}
        started_at = _now()
        chosen = self._chosen()
        layout, alone = chosen.layout, True
        while waiting:
            try:
                for member in self.trainer.fit(list(waiting.values()), lambda run: self.folder.checkpoints(run.run_id),
                                                 layout, self.progress):
                    del waiting[member.run.run_id]
                    # Of runs side by side nobody can tell which one takes how much.
                    alone = alone and member.at_once == 1
                    yield member.run, self._finished(member, chosen.why, started_at, waiting,
                                                     peak.bytes if alone else None)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                fewer = smaller(layout)
                if fewer is None:  # a single run: the failure is its own
                    run = waiting.pop(next(iter(waiting)))
                    yield run, self._failed(run, error, started_at)
                    layout = chosen.layout
                elif is_out_of_memory(error):
                    self.progress.told(f"out of memory with {layout}; going on with {fewer}")
                    layout = fewer
                    chosen = probe.Choice(layout, f"{chosen.why}; then out of memory")
                    self._keep(chosen)
                else:
                    layout = Layout(1, parallel=self.parallel)

    def _chosen(self) -> probe.Choice:
        """Reads which layout the cohort trains in here, or finds it out and keeps it: a resumed run must not change."""
        if (kept := self.folder.layouts().get(self._key)) is not None:
            return probe.Choice(Layout(**kept["layout"]), kept["why"])
        choice = self.trainer.choose(self.cohort, self.devices, self.parallel)
        self._keep(choice)
        return choice

    def _keep(self, choice: probe.Choice) -> None:
        self.folder.keep_layout(self._key, configs.as_json(choice))

    @property
    def _key(self) -> str:
        """Names the cohort on this machine."""
        what = cohort.signature(self.cohort[0].config), len(self.cohort), self.parallel, self.devices
        return configs.config_hash({"cohort": repr(what), "machine": self.machine.device})[:16]

    def _failed(self, run: Run, error: Exception, started_at: str) -> records.RunRecord:
        out_of_memory = is_out_of_memory(error)
        if not out_of_memory:
            traceback.print_exception(error)
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        record = self._record(run, "oom" if out_of_memory else "error", message, started_at)
        self.folder.write(run.run_id, record, pd.DataFrame(columns=records.CURVE_COLUMNS), {})
        return record

    def _finished(self, member: fit.Member, why: str, started_at: str, waiting: Container[str],
                  peak_bytes: int | None) -> records.RunRecord:
        state, run = member.state, member.run
        assert member.programs is not None, "Trainer.fit gives back what it has trained"
        compilation = member.programs.compilation
        epochs, diverged = int(state.epoch), bool(state.diverged)
        # Through text: a float32 such as 0.4722 then stays 0.4722 in the records.
        curve = pd.DataFrame(np.asarray(state.history)[:epochs].astype(str).astype(float), columns=list(train.HISTORY))
        curve.insert(0, "epoch", range(1, epochs + 1))
        dataset = self.inputs.dataset
        examples = len(dataset.train.labels[:run.config.train_size])
        backbone = self.inputs.facts(run.config.model)
        train_s = sum(member.epochs_s)
        features_s = (backbone.features_s or 0.0) if backbone else 0.0
        timing = records.Timing(
            train_s=round(train_s, 3), validate_s=round(member.validate_s, 3),
            compile_s=round(compilation.seconds, 3),
            throughput_examples_per_s=round(examples / statistics.median(member.epochs_s), 1),
            end_to_end_examples_per_s=round(examples * epochs / (features_s + train_s + member.validate_s), 1),
            members_at_once=member.at_once, launches=member.launches)
        placement = records.Placement(
            layouts=tuple(member.layouts), choice=why, compiled_programs=compilation.programs,
            cache_hits=compilation.cache_hits, cache_misses=compilation.cache_misses)
        needed = cost.measure(member.program, state, member.rates, self.inputs.examples.image_shape,
                              member.programs.memory_bytes, peak_bytes)
        facts = {"epochs_trained": epochs, "stopped_early": bool(state.stopped), "timing": timing, "cost": needed,
                 "placement": placement}
        if diverged:
            record = self._record(run, "diverged", f"loss not finite in epoch {epochs}", started_at, **facts)
            self.folder.write(run.run_id, record, curve, {})
            return record
        assert member.test is not None, "Trainer.fit scores every run that it gives back"
        best = _scores(curve, int(state.best_epoch), member.test["best"])
        last = _scores(curve, epochs, member.test["last"])
        record = self._record(run, "done", "", started_at, best=best, last=last, **facts)
        smallest = np.min_scalar_type(dataset.num_classes - 1)
        labels = dataset.test.labels
        predictions = {"predicted": np.asarray(member.test["best"].predicted, smallest),
                       "probability": np.asarray(member.test["best"].probability, np.float16),
                       "label": labels.astype(smallest)}
        shown = {}
        earlier = [other.run_id for other in self.cohort if other.cell == run.cell and other.seed < run.seed]
        if not any(run_id in waiting or self.folder.exhibits(run_id) for run_id in earlier):
            chosen = exhibits.images_to_show(predictions["predicted"], predictions["probability"], labels)
            shown = {"index": chosen, "image": np.asarray(dataset.test.images[chosen])}
            shown |= exhibits.first_layer(self.trainer.start(run)[1].weights.params, state.best.params)
        self.folder.write(run.run_id, record, curve, predictions, shown)
        return record

    def _record(self, run: Run, status: records.Status, message: str, started_at: str, **facts: Any
                ) -> records.RunRecord:
        config = configs.as_json(run.config)
        data = self.inputs.dataset
        seen = records.DatasetFacts(
            name=data.name, fingerprint=data.fingerprint, pixels=data.pixels, official=data.official,
            source=data.source, warnings=self.inputs.warnings, class_names=data.class_names,
            image_shape=data.image_shape, train_examples=len(data.train.labels[:run.config.train_size]),
            validation_examples=len(data.validation.labels), test_examples=len(data.test.labels))
        return records.RunRecord(
            ablation=self.folder.ablation, question=self.question, cell=run.cell, labels=dict(run.labels),
            seed=run.seed, config=config, config_hash=configs.config_hash(config), dataset=seen,
            environment=self.machine, status=status, message=message, started_at=started_at, finished_at=_now(),
            backbone=self.inputs.facts(run.config.model), **facts)


def _scores(curve: pd.DataFrame, epoch: int, test: train.TestResult) -> records.Scores:
    row = curve.iloc[epoch - 1]
    examples = int(test.sums.examples)
    return records.Scores(
        epoch=epoch, **{name: float(row[name]) for name in train.HISTORY},
        test_loss=float(test.sums.loss) / examples, test_accuracy=int(test.sums.correct) / examples)


@contextlib.contextmanager
def _stop_on_signal(console: Console) -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM in a list, to be acted on between epochs; a second one acts at once."""
    received: list[int] = []

    def remember(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        console.print("stopping: finishing this epoch, then saving; once more stops now (the last checkpoint stays)")

    old = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
