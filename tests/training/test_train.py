import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ablations.spec import AugmentConfig, EarlyStopping, OptimizerConfig, RunConfig
from harness.training import optimizer, train
from models import CNNConfig, MLPConfig, Mode

PLAIN = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), batch_size=32, epochs=2, validation_size=40)
CNN = dataclasses.replace(PLAIN, model=CNNConfig(filters=(4,), batch_norm=True, l2_kernel=0.01))


def start(config, dataset, seed=0):
    return train.init(config, seed, dataset.num_classes, dataset.image_shape)


def examples(split):
    return train.Examples(jnp.asarray(split.images), jnp.asarray(split.labels))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_close(one, other, atol=1e-5):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def whole_epoch(program):
    def epoch(state, traced, split):
        steps = train.steps_per_epoch(program.config, split.labels.shape[0])
        return train.train_epoch(program, state, traced, split, steps)

    return jax.jit(epoch)


def run_epochs(config, dataset, seed=0):
    program, state, traced = start(config, dataset, seed)
    epoch = whole_epoch(program)
    end_epoch = jax.jit(functools.partial(train.end_epoch, program))
    for _ in range(config.epochs):
        state, sums = epoch(state, traced, examples(dataset.train))
        state, _ = end_epoch(state, traced, sums, examples(dataset.validation))
    return program, state, traced


def test_one_batch_larger_than_the_data_takes_one_exact_step(dataset):
    """The padding of a batch changes neither the gradient nor the totals."""
    config = dataclasses.replace(PLAIN, batch_size=157, optimizer=OptimizerConfig("sgd", learning_rate=0.5))
    program, state, traced = start(config, dataset)
    split = examples(dataset.train)

    def loss(params):
        network = program.network(train.Weights(params, state.weights.statistics), traced["model"])
        logits = network(split.images / 255, Mode())
        return optax.softmax_cross_entropy_with_integer_labels(logits, split.labels).mean()

    value, gradient = jax.value_and_grad(loss)(state.weights.params)
    expected = jax.tree.map(lambda w, g: w - 0.5 * g, state.weights.params, gradient)
    trained, sums = whole_epoch(program)(state, traced, split)
    assert int(sums.examples) == 150
    np.testing.assert_allclose(sums.loss / 150, value, rtol=1e-5)
    assert_close(trained.weights.params, expected, atol=1e-6)


def test_an_epoch_sees_every_example_once(dataset):
    """With a learning rate too small to matter, the epoch's loss is the mean over the whole set."""
    config = dataclasses.replace(PLAIN, optimizer=OptimizerConfig("sgd", learning_rate=1e-30))
    program, state, traced = start(config, dataset)
    split = examples(dataset.train)
    _, sums = whole_epoch(program)(state, traced, split)
    whole = train.evaluate(program, state.weights, traced, split).sums
    assert (int(sums.examples), int(sums.correct)) == (150, int(whole.correct))
    np.testing.assert_allclose(sums.loss, whole.loss, rtol=1e-5)


def test_evaluation_sees_every_example_once_in_order(dataset):
    """1,007 examples fill no whole number of batches."""
    program, state, traced = start(CNN, dataset)
    split = examples(dataset.test)
    result = jax.jit(functools.partial(train.evaluate, program))(state.weights, traced, split)
    logits = program.network(state.weights, traced["model"])(split.images / 255, Mode())
    assert int(result.sums.examples) == 1007
    np.testing.assert_array_equal(result.predicted, logits.argmax(-1))
    np.testing.assert_allclose(result.probability, jax.nn.softmax(logits).max(-1), atol=1e-5)
    assert int(result.sums.correct) == int((logits.argmax(-1) == split.labels).sum())


def test_large_pictures_are_scored_fewer_at_once_in_the_memory_of_small_ones():
    """1,007 of 160 px, of which three are not black: each in its place, and no batch holds 500 of them."""
    config, needed = dataclasses.replace(CNN, model=CNNConfig(filters=(4,), batch_norm=True)), []
    for width in (96, 160):
        program, state, traced = train.init(config, 0, 4, (width, width, 1))
        images = np.zeros((1007, width, width, 1), np.uint8)
        images[[3, 499, 1006]] = np.arange(100, 103)[:, None, None, None]
        shown = train.Examples(jnp.asarray(images), jnp.zeros(len(images), jnp.int32))
        score = jax.jit(functools.partial(train.evaluate, program)).lower(state.weights, traced, shown).compile()
        needed.append(score.memory_analysis().temp_size_in_bytes)
    assert needed[1] < 1.1 * needed[0]
    result = score(state.weights, traced, shown)
    assert int(result.sums.examples) == 1007
    assert set(np.flatnonzero(result.probability != result.probability[0])) == {3, 499, 1006}


@pytest.mark.parametrize("config", [PLAIN, CNN, dataclasses.replace(CNN, precision="bfloat16")],
                         ids=["mlp", "cnn", "bfloat16"])
