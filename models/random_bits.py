"""Random bits for dropout masks, in the form that costs least.

`jax.random.bits` loops over the generator's rounds on a CPU and drops half of what each block gives, which took a
tenth of the time of training a small dense network.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt16, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def bits16(key: Array, places: UInt32[Array, " batch"], size: int) -> UInt16[Array, "batch size"]:
    """Draws 16 bits for each of `size` values of every example: four from every block of the generator.

    An example's bits follow from the key and its place alone, whatever other examples are drawn for beside it.

    Args:
      places: each example's place in the batch.

    Source: Threefry-2x32 with 20 rounds, Salmon et al. 2011, sec. 4; the generator behind `jax.random.key`.
    """
    shape = places.size, -(-size // 4)
    blocks = lax.broadcasted_iota(jnp.uint32, shape, 1)
    # Without the barrier every value would compute its block anew, forward and backward.
    words = lax.optimization_barrier(threefry(key, jnp.broadcast_to(places[:, None], shape), blocks))
    return lax.bitcast_convert_type(jnp.concatenate(words, 1), jnp.uint16).reshape(places.size, -1)[:, :size]


def threefry(key: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Encrypts blocks of two uint32 with the two words of a key."""
    first, second = jax.random.key_data(key)
    keys = first, second, first ^ second ^ jnp.uint32(_PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ (x1 << rotation | x1 >> 32 - rotation)
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1
