import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from in_one_program import values_and_gradients
from jax import lax

from models import convolution


def reference(images, kernel, padding, stride=1, window=1):
    scores = lax.conv_general_dilated(images, kernel, (stride, stride), padding.upper(),
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"))
    shape = (1, window, window, 1)
    return lax.reduce_window(scores, -jnp.inf, lax.max, shape, shape, "VALID")


def assert_close(ours, theirs):
    """Within 1e-5 of the scale of the values."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


def assert_equals_lax(shape, channels, filters, size, padding, stride, window, seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(*shape, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, filters)), jnp.float32) / size / channels ** 0.5
    assert jax.default_backend() == "cpu"
    sides = [lambda *args, form=form: form(*args, padding, stride, window)
             for form in (convolution.conv_max_pool, reference)]
    gradient = jnp.asarray(rng.normal(size=jax.eval_shape(sides[1], images, kernel).shape), jnp.float32)
    for got, expected in zip(*values_and_gradients(sides, gradient, images, kernel), strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize(("shape", "channels", "filters", "size", "padding", "stride", "window"), [
    ((1, 6, 6), 1, 1, 1, "valid", 1, 1),   # nothing but a product
    ((3, 11, 8), 3, 5, 3, "same", 1, 2),   # rows that the windows do not divide
    ((8, 7, 10), 3, 5, 5, "same", 2, 2),   # a stride, and padding that differs from side to side
    ((20, 9, 11), 1, 5, 2, "valid", 3, 1),  # a stride wider than the kernel
    ((3, 8, 11), 3, 1, 3, "valid", 1, 3),
])
def test_values_and_gradients_equal_those_of_lax(shape, channels, filters, size, padding, stride, window):
    assert_equals_lax(shape, channels, filters, size, padding, stride, window)


@pytest.mark.parametrize(("shape", "channels", "filters", "padding", "window"), [
    ((1, 5, 5), 16, 20, "valid", 1), ((3, 8, 9), 20, 16, "same", 2), ((20, 9, 6), 16, 16, "valid", 3)])
def test_winograds_form_equals_lax(shape, channels, filters, padding, window):
    assert_equals_lax(shape, channels, filters, 3, padding, 1, window)


# No shrinking: each example compiles anew, and the first failure says enough.
MANY = settings(max_examples=30, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@pytest.mark.slow
@MANY
@given(batch=st.sampled_from([1, 3, 8, 20]), height=st.integers(6, 11), width=st.integers(6, 11),
       channels=st.sampled_from([1, 3]), filters=st.sampled_from([1, 5]), size=st.sampled_from([1, 2, 3, 5]),
       padding=st.sampled_from(["valid", "same"]), stride=st.integers(1, 3), window=st.sampled_from([1, 2, 3]),
       seed=st.integers(0, 9))
def test_values_and_gradients_equal_those_of_lax_whatever_the_sizes(
        batch, height, width, channels, filters, size, padding, stride, window, seed):
    window = min(window, (min(height, width) - size) // stride + 1)
    assert_equals_lax((batch, height, width), channels, filters, size, padding, stride, window, seed)


@pytest.mark.slow
@MANY
@given(batch=st.sampled_from([1, 3, 20]), height=st.integers(5, 9), width=st.integers(5, 9),
       channels=st.sampled_from([16, 20]), filters=st.sampled_from([16, 20]),
       padding=st.sampled_from(["valid", "same"]), window=st.sampled_from([1, 2, 3]), seed=st.integers(0, 9))
def test_winograds_form_equals_lax_whatever_the_sizes(batch, height, width, channels, filters, padding, window, seed):
    assert_equals_lax((batch, height, width), channels, filters, 3, padding, 1, window, seed)


@pytest.mark.parametrize(("channels", "filters", "size", "stride", "dtype", "used"), [
    (16, 16, 3, 1, "float32", True), (15, 16, 3, 1, "float32", False), (16, 15, 3, 1, "float32", False),
    (16, 16, 5, 1, "float32", False), (16, 16, 3, 2, "float32", False), (16, 16, 3, 1, "bfloat16", False)])
def test_winograds_form_is_used_where_it_suits(monkeypatch, channels, filters, size, stride, dtype, used):
    calls = []
    whole = convolution._winograd_corners
    monkeypatch.setattr(convolution, "_winograd_corners", lambda *args: calls.append(1) or whole(*args))
    images, kernel = jnp.ones((1, 7, 7, channels), dtype), jnp.ones((size, size, channels, filters), dtype)
    assert convolution.conv_max_pool(images, kernel, "valid", stride).dtype == dtype
    assert bool(calls) == used


def test_a_tie_sends_its_gradient_to_one_position_as_lax_does():
    images, kernel = jnp.ones((2, 6, 6, 1)), jnp.ones((3, 3, 1, 1))
    ours, theirs = (jax.jit(jax.grad(lambda images, form=form: form(images, kernel, "valid", window=2).sum()))(images)
                    for form in (convolution.conv_max_pool, reference))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_other_platforms_use_lax_and_agree(monkeypatch, padding):
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
    here = jax.jit(lambda images: convolution.conv_max_pool(images, kernel, padding, window=2))(images)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = jax.jit(lambda images: convolution.conv_max_pool(images, kernel, padding, window=2))
    assert "conv_general_dilated" in str(jax.make_jaxpr(elsewhere)(images))
    np.testing.assert_allclose(here, elsewhere(images), atol=1e-5)