def test_training_learns(dataset, config):
    # Batch norm's running statistics need a few hundred steps to arrive.
    config = dataclasses.replace(config, epochs=60, optimizer=OptimizerConfig(learning_rate=0.01))
    _, state, _ = run_epochs(config, dataset)
    assert state.history[-1, 3] > 0.8
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.weights))


@pytest.mark.parametrize("change", [
    {"optimizer.learning_rate": 0.02}, {"optimizer.weight_decay": 0.3}, {"optimizer.momentum": 0.8},
    {"label_smoothing": 0.3}, {"model.dropout": 0.6}, {"model.l2_kernel": 0.5}, {"augment.mixup": 2.0}])
def test_each_traced_value_matters_and_compiles_nothing_anew(dataset, change):
    from ablations.spec import with_value

    base = dataclasses.replace(PLAIN, label_smoothing=0.1, augment=AugmentConfig(mixup=0.2),
                               model=MLPConfig(hidden=(8,), dropout=0.2, l2_kernel=0.01),
                               optimizer=OptimizerConfig("sgd", 0.1, momentum=0.5, weight_decay=0.01))
    program, state, traced = start(base, dataset)
    epoch = whole_epoch(program)
    split = examples(dataset.train)
    first, _ = epoch(state, traced, split)
    other = start(functools.reduce(lambda config, item: with_value(config, *item), change.items(), base), dataset)
    second, _ = epoch(other[1], other[2], split)
    assert epoch._cache_size() == 1
    assert any((a != b).any() for a, b in zip(leaves(first.weights), leaves(second.weights), strict=True))


def test_sgd_with_momentum_moves_as_keras_defines_it(dataset):
    """v <- momentum * v - rate * gradient; w <- w + v."""
    config = dataclasses.replace(PLAIN, batch_size=150, optimizer=OptimizerConfig("sgd", 0.1, momentum=0.9))
    program, state, traced = start(config, dataset)
    split = examples(dataset.train)

    def loss(params):
        logits = program.network(train.Weights(params, state.weights.statistics), traced["model"])(split.images / 255)
        return optax.softmax_cross_entropy_with_integer_labels(logits, split.labels).mean()

    expected = state.weights.params
    velocity = jax.tree.map(jnp.zeros_like, expected)
    for _ in range(3):
        state, _ = whole_epoch(program)(state._replace(epoch=jnp.int32(0)), traced, split)
        velocity = jax.tree.map(lambda v, g: 0.9 * v - 0.1 * g, velocity, jax.grad(loss)(expected))
        expected = jax.tree.map(jnp.add, expected, velocity)
    assert_close(state.weights.params, expected, atol=1e-5)


def test_adam_is_the_paper_s_algorithm_with_epsilon_after_bias_correction():
    """Over gradients down to epsilon, where its place matters; the reference is written out in float64."""
    config = OptimizerConfig(learning_rate=1e-3)
    traced = {name: jnp.float32(getattr(config, name)) for name in ("learning_rate", "momentum", "weight_decay")}
    adam, scale = optimizer.build(config, traced), np.array([1.0, 1e-3, 1e-6, 1e-7])
    weights = jnp.zeros(4)
    state = adam.init(weights)
    expected, first, second = (np.zeros(4) for _ in range(3))
    for step in range(1, 21):
        gradient = scale * np.cos(step)
        update, state = adam.update(jnp.asarray(gradient, jnp.float32), state, weights)
        weights = optax.apply_updates(weights, update)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.9**step), second / (1 - 0.999**step)
        expected -= 1e-3 * corrected[0] / (np.sqrt(corrected[1]) + 1e-7)
        np.testing.assert_allclose(weights, expected, atol=1e-7)


def test_early_stopping_waits_its_patience_and_keeps_the_first_best(dataset):
    """Nothing moves, so the first epoch stays the best and the run stops after `patience` more."""
    config = dataclasses.replace(PLAIN, epochs=9, early_stopping=EarlyStopping(patience=3),
                                 optimizer=OptimizerConfig("sgd", learning_rate=1e-30))
    _, state, _ = run_epochs(config, dataset)
    assert (int(state.epoch), int(state.best_epoch), bool(state.stopped)) == (4, 1, True)
    assert np.isfinite(state.history[:4]).all()
    assert np.isnan(state.history[4:]).all()


def test_an_improvement_below_min_delta_does_not_reset_the_patience(dataset):
    config = dataclasses.replace(PLAIN, epochs=9, optimizer=OptimizerConfig(learning_rate=0.003),
                                 early_stopping=EarlyStopping("validation_loss", min_delta=50.0, patience=3))
    _, state, _ = run_epochs(config, dataset)
    assert (int(state.epoch), bool(state.stopped)) == (4, True)
    assert int(state.best_epoch) == 4, "the best weights follow every improvement, however small"


