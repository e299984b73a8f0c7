"""Which examples a batch holds, where each of them stands, and the randomness that follows from that."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, UInt32

# By name: the default is the user's to change, and dropout draws from this one's blocks.
GENERATOR = "threefry2x32"
# One stream of randomness per use, so that adding a use changes no other.
INIT, SHUFFLE, DROPOUT, AUGMENT, MIXUP, STREAMS, CUTMIX = range(7)
# Examples that validation and test score at once, if they are no larger than this many pixels.
SCORED_AT_ONCE, SCORED_PIXELS = 500, 96 * 96


def scored_at_once(shape: tuple[int, ...]) -> int:
    """Says how many examples of a shape validation and test score at once.

    Of large pictures fewer: what layers make of them would take more memory than training, whose batches are smaller.
    """
    return min(SCORED_AT_ONCE, max(1, SCORED_AT_ONCE * SCORED_PIXELS // math.prod(shape[:2])))


def cut(order: Int[Array, " example"], batch_size: int, axis_name: str | None, whole: bool
        ) -> list[tuple[Int[Array, "step batch"], Bool[Array, "step batch"]]]:
    """Cuts an order into batches, padded to one size; with `axis_name`, into this device's share of each.

    Args:
      whole: leaves what is left at the end as it is, in a part of its own.

    Returns:
      of each part, which examples, and which of them are real.
    """
    if whole:
        full = order.size // batch_size * batch_size
        parts = [order[:full].reshape(-1, batch_size), order[None, full:]]
        return [(part, jnp.ones(part.shape, bool)) for part in parts if part.size]
    steps = -(-order.size // batch_size)
    devices = lax.axis_size(axis_name) if axis_name else 1
    share = -(-batch_size // devices)
    wider = share * devices - batch_size
    real = (jnp.arange(steps * batch_size) < order.size).reshape(steps, -1)
    order = jnp.pad(order, (0, steps * batch_size - order.size)).reshape(steps, -1)
    order, real = (jnp.pad(values, ((0, 0), (0, wider))).reshape(steps, devices, share) for values in (order, real))
    mine = lax.axis_index(axis_name) if axis_name else 0
    return [(order[:, mine], real[:, mine])]


def shuffled(seed: Array, epoch: Array, size: int) -> Int[Array, " example"]:
    """Draws the order in which an epoch goes through so many examples."""
    return jax.random.permutation(key(seed, SHUFFLE, epoch), size)


def key(seed: Array, use: int, count: Array) -> Array:
    """Gives the key of a use at its count, such as the step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), use), count)


def places(size: int, axis_name: str | None) -> UInt32[Array, " batch"]:
    """Numbers the examples through the whole batch: what is drawn for one follows from that, however it is split."""
    first = lax.axis_index(axis_name).astype(jnp.uint32) * size if axis_name else jnp.uint32(0)
    return jnp.arange(size, dtype=jnp.uint32) + first


def scaled(images: Array) -> Array:
    """Scales pixels to [0, 1]."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images  # features are as they are


def agreed(values: Any, axis_name: str) -> Any:
    """Says to shard_map that values are the same on all devices, which they are already; whole numbers stay such."""
    return jax.tree.map(lambda leaf: (lax.pmean if jnp.issubdtype(leaf.dtype, jnp.floating) else lax.pmax)(
        leaf, axis_name), values)
