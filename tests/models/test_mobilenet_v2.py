import functools
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import keras_on_jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from models import keras_weights, mobilenet_v2
from models.layers import Mode, parameter_count
from models.mobilenet_v2 import BLOCKS, LAST, STEM, TOP, WIDTHS, MobileNetV2Config, block_of, pooled

DATA = os.environ.get("HARNESS_DATA_DIR")
real_data = [pytest.mark.real_data, pytest.mark.skipif(not DATA, reason="HARNESS_DATA_DIR is not set")]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Gives our network with the weights of Keras's `reference`, moved through a file."""
    @functools.cache
    def loaded(width, top=False, classes=1000):
        path = tmp_path_factory.mktemp("weights") / "weights.h5"
        keras_on_jax.write(keras_on_jax.reference(width, top=top, classes=classes), path)
        return keras_weights.load(path, MobileNetV2Config(width, top, classes))[0]

    return loaded


def pictures(batch, height, width=None, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (batch, height, width or height, 3)), jnp.float32)


def run(backbone, function):
    """Calls a jitted function with the backbone; returns its value and the backbone's statistics after it."""
    graph, state = nnx.split(backbone)

    @jax.jit
    def pure(state):
        network = nnx.merge(graph, state)
        value = function(network)
        return value, statistics(network)

    return pure(state)


def statistics(backbone):
    return {"/".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(backbone, nnx.BatchStat))}


def stages(images, mode, network):
    found = {}
    for step in network.steps():
        images = found[step.output] = step.apply(images, mode)
    return found


