import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from jax import lax

from models import conv_cpu, convolution


def reference(images, kernel, padding, stride=1, window=1):
    scores = lax.conv_general_dilated(images, kernel, (stride, stride), padding.upper(),
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"))
    shape = (1, window, window, 1)
    return lax.reduce_window(scores, -jnp.inf, lax.max, shape, shape, "VALID")


def assert_close(ours, theirs):
    """Within 1e-5 of the scale of the values."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


def assert_equals_lax(shape, channels, filters, size, padding, stride, window, seed=0, form=None):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(*shape, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, channels, filters)), jnp.float32) / size / channels ** 0.5
    assert jax.default_backend() == "cpu"
    with convolution.using(form):
        ours, back = jax.vjp(lambda *args: convolution.conv_max_pool(*args, padding, stride, window), images, kernel)
    theirs, their_back = jax.vjp(lambda *args: reference(*args, padding, stride, window), images, kernel)
    assert_close(ours, theirs)
    gradient = jnp.asarray(rng.normal(size=theirs.shape), jnp.float32)
    for got, expected in zip(back(gradient), their_back(gradient), strict=True):
        assert_close(got, expected)


# No shrinking: each example compiles anew, and the first failure says enough.
FEW = settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@FEW
@given(batch=st.sampled_from([1, 3, 8, 20]), height=st.integers(6, 11), width=st.integers(6, 11),
       channels=st.sampled_from([1, 3]), filters=st.sampled_from([1, 5]), size=st.sampled_from([1, 2, 3, 5]),
       padding=st.sampled_from(["valid", "same"]), stride=st.integers(1, 3), window=st.sampled_from([1, 2, 3]),
       form=st.sampled_from(convolution.FORMS), seed=st.integers(0, 9))
@example(batch=3, height=9, width=8, channels=1, filters=5, size=3, padding="valid", stride=1, window=2, form="lax",
         seed=0)  # few taps: elementwise
@example(batch=3, height=9, width=8, channels=3, filters=5, size=3, padding="same", stride=2, window=2, form="lax",
         seed=0)
@example(batch=3, height=9, width=8, channels=3, filters=5, size=3, padding="valid", stride=1, window=2,
         form="patches", seed=0)
def test_values_and_gradients_equal_those_of_lax(batch, height, width, channels, filters, size, padding, stride,
                                                 window, form, seed):
    window = min(window, (min(height, width) - size) // stride + 1)
    assert_equals_lax((batch, height, width), channels, filters, size, padding, stride, window, seed, form)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", convolution.FORMS)
def test_of_several_kernels_at_once_each_is_its_own(form, channels):
    """As under the vmap of a cohort."""
    images = jax.random.normal(jax.random.key(0), (2, 4, 6, 6, channels))
    kernels = jax.random.normal(jax.random.key(1), (2, 3, 3, channels, 4))

    def both(images, kernel):
        with convolution.using(form):
            value, back = jax.vjp(lambda *args: convolution.conv_max_pool(*args, "valid", window=2), images, kernel)
            return value, *back(jnp.cos(value))

    together = jax.vmap(both)(images, kernels)
    for member in range(2):
        for ours, alone in zip(together, both(images[member], kernels[member]), strict=True):
            assert_close(ours[member], alone)


@settings(FEW, max_examples=6)
@given(batch=st.sampled_from([1, 3, 20]), height=st.integers(5, 9), width=st.integers(5, 9),
       channels=st.sampled_from([16, 20]), filters=st.sampled_from([16, 20]),
       padding=st.sampled_from(["valid", "same"]), window=st.sampled_from([1, 2, 3]), seed=st.integers(0, 9))
def test_winograds_form_equals_lax(batch, height, width, channels, filters, padding, window, seed):
    assert_equals_lax((batch, height, width), channels, filters, 3, padding, 1, window, seed)


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


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", convolution.FORMS)
def test_a_tie_sends_its_gradient_to_one_position_as_lax_does(form, channels):
    images, kernel = jnp.ones((2, 6, 6, channels)), jnp.ones((3, 3, channels, 1))
    with convolution.using(form):
        ours = jax.grad(lambda images: convolution.conv_max_pool(images, kernel, "valid", window=2).sum())(images)
    theirs = jax.grad(lambda images: reference(images, kernel, "valid", window=2).sum())(images)
    np.testing.assert_array_equal(ours, theirs)


def test_an_accelerator_leaves_a_single_run_to_xla_and_never_several(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images, kernel = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 4))

    def traced(form):
        with convolution.using(form):
            return str(jax.make_jaxpr(lambda images: convolution.conv_max_pool(images, kernel, "valid", window=2))(images))

    assert "conv_general_dilated" in traced(None)
    assert "conv_general_dilated" not in traced("patches")


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("form", ["lax", "winograd"])
def test_pooling_alone_equals_that_of_lax(form, window):
    images = jnp.round(jax.random.normal(jax.random.key(0), (2, 7, 8, 3)))  # with ties
    with convolution.using(form):
        ours, back = jax.vjp(lambda images: convolution.max_pool(images, window), images)
    shape = (1, window, window, 1)
    theirs, their_back = jax.vjp(lambda images: lax.reduce_window(images, -jnp.inf, lax.max, shape, shape, "VALID"), images)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back(jnp.cos(theirs))[0], their_back(jnp.cos(theirs))[0])
