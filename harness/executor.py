"""Trains what is missing of an ablation, cohort by cohort, and records every run. Called by `harness.run`."""

import dataclasses
import datetime
import signal
import statistics
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import pandas as pd
from rich.console import Console

from ablations.spec import Run
from harness import cohort, cost, environment, fit, records, summary, train
from harness.data import Dataset
from harness.progress import SweepProgress


def execute(question: str, planned: Sequence[Run], absent: Sequence[Run],
            datasets: dict[tuple[str, int], Dataset], folder: records.Folder, console: Console, save_every_s: float
            ) -> list[records.RunRecord]:
    """Trains runs and writes their records; a run that fails is recorded and the others go on.

    Args:
      planned: all runs of the ablation. How many train side by side follows from them, whatever is left to do: a
        program for one run rounds differently from a program for two, and a resumed run must not.
      absent: those of them to train now.
      datasets: (name, validation size) -> data, for all that the runs name.
      folder: where records and checkpoints go.
      save_every_s: least seconds between two checkpoints.

    Returns:
      the new records, in the order they were finished.

    Raises:
      summary.MixtureError: if their records would not belong with those that are there.
      checkpoint.CheckpointError: if a checkpoint is of another configuration, data set or machine.
      fit.StoppedError: if the user asked to stop; what was in training is saved.
    """
    finished: list[records.RunRecord] = []
    machine = environment.describe()  # before training, so that an edit meanwhile is not mistaken for what runs
    wanted = {run.run_id for run in absent}
    with SweepProgress(absent, console) as progress, _stop_on_signal(console) as stop:
        sweeps = []
        for together in cohort.partition(planned):
            if members := [run for run in together if run.run_id in wanted]:
                dataset = datasets[members[0].config.dataset, members[0].config.validation_size]
                width = min(len(together), len(jax.devices()))
                trainer = fit.Trainer(dataset, width, save_every_s, lambda: bool(stop))
                sweeps.append((members, _Sweep(question, dataset, machine, folder, trainer, progress)))
        # What would be refused after hours of training is refused now.
        intended = [sweep.intended(run) for members, sweep in sweeps for run in members]
        summary.refuse_mixtures([*folder.records().values(), *intended])
        for members, sweep in sweeps:
            for run in members:
                sweep.trainer.check(run, folder.checkpoints(run.run_id))
        for members, sweep in sweeps:
            width = sweep.trainer.width
            for first in range(0, len(members), width):
                for run, record in sweep.train(members[first:first + width]):
                    progress.finished(run, record)
                    finished.append(record)
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
        elif changes := records.differences(record["config"], records.as_json(run.config)):
            raise records.RecordError(
                f"{folder.run(run.run_id)} was recorded with another configuration ({'; '.join(changes)}); "
                "move the folder away, or give the changed ablation a name of its own")
    return absent


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """What every run of a cohort has in common."""

    question: str
    dataset: Dataset
    machine: dict[str, Any]
    folder: records.Folder
    trainer: fit.Trainer
    progress: SweepProgress

    def intended(self, run: Run) -> dict[str, Any]:
        """Says of a run what its record will say, as far as it matters for which other records it may join."""
        return {"cell": run.cell, "seed": run.seed, "config": records.as_json(run.config),
                "dataset": {"fingerprint": self.dataset.fingerprint}, "environment": self.machine}

    def train(self, runs: Sequence[Run]) -> Iterator[tuple[Run, records.RunRecord]]:
        """Trains runs side by side; if that fails, one by one, so that one run's failure is its own."""
        started_at = _now()
        failure: Exception | None = None
        try:
            members = [self.trainer.member(run, self.folder.checkpoints(run.run_id)) for run in runs]
            for member in members:
                self.progress.starting(member.run, int(member.state.epoch))
            compiled = self.trainer.fit(members, self.progress.compiled, self.progress.epochs)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            failure = error
        if failure is None:
            for member in members:
                yield member.run, self._finished(member, compiled, len(members), started_at)
        elif len(runs) == 1:
            yield runs[0], self._failed(runs[0], failure, started_at)
        else:
            for run in runs:
                yield from self.train([run])

    def _failed(self, run: Run, error: Exception, started_at: str) -> records.RunRecord:
        out_of_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        if not out_of_memory:
            traceback.print_exception(error)
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        record = self._record(run, "oom" if out_of_memory else "error", message, started_at)
        self.folder.write(run.run_id, record, pd.DataFrame(columns=records.CURVE_COLUMNS), {})
        return record

    def _finished(self, member: fit.Member, compiled: fit.Compiled, members: int, started_at: str
                  ) -> records.RunRecord:
        state, run = member.state, member.run
        epochs, diverged = int(state.epoch), bool(state.diverged)
        # Through text: a float32 such as 0.4722 then stays 0.4722 in the records.
        curve = pd.DataFrame(state.history[:epochs].astype(str).astype(float), columns=list(train.HISTORY))
        curve.insert(0, "epoch", range(1, epochs + 1))
        examples = len(self.dataset.train.labels[:run.config.train_size])
        timing = records.Timing(
            train_s=round(sum(member.epochs_s), 3), validate_s=round(member.validate_s, 3),
            compile_s=round(compiled.compile_s, 3),
            throughput_examples_per_s=round(examples / statistics.median(member.epochs_s), 1),
            members_at_once=members, launches=member.launches)
        needed = cost.measure(member.program, state, member.rates, self.dataset.image_shape, compiled.memory_bytes)
        facts = {"epochs_trained": epochs, "stopped_early": bool(state.stopped), "timing": timing, "cost": needed}
        if diverged:
            record = self._record(run, "diverged", f"loss not finite in epoch {epochs}", started_at, **facts)
            self.folder.write(run.run_id, record, curve, {})
            return record
        assert member.test is not None, "Trainer.fit scores every run that it returns"
        best = _scores(curve, int(state.best_epoch), member.test["best"])
        last = _scores(curve, epochs, member.test["last"])
        record = self._record(run, "done", "", started_at, best=best, last=last, **facts)
        smallest = np.min_scalar_type(self.dataset.num_classes - 1)
        self.folder.write(run.run_id, record, curve, {
            "predicted": np.asarray(member.test["best"].predicted, smallest),
            "probability": np.asarray(member.test["best"].probability, np.float16)})
        return record

    def _record(self, run: Run, status: records.Status, message: str, started_at: str, **facts: Any
                ) -> records.RunRecord:
        config = records.as_json(run.config)
        data = self.dataset
        seen = records.DatasetFacts(
            name=data.name, fingerprint=data.fingerprint, pixels=data.pixels, official=data.official,
            source=data.source, warnings=data.warnings, class_names=data.class_names, image_shape=data.image_shape,
            train_examples=len(data.train.labels[:run.config.train_size]),
            validation_examples=len(data.validation.labels), test_examples=len(data.test.labels))
        return records.RunRecord(
            ablation=self.folder.ablation, question=self.question, cell=run.cell, labels=dict(run.labels),
            seed=run.seed, config=config, config_hash=records.config_hash(config), dataset=seen,
            environment=self.machine, status=status, message=message, started_at=started_at, finished_at=_now(),
            **facts)


def _scores(curve: pd.DataFrame, epoch: int, test: train.TestResult) -> records.Scores:
    row = curve.iloc[epoch - 1]
    examples = int(test.sums.examples)
    return records.Scores(
        epoch=epoch, **{name: float(row[name]) for name in train.HISTORY},
        test_loss=float(test.sums.loss) / examples, test_accuracy=int(test.sums.correct) / examples)


@contextmanager
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
