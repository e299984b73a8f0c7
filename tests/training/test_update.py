import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ablations.spec import OptimizerConfig, RunConfig, ScheduleConfig
from harness.training import cost, train, update
from models import CNNConfig, MLPConfig

PLAIN = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), batch_size=50, epochs=2, validation_size=40,
                  optimizer=OptimizerConfig("sgd", 0.1))
CNN = dataclasses.replace(PLAIN, model=CNNConfig(filters=(2,), batch_norm=True))


def trained(config, dataset, epochs=1):
    """Gives the program, the state before and after, and the traced values."""
    program, begun, traced = train.init(config, 0, dataset.num_classes, dataset.image_shape,
                                        train_examples=len(dataset.train.labels))
    split = train.Examples(jnp.asarray(dataset.train.images), jnp.asarray(dataset.train.labels))
    epoch = jax.jit(functools.partial(train.train_epoch, program))
    state = begun
    for _ in range(epochs):
        state, _ = epoch(state, traced, split, jnp.int32(train.steps_per_epoch(config, split.labels.size)))
        state = state._replace(epoch=state.epoch + 1)
    return program, begun, state, traced


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.99999])
def test_the_average_is_the_mean_with_falling_weights(decay):
    """Written out in numpy in float64, from the first update on: no share of what it began with."""
    history = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    average = {"w": jnp.full(5, jnp.nan), "count": jnp.int32(7)}
    step = jax.jit(update.averaged)
    for count in range(1, 21):
        average = step(average, {"w": history[count - 1], "count": jnp.int32(count)}, jnp.float32(decay),
                       jnp.int32(count))
        shares = float(np.float32(decay)) ** np.arange(count)[::-1]
        np.testing.assert_allclose(average["w"], shares @ history[:count] / shares.sum(), rtol=2e-5, atol=2e-6)
        assert average["count"] == count, "what is not a mean is the latest"


def test_an_average_beside_the_weights_changes_no_weight(dataset):
    _, _, plain, _ = trained(CNN, dataset)
    _, _, averaging, _ = trained(dataclasses.replace(CNN, ema_decay=0.9), dataset)
    assert plain.average is None
    assert_same(plain.weights, averaging.weights)
    assert_same(plain.opt_state, averaging.opt_state)


def test_the_average_is_what_is_validated_tested_and_kept(dataset):
    """Of weights and statistics together."""
    config = dataclasses.replace(CNN, ema_decay=0.9, epochs=1)
    program, _, state, traced = trained(config, dataset)
    state = state._replace(epoch=jnp.int32(0))
    split = {name: train.Examples(jnp.asarray(part.images), jnp.asarray(part.labels))
             for name, part in (("validation", dataset.validation), ("test", dataset.test))}
    ended, _ = train.end_epoch(program, state, traced, train.no_sums()._replace(examples=jnp.int32(1)),
                               split["validation"])
    of_average, of_weights = (train.evaluate(program, weights, traced, split["validation"]).sums.loss / 40
                              for weights in (state.average, state.weights))
    np.testing.assert_allclose(ended.history[0, 2], of_average, rtol=1e-6)
    assert abs(of_average - of_weights) > 1e-4
    assert_same(ended.best, state.average)
    tested = train.score_test(program, ended, traced, split["test"])
    expected = train.evaluate(program, state.average, traced, split["test"]).probability
    for outcome in tested.values():
        np.testing.assert_array_equal(outcome.probability, expected)


def test_the_average_counts_updates_and_not_batches(dataset):
    """Of one update in three batches, the average is the weights after it."""
    config = dataclasses.replace(PLAIN, ema_decay=0.9, optimizer=OptimizerConfig(
        "sgd", 0.1, gradient_accumulation_steps=2))
    _, begun, state, _ = trained(config, dataset)
    assert int(state.step) == 3
    assert_same(state.average, state.weights)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.weights, begun.weights)), strict=True))


def test_a_schedule_with_a_warm_up_leaves_the_first_batch_without_effect(dataset):
    """The rate starts at 0: three batches with it move the weights as two do from where it is above 0."""
    config = dataclasses.replace(PLAIN, schedule=ScheduleConfig(warmup_steps=3))
    program, begun, _, traced = trained(config, dataset)
    batch = train.Examples(jnp.asarray(dataset.train.images[:50]), jnp.asarray(dataset.train.labels[:50]))

    def after(step, share):
        state, _ = train.train_step(program, begun._replace(step=jnp.int32(step)), traced, batch, jnp.ones(50, bool),
                                    relative_rate=share)
        return state.weights.params

    assert_same(after(0, lambda count: count / 3), begun.weights.params)
    moved = [jax.tree.map(lambda new, old: new - old, after(*given), begun.weights.params)
             for given in ((0, None), (1, lambda count: count / 3))]
    jax.tree.map(lambda whole, third: np.testing.assert_allclose(whole, 3 * third, atol=1e-6), *moved)


