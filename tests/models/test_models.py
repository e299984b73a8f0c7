import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import CNNConfig, MLPConfig, Mode
from models.layers import ACTIVATIONS, BatchNorm, Dropout, parameter_count

GREY, COLOUR = (28, 28, 1), (32, 32, 3)
# The networks of the five source projects; the counts are theirs or by hand arithmetic.
SOURCES = [
    (MLPConfig(hidden=(256, 128)), GREY, 235_146),
    (CNNConfig(filters=(32,), padding="same", dense=(512,), dense_dropout=0.3), COLOUR, 4_200_842),
    # 9*1*100+100 + 9*100*100+100 + 5*5*100*10+10, and twice 2*100 for batch norm
    (CNNConfig(), GREY, 1_000 + 90_100 + 25_010),
    (CNNConfig(batch_norm=True, dropout=0.1), GREY, 1_000 + 90_100 + 25_010 + 400),
    # 3072*2000+2000 + 2000*2000+2000 + 2000*10+10
    (MLPConfig(hidden=(2000, 2000)), COLOUR, 6_146_000 + 4_002_000 + 20_010),
    (MLPConfig(hidden=(128,), repeat=3), GREY, 100_480 + 2 * 16_512 + 1_290),
    # 3*3*3*32+32 + 3*3*32*64+64 + 6*6*64*64+64 + 64*10+10
    (CNNConfig(filters=(32, 64), dense=(64,)), COLOUR, 896 + 18_496 + 147_520 + 650),
]
EVERYTHING = [
    (MLPConfig(hidden=(16, 8), batch_norm=True, dropout=(0.2, 0.5), l1_kernel=0.1, l2_bias=0.2), (8, 8, 1)),
    (CNNConfig(filters=(4, 6), padding="same", batch_norm=True, dropout=0.1, dense=(7,), dense_dropout=0.5,
               l2_kernel=0.1), (8, 8, 3)),
    (CNNConfig(filters=(4,), kernel_size=5, pool=1, activation="gelu", l1_bias=0.1), (8, 8, 1)),
]


def build(config, shape, classes=10, seed=0):
    return nnx.jit(lambda: config.build(classes, shape, nnx.Rngs(params=seed)))()


def filled(config, shape):
    """Builds a network whose parameters numpy draws: what the initializers would take is long to compile."""
    def parts():
        return nnx.split(config.build(10, shape, nnx.Rngs(params=0)), nnx.Param, ...)

    generator, (graph, params, _) = np.random.default_rng(0), nnx.eval_shape(parts)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(
        generator.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape) + (leaf.ndim == 1), leaf.dtype), params)
    return nnx.merge(graph, drawn, jax.jit(lambda: parts()[2])())


def shapes_of(config, shape):
    """Gives a network that has shapes instead of parameters."""
    return nnx.eval_shape(lambda: config.build(10, shape, nnx.Rngs(params=0)))


@nnx.jit
def trained_on(network, images, mask=None):
    return network(images, Mode(train=True, mask=mask))


@pytest.mark.parametrize(("config", "shape", "expected"), SOURCES)
def test_parameter_counts_are_those_of_the_sources(config, shape, expected):
    assert parameter_count(shapes_of(config, shape)) == expected


@pytest.mark.parametrize(("config", "shape"), EVERYTHING + [(config, shape) for config, shape, _ in SOURCES[:3]])
def test_the_layer_table_agrees_with_the_network(config, shape):
    network = shapes_of(config, shape)
    rows = network.rows(shape)
    assert sum(row.parameters for row in rows) == parameter_count(network)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    shapes = []
    for layer in network.layers:
        x = nnx.eval_shape(lambda layer, x: layer(x, Mode()), layer, x)
        if layer.rows(x.shape[1:]):
            shapes.append(x.shape[1:])
    listed = [row.output_shape for row in rows]
    assert [shape for shape in shapes if shape not in listed] == []
    assert listed[-1] == (10,)


def test_macs_of_the_conv_pair_are_those_of_hand_arithmetic():
    rows = shapes_of(CNNConfig(), GREY).rows(GREY)
    assert sum(row.macs for row in rows) == 26 * 26 * 9 * 100 + 11 * 11 * 9 * 100 * 100 + 2500 * 10


@pytest.mark.parametrize(("config", "shape"), EVERYTHING)
def test_every_parameter_receives_a_gradient(config, shape):
    graph, params, rest = nnx.split(filled(config, shape), nnx.Param, ...)

    def loss(params):
        network = nnx.merge(graph, params, rest, copy=True)
        logits = network(images, Mode(train=True, key=jax.random.key(1)))
        return jnp.sum(jnp.sin(logits * jnp.arange(1, 11))) + network.penalty()

    images = jax.random.uniform(jax.random.key(0), (16, *shape))
    for path, gradient in nnx.to_flat_state(jax.jit(jax.grad(loss))(params)):
        assert jnp.abs(gradient[...]).max() > 0, path


