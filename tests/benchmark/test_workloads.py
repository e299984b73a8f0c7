import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from ablations.spec import RunConfig
from harness.benchmark import rounds, workloads
from harness.benchmark.sides import backbone, own_command, own_forward, own_side, peak_side, task
from harness.records.configs import as_json
from models import TransferConfig


@pytest.mark.parametrize(("name", "parameters", "million_flops"), [
    ("W1", 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10, 1.0), ("W2", 116_110, 67.9), ("W2-bn", 116_510, 67.9),
    ("W3", 4_200_842, 28.7), ("W4", 10_168_010, 48.7), ("MNV2-224", 2_223_872, 599.0), ("MNV2-96", 2_223_872, 110.0)])
def test_sizes_are_the_stated_ones(name, parameters, million_flops):
    counted, flops = workloads.size(workloads.WORKLOADS[name])
    assert counted == parameters
    assert round(flops / 1e6, 1) == million_flops


def test_the_gradient_of_the_images_is_not_counted():
    _, flops = workloads.size(workloads.WORKLOADS["W4"])
    assert flops == 2 * (2 * 3072 * 2000 + 3 * 2000 * 2000 + 3 * 2000 * 10)


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_a_config_survives_the_way_to_a_side(name):
    config = workloads.WORKLOADS[name].config
    assert workloads.config_of(workloads.job(workloads.WORKLOADS[name], "float32", 1)["config"]) == config


@pytest.mark.parametrize("name", [name for name, one in workloads.WORKLOADS.items() if one.task == "train"])
def test_the_peers_are_taught_every_layer(name):
    """The list that peers build from has the parameters that the harness's own network has."""
    workload = workloads.WORKLOADS[name]
    height, width, channels = workload.image_shape
    parameters = 0
    for layer in task.layers(as_json(workload.config), workload.num_classes):
        if layer.kind == "conv":
            lost = layer.size - 1 if layer.padding == "valid" else 0
            parameters += (layer.size**2 * channels + 1) * layer.units
            height, width, channels = height - lost, width - lost, layer.units
        elif layer.kind == "max_pool":
            height, width = height // layer.size, width // layer.size
        elif layer.kind == "batch_norm":
            parameters += 2 * channels
        elif layer.kind == "flatten":
            channels *= height * width
        elif layer.kind == "dense":
            parameters += (channels + 1) * layer.units
            channels = layer.units
    assert parameters == workloads.size(workload)[0]
    rates = {"W1": {0.2}, "W2": {0.1}, "W3": {0.3}}.get(name, set())
    assert {layer.rate for layer in task.layers(as_json(workload.config), 10) if layer.kind == "dropout"} == rates


def test_a_setting_that_peers_would_leave_out_is_refused():
    config = as_json(workloads.WORKLOADS["W1"].config)
    config["model"]["l2_kernel"] = 0.01
    config["label_smoothing"] = 0.1
    with pytest.raises(ValueError, match="penalty, label_smoothing"):
        task.layers(config, 10)


def test_the_images_are_the_same_every_time_and_learnable_together_alone():
    """No pixel tells the classes apart, but the distance to the classes' means does, on images never seen."""
    images, labels = task.images(2000, (28, 28, 1), 10)
    again, _ = task.images(2000, (28, 28, 1), 10)
    np.testing.assert_array_equal(images, again)
    unseen, truth = task.images(500, (28, 28, 1), 10, held_out=True)
    assert not np.array_equal(unseen, images[:500])
    means = np.stack([images[labels == label].mean(0) for label in range(10)]).reshape(10, -1)
    distances = np.square(unseen.reshape(500, 1, -1) - means).sum(-1)
    assert (distances.argmin(1) == truth).mean() > 0.99
    spreads = np.stack([images[labels == label].std(0) for label in range(10)]).reshape(10, -1)
    assert (means.max(0) - means.min(0)).mean() < 2 * spreads.mean()


def test_the_score_is_the_cross_entropy():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 30
    labels = np.arange(50) % 4
    expected = -jax.nn.log_softmax(logits)[np.arange(50), labels].mean()
    scored = task.score(logits, labels)
    np.testing.assert_allclose(scored["loss"], expected, rtol=1e-5)
    assert scored["accuracy"] == (logits.argmax(1) == labels).mean()


def test_a_peer_pays_for_no_jax():
    code = "import sys, harness.benchmark.sides.serve, harness.benchmark.sides.backbone; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def given():
    """MobileNetV2 of width 0.35 at 36 pixels, a side that is halved to even and to odd ones."""
    workload = dataclasses.replace(
        workloads.WORKLOADS["MNV2-96"], config=RunConfig("made_up", TransferConfig(width=0.35, resolution=36)),
        image_shape=(36, 36, 3), examples=1)
    return backbone.Given(json.loads(json.dumps(workloads.job(workload, "float32", 1))))


def test_the_reference_passes_its_own_guard_and_tells_images_apart(given):
    features = backbone.reference(given.held_out, given.parts, given.weights)
    assert features.shape == (8, 1280)
    assert given.compare(lambda images: np.resize(features, (len(images), 1280)), batch=16) == {"loss": 0.0}
    assert np.linalg.norm(features - features.mean(0)) > 0.1 * np.linalg.norm(features)


