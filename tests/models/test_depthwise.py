import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from in_one_program import values_and_gradients
from jax import lax

from models import convolution
from models.depthwise import depthwise


def reference(images, kernel, stride):
    return lax.conv_general_dilated(images, kernel.swapaxes(2, 3), (stride, stride), "SAME",
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=images.shape[3])


def assert_close(ours, theirs):
    """Within 1e-5 of the scale of the values."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


def assert_equals_lax(shape, channels, stride, seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(*shape, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, channels, 1)), jnp.float32) / 3
    sides = [lambda *args, form=form: form(*args, stride) for form in (depthwise, reference)]
    gradient = jnp.asarray(rng.normal(size=jax.eval_shape(sides[1], images, kernel).shape), jnp.float32)
    for got, expected in zip(*values_and_gradients(sides, gradient, images, kernel), strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize(("shape", "channels", "stride"), [
    ((1, 1, 1), 1, 1), ((3, 7, 12), 5, 2), ((20, 8, 5), 16, 2), ((8, 2, 9), 5, 1)])
def test_values_and_gradients_equal_those_of_lax(shape, channels, stride):
    assert_equals_lax(shape, channels, stride)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(batch=st.sampled_from([1, 3, 8, 20]), height=st.integers(1, 12), width=st.integers(1, 12),
       channels=st.sampled_from([1, 5, 16]), stride=st.sampled_from([1, 2]), seed=st.integers(0, 9))
def test_values_and_gradients_equal_those_of_lax_whatever_the_sizes(batch, height, width, channels, stride, seed):
    assert_equals_lax((batch, height, width), channels, stride, seed)


@pytest.mark.parametrize("stride", [1, 2])
def test_every_form_agrees_with_what_xla_makes_of_it(stride):
    images = jax.random.normal(jax.random.key(0), (3, 8, 7, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 1))

    def computed(form):
        def by_form(images):
            with convolution.using(form):
                return depthwise(images, kernel, stride)

        return jax.jit(by_form)

    assert "conv_general_dilated" in str(jax.make_jaxpr(computed("as_written"))(images))
    expected = computed("as_written")(images)
    for form in ("lax", "winograd"):
        np.testing.assert_allclose(computed(form)(images), expected, atol=1e-5)
