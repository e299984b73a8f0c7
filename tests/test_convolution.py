import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax import lax

from models import convolution


def reference(images, kernel, padding, window):
    scores = lax.conv_general_dilated(images, kernel, (1, 1), padding.upper(),
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"))
    shape = (1, window, window, 1)
    return lax.reduce_window(scores, -jnp.inf, lax.max, shape, shape, "VALID")


# No shrinking: each example compiles anew, and the first failure says enough.
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(batch=st.sampled_from([1, 3, 8, 20]), height=st.integers(6, 11), width=st.integers(6, 11),
       channels=st.sampled_from([1, 3]), filters=st.sampled_from([1, 5]), size=st.sampled_from([1, 3, 5]),
       padding=st.sampled_from(["valid", "same"]), window=st.sampled_from([1, 2]), seed=st.integers(0, 9))
def test_values_and_gradients_equal_those_of_lax(batch, height, width, channels, filters, size, padding, window, seed):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(batch, height, width, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, filters)), jnp.float32) / size

    def loss(function):
        return lambda images, kernel: jnp.mean(jnp.sin(function(images, kernel, padding, window)))

    assert jax.default_backend() == "cpu"
    got, got_gradients = jax.value_and_grad(loss(convolution.conv_max_pool), (0, 1))(images, kernel)
    expected, expected_gradients = jax.value_and_grad(loss(reference), (0, 1))(images, kernel)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    for ours, theirs in zip(got_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_conv_without_pooling_equals_lax():
    images = jax.random.normal(jax.random.key(0), (4, 9, 7, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 6))
    ours = convolution.conv(images, kernel, "same")
    np.testing.assert_allclose(ours, reference(images, kernel, "same", 1), atol=1e-5)


def test_a_tie_sends_its_gradient_to_one_position_as_lax_does():
    images, kernel = jnp.ones((2, 6, 6, 1)), jnp.ones((3, 3, 1, 1))
    ours = jax.grad(lambda images: convolution.conv_max_pool(images, kernel, "valid", 2).sum())(images)
    theirs = jax.grad(lambda images: reference(images, kernel, "valid", 2).sum())(images)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_other_platforms_use_lax_and_agree(monkeypatch, padding):
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
    here = convolution.conv_max_pool(images, kernel, padding, 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = jax.make_jaxpr(lambda images: convolution.conv_max_pool(images, kernel, padding, 2))(images)
    assert "conv_general_dilated" in str(elsewhere)
    np.testing.assert_allclose(here, convolution.conv_max_pool(images, kernel, padding, 2), atol=1e-5)
