import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small import small_dataset

from ablations.spec import AugmentConfig, OptimizerConfig, RunConfig, ScheduleConfig
from harness.training import batches, cost, schedule, train, update
from models import CNNConfig, MLPConfig, TransferConfig

PLAIN = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), batch_size=50, epochs=2, validation_size=40,
                  optimizer=OptimizerConfig("sgd", 0.1))
CNN = dataclasses.replace(PLAIN, model=CNNConfig(filters=(2,), batch_norm=True))


DATA = small_dataset()


def examples(split):
    return train.Examples(split.images, split.labels)


@functools.cache
def trained(config):
    """Gives the program, the state before and after an epoch, and the traced values."""
    program, begun, traced = train.init(config, 0, DATA.num_classes, DATA.image_shape)
    epoch = jax.jit(functools.partial(train.train_epoch, program))
    state, _ = epoch(begun, traced, examples(DATA.train), np.int32(train.steps_per_epoch(config, 150)))
    return program, begun, state, traced


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.99999])
def test_the_average_is_the_mean_with_falling_weights(decay):
    """Written out in numpy in float64, from the first update on: no share of what it began with."""
    history = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    average = {"w": np.full(5, np.nan, np.float32), "count": np.int32(7)}
    step = jax.jit(update.averaged)
    for count in range(1, 21):
        average = step(average, {"w": history[count - 1], "count": np.int32(count)}, np.float32(decay),
                       np.int32(count))
        shares = float(np.float32(decay)) ** np.arange(count)[::-1]
        np.testing.assert_allclose(average["w"], shares @ history[:count] / shares.sum(), rtol=2e-5, atol=2e-6)
        assert average["count"] == count, "what is not a mean is the latest"


def test_an_average_beside_the_weights_changes_no_weight():
    _, _, plain, _ = trained(CNN)
    _, _, averaging, _ = trained(dataclasses.replace(CNN, ema_decay=0.9))
    assert plain.average is None
    assert_same(plain.weights, averaging.weights)
    assert_same(plain.opt_state, averaging.opt_state)


def test_the_average_is_what_is_validated_tested_and_kept():
    """Of weights and statistics together."""
    config = dataclasses.replace(CNN, ema_decay=0.9, epochs=1)
    program, _, state, traced = trained(config)
    end_epoch, score_test, evaluate = (jax.jit(functools.partial(function, program)) for function in (
        train.end_epoch, train.score_test, train.evaluate))
    sums = train.Sums(np.float32(1), np.int32(1), np.int32(1))
    ended, _ = end_epoch(state, traced, sums, examples(DATA.validation))
    of_average, of_weights = (float(evaluate(weights, traced, examples(DATA.validation)).sums.loss) / 40
                              for weights in (state.average, state.weights))
    np.testing.assert_allclose(ended.history[0, 2], of_average, rtol=1e-6)
    assert abs(of_average - of_weights) > 1e-4
    assert_same(ended.best, state.average)
    tested = score_test(ended, traced, examples(DATA.validation))
    expected = evaluate(state.average, traced, examples(DATA.validation)).probability
    for outcome in tested.values():
        np.testing.assert_allclose(outcome.probability, expected, rtol=1e-6)


def test_the_average_counts_updates_and_not_batches():
    """Of one update in three batches, the average is the weights after it."""
    config = dataclasses.replace(PLAIN, ema_decay=0.9, optimizer=OptimizerConfig(
        "sgd", 0.1, gradient_accumulation_steps=2))
    _, begun, state, _ = trained(config)
    assert int(state.step) == 3
    assert_same(state.average, state.weights)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.weights, begun.weights)), strict=True))


