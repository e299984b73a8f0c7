"""One run's state between two epochs, and what its steps add up to. Every part is an array or a tree of arrays."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

HISTORY = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


class Examples(NamedTuple):
    """A split on the device."""

    images: UInt8[Array, "example height width channel"] | Float[Array, "example feature"]
    labels: Int[Array, " example"]


class Weights(NamedTuple):
    """What a forward pass needs: trainable parameters, and what it keeps up itself, as batch norm's statistics."""

    params: Any
    statistics: Any


class TrainState(NamedTuple):
    """One run between two epochs: all that a checkpoint must hold.

    Attributes:
      weights, opt_state: after the last step.
      seed: the run's; with epoch and step it determines all randomness.
      epoch, step: how many of each are behind it.
      best: the weights at the best epoch so far, as `scored` gives them.
      best_value, best_epoch: the monitored validation value there, and the epoch, from 1; 0 before the first.
      anchor, waited: the value that early stopping compares with, and the epochs since it was set.
      stopped, diverged: whether early stopping ended the run; whether a loss was not finite.
      history: a row per epoch with the columns of `HISTORY`; NaN ahead of the run.
      average: the moving average of the weights and statistics; None where none is kept.
      non_finite: steps whose gradient's norm was not finite; None where no run outlives one.
    """

    weights: Weights
    opt_state: Any
    seed: Int[Array, ""]
    epoch: Int[Array, ""]
    step: Int[Array, ""]
    best: Weights
    best_value: Float[Array, ""]
    best_epoch: Int[Array, ""]
    anchor: Float[Array, ""]
    waited: Int[Array, ""]
    stopped: Bool[Array, ""]
    diverged: Bool[Array, ""]
    history: Float[Array, "epoch metric"]
    average: Weights | None = None
    non_finite: Int[Array, ""] | None = None


class Sums(NamedTuple):
    """Totals over examples; padding counts nowhere."""

    loss: Float[Array, ""]
    correct: Int[Array, ""]
    examples: Int[Array, ""]


class Chunk(NamedTuple):
    """Where examples stand in their epoch when they are streamed, so that a device holds those of some steps alone.

    Attributes:
      first: the step that they begin with; they are in the order of the epoch.
      trained: totals of the steps before.
      labels: of all examples of the epoch.
    """

    first: Int[Array, ""]
    trained: Sums
    labels: Int[Array, " example"]


class TestResult(NamedTuple):
    """One state's outcome on the test set.

    Attributes:
      predicted: class of the highest logit.
      probability: the softmax of that logit.
      rank: how many classes come before the true one, which is 0 where the prediction is right.
      logits: None unless the program keeps them.
      tta_predicted: class of the highest of the probabilities averaged over views; None without test-time augmentation.
    """

    sums: Sums
    predicted: Int[Array, " example"]
    probability: Float[Array, " example"]
    rank: Int[Array, " example"]
    logits: Float[Array, "example class"] | None = None
    tta_predicted: Int[Array, " example"] | None = None


def is_active(state: TrainState) -> Bool[Array, ""]:
    """Whether the run has epochs left to train."""
    return ~state.stopped & ~state.diverged & (state.epoch < len(state.history))


def scored(state: TrainState) -> Weights:
    """Gives the weights that are validated, tested and kept: their moving average where one is kept."""
    return state.weights if state.average is None else state.average


def no_sums() -> Sums:
    """Gives the totals of nothing."""
    return Sums(jnp.float32(0), jnp.int32(0), jnp.int32(0))
