"""Training as in `train`, of examples that come in chunks because a device cannot hold them all. Pure, of one run.

Batches, what is drawn for them and the order of every sum are those of a run whose examples are on the device.
"""

import functools
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Bool, Int

from harness.training import batches, train
from harness.training.state import Chunk, Examples, Sums, TestResult, TrainState, Weights, is_active, scored
from harness.training.train import Program

# What comes of examples, as `train.evaluate_parts` gives it; where several devices split batches, [step, device, ...].
Parts = list[TestResult]


def order(program: Program, state: TrainState, axis_name: str | None = None, *, size: int
          ) -> tuple[Bool[Array, ""], Int[Array, " example"]]:
    """Tells whether a run has epochs left, and the order of its next one."""
    return is_active(state), batches.shuffled(state.seed, state.epoch, size)


def train_chunk(program: Program, state: TrainState, traced: Any, trained: Sums, examples: Examples,
                labels: Int[Array, " example"], first: Int[Array, ""], steps: Int[Array, ""],
                axis_name: str | None = None) -> tuple[TrainState, Sums]:
    """Goes on with an epoch, from step `first` until so many are done: see `train.train_epoch` and `state.Chunk`."""
    return train.train_epoch(program, state, traced, examples, steps, axis_name, Chunk(first, trained, labels))


def validate_chunk(program: Program, state: TrainState, traced: Any, examples: Examples, axis_name: str | None = None
                   ) -> dict[str, Parts]:
    """Scores some validation examples in a row; nothing of a finished run."""
    def score(state: TrainState) -> dict[str, Parts]:
        return {"last": _parts(program, scored(state), traced, examples, axis_name)}

    return lax.cond(is_active(state), score, functools.partial(train.zeros, score), state)


def end_epoch(program: Program, state: TrainState, trained: Sums, validated: dict[str, Parts], count: Int[Array, ""],
              axis_name: str | None = None, *, size: int) -> tuple[TrainState, Sums]:
    """Ends an epoch as `train.end_epoch`, with what has come of all validation examples.

    Args:
      count: of these, as an input: XLA divides by a number that all runs share in another way than by one of each.
      size: the same.
    """
    sums = _joined(program, validated["last"], size, axis_name).sums
    state, _ = train.end_validated_epoch(program, state, trained, lambda state: sums._replace(examples=count))
    return state, sums


def score_chunk(program: Program, state: TrainState, traced: Any, examples: Examples, axis_name: str | None = None
                ) -> dict[str, Parts]:
    """Scores some test examples in a row, with the best and with the last weights of a run that has ended."""
    return train.of_both(state, lambda weights: _parts(
        program, weights, traced, examples, axis_name, program.config.tta))


def join_test(program: Program, tested: dict[str, Parts], axis_name: str | None = None, *, size: int
              ) -> dict[str, TestResult]:
    """Gives what `train.score_test` gives, from what has come of all test examples."""
    return {name: _joined(program, parts, size, axis_name) for name, parts in tested.items()}


def _parts(program: Program, weights: Weights, traced: Any, examples: Examples, axis_name: str | None,
           tta: str = "none") -> Parts:
    parts = train.evaluate_parts(program, weights, traced, examples, axis_name, tta)
    return lax.all_gather(parts, axis_name, axis=1) if axis_name else parts


def _joined(program: Program, parts: Parts, size: int, axis_name: str | None) -> TestResult:
    if axis_name:  # each device goes on with its own: it adds that up before they add theirs up together
        parts = jax.tree.map(lambda leaf: leaf[:, lax.axis_index(axis_name)], parts)
    return train.joined(program, parts, size, axis_name)
