"""Blocks of convolutions, residual networks and vision transformers, against their publications and each other."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import CNNConfig, MLPConfig, Mode, ResNetConfig, ViTConfig, convolution, plain, table
from models.layers import ConvPool, parameter_count
from models.vit import DropPath

GREY, COLOUR = (28, 28, 1), (32, 32, 3)
BLOCKS = CNNConfig(filters=((32, 48), (64, 64), (64, 48)), padding="same", pool=(2, 2, 1), batch_norm=True,
                   norm_before_activation=True, global_average=True)
WIDE = ResNetConfig(depth=28, width=10, pre_activation=True, shortcut="projection")
VIT_TI = ViTConfig(patch=16, dim=192, depth=12, heads=3)
# In millions as published, and to the last one as counted by hand or by the authors' own code.
PUBLISHED = [
    (ResNetConfig(), COLOUR, 10, 0.27, 269_722), (ResNetConfig(shortcut="projection"), COLOUR, 10, 0.27, 272_474),
    (ResNetConfig(depth=32), COLOUR, 10, 0.46, 464_154), (ResNetConfig(depth=44), COLOUR, 10, 0.66, 658_586),
    (ResNetConfig(depth=56), COLOUR, 10, 0.85, 853_018), (ResNetConfig(depth=110), COLOUR, 10, 1.7, 1_727_962),
    (WIDE, COLOUR, 10, 36.5, 36_479_194), (dataclasses.replace(WIDE, depth=40, width=4), COLOUR, 10, 8.9, 8_949_210),
    (dataclasses.replace(WIDE, depth=16, width=8), COLOUR, 10, 11.0, 10_961_370),
    (VIT_TI, (224, 224, 3), 1000, 5.7, 5_717_416),
    (BLOCKS, GREY, 10, 0.14, 144_266),
    (dataclasses.replace(BLOCKS, filters=((24, 32), (48, 64), (64, 64))), GREY, 10, 0.12, 123_570),
    (dataclasses.replace(BLOCKS, filters=((32, 32), (64, 64), 96)), GREY, 10, 0.12, 121_642),
    # 784*w + 2*w, twice w*w + 2*w, w*10 + 10: no biases under batch norm
    (MLPConfig(hidden=(1024,), repeat=3, batch_norm=True, norm_before_activation=True), GREY, 10, 2.9, 2_916_362),
]
SMALL = [
    (CNNConfig(filters=((4, 5), 6), padding="same", pool=(2, 1), stride=(1, 2), batch_norm=True, dropout=(0.2, 0.0),
               norm_before_activation=True, global_average=True, l2_kernel=0.1), (8, 8, 3)),
    (CNNConfig(filters=((4, 6), 5), activation="gelu", pool=1, stride=2, batch_norm=True), (12, 12, 1)),
    (MLPConfig(hidden=(9, 8), batch_norm=True, norm_before_activation=True, dropout=0.3), (8, 8, 1)),
    (ResNetConfig(depth=8, dropout=0.2), (8, 8, 3)),
    (ResNetConfig(depth=10, pre_activation=True, shortcut="projection"), (7, 9, 1)),
    (ViTConfig(patch=4, dim=8, depth=2, heads=2, mlp_ratio=2, dropout=0.2, drop_path=0.1), (8, 8, 3)),
]
IDS = ["cnn", "cnn_strided", "mlp", "resnet", "wide_resnet", "vit"]
# What takes tens of seconds to compile is left to the slow tests.
CASES = [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name not in ("cnn", "mlp")))
         for case, name in zip(SMALL, IDS, strict=True)]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def state_of(config, shape, classes):
    """Draws a network's parameters by one compiled program: one for each draw takes many times as long."""
    return nnx.state(config.build(classes, shape, nnx.Rngs(0)))


def shapes_of(config, shape, classes=10):
    """Gives a network that has shapes instead of parameters."""
    return nnx.eval_shape(lambda: config.build(classes, shape, nnx.Rngs(0)))


def build(config, shape, classes=10):
    network = shapes_of(config, shape, classes)
    nnx.update(network, state_of(config, shape, classes))
    return network


