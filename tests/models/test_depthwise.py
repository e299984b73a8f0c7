import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax import lax

from models.depthwise import depthwise


def reference(images, kernel, stride):
    return lax.conv_general_dilated(images, kernel.swapaxes(2, 3), (stride, stride), "SAME",
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=images.shape[3])


def assert_close(ours, theirs):
    """Within 1e-5 of the scale of the values."""
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


@settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(batch=st.sampled_from([1, 3, 8, 20]), height=st.integers(1, 12), width=st.integers(1, 12),
       channels=st.sampled_from([1, 5, 16]), stride=st.sampled_from([1, 2]), seed=st.integers(0, 9))
def test_values_and_gradients_equal_those_of_lax(batch, height, width, channels, stride, seed):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(batch, height, width, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, channels, 1)), jnp.float32) / 3
    ours, back = jax.vjp(lambda *args: depthwise(*args, stride), images, kernel)
    theirs, their_back = jax.vjp(lambda *args: reference(*args, stride), images, kernel)
    assert_close(ours, theirs)
    gradient = jnp.asarray(rng.normal(size=theirs.shape), jnp.float32)
    for got, expected in zip(back(gradient), their_back(gradient), strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_other_platforms_use_lax_and_agree(monkeypatch, stride):
    images = jax.random.normal(jax.random.key(0), (3, 8, 7, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 1))
    here = depthwise(images, kernel, stride)
    assert "conv_general_dilated" not in str(jax.make_jaxpr(lambda images: depthwise(images, kernel, stride))(images))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = jax.make_jaxpr(lambda images: depthwise(images, kernel, stride))(images)
    assert "conv_general_dilated" in str(elsewhere)
    np.testing.assert_allclose(here, depthwise(images, kernel, stride), atol=1e-5)


def test_half_precision_stays_half_precision():
    assert depthwise(jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 1)), 1).dtype == jnp.bfloat16
