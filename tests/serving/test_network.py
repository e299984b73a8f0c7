import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from small import random_backbone, small_dataset

from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig
from harness import records
from harness.data import DataError, features, inputs
from harness.data.inputs import Inputs
from harness.data.resize import Rule
from harness.records import kept
from harness.serving.network import Classifier, load, restored
from harness.training import executor
from harness.training.watcher import Watcher
from models import TransferConfig, transfer


class Standardized(nnx.Module):
    """Holds constants that are no variables, as normalisations and fixed encodings are written."""

    def __init__(self, num_classes, rngs):
        self.mean, self.scale = jnp.array([0.3]), np.array([2.0], np.float32)
        self.linear = nnx.Linear(64, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.linear(((x - self.mean) * self.scale).reshape(len(x), -1))


@dataclasses.dataclass(frozen=True)
class StandardizedNet:
    def build(self, num_classes, input_shape, rngs):
        return Standardized(num_classes, rngs)


def test_a_network_with_constants_is_kept_and_loaded(tmp_path):
    data = small_dataset(64, 20, 50)
    sgd = OptimizerConfig("sgd", 0.05, gradient_accumulation_steps=2)  # refuses batch norm, which these are not
    base = RunConfig("small", StandardizedNet(), optimizer=sgd, batch_size=32, epochs=2, validation_size=20)
    runs, folder = Ablation("Why?", base, {}, seeds=(0,)).runs(), records.Folder(tmp_path, "constants")
    executor.execute(executor.Launch("Why?", runs, folder, keep_weights="best"), runs,
                     {inputs.key(base): Inputs(data, None, None)}, Watcher())
    of_run = folder.run(runs[0].run_id)
    network, stored = restored(of_run, kept.read(of_run), base), folder.predictions(runs[0].run_id)
    probabilities = network(data.test.images)
    assert (probabilities.argmax(1) == stored["predicted"]).all()
    np.testing.assert_allclose(probabilities.max(1), stored["probability"], rtol=2e-3)


@pytest.mark.slow
def test_a_head_on_a_frozen_backbone_is_kept_whole_and_scores_as_it_did(tmp_path):
    """Trained on features; loaded from the two files alone, without the backbone's weight file."""
    backbone, data = random_backbone(), small_dataset(64, 20, 50, (8, 8, 3))
    base = RunConfig("small", TransferConfig(0.35, 32), batch_size=32, epochs=2, validation_size=20)
    ablation = Ablation("Why?", base, {"rate": Factor("optimizer.learning_rate", {"small": 1e-3})}, seeds=(0,))
    compute = features.compiled(transfer.Features(backbone, 32), "float32", 1)
    vectors = {name: np.asarray(compute(getattr(data, name).images)) for name in ("train", "validation", "test")}
    found = {inputs.key(base): Inputs(data, features.Computed(vectors, 0.0, cached=False), backbone)}
    runs, folder = ablation.runs(), records.Folder(tmp_path, "transfer")
    executor.execute(executor.Launch("Why?", runs, folder, keep_weights="best"), runs, found, Watcher())
    network, stored = load(folder.run(runs[0].run_id)), folder.predictions(runs[0].run_id)
    probabilities = network(data.test.images)
    assert (probabilities.argmax(1) == stored["predicted"]).all()
    assert np.ptp(probabilities[:, 0]) > 1e-4, "it tells pictures apart"
    np.testing.assert_allclose(probabilities.max(1), stored["probability"], rtol=2e-3)


@pytest.mark.parametrize(("picture", "line"), [
    (np.zeros((0, 8), np.uint8), "without pixels"), (Image.new("L", (0, 5)), "without pixels"),
    (None, "a path, an image of Pillow or an array, not NoneType"), (b"a.png", "not bytes")])
def test_what_is_no_picture_is_one_line(picture, line):
    network = object.__new__(Classifier)
    network.rule = Rule((8, 8), 1, "crop")
    with pytest.raises(DataError, match=line):
        network.read(picture)
