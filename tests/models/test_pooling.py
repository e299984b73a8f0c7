import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_one_program import values_and_gradients

from models import conv_cpu, convolution
from models.convolution import max_pool


@pytest.mark.parametrize(("sides", "window"), [((8, 6), 2), ((7, 9), 3), ((5, 5), 2)])
def test_values_and_gradients_are_those_of_reduce_window_also_at_ties(sides, window):
    """Whole numbers from 0 to 3 tie in most windows."""
    images = jax.random.randint(jax.random.key(0), (3, *sides, 4), 0, 4).astype(jnp.float32)
    weights = jax.random.normal(jax.random.key(1), (3, *(side // window for side in sides), 4))


    def ours(images):
        return max_pool(images, window)

    def xlas(images):
        with convolution.using("as_written"):
            return convolution.max_pool(images, window)

    for one, other in zip(*values_and_gradients((ours, xlas), weights, images), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_window_of_one_leaves_the_images_as_they_are():
    images = jnp.ones((1, 3, 3, 2))
    assert max_pool(images, 1) is images


@pytest.mark.parametrize("winograd", [False, True])
def test_a_kernels_gradient_in_bfloat16_is_summed_with_all_digits_over_many_chunks(winograd):
    """A batch of a prime number of images goes one by one; each adds a five hundredth."""
    def gradient(dtype):
        images, kernel = jnp.ones((509, 6, 6, 1), dtype), jnp.full((3, 3, 1, 2), 0.5, dtype)
        return jax.grad(lambda kernel: conv_cpu.conv_max_pool(images, kernel, "same", 1, 2, winograd).sum(
            dtype=jnp.float32))(kernel)

    np.testing.assert_allclose(gradient(jnp.bfloat16).astype(jnp.float32), gradient(jnp.float32), rtol=0.01)
