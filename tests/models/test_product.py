"""The dense layer's product: what it gives and what flows back."""

import jax
import numpy as np
import pytest

from models.product import product


@pytest.mark.parametrize(("batch", "inputs", "units"), [(1, 3, 2), (32, 50, 7), (5, 1, 4), (128, 20, 10)])
def test_values_and_gradients_are_those_of_the_plain_product(batch, inputs, units):
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (batch, inputs)), jax.random.normal(keys[1], (inputs, units))
    weights = jax.random.normal(keys[2], (batch, units))

    def through(multiply):
        return jax.jit(jax.value_and_grad(lambda x, kernel: (weights * multiply(x, kernel) ** 2).sum(), (0, 1)))

    value, gradients = through(product)(x, kernel)
    expected, expected_gradients = through(lambda x, kernel: x @ kernel)(x, kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_members_under_vmap_get_their_own_gradients():
    x = jax.random.normal(jax.random.key(0), (3, 4, 5))
    kernel = jax.random.normal(jax.random.key(1), (3, 5, 2))
    gradient = jax.grad(lambda x, kernel: (product(x, kernel) ** 2).sum(), (0, 1))
    for member, together in enumerate(zip(*jax.vmap(gradient)(x, kernel), strict=True)):
        for ours, alone in zip(together, gradient(x[member], kernel[member]), strict=True):
            np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_images_is_not_computed_unless_asked_for():
    x, kernel = np.ones((4, 5), np.float32), np.ones((5, 2), np.float32)
    kernel_only = str(jax.make_jaxpr(jax.grad(lambda kernel: product(x, kernel).sum()))(kernel))
    both = str(jax.make_jaxpr(jax.grad(lambda x, kernel: product(x, kernel).sum(), (0, 1)))(x, kernel))
    assert (kernel_only.count("dot_general"), both.count("dot_general")) == (2, 3)