@pytest.mark.parametrize("wrong", ["padding", "epsilon", "residual", "relu6", "images", "constant"])
def test_a_wrong_forward_pass_fails_the_guard(given, wrong, monkeypatch):
    parts, images = given.parts, given.held_out
    expected = backbone.reference(images, parts, given.weights)
    if wrong == "padding":  # as PyTorch's own MobileNetV2 has it
        monkeypatch.setattr(backbone, "padding", lambda side, stride: (1, 1))
    elif wrong == "epsilon":  # PyTorch's default
        monkeypatch.setattr(backbone, "EPSILON", 1e-5)
    elif wrong == "residual":
        parts = [part._replace(residual=False) for part in parts]
    elif wrong == "relu6":
        parts = [*parts[:-1], parts[-1]._replace(convs=[parts[-1].convs[0]._replace(relu6=False)])]
    elif wrong == "images":
        images = images[::-1]
    found = backbone.reference(images, parts, given.weights)
    if wrong == "constant":
        found = np.broadcast_to(expected.mean(0), expected.shape)
    assert backbone.distance(found, expected) > workloads.WORKLOADS["MNV2-96"].loss_goal


def test_folded_weights_do_the_work_of_both_layers(given):
    x = np.random.default_rng(0).normal(size=(9, 9, 3))
    [conv] = given.parts[0].convs
    arrays = given.weights[conv.name]
    kernel, bias = arrays.folded()
    ones, zeros = np.ones(len(bias)), np.zeros(len(bias))
    alone = backbone.Weights(kernel, ones, bias, zeros, ones - backbone.EPSILON)
    np.testing.assert_allclose(backbone._apply(x, conv, alone), backbone._apply(x, conv, arrays), atol=1e-5)


def test_a_batch_of_the_harness_is_filled_up_so_that_it_divides_among_its_devices():
    side, widths = own_forward.Side.__new__(own_forward.Side), []

    def program(images):
        widths.append(len(images))
        return images.sum((1, 2, 3))

    side.batch, side.program = 6, program
    images = np.arange(16).reshape(16, 1, 1, 1)
    assert side._features(images).tolist() == list(range(16))
    assert widths == [6, 6, 6]


def test_of_runs_side_by_side_one_whose_loss_is_not_finite_is_the_worst():
    side = own_side.Side.__new__(own_side.Side)
    sums = [{"last": types.SimpleNamespace(sums=types.SimpleNamespace(loss=loss, examples=10, correct=5))}
            for loss in (1.0, float("nan"), 2.0)]
    side.epochs, side._fresh = 0, lambda: ([], [])
    side.programs = types.SimpleNamespace(take=lambda given: given, put=lambda given: given, test=lambda *_: sums)
    assert np.isnan(side.learn()["loss"])


def test_of_a_commands_runs_one_whose_loss_is_not_finite_is_the_worst():
    side = own_command.Side.__new__(own_command.Side)
    side.runs, side.took = 3, [{"start": 1.0}]
    side.recorded = [types.SimpleNamespace(last=types.SimpleNamespace(test_loss=loss, test_accuracy=0.5))
                     for loss in (1.0, float("nan"), 2.0)]
    assert np.isnan(side.learn()["loss"])


@pytest.mark.skipif(not all(importlib.util.find_spec(package) for package in ("keras", "tensorflow")),
                    reason="keras and tensorflow not installed: pip install '.[bench]'")
def test_what_keras_is_fastest_with_is_found_by_the_least_of_three_epochs():
    """Its first timed epoch with each candidate is disturbed; what is fastest in two of three is chosen."""
    from harness.benchmark.sides import keras_side

    side = keras_side.Side.__new__(keras_side.Side)

    def seconds(settings):
        side.settings = settings
        return 9.0 if settings["jit_compile"] else 5.0

    side._seconds, side._epoch = seconds, lambda: 1.0 if side.settings["jit_compile"] else 4.0
    assert side.calibrate()["jit_compile"] is True


@pytest.mark.slow
def test_the_side_that_augments_keeps_images_at_strength_zero_and_tells_the_whole_machine():
    workload = dataclasses.replace(workloads.WORKLOADS["AUG-cutout"], examples=256)
    with rounds.Side(rounds.OWN, workloads.job(workload, "float32", 1)) as side:
        assert side.ask("prepare", settings={})["work"] == 256
        assert side.ask("time") > 0
        assert side.ask("learn") == {"loss": 0.0}
        assert f"{len(os.sched_getaffinity(0))} cores" in side.about["machine"]["device"]


def test_the_peak_takes_the_devices_that_there_are(monkeypatch):
    """As many as cores would be refused on a GPU."""
    asked = []
    monkeypatch.setattr(peak_side.environment, "configure", lambda *given: asked.append(given))
    monkeypatch.setattr(peak_side.environment, "pin", lambda: None)
    peak_side.Side({"precision": "float32"})
    assert asked == [()]
