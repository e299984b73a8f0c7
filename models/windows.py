"""The windows of a max pooling: the highest of each, which of its positions that was, and the way back."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def highest(corners: Sequence[Array]) -> tuple[Array, UInt8[Array, "..."]]:
    """Takes the maximum of a window's positions, given one by one, and says which was the first to have it.

    Which one won takes a byte; keeping all scores for the backward pass would take as many floats as there are.
    """
    top = functools.reduce(jnp.maximum, corners)
    if len(corners) == 1:
        return top, jnp.zeros((), jnp.uint8)
    winner = jnp.full(top.shape, len(corners) - 1, jnp.uint8)
    for position in reversed(range(len(corners) - 1)):
        winner = jnp.where(corners[position] == top, jnp.uint8(position), winner)
    return top, winner


def score_gradient(winner: UInt8[Array, "batch row column filter"], gradient: Float[Array, "batch row column filter"],
                   window: int) -> Float[Array, "batch height width filter"]:
    """Gives each window's gradient to its winner and zero to the rest."""
    if window == 1:
        return gradient
    position = jnp.arange(window ** 2, dtype=jnp.uint8).reshape(1, 1, window, 1, window, 1)
    won = winner[:, :, None, :, None] == position
    batch, height, width, filters = gradient.shape
    return jnp.where(won, gradient[:, :, None, :, None], 0).reshape(batch, height * window, width * window, filters)


def taps(size: int, top: int = 0, left: int = 0) -> Iterator[tuple[int, int]]:
    """Lists the positions of a square in row order, as rows and columns from its top left corner on."""
    return itertools.product(range(top, top + size), range(left, left + size))
