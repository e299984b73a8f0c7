import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import convolution
from models.pooling import max_pool


@pytest.mark.parametrize(("sides", "window"), [((8, 6), 2), ((7, 9), 3), ((5, 5), 2)])
def test_values_and_gradients_are_those_of_reduce_window_also_at_ties(sides, window):
    """Whole numbers from 0 to 3 tie in most windows."""
    images = jax.random.randint(jax.random.key(0), (3, *sides, 4), 0, 4).astype(jnp.float32)
    weights = jax.random.normal(jax.random.key(1), (3, *(side // window for side in sides), 4))

    def pooled_and_gradient(pool):
        return pool(images, window), jax.grad(lambda images: (pool(images, window) * weights).sum())(images)

    for ours, theirs in zip(pooled_and_gradient(max_pool), pooled_and_gradient(convolution.max_pool), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_window_of_one_leaves_the_images_as_they_are():
    images = jnp.ones((1, 3, 3, 2))
    assert max_pool(images, 1) is images
