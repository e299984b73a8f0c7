import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ablations.spec import OptimizerConfig
from harness.training import optimizer
from models import ViTConfig

RATE = 0.02
START = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32),
         "scale": jnp.asarray([0.5, -1.0, 2.0], jnp.float32)}
# Ours -> what optax has for it; decay and clipping apart.
KINDS = {
    "adam": (OptimizerConfig("adam", RATE), optax.adam(RATE, eps=1e-7)),
    "adam, other moments": (OptimizerConfig("adam", RATE, b1=0.8, b2=0.95, eps=1e-3),
                            optax.adam(RATE, 0.8, 0.95, 1e-3)),
    "nadam": (OptimizerConfig("nadam", RATE), optax.nadam(RATE, eps=1e-7)),
    "adamw": (OptimizerConfig("adamw", RATE, weight_decay=0.1), optax.adamw(RATE, eps=1e-7, weight_decay=0.1)),
    "nadamw": (OptimizerConfig("nadamw", RATE, weight_decay=0.1), optax.nadamw(RATE, eps=1e-7, weight_decay=0.1)),
    "sgd": (OptimizerConfig("sgd", RATE), optax.sgd(RATE)),
    "momentum": (OptimizerConfig("sgd", RATE, momentum=0.9), optax.sgd(RATE, 0.9)),
    "nesterov": (OptimizerConfig("sgd", RATE, momentum=0.9, nesterov=True), optax.sgd(RATE, 0.9, nesterov=True)),
    "rmsprop": (OptimizerConfig("rmsprop", RATE), optax.rmsprop(RATE)),
    "rmsprop, momentum": (OptimizerConfig("rmsprop", RATE, momentum=0.9, b2=0.95), optax.rmsprop(
        RATE, 0.95, momentum=0.9)),
    "lion": (OptimizerConfig("lion", RATE, weight_decay=0.1), optax.lion(RATE, weight_decay=0.1)),
    "lamb": (OptimizerConfig("lamb", RATE, weight_decay=0.1), optax.lamb(RATE, weight_decay=0.1)),
    "adagrad": (OptimizerConfig("adagrad", RATE), optax.adagrad(RATE)),
}


def gradients(weights, step):
    """Gives a slope towards a target that moves."""
    return jax.tree.map(lambda leaf: leaf - 3 * jnp.cos(step + jnp.arange(leaf.size)).reshape(leaf.shape), weights)


def built(config):
    return optimizer.build(config, jax.tree.map(jnp.float32, optimizer.traced_values(config)))


def trained(which, steps=20, gradients=gradients):
    """Gives the weights after each step."""
    @jax.jit
    def run(weights):
        def step(carried, number):
            weights, state = carried
            update, state = which.update(gradients(weights, number), state, weights)
            weights = optax.apply_updates(weights, update)
            return (weights, state), weights

        return jax.lax.scan(step, (weights, which.init(weights)), jnp.arange(steps))[1]

    return run(START)


def assert_close(one, other, atol=1e-6):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=atol), one, other)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_takes_the_twenty_steps_of_optax(name):
    config, theirs = KINDS[name]
    ours = trained(built(config))
    assert_close(ours, trained(theirs))
    assert all((np.abs(leaf[-1] - leaf[0]) > 1e-3).any() for leaf in jax.tree.leaves(ours))


def test_every_kind_is_compared_with_optax():
    from ablations.recipes import OPTIMIZERS

    assert {config.kind for config, _ in KINDS.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize(("name", "keras_name", "arguments"), [
    ("sgd", "SGD", {}), ("momentum", "SGD", {"momentum": 0.9}),
    ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
    ("rmsprop", "RMSprop", {"rho": 0.9, "epsilon": 1e-8}), ("adagrad", "Adagrad", {"epsilon": 1e-7}),
    ("lion", "Lion", {"weight_decay": 0.1}), ("adam", "Adam", {}), ("adamw", "AdamW", {"weight_decay": 0.1}),
    ("lamb", "Lamb", {"weight_decay": 0.0, "epsilon": 1e-6})])
def test_where_keras_has_the_same_optimizer_it_takes_the_same_steps(name, keras_name, arguments):
    """Within what the other place of Adam's epsilon makes of gradients of this size."""
    from keras_on_jax import keras

    config = KINDS[name][0]
    if name == "lamb":  # Keras's own decays after the trust ratio
        config = OptimizerConfig("lamb", RATE)
    ours = trained(built(config), 5)
    variables = [keras.Variable(START[part]) for part in START]
    theirs = getattr(keras.optimizers, keras_name)(RATE, **arguments)
    slope = jax.jit(gradients)
    for step in range(5):
        now = slope(dict(zip(START, (variable.value for variable in variables), strict=True)), step)
        theirs.apply([now[part] for part in START], variables)
        assert_close(jax.tree.map(lambda leaf, step=step: leaf[step], ours),
                     dict(zip(START, (variable.value for variable in variables), strict=True)), atol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "rmsprop", "lamb"])
