"""What a run's network costs in parameters, operations and memory."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

from ablations.spec import Run, SpecError
from harness.data import Dataset, inputs
from harness.data.inputs import Inputs
from harness.records import Cost, Layer
from harness.training import cohort, schedule, train
from harness.training.train import Program, TrainState
from models import Row, TransferConfig, plain, written
from models.transfer import Frozen


def measure(program: Program, state: TrainState, traced: Any, input_shape: tuple[int, ...],
            compiled_bytes: int | None = None, measured_peak_bytes: int | None = None,
            rows: Sequence[Row] | None = None) -> Cost:
    """Counts a run's parameters and operations, and estimates the memory of a training step.

    The estimate counts all float32 parameters of the network, a gradient for each that is trained, the optimizer's
    state with the gradients that it accumulates, the moving average of the weights if one is kept, and the output of
    every trained layer for one batch at the run's precision. A backbone is part of the network also where its features
    were computed beforehand. Data, evaluation and temporaries are in `compiled_bytes` alone.

    Args:
      state: of one run, or its abstract shapes.
      compiled_bytes: what the compiled program says of itself; None if it does not.
      measured_peak_bytes: see `harness.training.memory`; None if that cannot be told of this run.
      rows: the layer table, where it is at hand.
    """
    config = program.config
    rows = rows or train.rows(program, state, traced, input_shape)
    number_bytes = 2 if config.precision == "bfloat16" else 4
    # A frozen backbone that runs in the step is held beside the weights.
    parameters = (tree_bytes(state.weights) + tree_bytes(nnx.filter_state(traced["model"], Frozen))
                  + 4 * sum(row.parameters for row in rows if row.beforehand))
    optimizer, average = tree_bytes(state.opt_state), tree_bytes(state.average)
    gradients = tree_bytes(state.weights.params)
    outputs = sum(math.prod(row.output_shape) for row in rows if row.output_shape and not row.frozen)
    activations = outputs * min(config.batch_size, config.train_size or config.batch_size) * number_bytes
    return Cost(
        layers=tuple(Layer(**row._asdict()) for row in rows), parameters=sum(row.parameters for row in rows),
        trainable_parameters=sum(row.parameters for row in rows if not row.frozen),
        macs_per_example=sum(row.macs for row in rows), parameters_bytes=parameters, gradients_bytes=gradients,
        optimizer_bytes=optimizer, activations_bytes=activations,
        memory_estimate_bytes=parameters + gradients + optimizer + activations + average,
        compiled_bytes=compiled_bytes, measured_peak_bytes=measured_peak_bytes, average_bytes=average)


def measure_all(runs: Sequence[Run], found: Mapping[Hashable, Inputs], tell: Callable[[str], None] = print
                ) -> dict[str, Cost]:
    """Works out each run's cost, once per cohort and allocating nothing, and so whether it fits its data.

    Args:
      found: `inputs.key` -> inputs, of all runs.
      tell: is given a line for each network whose cost cannot be told.

    Returns:
      run_id -> cost; without those.

    Raises:
      SpecError: if a config does not fit its data, naming the cell.
    """
    costs: dict[str, Cost] = {}
    for members in cohort.partition(runs):
        run = members[0]
        dataset = found[inputs.key(run.config)].dataset
        shape, channels = inputs.input_shape(run.config, dataset), dataset.image_shape[2]
        examples = _examples(run, dataset)
        if isinstance(run.config.model, TransferConfig) and channels not in (1, 3):
            raise SpecError(f"{run.cell}: {dataset.name} has images of {channels} channels; MobileNetV2 takes 1 or 3")
        try:
            for run in members:  # strengths are traced: no part of the program that they share
                if run.config.augment.is_on:
                    run.config.augment.check_images(*shape)
            run = members[0]
            needed = measure(*train.abstract_init(run.config, dataset.num_classes, shape, examples), shape)
        except ValueError as error:
            raise SpecError(f"{run.cell} on {dataset.name}: {error}") from None
        except Exception as error:  # a stranger's network may raise anything; what it is will be seen in training
            tell(f"warning: what {run.cell} costs is unknown: {plain.told(error)}")
            continue
        costs |= dict.fromkeys((member.run_id for member in members), needed)
    return costs


def check_whole(runs: Iterable[Run], found: Mapping[Hashable, Inputs]) -> None:
    """Checks what of runs a trial cuts short: their sizes and schedules.

    Args:
      runs: uncut.
      found: as for `measure_all`, of those data sets that are read.

    Raises:
      SpecError: if one does not fit its data.
    """
    for run in runs:
        if (read := found.get(inputs.key(run.config))) is not None:
            try:
                _examples(run, read.dataset)
            except SpecError as error:
                raise SpecError(f"without --smoke: {error}") from None


def _examples(run: Run, dataset: Dataset) -> int:
    """Counts the examples that a run trains on; its batches and its schedule must fit them."""
    config, size = run.config, len(dataset.train.labels)
    if (config.train_size or 0) > size:
        raise SpecError(f"train_size={config.train_size}, but {dataset.name} has {size} training examples; give "
                        f"--set=train_size={size} or less")
    if config.batch_size > (size := config.train_size or size):
        raise SpecError(f"batch_size={config.batch_size}, but there are {size} training examples of {dataset.name} in "
                        "a run: give at most that")
    try:
        schedule.check(config, size)
    except ValueError as error:
        raise SpecError(f"{run.cell} on {dataset.name}: {error}") from None
    return size


def faster_forms(run: Run, found: Inputs) -> str:
    """Tells how a network of one's own would train faster on this platform; empty if nothing is known."""
    shape, model = inputs.input_shape(run.config, found.dataset), run.config.model
    try:
        network = written.abstract(lambda: plain.built(model, found.dataset.num_classes, shape, train.streams(0)))
        layers = plain.faster_convolutions(network)
    except Exception:  # a stranger's network may raise anything; it is told where it is trained
        return ""
    if not layers:
        return ""
    return (f"{type(model).__name__} would train faster on a CPU with models.Conv in place of nnx.Conv, which takes "
            f"the same arguments and has the same parameters and values: from models import Conv ({len(layers)} "
            f"layers, the first is {layers[0]})")


def tree_bytes(tree: Any) -> int:
    """Counts the bytes of all arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
