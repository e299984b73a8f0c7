"""Random bits of dropout masks: the generator is the published one, and every bit is a fair coin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import random_bits

# In one program each, as they are in training.
bits16, threefry = jax.jit(random_bits.bits16, static_argnums=2), jax.jit(random_bits.threefry)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_the_generator_is_the_one_behind_jax_random(seed):
    key = jax.random.fold_in(jax.random.key(seed), 7)
    counts = jnp.arange(1001, dtype=jnp.uint32)
    first, second = threefry(key, jnp.zeros_like(counts), counts)
    np.testing.assert_array_equal(first ^ second, jax.random.bits(key, (1001,), jnp.uint32))


@pytest.mark.parametrize("size", [1, 4, 5, 4096, 100_003])
def test_every_value_has_bits_of_its_own(size):
    bits = np.asarray(bits16(jax.random.key(size), jnp.arange(3, dtype=jnp.uint32), size))
    assert bits.shape == (3, size)
    assert bits.dtype == np.uint16
    # Two values make a word, of which hardly any of these are drawn twice.
    words = np.ascontiguousarray(bits[:, :size // 2 * 2]).view(np.uint32)
    assert np.unique(words).size > words.size - 20
    bits = bits.reshape(-1)
    if size > 10_000:
        coins = (bits[:, None] >> np.arange(16) & 1) - 0.5
        # Six standard errors: of each bit's mean, and of each pair's correlation, neighbours' included.
        limit = 6 * 0.5 / bits.size**0.5
        assert np.abs(coins.mean(0)).max() < limit
        both = np.hstack([coins[:-1], coins[1:]])
        assert np.abs(both.T @ both / len(both) - np.eye(32) / 4).max() < limit / 2


def test_keys_and_members_under_vmap_differ_as_alone():
    keys = jax.random.split(jax.random.key(3), 4)
    places = jnp.arange(2, dtype=jnp.uint32)
    together = jax.jit(jax.vmap(lambda key: random_bits.bits16(key, places, 1000)))(keys)
    for key, drawn in zip(keys, together, strict=True):
        np.testing.assert_array_equal(drawn, bits16(key, places, 1000))
    assert len(np.unique(np.asarray(together).reshape(8, -1), axis=0)) == 8


def test_an_example_s_bits_follow_from_its_place_alone():
    key, places = jax.random.key(5), jnp.arange(7, dtype=jnp.uint32)
    whole = bits16(key, places, 33)
    np.testing.assert_array_equal(bits16(key, places[4:], 33), whole[4:])
