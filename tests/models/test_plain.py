import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from plain_networks import Residual, ResidualConfig

import models
from ablations.spec import RunConfig
from models import Mode, convolution, layers, plain, table

SHAPE = (8, 8, 1)


@dataclasses.dataclass
class Thawed:
    def build(self, num_classes, input_shape, rngs):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class WithoutBuild:
    width: int = 3


@dataclasses.dataclass(frozen=True)
class Holding(ResidualConfig):
    widths: object = (1, 2)


@pytest.mark.parametrize(("model", "message"), [
    (ResidualConfig, r"ResidualConfig is a class: call it, as in ResidualConfig\(\)"),
    (Residual, "Residual is a class: give an object whose build returns a Residual"),
    (Thawed(), r"write @dataclasses\.dataclass\(frozen=True\) above class Thawed"),
    (WithoutBuild(), "WithoutBuild has no build"), (3, "frozen dataclass with a method build.*, not 3"),
    (Holding(widths=[1, 2]), r"Holding\.widths must hold finite numbers.*not \[1, 2\]"),
    (Holding(widths=jnp.tanh), r"Holding\.widths must hold finite numbers"),
    (Holding(widths=(1.0, float("inf"))), r"Holding\.widths must hold finite numbers.*not \(1.0, inf\)"),
    (Holding(widths=float("nan")), r"Holding\.widths must hold finite numbers.*not nan"),
])
def test_what_is_no_config_is_refused_where_it_is_written(model, message):
    with pytest.raises(ValueError, match=message) as caught:
        RunConfig(dataset="digits", model=model)
    assert "\n" not in str(caught.value)


def config(make):
    """Makes a config whose network is what `make` gives."""
    @dataclasses.dataclass(frozen=True)
    class Made:
        def build(self, num_classes, input_shape, rngs):
            return make(rngs)

    return Made()


