"""What training would take, before any of it is done: time by the speed of recorded runs, disk by what a run leaves."""

import contextlib
import dataclasses
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

from ablations.spec import AugmentConfig, Run, RunConfig
from harness import records
from harness.data import Dataset, inputs
from harness.data.inputs import Inputs
from harness.records.configs import as_json, completed
from harness.training import budget, cohort

# Bytes that records of shipped runs take: what all have, checkpoint's files included, and what each of these adds.
_RECORD, _PER_LAYER, _PER_EPOCH, _PER_PREDICTION, _PICTURES = 45_000, 150, 60, 2.5, 50


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a recorded run was on its device.

    Attributes:
      family: what kind of network trained; see `_family`.
      macs: of one training example's forward pass, without what was computed beforehand.
      example_s: seconds per training example in its median epoch.
      validation: what it takes to validate an example, as a share of that.
      compile_s: of its cohort's programs.
      at_once: runs that trained side by side.
      epochs: that were timed.
      backbone: MACs of the frozen backbone whose features it read, and the seconds that each image took; None where it
        read none, or how many there were is not known.
      step: what else a step's time depends on; see `_step`.
    """

    family: str
    macs: int
    batch_size: int
    example_s: float
    validation: float
    compile_s: float
    at_once: int
    epochs: int
    backbone: tuple[int, float] | None
    step: tuple[str, bool] = ("float32", False)


@dataclasses.dataclass(frozen=True)
class CellEstimate:
    """What the runs of a cell would take.

    Attributes:
      labels: factor -> level.
      runs: how many are to be trained.
      cost: of one of them; None if it is not known.
      wall_s: their share of the time that their cohort would take; None if no recorded run tells the speed.
      disk_bytes: of their records, checkpoints and kept networks, which stay.
    """

    cell: str
    labels: Mapping[str, str]
    runs: int
    cost: records.Cost | None
    wall_s: float | None
    disk_bytes: int


@dataclasses.dataclass(frozen=True)
class SweepEstimate:
    """What the runs of a launch would take.

    Attributes:
      cells: in the order of the runs.
      programs: how many cohorts are compiled.
      compile_s: for all of them; 0 where nothing is known.
      features_s: for the features that frozen backbones give, if none are kept yet; None if that is not known.
      recorded: how many runs on this device the speed was taken from.
      apart: by which factor the MACs of a cell and of the run that told its speed differ, at most.
      alike: whether all of these runs were of their cell's precision, and changed images where it does.
    """

    cells: tuple[CellEstimate, ...]
    programs: int
    compile_s: float
    features_s: float | None
    recorded: int
    apart: float
    alike: bool = True

    @property
    def wall_s(self) -> float | None:
        """Sums up the time, features apart; None where a cell's is not known."""
        times = [cell.wall_s for cell in self.cells]
        known = [time for time in times if time is not None]
        return sum(known) + self.compile_s if len(known) == len(times) else None

    @property
    def disk_bytes(self) -> int:
        """Sums up the disk."""
        return sum(cell.disk_bytes for cell in self.cells)


def speeds(results_dirs: Iterable[str], device: str) -> list[Speed]:
    """Reads the speeds of the runs that were recorded on a device; records that cannot be read tell none."""
    found = []
    for folder in [records.Folder(one, name) for one in results_dirs for name in records.ablations_in(one)]:
        for run_id in folder.recorded():
            with contextlib.suppress(records.RecordError):
                record = folder.record(run_id)
                if record and record.status == "done" and record.environment.device == device:
                    found += _speed(record)
    return found


def _speed(record: records.RunRecord) -> list[Speed]:
    cost, timing, data = record.cost, record.timing, record.dataset
    if cost is None or timing is None or not timing.throughput_examples_per_s:
        return []
    features_s = record.backbone.features_s if record.backbone else None
    beforehand = sum(layer.macs for layer in cost.layers if layer.frozen) if features_s else 0
    images = data.train_examples + data.validation_examples + data.test_examples
    config = completed(record.config)
    is_whole = config["train_size"] is None  # else features were made of more images than it trained on
    # Of all epochs: a trial trains on a few examples and validates on as many as others do.
    validation = (timing.validate_s * data.train_examples / (timing.train_s * data.validation_examples)
                  if timing.train_s and data.validation_examples else 0.0)
    return [Speed(
        _family(record.config["model"]["type"], reads_features=bool(features_s)),
        max(1, cost.macs_per_example - beforehand), record.config["batch_size"],
        1 / timing.throughput_examples_per_s, validation, timing.compile_s, timing.members_at_once,
        record.epochs_trained, (beforehand, features_s / images) if features_s and is_whole else None,
        (config["precision"], config["augment"] != as_json(AugmentConfig())))]


def _step(config: RunConfig) -> tuple[str, bool]:
    """Names a run's precision, and says whether it changes images before it trains on them."""
    return config.precision, config.augment != AugmentConfig()


def _family(model: str, *, reads_features: bool) -> str:
    """Names networks whose time per MAC is alike."""
    return f"{model} on features" if reads_features else model