@pytest.mark.parametrize("clipping", [{"clip_norm": 1.0}, {"clip_value": 1.0}])
def test_gradients_that_are_not_finite_are_counted_where_a_run_may_outlive_them(dataset, clipping):
    config = dataclasses.replace(PLAIN, optimizer=OptimizerConfig("sgd", 0.1, **clipping))
    program, begun, state, traced = trained(config, dataset)
    assert int(state.non_finite) == 0
    for value in (jnp.inf, 1e30):  # the square of the second is no float32
        gradient = jax.tree.map(lambda leaf, value=value: jnp.full_like(leaf, value), begun.weights.params)
        after = update.advance(begun, gradient, begun.weights.statistics, program.config, traced)
        assert int(after.non_finite) == 1
    assert trained(PLAIN, dataset)[2].non_finite is None


def test_memory_counts_the_average_and_what_is_accumulated():
    """One more copy of the weights for each; the accumulated gradient has two counters."""
    def measured(**changes):
        config = dataclasses.replace(PLAIN, **changes)
        return cost.measure(*train.abstract_init(config, 4, (8, 8, 1)), (8, 8, 1))

    plain = measured()
    copy = 4 * (64 * 8 + 8 + 8 * 4 + 4)
    averaging = measured(ema_decay=0.9)
    assert (averaging.average_bytes, averaging.memory_estimate_bytes) == (copy, plain.memory_estimate_bytes + copy)
    accumulating = measured(optimizer=OptimizerConfig("sgd", 0.1, gradient_accumulation_steps=2))
    assert accumulating.optimizer_bytes == plain.optimizer_bytes + copy + 8


@pytest.mark.parametrize(("kind", "copies", "counters"), [
    ("adamw", 2, 1), ("nadam", 2, 1), ("lamb", 2, 1), ("lion", 1, 1), ("rmsprop", 1, 0), ("adagrad", 1, 0)])
def test_memory_counts_each_optimizers_state(kind, copies, counters):
    config = dataclasses.replace(PLAIN, optimizer=OptimizerConfig(kind))
    got = cost.measure(*train.abstract_init(config, 4, (8, 8, 1)), (8, 8, 1))
    assert got.optimizer_bytes == copies * got.gradients_bytes + 4 * counters


def test_accumulation_is_refused_with_batch_norm(dataset):
    config = dataclasses.replace(CNN, optimizer=OptimizerConfig(gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="have batch norm see each batch alone"):
        trained(config, dataset)


def test_classes_count_what_their_weights_say(dataset):
    """One batch of all examples, against the gradient of the weighted mean written out."""
    weights = (0.5, 2.0, 0.0, 1.0)
    config = dataclasses.replace(PLAIN, batch_size=150, class_weight=weights)
    program, begun, state, traced = trained(config, dataset)
    labels = dataset.train.labels

    def loss(params):
        network = program.network(train.Weights(params, begun.weights.statistics), traced["model"])
        chosen = jax.nn.log_softmax(network(dataset.train.images / np.float32(255)))[np.arange(150), labels]
        return -(np.asarray(weights, np.float32)[labels] * chosen).sum() / 150

    expected = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, begun.weights.params,
                            jax.grad(loss)(begun.weights.params))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), state.weights.params, expected)


def test_balanced_classes_count_as_in_scikit_learn(dataset):
    from sklearn.utils.class_weight import compute_class_weight

    from harness.training import class_weights

    labels = dataset.train.labels[:37]
    balanced = class_weights.of(dataclasses.replace(PLAIN, class_weight="balanced"), jnp.asarray(labels), 4)
    np.testing.assert_allclose(balanced, compute_class_weight("balanced", classes=np.arange(4), y=labels), rtol=1e-6)
    given = dataclasses.replace(PLAIN, class_weight=tuple(float(weight) for weight in balanced))
    np.testing.assert_allclose(class_weights.of(given, jnp.asarray(labels), 4), balanced)
    with pytest.raises(ValueError, match="3 weights, and there are 4 classes"):
        class_weights.check(dataclasses.replace(PLAIN, class_weight=(1.0, 1.0, 1.0)), 4)


@pytest.mark.parametrize("value", ["even", (), (0.0, 0.0), (1.0, -1.0), 2.0])
def test_class_weights_that_mean_nothing_are_refused(value):
    with pytest.raises(ValueError, match="class_weight"):
        dataclasses.replace(PLAIN, class_weight=value)