def test_the_best_weights_are_those_of_the_best_validation_epoch(dataset):
    config = dataclasses.replace(PLAIN, epochs=6, optimizer=OptimizerConfig(learning_rate=0.3))
    program, state, traced = run_epochs(config, dataset)
    accuracy = state.history[:, train.HISTORY.index("validation_accuracy")]
    assert int(state.best_epoch) == int(accuracy.argmax()) + 1
    best = train.evaluate(program, state.best, traced, examples(dataset.validation)).sums
    np.testing.assert_allclose(best.correct / best.examples, accuracy.max(), rtol=1e-6)
    assert int(state.best_epoch) < config.epochs, "this test needs a best epoch that is not the last"
    tested = train.score_test(program, state, traced, examples(dataset.test))
    for name, weights in (("best", state.best), ("last", state.weights)):
        np.testing.assert_array_equal(
            tested[name].probability, train.evaluate(program, weights, traced, examples(dataset.test)).probability)
    assert (tested["best"].probability != tested["last"].probability).any()


def test_the_test_set_is_read_by_runs_that_have_ended_alone(dataset):
    program, state, traced = start(PLAIN, dataset)
    unread = train.score_test(program, state, traced, examples(dataset.test))
    assert all((leaf == 0).all() for leaf in leaves(unread))
    ended = train.score_test(program, state._replace(epoch=jnp.int32(2)), traced, examples(dataset.test))
    assert int(ended["last"].sums.examples) == 1007


def test_a_part_of_an_epoch_takes_so_many_steps(dataset):
    program, state, traced = start(PLAIN, dataset)
    after, sums = train.train_epoch(program, state, traced, examples(dataset.train), 2)
    assert (int(after.step), int(sums.examples)) == (2, 64)


def test_a_diverged_run_is_marked_and_rests(dataset):
    config = dataclasses.replace(PLAIN, epochs=4, optimizer=OptimizerConfig("sgd", learning_rate=1e30))
    _, state, _ = run_epochs(config, dataset)
    assert bool(state.diverged)
    assert int(state.epoch) == 1


def test_the_order_of_examples_follows_from_seed_and_epoch_alone(dataset):
    program, state, traced = start(dataclasses.replace(PLAIN, epochs=9), dataset)
    epoch = whole_epoch(program)

    def trained(seed, number):
        """The weights differ in nothing but the order of the batches."""
        after, _ = epoch(state._replace(seed=jnp.int32(seed), epoch=jnp.int32(number)), traced, examples(dataset.train))
        return np.concatenate([leaf.ravel() for leaf in leaves(after.weights.params)])

    np.testing.assert_array_equal(trained(3, 1), trained(3, 1))
    assert (trained(3, 1) != trained(4, 1)).any()
    assert (trained(3, 1) != trained(3, 2)).any()


def test_augmentation_happens_in_training_alone(dataset):
    config = dataclasses.replace(PLAIN, augment=AugmentConfig(shift_px=2, flip=True),
                                 optimizer=OptimizerConfig("sgd", learning_rate=1e-30))
    program, state, traced = start(config, dataset)
    split = examples(dataset.train)
    _, sums = whole_epoch(program)(state, traced, split)
    whole = train.evaluate(program, state.weights, traced, split).sums
    assert abs(float(sums.loss - whole.loss)) > 1e-3
    plain, _, traced = start(PLAIN, dataset)
    assert train.evaluate(plain, state.weights, traced, split).sums.loss == whole.loss


@pytest.mark.parametrize("config", [PLAIN, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("form", ["pmap", "shard_map", "jit"])
def test_four_devices_take_the_step_of_one(dataset, config, form):
    """The last device's share is half padding, so no mean of the devices' means would do."""
    # Not Adam: it turns a rounding error around a gradient of zero into a whole step.
    config = dataclasses.replace(config, optimizer=OptimizerConfig("sgd", learning_rate=0.1))
    program, state, traced = start(config, dataset)
    batch = examples(dataset.train)
    batch = jax.tree.map(lambda leaf: leaf[:32], batch)
    mask = jnp.arange(32) < 28
    step = functools.partial(train.train_step, program)
    expected, expected_sums = jax.jit(step)(state, traced, batch, mask)
    assert jax.device_count() == 4
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = functools.partial(step, axis_name="data")
    if form == "pmap":
        split = jax.tree.map(lambda leaf: leaf.reshape(4, 8, *leaf.shape[1:]), (batch, mask))
        got, sums = jax.pmap(sharded, axis_name="data", in_axes=(None, None, 0, 0))(state, traced, *split)
        got, sums = jax.tree.map(lambda leaf: leaf[-1], (got, sums))
    elif form == "shard_map":
        specs = (P(), P(), P("data"), P("data"))
        whole = jax.shard_map(sharded, mesh=mesh, in_specs=specs, out_specs=P())
        got, sums = jax.jit(whole)(state, traced, batch, mask)
    else:
        batch, mask = jax.device_put((batch, mask), NamedSharding(mesh, P("data")))
        got, sums = jax.jit(step)(state, traced, batch, mask)
    assert_close(got.weights, expected.weights)
    assert_close(sums, expected_sums, atol=1e-4)
    assert int(sums.examples) == 28