class Called(nnx.Module):
    """Answers a call by a function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(self, x)


def grow(network, x):
    network.seen = nnx.BatchStat(x.mean())
    return jnp.zeros((len(x), 4))


@pytest.mark.parametrize(("make", "message"), [
    (lambda rngs: 7, "Made.build must return its network, an nnx.Module of flax.nnx, not 7"),
    (lambda rngs: linen.Dense(4), "not Dense.*; write the class as an nnx.Module"),
    (lambda rngs: {}["x"], r"Made\.build fails with KeyError: 'x' \(test_plain\.py, line \d+\)"),
    (lambda rngs: Called(lambda own, x: x.reshape(len(x), -1)), r"\(batch, 4\).*it gives float32 of shape \(2, 64\)"),
    (lambda rngs: Called(lambda own, x: x.nothing), r"fails on inputs of 8 x 8 x 1 in training.*test_plain\.py, line"),
    (lambda rngs: Called(lambda own, x: jnp.zeros((len(x), 4), int)), "must give logits"),
    (lambda rngs: Called(grow), "Called adds to its state"),
    (lambda rngs: Called(lambda own, x: nnx.Dropout(0.5)(x)), "`rngs` argument was provided"),
])
def test_a_network_that_does_not_run_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        plain.check(plain.built(config(make), 4, SHAPE, nnx.Rngs(0)), 4, SHAPE)
    assert "\n" not in str(caught.value)


def test_a_module_that_draws_noise_beside_dropout_gets_keys_of_its_own_for_each_stream():
    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.one, self.two = rngs.noise.fork(), rngs.noise.fork()

        def __call__(self, x):
            return jnp.stack([self.one.normal((3,)), self.two.normal((3,)), self.one.normal((3,))])

    network = Noisy(nnx.Rngs(0))
    first = plain.forward(network, jnp.ones((1, 1)), Mode(True, jax.random.key(5)))
    again = plain.forward(network, jnp.ones((1, 1)), Mode(True, jax.random.key(5)))
    other = plain.forward(network, jnp.ones((1, 1)), Mode(True, jax.random.key(6)))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.concatenate([first, other]))) == 18


@pytest.mark.parametrize(("drawn", "whole"), [
    (lambda rngs: nnx.Dropout(0.5, rngs=rngs), True), (lambda rngs: rngs.noise.fork(), True),
    (lambda rngs: layers.Dropout(0.5, 0), False)])
def test_a_network_that_asks_for_the_mode_and_draws_by_flax_gets_whole_batches(drawn, whole):
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.drawn = drawn(rngs)

        def __call__(self, x, mode):
            return x

    assert plain.needs_whole_batches(Network(nnx.Rngs(0))) == whole


@pytest.mark.parametrize("options", [
    {}, {"strides": 2}, {"padding": "VALID"}, {"kernel_dilation": 2}, {"feature_group_count": 2},
    {"padding": "CIRCULAR"}, {"kernel_size": (3, 1)}, {"kernel_size": (1, 1), "strides": (2, 2)},
    {"kernel_size": (2, 2)}, {"use_bias": False}, {"padding": 1}], ids=str)
def test_our_convolution_is_flaxs_under_all_its_options(options):
    given = {"in_features": 4, "out_features": 6, "kernel_size": (3, 3)} | options
    ours, theirs = (kind(**given, rngs=nnx.Rngs(0)) for kind in (models.Conv, nnx.Conv))
    x = jax.random.normal(jax.random.key(0), (5, 9, 9, 4))

    def value(layer, x):
        return (layer(x) ** 2).sum()

    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-4)
    np.testing.assert_allclose(jax.grad(value, 1)(ours, x), jax.grad(value, 1)(theirs, x), atol=1e-3)
    assert jax.tree.map(jnp.shape, nnx.state(ours)) == jax.tree.map(jnp.shape, nnx.state(theirs))


def test_a_convolution_that_has_a_faster_form_is_named(monkeypatch):
    network = Residual(1, 4, 4, 0.0, nnx.Conv, nnx.Rngs(0))
    assert plain.faster_convolutions(network) == ["first", "second", "shortcut"]
    assert plain.faster_convolutions(Residual(1, 4, 4, 0.0, models.Conv, nnx.Rngs(0))) == []
    for options, faster in (({"feature_group_count": 2}, False), ({"kernel_dilation": [1, 1]}, True),
                            ({"kernel_dilation": [2, 2]}, False), ({"input_dilation": 2}, False)):
        assert convolution.has_faster_form(nnx.Conv(4, 4, (3, 3), **options, rngs=nnx.Rngs(0))) == faster
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert plain.faster_convolutions(network) == []


class Told(nnx.Module):
    def __call__(self, x, train: bool = False):
        return jnp.zeros((len(x), 4))


class AlsoTold(nnx.Module):
    def __call__(self, x, deterministic: bool | None = None):
        return jnp.zeros((len(x), 4))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(4)(x.reshape(len(x), -1))


class LinenTold(LinenNet):
    @linen.compact
    def __call__(self, x, train=True):
        return linen.Dense(4)(x.reshape(len(x), -1))


def bridged(module, rngs):
    return nnx.bridge.lazy_init(nnx.bridge.ToNNX(module, rngs=rngs), jnp.zeros((1, *SHAPE)))


@pytest.mark.parametrize(("make", "name"), [
    (lambda rngs: Told(), "Told takes train,"), (lambda rngs: bridged(LinenTold(), rngs), "LinenTold takes train,")])
def test_a_network_that_waits_to_be_told_of_training_is_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} which nobody gives it"):
        plain.check(plain.built(config(make), 4, SHAPE, nnx.Rngs(0)), 4, SHAPE)
    plain.check(AlsoTold(), 4, SHAPE)


def test_a_linen_module_in_flaxs_bridge_is_run_and_counted():
    network = plain.built(config(lambda rngs: bridged(LinenNet(), rngs)), 4, SHAPE, nnx.Rngs(0))
    plain.check(network, 4, SHAPE)
    assert sum(row.parameters for row in table.rows(network, SHAPE)) == 64 * 4 + 4
    assert sum(row.macs for row in table.rows(network, SHAPE)) == 64 * 4


def test_attributes_that_are_no_methods_are_no_penalty_and_no_layer_table():
    network = Called(lambda own, x: jnp.zeros((len(x), 4)))
    network.penalty, network.rows = 0.01, 8
    assert plain.penalty(network) == 0
    assert table.rows(network, SHAPE)[0].kind == "Called"
