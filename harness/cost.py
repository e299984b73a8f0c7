"""What a run's network costs in parameters, operations and memory. Called by `harness.executor`."""

import math
from typing import Any

import jax
from flax import nnx

from harness.records import Cost
from harness.train import Program, TrainState
from models.transfer import Frozen


def measure(program: Program, state: TrainState, rates: Any, input_shape: tuple[int, ...],
            compiled_bytes: int | None = None, measured_peak_bytes: int | None = None) -> Cost:
    """Counts a run's parameters and operations, and estimates the memory of a training step.

    The estimate counts all float32 parameters of the network, a gradient for each that is trained, the optimizer's
    state, and the output of every trained layer for one batch at the run's precision. A backbone is part of the network
    also where its features were computed beforehand. Data, evaluation and temporaries are in `compiled_bytes` alone.

    Args:
      state: of one run, or its abstract shapes.
      compiled_bytes: what the compiled program says of itself; None if it does not.
      measured_peak_bytes: see `harness.memory`; None if that cannot be told of this run.
    """
    config = program.config
    rows = program.network(state.weights, rates["model"]).rows(input_shape)
    number_bytes = 2 if config.precision == "bfloat16" else 4
    # A frozen backbone that runs in the step is held beside the weights.
    parameters = (tree_bytes(state.weights) + tree_bytes(nnx.filter_state(rates["model"], Frozen))
                  + 4 * sum(row.parameters for row in rows if row.beforehand))
    optimizer = tree_bytes(state.opt_state)
    gradients = tree_bytes(state.weights.params)
    outputs = sum(math.prod(row.output_shape) for row in rows if not row.frozen)
    activations = outputs * min(config.batch_size, config.train_size or config.batch_size) * number_bytes
    return Cost(
        layers=tuple(row._asdict() for row in rows), parameters=sum(row.parameters for row in rows),
        trainable_parameters=sum(row.parameters for row in rows if not row.frozen),
        macs_per_example=sum(row.macs for row in rows), parameters_bytes=parameters, gradients_bytes=gradients,
        optimizer_bytes=optimizer, activations_bytes=activations,
        memory_estimate_bytes=parameters + gradients + optimizer + activations, compiled_bytes=compiled_bytes,
        measured_peak_bytes=measured_peak_bytes)


def tree_bytes(tree: Any) -> int:
    """Counts the bytes of all arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