def sweep(runs: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost],
          known: Sequence[Speed], *, keeps: bool = False) -> SweepEstimate:
    """Estimates what runs would take.

    Args:
      runs: those to be trained.
      found: `inputs.key` -> inputs, of all runs.
      costs: run_id -> cost, where it is known.
      known: speeds recorded on this device.
      keeps: whether each cell's first run keeps its network.
    """
    cells: dict[str, CellEstimate] = {}
    together, recorded, apart, alike = cohort.partition(runs), set[Speed](), 1.0, True
    compile_s = 0.0
    for members in together:
        cost = costs.get(members[0].run_id)
        nearest = _nearest(members[0].config, cost, known) if cost else []
        speed = nearest[(len(nearest) - 1) // 2] if nearest else None
        if cost and speed:
            recorded.update(nearest)
            compile_s += speed.compile_s
            macs = _macs(members[0].config, cost)
            apart = max(apart, macs / speed.macs, speed.macs / macs)
            alike = alike and speed.step == _step(members[0].config)
        for run in members:
            data = found[inputs.key(run.config)].dataset
            wall_s = _wall_s(run, data, cost, speed, len(members)) if speed else None
            network = cost.parameters_bytes if cost and keeps and run.cell not in cells else 0
            one = CellEstimate(run.cell, run.labels, 1, cost, wall_s,
                               _disk_bytes(run, len(data.train.labels), data.test.images.shape, cost) + network)
            cells[run.cell] = _added(cells[run.cell], one) if run.cell in cells else one
    order = dict.fromkeys(run.cell for run in runs)
    return SweepEstimate(tuple(cells[cell] for cell in order), len(together), compile_s,
                         _features_s(runs, found, costs, known),
                         len(recorded), apart, alike)


def epoch_work(runs: Iterable[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost]
               ) -> dict[str, int]:
    """Counts the MACs of an epoch's forward passes, by which cohorts not yet begun are compared with others.

    Returns:
      run_id -> count; of a run whose cost is not known, as if an example took one.
    """
    return {run.run_id: _macs(run.config, costs.get(run.run_id)) * _train_examples(run, found) for run in runs}


def epochs(runs: Iterable[Run], found: Mapping[Hashable, Inputs]) -> dict[str, int]:
    """Counts the epochs of each run, also of one whose budget is in steps.

    Returns:
      run_id -> count.
    """
    return {run.run_id: budget.epochs(run.config, _train_examples(run, found)) for run in runs}


def _train_examples(run: Run, found: Mapping[Hashable, Inputs]) -> int:
    return run.config.train_size or len(found[inputs.key(run.config)].dataset.train.labels)


def _added(cell: CellEstimate, one: CellEstimate) -> CellEstimate:
    wall_s = None if cell.wall_s is None or one.wall_s is None else cell.wall_s + one.wall_s
    return dataclasses.replace(cell, runs=cell.runs + 1, wall_s=wall_s, disk_bytes=cell.disk_bytes + one.disk_bytes)


def _macs(config: RunConfig, cost: records.Cost | None) -> int:
    if cost is None:
        return 1
    beforehand = sum(layer.macs for layer in cost.layers if layer.beforehand)
    return max(1, cost.macs_per_example - beforehand)


def _nearest(config: RunConfig, cost: records.Cost, known: Sequence[Speed]) -> list[Speed]:
    """Finds the recorded runs of the family: of a like step first, then nearest in MACs, then in batch size.

    Of several that are alike the one in the middle counts: other work may have run beside some.

    Returns:
      the slowest last.
    """
    family = _family(type(config.model).__name__, reads_features=inputs.reads_features(config))
    macs = _macs(config, cost)

    def distance(speed: Speed) -> tuple[bool, float, float, int]:
        return (speed.step != _step(config), abs(math.log(speed.macs / macs)),
                abs(math.log(speed.batch_size / config.batch_size)), -speed.epochs)

    of_family = [speed for speed in known if speed.family == family]
    least = min(map(distance, of_family), default=None)
    return sorted((speed for speed in of_family if distance(speed) == least), key=lambda speed: speed.example_s)


def _wall_s(run: Run, data: Dataset, cost: records.Cost | None, speed: Speed, members: int) -> float:
    """Gives a run's share of its cohort's time: rounds of as many runs at once as the recorded ones."""
    examples = run.config.train_size or len(data.train.labels)
    epochs = budget.epochs(run.config, examples)
    trained = min(epochs * examples, budget.steps(run.config, examples) * run.config.batch_size)
    # In what training on an example takes.
    passes = trained + epochs * len(data.validation.labels) * speed.validation
    run_s = passes * speed.example_s * _macs(run.config, cost) / speed.macs
    return run_s * math.ceil(members / min(speed.at_once, members)) / members


def _disk_bytes(run: Run, train_examples: int, test_images: tuple[int, ...], cost: records.Cost | None
                ) -> int:
    """Counts a record and a checkpoint: trained, best and averaged weights, and the optimizer's state."""
    epochs, examples = budget.epochs(run.config, run.config.train_size or train_examples), test_images[0]
    record = (_RECORD + _PER_EPOCH * epochs + round(_PER_PREDICTION * examples)
              + _PICTURES * math.prod(test_images[1:]))
    if cost is None:
        return record
    return record + _PER_LAYER * len(cost.layers) + 2 * cost.gradients_bytes + cost.optimizer_bytes + cost.average_bytes


def _features_s(runs: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost],
                known: Sequence[Speed]) -> float | None:
    """Estimates the time for all features that runs read, from the backbone nearest in MACs."""
    needed = {inputs.key(run.config): run for run in runs if inputs.reads_features(run.config)}
    total = 0.0
    for which, run in needed.items():
        if run.run_id not in costs:
            return None
        macs = sum(layer.macs for layer in costs[run.run_id].layers if layer.beforehand)
        backbones = [speed.backbone for speed in known if speed.backbone]
        if not backbones:
            return None
        recorded_macs, image_s = min(backbones, key=lambda backbone: abs(math.log(backbone[0] / macs)))
        data = found[which].dataset
        total += sum(len(split.labels) for split in (data.train, data.validation, data.test)) * (
            image_s * macs / recorded_macs)
    return total
