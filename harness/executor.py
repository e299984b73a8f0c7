"""Trains what is missing of an ablation, cohort by cohort, and records every run. Called by `harness.run`."""

import datetime
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import jax
import numpy as np
import pandas as pd
from rich.console import Console

from ablations.spec import Run
from harness import cohort, cost, environment, fit, records, train
from harness.data import Dataset
from harness.progress import SweepProgress


def execute(question: str, runs: Sequence[Run], datasets: dict[tuple[str, int], Dataset], folder: records.Folder,
            console: Console, save_every_s: float) -> list[records.RunRecord]:
    """Trains runs and writes their records; a run that fails is recorded and the others go on.

    Args:
      runs: those without a record.
      datasets: (name, validation size) -> data, for all that the runs name.
      folder: where records and checkpoints go.
      save_every_s: least seconds between two checkpoints.

    Returns:
      the new records, in the order they were finished.

    Raises:
      fit.InterruptedRuns: if the user asked to stop; what was in training is saved.
    """
    finished = []
    with SweepProgress(runs, console) as progress, _stop_on_signal(console) as stop:
        for members in cohort.partition(runs):
            dataset = datasets[members[0].config.dataset, members[0].config.validation_size]
            trainer = fit.Trainer(dataset, save_every_s, lambda: bool(stop))
            at_once = len(jax.devices())
            for first in range(0, len(members), at_once):
                for run, record in _train(trainer, question, members[first:first + at_once], folder, progress):
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


def _train(trainer: fit.Trainer, question: str, runs: Sequence[Run], folder: records.Folder,
           progress: SweepProgress) -> Iterator[tuple[Run, records.RunRecord]]:
    """Trains runs side by side; if that fails, one by one, so that one run's failure is its own."""
    started_at = _now()
    try:
        members = [trainer.member(run, folder.checkpoints(run.run_id)) for run in runs]
        for member in members:
            progress.starting(member.run, int(member.state.epoch))
        compiled = trainer.fit(members, progress.compiled, progress.epoch)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if len(runs) > 1:
            for run in runs:
                yield from _train(trainer, question, [run], folder, progress)
            return
        out_of_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        if not out_of_memory:
            traceback.print_exc()
        record = _record(folder, question, runs[0], trainer.dataset, started_at, "oom" if out_of_memory else "error",
                         str(error).strip().splitlines()[0] if str(error) else type(error).__name__)
        folder.write(runs[0].run_id, record, pd.DataFrame(columns=records.CURVE_COLUMNS), {})
        yield runs[0], record
        return
    for member in members:
        yield member.run, _finish(member, compiled, trainer.dataset, question, folder, started_at, len(members))


def _finish(member: fit.Member, compiled: fit.Compiled, dataset: Dataset, question: str, folder: records.Folder,
            started_at: str, members: int) -> records.RunRecord:
    """Writes the record of a run that came to its end."""
    state = member.state
    epochs = int(state.epoch)
    curve = pd.DataFrame(state.history[:epochs], columns=train.HISTORY)
    curve.insert(0, "epoch", range(1, epochs + 1))
    diverged = bool(state.diverged)
    best, last = (None, None) if diverged else (
        _scores(curve, int(epoch), member.test[name]) for name, epoch in (("best", state.best_epoch), ("last", epochs)))
    examples = len(dataset.train.labels[:member.run.config.train_size])
    # A diverged run's last epoch was trained too; its time counts like any other.
    timing = records.Timing(
        train_s=round(member.train_s, 3), validate_s=round(member.validate_s, 3),
        compile_s=round(compiled.compile_s, 3),
        throughput_examples_per_s=round(examples * epochs / member.train_s, 1) if member.train_s else None,
        members_at_once=members, launches=member.launches)
    record = _record(
        folder, question, member.run, dataset, started_at, "diverged" if diverged else "done",
        f"loss or accuracy not finite in epoch {epochs}" if diverged else "", epochs=epochs,
        stopped_early=bool(state.stopped), best=best, last=last, timing=timing,
        cost=cost.measure(member.program, state, member.rates, dataset.image_shape, compiled.memory_bytes))
    predictions = {} if diverged else {
        "predicted": np.asarray(member.test["best"].predicted, np.min_scalar_type(dataset.num_classes - 1)),
        "probability": np.asarray(member.test["best"].probability, np.float16)}
    folder.write(member.run.run_id, record, curve, predictions)
    return record


def _record(folder: records.Folder, question: str, run: Run, dataset: Dataset, started_at: str, status: records.Status,
            message: str, *, epochs: int = 0, stopped_early: bool = False, best: records.Scores | None = None,
            last: records.Scores | None = None, cost: records.Cost | None = None,
            timing: records.Timing | None = None) -> records.RunRecord:
    config = records.as_json(run.config)
    facts = records.DatasetFacts(
        name=dataset.name, fingerprint=dataset.fingerprint, pixels=dataset.pixels, official=dataset.official,
        source=dataset.source, warnings=dataset.warnings, class_names=dataset.class_names,
        image_shape=dataset.image_shape, train_examples=len(dataset.train.labels[:run.config.train_size]),
        validation_examples=len(dataset.validation.labels), test_examples=len(dataset.test.labels))
    return records.RunRecord(
        ablation=folder.ablation, question=question, cell=run.cell, labels=dict(run.labels), seed=run.seed,
        config=config, config_hash=records.config_hash(config), dataset=facts, environment=environment.describe(),
        status=status, message=message, epochs_trained=epochs, stopped_early=stopped_early, best=best, last=last,
        cost=cost, timing=timing, started_at=started_at, finished_at=_now())


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
