from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from in_one_program import values_and_gradients
from jax import lax

from models import conv_cpu, convolution


def reference(images, kernel, padding, stride=1, window=1):
    scores = lax.conv_general_dilated(images, kernel, (stride, stride), padding.upper(),
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"))
    shape = (1, window, window, 1)
    return lax.reduce_window(scores, -jnp.inf, lax.max, shape, shape, "VALID")


def in_form(form):
    def computed(*args, **named):
        with convolution.using(form):
            return convolution.conv_max_pool(*args, **named)

    return computed


def assert_close(ours, theirs):
    """Within 1e-5 of the scale of the values."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


def assert_equals_lax(shape, channels, filters, size, padding, stride, window, form="winograd", seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(*shape, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, filters)), jnp.float32) / size / channels ** 0.5
    assert jax.default_backend() == "cpu"
    sides = [lambda *args, side=side: side(*args, padding, stride, window) for side in (in_form(form), reference)]
    gradient = jnp.asarray(rng.normal(size=jax.eval_shape(sides[1], images, kernel).shape), jnp.float32)
    for got, expected in zip(*values_and_gradients(sides, gradient, images, kernel), strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize("form", ["lax", "patches", "blocked"])
@pytest.mark.parametrize(("shape", "channels", "filters", "size", "padding", "stride", "window"), [
    ((1, 6, 6), 1, 1, 1, "valid", 1, 1),   # nothing but a product
    ((3, 11, 8), 3, 5, 3, "same", 1, 2),   # rows that the windows do not divide
    ((8, 7, 10), 3, 5, 5, "same", 2, 2),   # a stride, and padding that differs from side to side
    ((20, 9, 11), 1, 5, 2, "valid", 3, 1),  # a stride wider than the kernel
    ((3, 8, 11), 1, 5, 3, "valid", 1, 3),
])
def test_values_and_gradients_equal_those_of_lax(shape, channels, filters, size, padding, stride, window, form):
    assert_equals_lax(shape, channels, filters, size, padding, stride, window, form)


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", ["lax", "patches", "blocked"])
def test_of_several_kernels_at_once_each_is_its_own(form, channels):
    """As under the vmap of a cohort."""
    images = jax.random.normal(jax.random.key(0), (2, 4, 6, 6, channels))
    kernels = jax.random.normal(jax.random.key(1), (2, 3, 3, channels, 4))

    def both(images, kernel):
        value, back = jax.vjp(lambda *args: in_form(form)(*args, "valid", window=2), images, kernel)
        return value, *back(jnp.cos(value))

    together, alone = jax.jit(jax.vmap(both))(images, kernels), jax.jit(both)
    for member in range(2):
        for ours, own in zip(together, alone(images[member], kernels[member]), strict=True):
            assert_close(ours[member], own)


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
       form=st.sampled_from(get_args(convolution.Form)), seed=st.integers(0, 9))
def test_values_and_gradients_equal_those_of_lax_whatever_the_sizes(
        batch, height, width, channels, filters, size, padding, stride, window, form, seed):
    window = min(window, (min(height, width) - size) // stride + 1)
    assert_equals_lax((batch, height, width), channels, filters, size, padding, stride, window, form, seed)


@pytest.mark.slow
@MANY
@given(batch=st.sampled_from([1, 3, 20]), height=st.integers(5, 9), width=st.integers(5, 9),
       channels=st.sampled_from([16, 20]), filters=st.sampled_from([16, 20]),
       padding=st.sampled_from(["valid", "same"]), window=st.sampled_from([1, 2, 3]), seed=st.integers(0, 9))
def test_winograds_form_equals_lax_whatever_the_sizes(batch, height, width, channels, filters, padding, window, seed):
    assert_equals_lax((batch, height, width), channels, filters, 3, padding, 1, window, seed=seed)


@pytest.mark.parametrize(("channels", "filters", "size", "stride", "dtype", "used"), [
    (16, 16, 3, 1, "float32", True), (15, 16, 3, 1, "float32", False), (16, 15, 3, 1, "float32", False),
    (16, 16, 5, 1, "float32", False), (16, 16, 3, 2, "float32", False), (16, 16, 3, 1, "bfloat16", False)])
def test_winograds_form_is_used_where_it_suits(monkeypatch, channels, filters, size, stride, dtype, used):
    calls = []
    whole = conv_cpu._winograd_corners
    monkeypatch.setattr(conv_cpu, "_winograd_corners", lambda *args: calls.append(1) or whole(*args))
    images, kernel = jnp.ones((1, 7, 7, channels), dtype), jnp.ones((size, size, channels, filters), dtype)
    assert convolution.conv_max_pool(images, kernel, "valid", stride).dtype == dtype
    assert bool(calls) == used


@pytest.mark.parametrize("form", ["lax", "patches", "blocked"])
def test_a_tie_sends_its_gradient_to_one_position_as_lax_does(form):
    images, kernel = jnp.ones((2, 6, 6, 1)), jnp.ones((3, 3, 1, 1))
    ours, theirs = (jax.jit(jax.grad(lambda images, side=side: side(images, kernel, "valid", window=2).sum()))(images)
                    for side in (in_form(form), reference))
    np.testing.assert_array_equal(ours, theirs)


def test_an_accelerator_leaves_a_single_run_to_xla_and_never_several(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images, kernel = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 4))
    alone, several = (str(jax.make_jaxpr(lambda images, form=form: in_form(form)(images, kernel, "valid"))(images))
                      for form in (None, "patches"))
    assert "conv_general_dilated" in alone
    assert "conv_general_dilated" not in several


@pytest.mark.parametrize("form", ["lax", "winograd"])
def test_pooling_alone_equals_that_of_lax(form):
    images = jnp.round(jax.random.normal(jax.random.key(0), (2, 7, 8, 3)))  # with ties
    shape = (1, 3, 3, 1)

    def ours(images):
        with convolution.using(form):
            return convolution.max_pool(images, 3)

    sides = [ours, lambda images: lax.reduce_window(images, -jnp.inf, lax.max, shape, shape, "VALID")]
    gradient = jax.random.normal(jax.random.key(1), (2, 2, 2, 3))
    for got, expected in zip(*values_and_gradients(sides, gradient, images), strict=True):
        np.testing.assert_array_equal(got, expected)
