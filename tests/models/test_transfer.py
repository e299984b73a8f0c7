import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small import random_backbone, small_dataset

from ablations.spec import OptimizerConfig, Run, RunConfig
from harness.data import features
from harness.data.features import Computed
from harness.data.inputs import Inputs
from harness.training import cohort, cost, train
from models import Mode, TransferConfig, mobilenet_v2, transfer
from models.layers import parameter_count

PIXELS = 32
CONFIG = TransferConfig(width=0.35, resolution=PIXELS, batch_norm=True, hidden=(8,), dropout=0.5)
SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def backbone():
    return random_backbone()


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).random((5, *SHAPE)), jnp.float32)


@nnx.jit
def scores(network, images):
    return network(images)


def start(config, backbone, shape=SHAPE):
    run = RunConfig(dataset="small", model=config, batch_size=4, epochs=1, validation_size=40,
                    optimizer=OptimizerConfig("sgd", 1.0))
    return train.init(run, 0, 4, shape, backbone)


def step(config, backbone, images):
    program, state, rates = start(config, backbone)
    batch = train.Examples((images[:4] * 255).astype(jnp.uint8), jnp.arange(4))
    after, _ = jax.jit(lambda state, rates: train.train_step(program, state, rates, batch, jnp.ones(4, bool)))(
        state, rates)
    return state, after


def changed(before, after):
    """Names the blocks of the backbone in which something moved."""
    pairs = zip(nnx.to_flat_state(before), nnx.to_flat_state(after), strict=True)
    return {mobilenet_v2.block_of(path) for (path, old), (_, new) in pairs
            if transfer.is_backbone(path) and (old[...] != new[...]).any()}


def test_the_head_on_given_features_equals_backbone_and_head_in_one(backbone, images):
    whole = CONFIG.build(4, SHAPE, nnx.Rngs(1), backbone)
    head = CONFIG.build(4, (1280,), nnx.Rngs(1))
    vectors = nnx.jit(lambda network, images: network(images, Mode()))(transfer.Features(backbone, PIXELS), images)
    assert vectors.shape == (5, 1280)
    np.testing.assert_allclose(scores(head, vectors), scores(whole, images), rtol=1e-5, atol=1e-6)
    assert float(jnp.ptp(vectors, 0).max()) > 1e-2, "features that do not differ would prove nothing"


def test_a_frozen_backbone_gets_neither_gradient_nor_optimizer_state(backbone):
    _, state, rates = start(CONFIG, backbone)
    assert not any(transfer.is_backbone(path) for path, _ in nnx.to_flat_state(state.weights.params))
    assert not any(transfer.is_backbone(path) for path, _ in nnx.to_flat_state(state.weights.statistics))
    assert cost.tree_bytes(state) < 0.1 * cost.tree_bytes(rates["model"])
    assert "fine_tune" not in rates


@pytest.mark.parametrize(("fine_tune", "blocks"), [
    ("none", set()), ("last", {17}), ("block_15", {15, 16, 17}), ("all", set(range(-1, 18)))])
def test_what_is_fine_tuned_is_trainable_and_nothing_else(backbone, fine_tune, blocks):
    _, state, _ = start(dataclasses.replace(CONFIG, fine_tune=fine_tune), backbone)
    paths = [path for path, _ in nnx.to_flat_state(state.weights.params) if transfer.is_backbone(path)]
    assert set(map(mobilenet_v2.block_of, paths)) == blocks


def test_a_step_moves_what_is_fine_tuned_and_no_statistics(backbone, images):
    before, after = step(dataclasses.replace(CONFIG, fine_tune="block_15"), backbone, images)
    assert changed(before.weights.params, after.weights.params) == {15, 16, 17}
    assert changed(before.weights.statistics, after.weights.statistics) == set()


def test_the_backbone_moves_at_its_share_of_the_learning_rate(backbone, images):
    slow, fast = (dataclasses.replace(CONFIG, fine_tune="last", fine_tune_rate=rate) for rate in (0.1, 1.0))
    runs = [Run({}, 0, RunConfig(dataset="small", model=config)) for config in (slow, fast)]
    assert len(cohort.partition(runs)) == 1
    moved = []
    for config in (slow, fast):
        before, after = step(config, backbone, images)
        moved.append({path: new[...] - old[...] for (path, old), (_, new) in zip(
            nnx.to_flat_state(before.weights.params), nnx.to_flat_state(after.weights.params), strict=True)})
    for path, change in moved[1].items():
        share = 0.1 if transfer.is_backbone(path) else 1.0
        assert path[-1] != "kernel" or abs(change).max() > 1e-4, "what does not move proves nothing"
        np.testing.assert_allclose(moved[0][path], share * change, rtol=2e-3, atol=5e-7)


def test_fine_tuning_nothing_and_everything_start_from_the_same_scores(backbone, images):
    frozen, whole = (dataclasses.replace(CONFIG, fine_tune=fine_tune).build(4, SHAPE, nnx.Rngs(1), backbone)
                     for fine_tune in ("none", "all"))
    np.testing.assert_allclose(scores(frozen, images), scores(whole, images), rtol=1e-4, atol=1e-5)


def test_grey_and_small_images_become_what_the_backbone_sees():
    pixels = jnp.asarray([[0, 255], [255, 0]], jnp.uint8)[None, :, :, None] / 255
    seen = transfer._as_the_backbone_sees_them(pixels, 4)
    assert seen.shape == (1, 4, 4, 3)
    # Half-pixel centres: a quarter of the way from one pixel to the next, worked out by hand.
    np.testing.assert_allclose(seen[0, 0, :, 2], [-1, -0.5, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(seen[0, 1, :, 0], [-0.5, -0.25, 0.25, 0.5], atol=1e-6)


def test_the_cost_of_a_head_counts_the_backbone_as_frozen():
    config = RunConfig(dataset="small", model=CONFIG)
    alone, whole = (cost.measure(*train.abstract_init(config, 4, shape), shape) for shape in ((1280,), SHAPE))
    head = 2 * 1280 + 1280 * 8 + 8 + 8 * 4 + 4
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(mobilenet_v2.MobileNetV2Config(0.35), nnx.Rngs(0)))
    assert alone.parameters == whole.parameters == head + parameter_count(backbone)
    assert alone.trainable_parameters == whole.trainable_parameters == head
    assert alone.macs_per_example == whole.macs_per_example > 1e6
    assert alone.gradients_bytes == 4 * head


@pytest.mark.parametrize(("changes", "message"), [
    ({"width": 0.4}, "width must be one of 0.35, 0.5"),
    ({"resolution": 31}, "resolution must be at least 32, not 31"),
    ({"fine_tune": "block_17"}, "fine_tune must be one of none, block_1,"),
    ({"fine_tune_rate": 0}, "fine_tune_rate must be a finite number above 0"),
    ({"hidden": 256}, "hidden must be a tuple"),
    ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
])
def test_a_config_refuses_what_makes_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="1792 features were given where the backbone has 1280"):
        CONFIG.build(4, (1792,), nnx.Rngs(0))


def test_features_stand_in_the_images_place_with_the_labels_as_they_are():
    data = small_dataset(train=16)
    rows = {name: np.zeros((len(getattr(data, name).labels), 5), np.float32) for name in features._SPLITS}
    examples = Inputs(data, Computed(rows, 1.0, False)).examples
    assert examples.image_shape == (5,)
    assert examples.train.images is rows["train"]
    assert (examples.train.labels == data.train.labels).all()
    assert Inputs(data).examples is data
