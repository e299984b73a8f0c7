"""Gradients in bfloat16 are those in float32 but for its digits: no long sum stops growing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import CNNConfig, Mode, ViTConfig, convolution
from models.depthwise import depthwise

CONFIGS = {"cnn": CNNConfig(filters=(8, 8), padding="same", pool=1, global_average=True),
           "vit": ViTConfig(patch=2, dim=16, depth=1, heads=2)}


def gradients(config, dtype):
    """Differentiates a loss by which each bias's gradient is the sum of many of one sign."""
    graph, params, rest = nnx.split(config.build(4, (24, 24, 1), rngs=nnx.Rngs(0)), nnx.Param, ...)
    images = jnp.linspace(0, 1, 64 * 24 * 24).reshape(64, 24, 24, 1).astype(dtype)

    def loss(params):
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        logits = nnx.merge(graph, cast, rest, copy=True)(images, Mode(True, jax.random.key(0)))
        return jax.nn.logsumexp(logits.astype(jnp.float32) * 5, axis=-1).sum()

    return dict(nnx.to_flat_state(jax.jit(jax.grad(loss))(params)))


@pytest.mark.parametrize("name", CONFIGS)
def test_biases_of_shipped_networks(name):
    exact, rounded = (gradients(CONFIGS[name], dtype) for dtype in (jnp.float32, jnp.bfloat16))
    for path, leaf in exact.items():
        wanted = np.asarray(leaf[...])
        off = np.linalg.norm(np.asarray(rounded[path][...], np.float32) - wanted) / np.linalg.norm(wanted)
        assert off < 0.05 or np.linalg.norm(wanted) < 1e-3, path


@pytest.mark.parametrize("form", ["lax", "winograd"])
def test_depthwise_kernels(form):
    rng = np.random.default_rng(0)
    images, kernel = np.abs(rng.normal(size=(32, 24, 24, 8))), rng.normal(size=(3, 3, 8, 1))

    def gradient(dtype):
        def total(kernel):
            with convolution.using(form):
                return depthwise(jnp.asarray(images, dtype), kernel.astype(dtype), 1).astype(jnp.float32).sum()
        return jax.jit(jax.grad(total))(jnp.asarray(kernel, jnp.float32))

    np.testing.assert_allclose(gradient(jnp.bfloat16), gradient(jnp.float32), rtol=0.02)
