import numpy as np
import pytest
from small import random_backbone, small_dataset

from ablations.spec import Ablation, Factor, RunConfig
from harness import records
from harness.data import features, inputs
from harness.data.inputs import Inputs
from harness.serving.network import load
from harness.training import executor
from harness.training.watcher import Watcher
from models import TransferConfig, transfer


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