def test_a_schedule_scales_the_rate_of_each_update():
    """Of a warm-up over three updates the first batch moves nothing, the second a third of what the peak would."""
    program, begun, _, traced = trained(PLAIN)
    gradient = jax.tree.map(jnp.ones_like, begun.weights.params)

    @functools.partial(jax.jit, static_argnums=1)
    def moved(step, relative_rate):
        state = update.advance(begun._replace(step=step), gradient, begun.weights.statistics, program.config, traced,
                               relative_rate)
        return jax.tree.map(lambda new, old: old - new, state.weights.params, begun.weights.params)

    warmup = schedule.relative(dataclasses.replace(PLAIN, schedule=ScheduleConfig(warmup_steps=3)), 150)
    for step, expected in ((0, 0.0), (1, 0.1 / 3), (3, 0.1)):
        jax.tree.map(lambda leaf, rate=expected: np.testing.assert_allclose(leaf, rate, atol=1e-6),
                     moved(np.int32(step), warmup))


@pytest.mark.parametrize("clipping", [{"clip_norm": 1.0}, {"clip_value": 1.0}])
def test_gradients_that_are_not_finite_are_counted_where_a_run_may_outlive_them(clipping):
    config = dataclasses.replace(PLAIN, optimizer=OptimizerConfig("sgd", 0.1, **clipping))
    program, begun, state, traced = trained(config)
    assert int(state.non_finite) == 0

    @jax.jit
    def counted(value):
        gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), begun.weights.params)
        return update.advance(begun, gradient, begun.weights.statistics, program.config, traced).non_finite

    # The square of 1e30 is no float32.
    assert [int(counted(np.float32(value))) for value in (1.0, np.inf, np.nan, 1e30)] == [0, 1, 1, 1]
    assert trained(PLAIN)[2].non_finite is None


@pytest.mark.parametrize("optimizer", [{"kind": "sgd", "clip_value": 1.0}, {"kind": "sgd", "clip_norm": 1.0},
                                       {"kind": "lion"}])
def test_a_run_outlives_an_infinite_gradient_among_those_that_are_accumulated(optimizer):
    config = dataclasses.replace(PLAIN, optimizer=OptimizerConfig(
        learning_rate=0.1, gradient_accumulation_steps=2, **optimizer))
    program, state, _, traced = trained(config)
    for value in (np.inf, 0.5, 0.5, -np.inf, 0.5, 0.5):
        gradient = jax.tree.map(lambda leaf, value=value: jnp.full_like(leaf, value), state.weights.params)
        state = update.advance(state, gradient, state.weights.statistics, program.config, traced)
    assert int(state.non_finite) == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.weights, state.opt_state)))


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


def test_accumulation_is_refused_with_batch_norm():
    config = dataclasses.replace(CNN, optimizer=OptimizerConfig(gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="have batch norm see each batch alone"):
        trained(config)


@pytest.mark.parametrize("trains", [{}, {"fine_tune": "block_16"}])
def test_accumulation_is_not_refused_for_a_backbone_whose_statistics_stay(trains):
    config = dataclasses.replace(
        PLAIN, model=TransferConfig(width=0.35, resolution=32, **trains), augment=AugmentConfig(flip=True),
        optimizer=OptimizerConfig(gradient_accumulation_steps=2))
    train.abstract_init(config, 4, (32, 32, 3))
    with pytest.raises(ValueError, match="have batch norm see each batch alone"):
        train.abstract_init(dataclasses.replace(config, model=dataclasses.replace(
            config.model, hidden=(8,), batch_norm=True)), 4, (32, 32, 3))


def test_a_network_of_ones_own_may_call_a_part_with_batch_norm_its_backbone():
    @dataclasses.dataclass(frozen=True)
    class Config:
        def build(self, num_classes, input_shape, rngs):
            return Network(rngs)

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.backbone, self.last = nnx.BatchNorm(64, rngs=rngs), nnx.Linear(64, 4, rngs=rngs)

        def __call__(self, images):
            return self.last(self.backbone(images.reshape(len(images), -1)))

    config = dataclasses.replace(PLAIN, model=Config(), optimizer=OptimizerConfig(gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="have batch norm see each batch alone"):
        train.abstract_init(config, 4, (8, 8, 1))


def test_classes_count_what_their_weights_say():
    """One batch of all examples, against the gradient of the weighted mean written out."""
    weights = (0.5, 2.0, 0.0, 1.0)
    config = dataclasses.replace(PLAIN, batch_size=150, class_weight=weights)
    program, begun, state, traced = trained(config)
    labels = DATA.train.labels

    def loss(params):
        network = program.network(train.Weights(params, begun.weights.statistics), traced["model"])
        chosen = jax.nn.log_softmax(network(DATA.train.images / np.float32(255)))[np.arange(150), labels]
        return -(np.asarray(weights, np.float32)[labels] * chosen).sum() / 150

    expected = jax.tree.map(lambda leaf, slope: leaf - np.float32(0.1) * slope, begun.weights.params,
                            jax.jit(jax.grad(loss))(begun.weights.params))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), state.weights.params, expected)