def test_a_seed_gives_the_same_network_and_another_seed_another():
    first, again, other = (jax.tree.leaves(nnx.state(build(MLPConfig(), GREY, seed=seed))) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not (first[1] == other[1]).all()


@pytest.mark.parametrize(("config", "shape"), EVERYTHING[:2])
def test_padding_changes_neither_statistics_nor_the_other_logits(config, shape):
    config = dataclasses.replace(config, dropout=0.0)
    if isinstance(config, CNNConfig):
        config = dataclasses.replace(config, dense_dropout=0.0)
    images = jax.random.uniform(jax.random.key(0), (12, *shape))
    plain, padded = filled(config, shape), filled(config, shape)
    expected = trained_on(plain, images[:7])
    got = trained_on(padded, images.at[7:].set(99.0), jnp.arange(12) < 7)
    np.testing.assert_allclose(got[:7], expected, atol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(nnx.state(padded, nnx.BatchStat)),
                            jax.tree.leaves(nnx.state(plain, nnx.BatchStat)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_batch_norm_agrees_with_flax():
    x = jax.random.normal(jax.random.key(0), (32, 5, 5, 3)) * 2 + 1
    ours = BatchNorm(3)
    flax = nnx.BatchNorm(3, momentum=0.99, epsilon=1e-3, use_running_average=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(ours(x, Mode(train=True)), flax(x), atol=1e-5)
    np.testing.assert_allclose(ours.mean[...], flax.mean[...], atol=1e-6)
    np.testing.assert_allclose(ours.variance[...], flax.var[...], atol=1e-6)
    np.testing.assert_allclose(ours(x, Mode()), flax(x, use_running_average=True), atol=1e-5)


def test_batch_norm_keeps_its_digits_where_the_mean_is_large():
    """The reference is in float64; the input's own rounding, 3e-5 at 1000, is a 3,000th of its spread."""
    x = np.asarray(jax.random.normal(jax.random.key(0), (64, 5, 5, 3)) * 0.1 + 1000)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(BatchNorm(3)(jnp.asarray(x), Mode(train=True)), expected, atol=2e-3)


def test_batch_norm_s_gradient_is_that_of_flax():
    x = jax.random.normal(jax.random.key(0), (8, 3, 3, 2)) * 2 + 1

    def gradient(normalise):
        return jax.jit(jax.grad(lambda x: (normalise(x) ** 3).sum()))(x)

    def flax(x):
        return nnx.BatchNorm(2, epsilon=1e-3, use_running_average=False, rngs=nnx.Rngs(0))(x)

    np.testing.assert_allclose(gradient(lambda x: BatchNorm(2)(x, Mode(train=True))), gradient(flax), atol=1e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_rate_and_keeps_the_expectation(rate):
    x = jnp.ones((400, 1001))
    dropped = Dropout(rate, 3)(x, Mode(train=True, key=jax.random.key(0)))
    assert abs(float((dropped == 0).mean()) - rate) < 0.005
    assert abs(float(dropped.mean()) - 1) < 0.005
    assert len(np.unique(dropped)) == 2


def test_a_rate_next_to_one_has_gradients_all_the_same():
    x = jnp.ones((4, 50))
    mode = Mode(train=True, key=jax.random.key(0))
    assert np.isfinite(jax.grad(lambda x: Dropout(0.999999, 0)(x, mode).sum())(x)).all()


def test_dropout_rests_in_evaluation_and_differs_between_layers_and_keys():
    x = jnp.ones((50, 50))
    assert (Dropout(0.5, 0)(x, Mode()) == x).all()
    one, another_layer, another_key = (
        Dropout(0.5, index)(x, Mode(train=True, key=jax.random.key(key))) for index, key in ((0, 0), (1, 0), (0, 1)))
    assert (one != another_layer).any()
    assert (one != another_key).any()
    with pytest.raises(ValueError, match=r"Mode\(key="):
        Dropout(0.5, 0)(x, Mode(train=True))


def test_the_penalty_covers_hidden_layers_but_not_the_classifier():
    network = build(CNNConfig(filters=(2,), dense=(3,), l1_kernel=0.5, l2_bias=0.25), (6, 6, 1))
    conv, dense = network.layers[0], network.layers[2]
    conv.bias[...], dense.bias[...] = jnp.full(2, 2.0), jnp.full(3, 3.0)
    network.layers[-1].bias[...] = jnp.full(10, 100.0)
    expected = 0.5 * (jnp.abs(conv.kernel[...]).sum() + jnp.abs(dense.kernel[...]).sum()) + 0.25 * (8 + 27)
    np.testing.assert_allclose(network.penalty(), expected, rtol=1e-6)


@pytest.mark.parametrize(("family", "field", "value"), [
    (MLPConfig, "hidden", (0,)), (MLPConfig, "hidden", 256), (MLPConfig, "activation", "rleu"),
    (MLPConfig, "dropout", 1.0), (MLPConfig, "dropout", (0.1,)), (MLPConfig, "l2_kernel", -1.0),
    (MLPConfig, "repeat", 0), (MLPConfig, "initializer", "zeros"), (CNNConfig, "padding", "full"),
    (CNNConfig, "kernel_size", 2), (CNNConfig, "pool", 0), (CNNConfig, "batch_norm", 1),
    (CNNConfig, "dense_dropout", -0.1), (CNNConfig, "dense_dropout", 0.5), (CNNConfig, "l1_bias", float("nan")),
])
def test_a_wrong_value_is_refused_where_it_is_written(family, field, value):
    with pytest.raises(ValueError, match=field):
        family(**{field: value})


def test_images_too_small_for_the_blocks_are_refused():
    with pytest.raises(ValueError, match="too small for 3 blocks"):
        build(CNNConfig(filters=(4, 4, 4)), (8, 8, 1))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_what_keras_has_under_its_name(name):
    import keras_on_jax  # Keras takes seconds to import

    x = jnp.concatenate([jnp.linspace(-12, 12, 2401), jnp.array([-1e4, -100, 100, 1e4])]).astype(jnp.float32)
    expected = keras_on_jax.keras.activations.get(name)(x)
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-6, atol=1e-7)