@functools.cache
def loss_and_gradient(config, shape, by_xla=False):
    """Gives the loss with the logits, and the gradient, of a step in training; one program, which compiles once."""
    graph, params, rest = nnx.split(build(config, shape), nnx.Param, ...)
    images = jax.random.uniform(jax.random.key(0), (8, *shape))
    mode = Mode(train=True, key=jax.random.key(1))

    def loss(params):
        network = nnx.merge(graph, params, rest, copy=True)
        logits = plain.forward(network, images, mode)
        return jnp.sum(jnp.sin(logits * jnp.arange(1, 11))) + plain.penalty(network), logits

    with convolution.using("as_written" if by_xla else None):
        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.mark.parametrize(("config", "shape", "classes", "millions", "exactly"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(config, shape, classes, millions, exactly):
    counted = parameter_count(shapes_of(config, shape, classes))
    assert counted == exactly
    assert counted / 1e6 == pytest.approx(millions, rel=0.04)


@pytest.mark.parametrize(("config", "macs"), [
    # 32*32*27*16, then 32*32*(6 * 9*16*16), 16*16*(9*16*32 + 5 * 9*32*32), 8*8*(9*32*64 + 5 * 9*64*64), 64*10
    (ResNetConfig(), 442_368 + 14_155_776 + 12_976_128 + 12_976_128 + 640),
    # a tenth of a billion for the shortcuts beside 5.2 billion: He's paper has 41 million, WRN's none
    (WIDE, 5_243_328_768)])
def test_macs_are_those_of_hand_arithmetic(config, macs):
    assert sum(row.macs for row in shapes_of(config, COLOUR).rows(COLOUR)) == macs


@pytest.mark.parametrize(("config", "shape"), SMALL[:5], ids=IDS[:5])
def test_the_layers_own_rows_count_what_the_traced_program_multiplies(config, shape):
    network = shapes_of(config, shape)
    own = network.rows(shape)
    _, program = table._trace(network, shape)
    assert sum(row.macs for row in own) == sum(table.count(program).values())
    assert sum(row.parameters for row in own) == parameter_count(network)
    assert own[-1].output_shape == (10,)


def test_a_transformers_table_has_its_attention_and_all_its_parameters():
    rows = table.rows(shapes_of(VIT_TI, (224, 224, 3), 1000), (224, 224, 3))
    assert sum(row.parameters for row in rows) == 5_717_416
    weights = [row for row in rows if row.kind == "AttentionWeights"]
    assert [row.output_shape for row in weights] == [(3, 197, 197)] * 12
    assert {row.macs for row in weights} == {197 * 197 * 192}
    block = 197 * 192 * (4 * 192 + 8 * 192) + 2 * 197 * 197 * 192
    assert sum(row.macs for row in rows) == 12 * block + 196 * 768 * 192 + 192 * 1000


@pytest.mark.parametrize(("config", "shape"), CASES)
def test_every_parameter_receives_a_gradient(config, shape):
    (_, logits), gradients = loss_and_gradient(config, shape)
    assert logits.shape == (8, 10)
    for path, gradient in nnx.to_flat_state(gradients):
        assert jnp.abs(gradient[...]).max() > 0, path


@pytest.mark.slow
@pytest.mark.parametrize(("config", "shape"), CASES[:5])
def test_the_form_of_a_cpu_computes_what_xla_does(config, shape):
    ours, xlas = loss_and_gradient(config, shape), loss_and_gradient(config, shape, by_xla=True)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-3, rtol=2e-3), ours, xlas)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "shape"), CASES[:5])
def test_padding_changes_neither_statistics_nor_the_other_logits(config, shape):
    config = dataclasses.replace(config, dropout=0.0)
    images = jax.random.uniform(jax.random.key(0), (12, *shape))
    graph, state = nnx.split(build(config, shape))

    @jax.jit
    def run(images, mask):
        network = nnx.merge(graph, state, copy=True)
        return network(images, Mode(train=True, mask=mask))[:7], nnx.state(network, nnx.BatchStat)

    alone, padded = run(images[:7], jnp.ones(7, bool)), run(images.at[7:].set(99.0), jnp.arange(12) < 7)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4), alone, padded)


def test_batch_norm_before_the_activation_normalises_what_the_convolution_gives():
    network = build(CNNConfig(filters=(4,), batch_norm=True, norm_before_activation=True), (8, 8, 1))
    conv, norm, activation = network.layers[:3]
    assert conv.bias is None
    x = jax.random.uniform(jax.random.key(0), (5, 8, 8, 1))
    convolved = jax.lax.conv_general_dilated(x, conv.kernel[...], (1, 1), "VALID",
                                             dimension_numbers=("NHWC", "HWIO", "NHWC"))
    normalised = (convolved - convolved.mean((0, 1, 2))) / jnp.sqrt(convolved.var((0, 1, 2)) + 1e-3)
    expected = convolution.max_pool(jax.nn.relu(normalised), 2)
    mode = Mode(train=True)
    np.testing.assert_allclose(activation(norm(conv(x, mode), mode), mode), expected, atol=1e-4)


@pytest.mark.slow
def test_a_residual_block_adds_its_input_and_option_a_pads_it():
    """With the second batch norm's scale at zero nothing is added, so what is left is the shortcut."""
    network = build(ResNetConfig(depth=8), (8, 8, 3))
    block = network.layers[4]  # after convolution, batch norm, activation, and the first stage's block
    block.branch[-1].scale[...] = jnp.zeros(32)
    x = jax.random.uniform(jax.random.key(0), (2, 8, 8, 16))
    expected = jnp.concatenate([x[:, ::2, ::2], jnp.zeros((2, 4, 4, 16))], -1)
    np.testing.assert_array_equal(block(x, Mode()), expected)


