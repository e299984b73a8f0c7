import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from plain_networks import ResidualConfig

from harness.training import exhibits
from models import CNNConfig, MLPConfig, TransferConfig, ViTConfig


def params(config, shape=(28, 28, 1)):
    """Gives parameters of a network's shapes; what draws them would take long to compile."""
    shapes = nnx.eval_shape(lambda: nnx.state(config.build(10, shape, rngs=nnx.Rngs(0)), nnx.Param))
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(generator.uniform(-0.1, 0.1, leaf.shape), leaf.dtype), shapes)


def test_the_first_images_the_surest_errors_and_the_most_confused_pair_are_shown():
    labels = np.zeros(200, np.int32)
    predicted = labels.copy()
    predicted[100:140] = 1  # the most confused pair, with little confidence
    predicted[150:180] = np.arange(30) % 5 + 2
    probability = np.where(predicted == 0, 0.99, np.where(predicted == 1, 0.3, 0.9))
    probability[160] = 0.95
    chosen = exhibits.images_to_show(predicted, probability, labels)
    assert chosen[:25].tolist() == list(range(25))
    assert chosen[25] == 160
    assert ((chosen >= 100) & (chosen < 140)).sum() == exhibits.OF_EACH_PAIR
    assert len(set(chosen.tolist())) == len(chosen)
    assert (predicted != labels)[chosen[25:]].all()


def test_without_errors_the_first_images_are_shown():
    labels = np.arange(30) % 3
    assert exhibits.images_to_show(labels, np.ones(30), labels).tolist() == list(range(25))
    assert exhibits.images_to_show(labels[:4], np.ones(4), labels[:4]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("config", "shape", "units"), [
    (MLPConfig(hidden=(256, 128)), (784, 41), 256),
    (MLPConfig(hidden=()), (784, 10), 10),
    (CNNConfig(filters=(100,)), (3, 3, 1, 100), 100),
])
def test_the_first_layer_is_kept_as_it_was_and_as_it_became(config, shape, units):
    initial = params(config)
    trained = jax.tree.map(lambda leaf: leaf + 1, initial)
    kept = exhibits.first_layer(initial, trained, (28, 28, 1))
    assert kept["initial"].shape == kept["trained"].shape == shape
    assert kept["initial"].size <= exhibits.STORED_WEIGHTS
    assert kept["units"] == units
    np.testing.assert_allclose(kept["trained"].astype(float) - 1, kept["initial"].astype(float), atol=1e-3)
    kernel = next(leaf for path, leaf in nnx.to_flat_state(initial) if path[-1] == "kernel")
    np.testing.assert_array_equal(kept["initial"], jnp.asarray(kernel[...])[..., :shape[-1]].astype(np.float16))


def test_a_kernel_is_the_first_layers_only_if_it_fits_what_the_network_reads():
    """Flax sorts a block's kernels before a stem's."""
    kept = params(ResidualConfig(), (8, 8, 1))
    assert str(exhibits.first_layer(kept, kept, (8, 8, 1))["layer"]) == "first"
    assert exhibits.first_layer(kept, kept, (8, 8, 3)) == {}


def test_the_patches_of_a_transformer_come_before_what_reads_tokens_as_long_as_an_image():
    """Flax sorts its blocks first."""
    kept = params(ViTConfig(patch=4, dim=64, depth=1), (8, 8, 1))
    assert str(exhibits.first_layer(kept, kept, (8, 8, 1))["layer"]) == "patches"


@pytest.mark.parametrize(("fine_tune", "shape", "layer"), [
    ("none", (1280,), None), ("none", (32, 32, 3), None), ("last", (32, 32, 3), None),
    ("all", (32, 32, 3), "layers.0.backbone.layers.Conv1"), ("all", (32, 32, 1), "layers.0.backbone.layers.Conv1")])
def test_of_a_backbone_whose_first_convolution_is_not_trained_nothing_is_kept(fine_tune, shape, layer):
    kept = params(TransferConfig(width=0.35, resolution=32, fine_tune=fine_tune), shape)
    first = exhibits.first_layer(kept, kept, shape)
    assert first == {} if layer is None else str(first["layer"]) == layer
