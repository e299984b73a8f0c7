"""What becomes a record: an ended run's state, test outcome and timing, in the form that is kept."""

import dataclasses
import datetime
import operator
import statistics
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ablations.spec import Run
from harness import records
from harness.data.inputs import Inputs
from harness.records import configs, write_atomic
from harness.training import budget, cost, exhibits, keeping, processes, train
from harness.training.failure import Failure
from harness.training.member import Member
from harness.training.programs import Programs
from models import plain

TRACEBACK = "traceback.txt"


@dataclasses.dataclass(frozen=True)
class Recorder:
    """Records the runs of a cohort.

    Attributes:
      question: the ablation's.
      folder: where records go.
      cohort: all of its runs.
      inputs: what they read.
      machine: what they train on.
      start: builds a run before its first step: program, state and traced values.
      tell: told what of a run could not be kept, in a line.
      provenance: the ablation's.
      keep_weights: "best" or "last": which weights are kept of each cell's first seed; "none" keeps none.
      wanted: run_ids of all that the launch is to train, also in other processes.
    """

    question: str
    folder: records.Folder
    cohort: Sequence[Run]
    inputs: Inputs
    machine: records.Environment
    start: Callable[[Run], tuple[train.Program, train.TrainState, Any]]
    tell: Callable[[str], None]
    provenance: records.Provenance = records.Provenance()
    keep_weights: str = "none"
    wanted: Container[str] = frozenset()

    def intended(self, run: Run) -> records.RunRecord:
        """Says of a run what its record will say, as far as that is known before it is trained."""
        return self._record(run, "error", "not trained yet", now())

    def failed(self, run: Run, failure: Failure, started_at: str) -> records.RunRecord:
        """Records a run that could not be trained; the traceback is kept beside its record."""
        record = self._record(run, failure.status, failure.message, started_at)
        if not processes.is_first():
            return record
        if self.folder.record(run.run_id) is None:  # else another launch's run lies there, and writing is refused
            write_atomic(self.folder.run(run.run_id) / TRACEBACK, failure.traceback.encode(errors="replace"))
        self.folder.write(run.run_id, record, pd.DataFrame(columns=records.CURVE_COLUMNS), {})
        return record

    def finished(self, member: Member, why: str, started_at: str, waiting: Container[str], peak_bytes: int | None
                 ) -> records.RunRecord:
        """Records a run that has ended.

        Args:
          why: its layout was chosen.
          waiting: run_ids of the cohort that are still to be trained.
          peak_bytes: see `training.memory`; None if that cannot be told of this run.
        """
        state, run = member.state, member.run
        epochs = int(state.epoch)
        # Through text: a float32 such as 0.4722 then stays 0.4722 in the records.
        curve = pd.DataFrame(np.asarray(state.history)[:epochs].astype(str).astype(float), columns=list(train.HISTORY))
        curve.insert(0, "epoch", range(1, epochs + 1))
        facts = {"epochs_trained": epochs, "stopped_early": bool(state.stopped),
                 "non_finite_gradients": None if state.non_finite is None else int(state.non_finite),
                 **self._costs(member, why, peak_bytes)}
        if bool(state.diverged):
            record = self._record(run, "diverged", f"loss not finite in epoch {epochs}", started_at, **facts)
            if processes.is_first():
                self.folder.write(run.run_id, record, curve, {})
            return record
        assert member.test is not None, "Trainer.fit scores every run that it gives back"
        record = self._record(run, "done", "", started_at, **facts,
                              best=_scores(curve, int(state.best_epoch), member.test["best"]),
                              last=_scores(curve, epochs, member.test["last"]))
        if processes.is_first():
            self._write(member, record, curve, waiting)
        return record

    def _write(self, member: Member, record: records.RunRecord, curve: pd.DataFrame, waiting: Container[str]) -> None:
        """Writes a run that is done, with what there is beside its record."""
        run, dataset = member.run, self.inputs.dataset
        assert member.test is not None, "Trainer.fit scores every run that it gives back"
        smallest = np.min_scalar_type(dataset.num_classes - 1)
        predictions = {"predicted": np.asarray(member.test["best"].predicted, smallest),
                       "probability": np.asarray(member.test["best"].probability, np.float16),
                       "label": dataset.test.labels.astype(smallest),
                       "rank": np.asarray(member.test["best"].rank, smallest)}
        if (averaged := member.test["best"].tta_predicted) is not None:
            predictions["tta_predicted"] = np.asarray(averaged, smallest)
        if (logits := member.test["best"].logits) is not None:
            largest = float(np.finfo(np.float16).max)
            predictions["logits"] = np.clip(np.asarray(logits), -largest, largest).astype(np.float16)
        shown = self._or_nothing(run, "pictures and first layer", lambda: self._exhibits(member, predictions, waiting))
        network = self._or_nothing(run, "trained weights", lambda: self._network(member, record, waiting))
        for lost in self.folder.write(run.run_id, record, curve, predictions, shown, network):
            self.tell(f"warning: {run.run_id} is recorded without its {lost}")

    def _or_nothing(self, run: Run, what: str, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Makes what a record can do without."""
        try:
            return made()
        except Exception as error:  # whatever a stranger's network holds, hours of training are not lost for it
            self.tell(f"warning: {run.run_id} is recorded without its {what}: {plain.told(error)}")
            return {}

    def _costs(self, member: Member, why: str, peak_bytes: int | None) -> dict[str, Any]:
        """Tells what the run took and how it lay on the devices."""
        run = member.run
        assert member.programs is not None, "Trainer.fit gives back what it has trained"
        compilation = member.programs.compilation
        size, epochs = len(self.inputs.dataset.train.labels[:run.config.train_size]), int(member.state.epoch)
        seen = [budget.examples(run.config, size, epoch) for epoch in range(1, epochs + 1)]
        backbone = self.inputs.facts(run.config.model)
        train_s = sum(member.epochs_s)
        features_s = (backbone.features_s or 0.0) if backbone else 0.0
        return {
            "timing": records.Timing(
                train_s=round(train_s, 3), validate_s=round(member.validate_s, 3),
                compile_s=round(compilation.seconds, 3),
                throughput_examples_per_s=round(1 / statistics.median(map(operator.truediv, member.epochs_s, seen)), 1),
                end_to_end_examples_per_s=round(sum(seen) / (features_s + train_s + member.validate_s), 1),
                members_at_once=member.at_once, launches=member.launches),
            "cost": self._cost(member, member.programs, peak_bytes),
            "placement": records.Placement(
                layouts=tuple(member.layouts), choice=why, compiled_programs=compilation.programs,
                cache_hits=compilation.cache_hits, cache_misses=compilation.cache_misses)}

    def _cost(self, member: Member, programs: Programs, peak_bytes: int | None) -> records.Cost | None:
        """Counts what the run's network costs; None, and a line, where it cannot be counted."""
        try:
            return cost.measure(member.program, member.state, member.traced, self.inputs.examples.image_shape,
                                programs.memory_bytes, peak_bytes, programs.rows)
        except Exception as error:  # a stranger's network may raise anything; hours of training are not lost for it
            self.tell(f"warning: {member.run.run_id} is recorded without what its network costs: {plain.told(error)}")
            return None

    def _exhibits(self, member: Member, predictions: dict[str, np.ndarray], waiting: Container[str]) -> dict[str, Any]:
        """Keeps what there is to look at of a cell's lowest seed, nothing of another."""
        run, dataset = member.run, self.inputs.dataset
        if not self._is_first(run, waiting, lambda run_id: bool(self.folder.exhibits(run_id))):
            return {}
        chosen = exhibits.images_to_show(predictions["predicted"], predictions["probability"], dataset.test.labels)
        shown = {"index": chosen, "image": np.asarray(dataset.test.images[chosen])}
        return shown | exhibits.first_layer(self.start(run)[1].weights.params, member.state.best.params,
                                              self.inputs.examples.image_shape)

    def _network(self, member: Member, record: records.RunRecord, waiting: Container[str]) -> dict[str, bytes]:
        """Keeps the trained network of a cell's lowest seed, if asked to."""
        run, state = member.run, self.keep_weights
        if state == "none" or not self._is_first(run, waiting, self.folder.has_weights):
            return {}
        weights = member.state.best if state == "best" else train.scored(member.state)
        return keeping.files(run, record, state, weights, member.program, member.traced, self.inputs)

    def _is_first(self, run: Run, waiting: Container[str], has_it: Callable[[str], bool]) -> bool:
        """Whether no lower seed of the run's cell has left something already, or still may."""
        earlier = [other.run_id for other in self.cohort if other.cell == run.cell and other.seed < run.seed]
        return not any(run_id in waiting or has_it(run_id) or
                       (run_id in self.wanted and self.folder.record(run_id) is None) for run_id in earlier)

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
            environment=self.machine, status=status, message=message, started_at=started_at, finished_at=now(),
            backbone=self.inputs.facts(run.config.model), **vars(self.provenance), **facts)


def now() -> str:
    """Tells the time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _scores(curve: pd.DataFrame, epoch: int, test: train.TestResult) -> records.Scores:
    row = curve.iloc[epoch - 1]
    examples = int(test.sums.examples)
    return records.Scores(
        epoch=epoch, **{name: float(row[name]) for name in train.HISTORY},
        test_loss=float(test.sums.loss) / examples, test_accuracy=int(test.sums.correct) / examples)