@pytest.mark.parametrize("side", [8, 7])
def test_where_a_block_strides_its_convolutions_see_the_pixels_that_its_shortcut_takes(side):
    """Kernels that take the pixel in their middle alone; what is added is then what the shortcut has."""
    block = build(ResNetConfig(depth=8, pre_activation=True, shortcut="projection"), (side, side, 3)).layers[2]
    middle = jnp.zeros((3, 3, 16, 32)).at[1, 1].set(jnp.eye(16, 32))
    convs = [layer for layer in (*block.branch, *block.shortcut) if isinstance(layer, ConvPool)]
    for conv, kernel in zip(convs, (middle, jnp.zeros((3, 3, 32, 32)).at[1, 1].set(jnp.eye(32)),
                                    jnp.eye(16, 32)[None, None]), strict=True):
        conv.kernel[...] = kernel
    x = jax.random.uniform(jax.random.key(0), (2, side, side, 16))
    scale = (1 + 1e-3) ** -0.5  # of batch norm in evaluation, as it begins
    kept = jnp.concatenate([x[:, ::2, ::2] * scale, jnp.zeros((2, 4, 4, 16))], -1)
    np.testing.assert_allclose(block(x, Mode()), kept + kept * scale, rtol=1e-4)


def test_the_first_block_passes_on_what_is_normalised_and_activated_and_the_next_its_input():
    network = build(ResNetConfig(depth=14, pre_activation=True), (8, 8, 3))
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 16))
    for block, expected in ((network.layers[1], jax.nn.relu(x) * (1 + 1e-3) ** -0.5), (network.layers[2], x)):
        block.branch[-1].kernel[...] = jnp.zeros((3, 3, 16, 16))
        np.testing.assert_allclose(block(x, Mode()), expected, rtol=1e-4)


@pytest.mark.parametrize("config", [
    MLPConfig(hidden=(8,)), CNNConfig(filters=(4,)), ResNetConfig(depth=8), ViTConfig(dim=8, depth=1, heads=2)],
    ids=str)
def test_scores_have_all_digits_where_the_network_computes_in_bfloat16(config):
    network = build(config, (8, 8, 3))
    graph, state = nnx.split(network)
    half = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.dtype == jnp.float32 else leaf,
                                         state))
    scores = half(jnp.ones((2, 8, 8, 3), jnp.bfloat16), Mode())
    assert scores.dtype == jnp.float32
    assert (scores != scores.astype(jnp.bfloat16)).any()


def test_attention_is_jaxs_own():
    network = build(SMALL[5][0], (8, 8, 3))
    attention = network.blocks[0].attention
    x = jax.random.normal(jax.random.key(0), (3, 5, 8))
    query, key, value = jnp.moveaxis(attention.inputs(x).reshape(3, 5, 3, 2, 4), 2, 0)
    expected = attention.out(jax.nn.dot_product_attention(query, key, value).reshape(3, 5, 8))
    np.testing.assert_allclose(attention(x), expected, atol=1e-5)


@pytest.mark.slow
def test_patches_are_what_a_convolution_with_their_stride_takes():
    patches = build(SMALL[5][0], (8, 12, 3)).patches
    images = jax.random.uniform(jax.random.key(0), (2, 8, 12, 3))
    expected = jax.lax.conv_general_dilated(images, patches.kernel[...], (4, 4), "VALID",
                                            dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(patches(images), expected.reshape(2, 6, 8), atol=1e-5)


def test_drop_path_leaves_out_whole_examples_at_its_rate_and_keeps_the_expectation():
    x = jnp.ones((4000, 3, 2))
    dropped = DropPath(0.25, 0)(x, Mode(train=True, key=jax.random.key(0)))
    assert (dropped == dropped[:, :1, :1]).all()
    assert float((dropped[:, 0, 0] == 0).mean()) == pytest.approx(0.25, abs=0.02)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    assert (DropPath(0.25, 0)(x, Mode()) == x).all()


def test_drop_path_scales_by_what_float32_tells_from_bfloat16():
    x = jnp.arange(1, 65, dtype=jnp.bfloat16)[:, None, None]
    kept = DropPath(0.1, 0)(x, Mode(train=True, key=jax.random.key(0)))
    assert kept.dtype == jnp.bfloat16
    assert ((kept == 0) | (kept == (x.astype(jnp.float32) / 0.9).astype(jnp.bfloat16))).all()


@pytest.mark.parametrize(("family", "field", "value"), [
    (CNNConfig, "filters", ((),)), (CNNConfig, "filters", ((3, 0),)), (CNNConfig, "stride", 0),
    (CNNConfig, "pool", (2,)), (CNNConfig, "global_average", 1), (CNNConfig, "norm_before_activation", 1),
    (MLPConfig, "hidden", ((3, 4),)), (ResNetConfig, "depth", 18), (ResNetConfig, "depth", 4),
    (ResNetConfig, "width", 0), (ResNetConfig, "shortcut", "none"), (ResNetConfig, "dropout", 1.0),
    (ViTConfig, "heads", 3), (ViTConfig, "patch", 0), (ViTConfig, "drop_path", 1.0),
])
def test_a_wrong_value_is_refused_where_it_is_written(family, field, value):
    with pytest.raises(ValueError, match=field):
        family(**{field: value})


def test_patches_that_leave_a_rest_are_refused():
    with pytest.raises(ValueError, match="patch=5 does not divide images of 28 x 28"):
        build(ViTConfig(patch=5), GREY)