def test_of_two_examples_that_are_mixed_each_counts_with_its_own_weight():
    """Where all images are alike, so are what each example adds to the gradient and what any mixture of them does."""
    def after(mixup):
        config = dataclasses.replace(PLAIN, batch_size=150, class_weight=(3.0, 0.0, 1.0, 0.5),
                                     augment=AugmentConfig(mixup=mixup))
        program, state, traced = train.init(config, 0, DATA.num_classes, DATA.image_shape)
        alike = train.Examples(np.repeat(DATA.train.images[:1], 150, 0), DATA.train.labels)
        return jax.jit(functools.partial(train.train_epoch, program))(state, traced, alike, np.int32(1))[0].weights

    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), after(1.0), after(0.0))


def test_a_penalty_is_of_the_weights_as_they_are_kept_whatever_they_are_multiplied_in():
    def after(strength):
        config = dataclasses.replace(PLAIN, batch_size=150, precision="bfloat16",
                                     model=MLPConfig(hidden=(8,), l2_kernel=strength))
        program, state, traced = train.init(config, 0, DATA.num_classes, DATA.image_shape)
        epoch = jax.jit(functools.partial(train.train_epoch, program))
        ended, _ = epoch(state, traced, examples(DATA.train), np.int32(1))
        [[before], [now]] = ([leaf for leaf in jax.tree.leaves(of.weights.params) if leaf.shape == (64, 8)]
                             for of in (state, ended))
        return before, now

    (begun, without), (_, decayed) = after(0.0), after(1e-3)
    np.testing.assert_allclose(without - decayed, 0.1 * 2 * 1e-3 * begun, atol=1e-7)


def test_counts_that_devices_agree_on_stay_whole_numbers():
    agreed = jax.vmap(lambda leaf: batches.agreed(leaf, "device"), axis_name="device")
    for given in (np.array([3, 3], np.int32), np.array([0.5, 0.5], np.float32)):
        found = agreed(given)
        assert found.dtype == given.dtype
        np.testing.assert_array_equal(found, given)


def test_balanced_classes_count_as_in_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    from harness.training import class_weights

    labels = DATA.train.labels[:37]
    balanced = class_weights.of(dataclasses.replace(PLAIN, class_weight="balanced"), labels, 4)
    np.testing.assert_allclose(balanced, compute_class_weight("balanced", classes=np.arange(4), y=labels), rtol=1e-6)
    absent = class_weights.of(dataclasses.replace(PLAIN, class_weight="balanced"), labels[labels != 2], 4)
    np.testing.assert_allclose(np.delete(absent, 2), compute_class_weight(
        "balanced", classes=np.array([0, 1, 3]), y=labels[labels != 2]), rtol=1e-6)
    given = dataclasses.replace(PLAIN, class_weight=tuple(float(weight) for weight in balanced))
    np.testing.assert_allclose(class_weights.of(given, labels, 4), balanced)
    with pytest.raises(ValueError, match="3 weights, and there are 4 classes"):
        class_weights.check(dataclasses.replace(PLAIN, class_weight=(1.0, 1.0, 1.0)), 4)


@pytest.mark.parametrize("value", ["even", (), (0.0, 0.0), (1.0, -1.0), 2.0])
def test_class_weights_that_mean_nothing_are_refused(value):
    with pytest.raises(ValueError, match="class_weight"):
        dataclasses.replace(PLAIN, class_weight=value)
