"""Random bits for dropout masks, in the form that costs least. Called by `models.layers`.

`jax.random.bits` loops over the generator's rounds on a CPU and drops half of what each block gives, which took a tenth
of the time of training a small dense network.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt16

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def bits16(key: Array, size: int) -> UInt16[Array, " size"]:
    """Draws 16 bits for each of `size` values: four from every block of the generator.

    Source: Threefry-2x32 with 20 rounds, Salmon et al. 2011, sec. 4; the generator behind `jax.random.key`.
    """
    blocks = -(-size // 4)
    counts = lax.iota(jnp.uint32, blocks)
    # Without the barrier every value would compute its block anew, forward and backward.
    words = lax.optimization_barrier(threefry(key, jnp.zeros_like(counts), counts))
    return lax.bitcast_convert_type(jnp.concatenate(words), jnp.uint16).reshape(-1)[:size]


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
