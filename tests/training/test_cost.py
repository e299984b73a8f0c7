import dataclasses

import jax
import jax.numpy as jnp
import pytest
from sweeps import ABLATION, FOUND

from ablations.spec import Factor, OptimizerConfig, RunConfig, SpecError
from harness.training import cost, train
from models import CNNConfig, MLPConfig, ResNetConfig, convolution

MLP = RunConfig(dataset="fashion_mnist", model=MLPConfig(hidden=(256, 128)), batch_size=128)


def measured(config):
    program, state, traced = train.init(config, 0, 10, (28, 28, 1))
    return cost.measure(program, state, traced, (28, 28, 1))


def test_the_dense_net_costs_what_hand_arithmetic_says():
    """235,146 parameters of 4 bytes, twice that and a counter for Adam, 256 + 128 + 10 outputs for each of 128."""
    got = measured(MLP)
    assert got.parameters == 235_146
    assert got.macs_per_example == 784 * 256 + 256 * 128 + 128 * 10
    assert got.parameters_bytes == got.gradients_bytes == 4 * 235_146
    assert got.optimizer_bytes == 2 * 4 * 235_146 + 4
    assert got.activations_bytes == 4 * 128 * (256 + 128 + 10)
    assert got.memory_estimate_bytes == 4 * 4 * 235_146 + 4 + 4 * 128 * 394


@pytest.mark.parametrize(("momentum", "copies"), [(0.0, 0), (0.9, 1)])
def test_sgd_keeps_a_velocity_if_it_has_momentum(momentum, copies):
    got = measured(dataclasses.replace(MLP, optimizer=OptimizerConfig("sgd", momentum=momentum)))
    assert got.optimizer_bytes == copies * 4 * 235_146


@pytest.mark.parametrize("model", [CNNConfig(filters=(8, 8), padding="same"), ResNetConfig(depth=8)])
def test_colour_images_at_bfloat16_are_described_with_an_accelerators_convolution(model):
    config = RunConfig(dataset="cifar10", model=model, batch_size=32, precision="bfloat16")
    with convolution.using("lax"):
        _, state, _ = train.abstract_init(config, 10, (16, 16, 3), 100)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.weights)} == {jnp.dtype("float32")}


def test_bfloat16_halves_the_activations_alone():
    full, half = measured(MLP), measured(dataclasses.replace(MLP, precision="bfloat16"))
    assert half.activations_bytes * 2 == full.activations_bytes
    assert half.parameters_bytes == full.parameters_bytes


def test_each_run_of_a_program_is_held_against_its_images():
    """Strengths are traced: runs that differ in them alone share a program, and not what fits their images."""
    ablation = dataclasses.replace(ABLATION, factors={"cutout": Factor("augment.cutout_px", {"2": 2, "40": 40})})
    with pytest.raises(SpecError, match=r"cutout=40 on small: .*cutout_px"):
        cost.measure_all(ablation.runs(), FOUND)