def assert_close(ours, theirs, tolerance=1e-4):
    """Within a part of the scale of the values."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize(("width", "size"), [
    pytest.param(width, size, marks=() if (width, size) in FAST else pytest.mark.slow)
    for FAST in [{(0.35, 96)}]
    for width in (0.35, 1.0, 1.4) for size in (96, 129, 160, 224)])
def test_every_stage_and_the_logits_equal_those_of_keras(load, width, size):
    # The top takes any size in our network; in Keras it is another model at each.
    model, images = keras_on_jax.reference(width, (size, size), top=True), pictures(1, size)
    backbone = load(width, top=True)
    names = [step.output for step in backbone.steps()]
    theirs, _ = keras_on_jax.outputs(model, [*names, "predictions"], images)
    (ours, features, logits), _ = run(backbone, lambda network: (
        stages(images, Mode(), network), network(images, Mode()), network.logits(images, Mode())))
    for name in names:
        assert_close(ours[name], theirs[name])
    assert_close(features, theirs["out_relu"])
    assert_close(logits, theirs["predictions"])


@pytest.mark.slow
def test_images_need_not_be_square(load):
    images = pictures(1, 65, 98)
    theirs, _ = keras_on_jax.outputs(keras_on_jax.reference(0.35, (65, 98)), ["out_relu"], images)
    assert_close(run(load(0.35), lambda network: network(images, Mode()))[0], theirs["out_relu"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.35, pytest.param(1.0, marks=pytest.mark.slow)])
def test_training_moves_the_statistics_as_keras_does(load, width):
    images = pictures(8, 64)
    model = keras_on_jax.reference(width, (64, 64))
    theirs, updated = keras_on_jax.outputs(model, ["block_6_project_BN", "out_relu"], images, training=True)
    (ours, features), moved = run(load(width), lambda network: (
        stages(images, Mode(train=True), network)["block_6_project_BN"], network(images, Mode())))
    assert_close(ours, theirs["block_6_project_BN"])
    assert len(moved) == len(updated)
    before = statistics(load(width))
    for path, values in moved.items():
        _, layer, array = path.split("/")
        expected = updated[f"{layer}/moving_{array}"]
        # The step itself is compared, a thousandth of the way to the batch's statistics.
        assert_close(values - before[path], expected - before[path], 2e-3)
        assert_close(values, expected, 1e-5)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("width", [
    pytest.param(width, marks=() if width in (0.35, 1.4) else pytest.mark.slow) for width in WIDTHS])
def test_parameter_counts_equal_those_of_keras(width):
    model = keras_on_jax.build(width, top=True, classes=7)
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(MobileNetV2Config(width, True, 7), nnx.Rngs(0)))
    count = functools.partial(sum, start=0)
    assert parameter_count(backbone) == count(np.prod(v.shape) for v in model.trainable_variables)
    assert (count(np.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(backbone, nnx.BatchStat)))
            == count(np.prod(v.shape) for v in model.non_trainable_variables))


@pytest.mark.parametrize("size", [96, 129])
def test_the_layer_table_has_the_shapes_of_keras(size):
    model = keras_on_jax.reference(0.75, (size, size), top=True)
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(MobileNetV2Config(0.75, True), nnx.Rngs(0)))
    rows = backbone.rows((size, size, 3))
    assert [row.name for row in rows] == [layer.name for layer in model.layers if layer.weights]
    for row in rows:
        layer = model.get_layer(row.name)
        assert row.output_shape == layer.output.shape[1:]
        assert row.parameters == sum(np.prod(v.shape) for v in layer.trainable_variables)
    assert sum(row.parameters for row in rows) == parameter_count(backbone)


def test_the_published_number_of_operations_is_counted():
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(MobileNetV2Config(top=True), nnx.Rngs(0)))
    # Sandler et al. 2018, table 4: 300 million multiply-adds, 3.4 million parameters.
    assert sum(row.macs for row in backbone.rows((224, 224, 3))) == pytest.approx(300e6, rel=0.01)


@pytest.mark.parametrize("width", [0.35, pytest.param(1.0, marks=pytest.mark.slow)])
def test_folding_batch_norm_changes_no_feature(load, width):
    images = pictures(2, 96)
    (plain, folded), _ = run(load(width), lambda network: (
        stages(images, Mode(), network)["out_relu"], mobilenet_v2.fold(network)(images, Mode())))
    assert_close(folded, plain, 1e-5)


def test_folding_leaves_no_batch_norm_and_its_argument_alone(load):
    before = statistics(load(0.35))
    folded = nnx.eval_shape(lambda: mobilenet_v2.fold(load(0.35)))
    assert not statistics(folded)
    assert folded.names == tuple(name for name in load(0.35).names if "bn" not in name.lower())
    assert statistics(load(0.35)).keys() == before.keys()


def test_any_number_of_images_gives_each_the_same_features(load):
    images = pictures(20, 32)
    (together, alone), _ = run(load(0.35), lambda network: [
        pooled(network(some, Mode())) for some in (images, images[7:8])])
    assert together.shape == (20, 1280)
    assert_close(together[7:8], alone, 1e-5)


def test_blocks_before_the_first_trained_one_run_as_in_inference(load):
    images, mode = pictures(4, 32), Mode(train=True)
    before = statistics(load(0.35))
    _, moved = run(load(0.35), lambda network: network(images, mode, train_from=5))
    changed = {path for path, values in moved.items() if np.any(values != before[path])}
    assert changed == {path for path in before if block_of(path.split("/")) >= 5}
    (frozen, plain), moved = run(load(0.35), lambda network: (
        network(images, mode, train_from=TOP), network(images, Mode())))
    assert_close(frozen, plain, 1e-6)
    for path, values in moved.items():
        np.testing.assert_array_equal(values, before[path])


@pytest.mark.slow
def test_padded_examples_change_no_statistics(load):
    images = pictures(6, 32)
    mask = jnp.arange(6) < 4
    _, padded = run(load(0.35), lambda network: network(images, Mode(train=True, mask=mask)))
    _, plain = run(load(0.35), lambda network: network(images[:4], Mode(train=True)))
    for path, values in plain.items():
        assert_close(padded[path], values, 1e-5)


@pytest.mark.slow
def test_every_parameter_gets_a_gradient(load):
    graph, params, rest = nnx.split(load(0.35, True, 5), nnx.Param, ...)
    images = pictures(4, 32)

    @jax.jit
    def gradients(params):
        return jax.grad(lambda params: jnp.square(
            nnx.merge(graph, params, rest, copy=True).logits(images, Mode(train=True))).sum())(params)

    for path, gradient in nnx.to_flat_state(gradients(params)):
        assert np.abs(gradient[...]).max() > 0, path


def test_every_parameter_belongs_to_a_block():
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(MobileNetV2Config(0.35, True, 5), nnx.Rngs(0)))
    found = [block_of(("layers", name, "kernel")) for name in backbone.names]
    assert found == sorted(found)
    assert set(found) == {STEM, *BLOCKS, LAST, TOP}
    for step in backbone.steps():
        assert {block_of((name,)) for name in step.layers} == {step.block}
    named = {name for step in backbone.steps() for name in step.layers} | {"predictions"}
    assert named == {name for name in backbone.names if "bn" not in name.lower()}
    with pytest.raises(ValueError, match="dense/kernel"):
        block_of(("dense", "kernel"))


@pytest.mark.slow
def test_half_precision_gives_nearly_the_same_features(load):
    images = pictures(2, 64)
    (half, whole), _ = run(load(0.35), lambda network: [
        pooled(network(images.astype(precision), Mode())) for precision in (jnp.bfloat16, jnp.float32)])
    assert half.dtype == jnp.bfloat16
    assert np.abs(half.astype(jnp.float32) - whole).mean() < 0.05 * np.abs(whole).mean()


@pytest.mark.slow
def test_other_platforms_give_the_same_features(load, monkeypatch):
    backbone, images = load(0.35), pictures(2, 33)
    here, _ = run(backbone, lambda network: network(images, Mode()))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert_close(run(backbone, lambda network: network(images, Mode()))[0], here, 1e-5)


@pytest.mark.parametrize("width", [0.4, 2.0, 1, "1.0", True])
def test_a_width_without_weights_is_refused(width):
    with pytest.raises(ValueError, match=r"width must be one of 0\.35, 0\.5, 0\.75, 1\.0, 1\.3, 1\.4; not"):
        MobileNetV2Config(width)


def test_images_that_are_too_small_are_refused(load):
    with pytest.raises(ValueError, match=r"31 x 40 are too small.* 32 x 32"):
        load(0.35)(jnp.zeros((1, 31, 40, 3)), Mode())
    with pytest.raises(ValueError, match="40 x 31 are too small"):
        load(0.35).rows((40, 31, 3))


def real(width=1.0, top=True):
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224{'' if top else '_no_top'}.h5"
    return keras_weights.load(pathlib.Path(DATA) / "weights" / name, MobileNetV2Config(width, top))


class TestRealWeights:
    pytestmark = real_data

    def test_photos_are_named_as_keras_names_them(self):
        photos = pathlib.Path(DATA) / "photos"
        expected = json.loads((photos / "keras_top3.json").read_text())
        images = jnp.stack([np.asarray(Image.open(photos / f"{name}.png").convert("RGB")) / 127.5 - 1
                            for name in expected])
        backbone, facts = real()
        assert not facts.official
        assert "folded" in facts.warnings[1]
        for fold in (lambda network: network, mobilenet_v2.fold):
            chances, _ = run(backbone, lambda network, fold=fold: jax.nn.softmax(
                fold(network).logits(images, Mode())))
            for top, found in zip(expected.values(), np.asarray(chances), strict=True):
                assert np.argsort(-found)[:3].tolist() == [index for index, _, _ in top]
                np.testing.assert_allclose(found[[index for index, _, _ in top]], [p for _, _, p in top], atol=1e-3)

    def test_files_without_a_top_hold_the_same_features(self):
        images = pictures(1, 96)
        assert_close(*(run(real(top=top)[0], lambda network: network(images, Mode()))[0] for top in (True, False)))

    def test_narrow_weights_have_statistics_of_their_own(self):
        backbone, facts = real(0.35, top=False)
        assert len(facts.warnings) == 1
        assert np.isfinite(run(backbone, lambda network: network(pictures(1, 96), Mode()))[0]).all()