def test_decay_is_of_matrices_alone_where_it_is_asked_for(kind):
    """Without gradients nothing else moves the weights; a rate in the velocity does not delay it."""
    momentum = 0.9 if kind == "rmsprop" else 0.0

    def after(where):
        config = OptimizerConfig(kind, RATE, momentum=momentum, weight_decay=0.1, weight_decay_on=where)
        still = trained(built(config), 1, lambda weights, step: jax.tree.map(jnp.zeros_like, weights))
        return jax.tree.map(lambda leaf, start: np.asarray(leaf[0] / start), still, START)

    # LAMB takes a step of the length of the weights, times the rate.
    factor = 1 - RATE * (1 if kind == "lamb" else 0.1)
    np.testing.assert_allclose(after("all")["scale"], factor, rtol=1e-6)
    np.testing.assert_allclose(after("matrices")["scale"], 1)
    np.testing.assert_allclose(after("matrices")["kernel"], factor, rtol=1e-6)


def test_of_a_transformer_token_and_positions_are_no_matrices_that_decay():
    network = ViTConfig(patch=4, dim=8, depth=1, heads=2).build(3, (8, 8, 1), nnx.Rngs(0))
    params = nnx.state(network, nnx.Param)
    config = OptimizerConfig("sgd", 0.5, weight_decay=0.5, weight_decay_on="matrices")
    chain = optimizer.build(config, optimizer.traced_values(config))
    updates, _ = chain.update(jax.tree.map(jnp.zeros_like, params), chain.init(params), params)
    moved = {path for path, leaf in nnx.to_flat_state(updates) if np.any(leaf[...])}
    there = {path for path, leaf in nnx.to_flat_state(params) if leaf[...].ndim > 1}
    assert there - moved == {("token",), ("positions",)}
    assert moved < there


def test_of_attention_the_biases_of_each_head_are_no_matrices_that_decay():
    params = nnx.state(nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0)), nnx.Param)
    config = OptimizerConfig("sgd", 0.5, weight_decay=0.5, weight_decay_on="matrices")
    chain = optimizer.build(config, optimizer.traced_values(config))
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = chain.update(jax.tree.map(jnp.zeros_like, params), chain.init(ones), ones)
    moved = {path for path, leaf in nnx.to_flat_state(updates) if np.any(leaf[...])}
    assert moved == {(name, "kernel") for name in ("query", "key", "value", "out")}


def test_a_gradient_is_clipped_by_the_norm_of_all_of_it():
    """Written out in numpy; half of the steps are above the norm, half below."""
    config = OptimizerConfig("sgd", RATE, clip_norm=8.0)
    weights, norms = {part: np.asarray(leaf, np.float64) for part, leaf in START.items()}, []
    ours = trained(built(config))
    for step in range(20):
        now = jax.tree.map(np.asarray, gradients(weights, step))
        norms.append(np.sqrt(sum((leaf**2).sum() for leaf in now.values())))
        weights = {part: leaf - RATE * now[part] * min(1, 8.0 / norms[-1]) for part, leaf in weights.items()}
        assert_close(jax.tree.map(lambda leaf, step=step: leaf[step], ours), weights)
    assert min(norms) < 8 < max(norms)


def test_a_gradient_is_clipped_number_by_number():
    ours = trained(built(OptimizerConfig("sgd", RATE, clip_value=0.5)), 1)
    expected = jax.tree.map(lambda leaf, now: leaf - RATE * np.clip(now, -0.5, 0.5), START, gradients(START, 0))
    assert_close(jax.tree.map(lambda leaf: leaf[0], ours), expected)


def test_accumulated_gradients_are_one_update_by_their_mean():
    """Written out in numpy, with a velocity: three batches an update, the last two of twenty left over."""
    ours = trained(built(OptimizerConfig("sgd", RATE, momentum=0.9, gradient_accumulation_steps=3)))
    weights = {part: np.asarray(leaf, np.float64) for part, leaf in START.items()}
    velocity, waiting = dict.fromkeys(weights, 0.0), []
    for step in range(20):
        waiting.append(jax.tree.map(np.asarray, gradients(weights, step)))
        if len(waiting) == 3:
            velocity = {part: 0.9 * velocity[part] + np.mean([one[part] for one in waiting], 0) for part in weights}
            weights = {part: leaf - RATE * velocity[part] for part, leaf in weights.items()}
            waiting = []
        assert_close(jax.tree.map(lambda leaf, step=step: leaf[step], ours), weights)


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "adamax"}, "must be one of adam, adamw"), ({"kind": "lion", "eps": 1e-8}, 'eps belongs .* is "lion"'),
    ({"kind": "sgd", "b1": 0.9}, 'b1 belongs .* is "sgd"'), ({"b2": 1.0}, r"b2 must be a number in \[0, 1\)"),
    ({"nesterov": True}, 'nesterov belongs to the kinds "sgd", "rmsprop"'), ({"clip_norm": -1}, "clip_norm"),
    ({"clip_norm": 1.0, "clip_value": 1.0}, "exclude each other"), ({"weight_decay_on": "kernels"}, "all, matrices"),
    ({"gradient_accumulation_steps": 0}, "from 1"), ({"momentum": 0.9}, "momentum belongs")])
def test_a_setting_that_its_kind_does_not_have_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**changes)


def test_nesterov_needs_a_momentum():
    with pytest.raises(ValueError, match=r"give optimizer\.momentum"):
        optimizer.check(OptimizerConfig("sgd", nesterov=True), has_statistics=False)
