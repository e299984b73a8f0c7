import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ablations.spec import OptimizerConfig, RunConfig, ScheduleConfig
from harness.training import schedule

EXAMPLES, PEAK = 1000, 0.3
# Five epochs of four batches.
CONFIG = RunConfig(dataset="digits", batch_size=250, epochs=5)
# Ours -> what optax gives for 20 updates by hand.
SCHEDULES = {
    "constant, warm-up": (ScheduleConfig(warmup_epochs=1.5), optax.warmup_constant_schedule(0.0, PEAK, 6)),
    "cosine": (ScheduleConfig("cosine"), optax.cosine_decay_schedule(PEAK, 20)),
    "cosine, warm-up": (ScheduleConfig("cosine", warmup_steps=5, end_fraction=0.1),
                        optax.warmup_cosine_decay_schedule(0.0, PEAK, 5, 20, end_value=0.1 * PEAK)),
    "linear": (ScheduleConfig("linear", end_fraction=0.2), optax.linear_schedule(PEAK, 0.2 * PEAK, 20)),
    "linear, warm-up": (ScheduleConfig("linear", warmup_epochs=1), optax.join_schedules(
        [optax.linear_schedule(0.0, PEAK, 4), optax.linear_schedule(PEAK, 0.0, 16)], [4])),
    "step": (ScheduleConfig("step", milestones=(1.5, 3), decay_rate=0.5),
             optax.piecewise_constant_schedule(PEAK, {6: 0.5, 12: 0.5})),
    "step, warm-up": (ScheduleConfig("step", milestones=(3,), warmup_epochs=1), optax.join_schedules(
        [optax.linear_schedule(0.0, PEAK, 4), optax.piecewise_constant_schedule(PEAK, {8: 0.1})], [4])),
    "exponential": (ScheduleConfig("exponential"), optax.exponential_decay(PEAK, 20, 0.1)),
    "exponential, warm-up": (ScheduleConfig("exponential", warmup_steps=4, decay_rate=0.5),
                             optax.warmup_exponential_decay_schedule(0.0, PEAK, 4, 16, 0.5)),
    "onecycle": (ScheduleConfig("onecycle"), optax.cosine_onecycle_schedule(20, PEAK)),
}


def run(asked, **changes):
    return RunConfig(**{"dataset": "digits", "batch_size": 250, "epochs": 5, "schedule": asked} | changes)


def rates(config, updates=20):
    share = schedule.relative(config, EXAMPLES)
    return PEAK * each(share, updates)


def each(of, updates=20):
    return np.asarray(jax.jit(jax.vmap(of))(jnp.arange(updates)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_is_that_of_optax_by_hand(name):
    asked, by_hand = SCHEDULES[name]
    expected = each(by_hand)
    np.testing.assert_allclose(rates(run(asked)), expected, rtol=1e-5, atol=1e-8)
    assert max(expected) > 1.2 * min(expected)


def test_the_default_has_no_schedule():
    assert schedule.relative(CONFIG, EXAMPLES) is None


@pytest.mark.parametrize(("name", "make"), [
    ("cosine", lambda keras: keras.CosineDecay(PEAK, 20)),
    # There a decay comes after its warm-up.
    ("cosine, warm-up", lambda keras: keras.CosineDecay(0.0, 15, alpha=0.1, warmup_target=PEAK, warmup_steps=5)),
    ("linear", lambda keras: keras.PolynomialDecay(PEAK, 20, 0.2 * PEAK)),
    ("exponential", lambda keras: keras.ExponentialDecay(PEAK, 20, 0.1)),
    # There a boundary is the last step before a change.
    ("step", lambda keras: keras.PiecewiseConstantDecay([5, 11], [PEAK, PEAK / 2, PEAK / 4]))])
def test_where_keras_has_the_same_schedule_it_gives_the_same_rates(name, make):
    from keras_on_jax import keras

    theirs = make(keras.optimizers.schedules)
    np.testing.assert_allclose(rates(run(SCHEDULES[name][0])), [theirs(step) for step in range(20)], rtol=1e-5,
                               atol=1e-7)


def test_a_budget_in_steps_is_the_length_of_the_decay():
    np.testing.assert_allclose(rates(run(ScheduleConfig("cosine"), steps=10), 10),
                               each(optax.cosine_decay_schedule(PEAK, 10), 10), rtol=1e-5)


def test_accumulated_batches_count_as_one_update():
    """Two batches an update leave ten updates, and two an epoch."""
    config = run(ScheduleConfig("step", milestones=(2,)), optimizer=OptimizerConfig(gradient_accumulation_steps=2))
    np.testing.assert_allclose(rates(config, 10), [PEAK] * 4 + [PEAK / 10] * 6, rtol=1e-6)


@pytest.mark.parametrize(("asked", "message"), [
    (ScheduleConfig("cosine", warmup_epochs=5), r"schedule\.warmup_epochs=5 is a warm-up of 20 updates"),
    (ScheduleConfig(warmup_steps=21), r"schedule\.warmup_steps=21"), (ScheduleConfig("step"), "milestones"),
    (ScheduleConfig("step", milestones=(5, 9)),
     r"schedule\.milestones=\(5, 9\) begin after 20 updates, and training has 20: give earlier ones"),
    (ScheduleConfig("step", milestones=(1, 3), warmup_epochs=2), "begin within the warm-up of 8 updates")])
def test_a_schedule_that_does_not_fit_the_training_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        schedule.check(run(asked), EXAMPLES)


def test_a_milestone_may_lie_beyond_the_training_where_an_earlier_one_does_not():
    schedule.check(run(ScheduleConfig("step", milestones=(4.5, 9))), EXAMPLES)


def test_one_cycle_needs_updates_to_rise():
    with pytest.raises(ValueError, match="at least 4 updates"):
        schedule.check(run(ScheduleConfig("onecycle"), steps=3), EXAMPLES)


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "plateau"}, "must be one of constant, cosine"), ({"warmup_epochs": 1, "warmup_steps": 2}, "leave one"),
    ({"kind": "onecycle", "warmup_steps": 2}, 'warmup belongs .* is "onecycle"'), ({"end_fraction": 0.1}, "belongs"),
    ({"kind": "cosine", "milestones": (1,)}, "milestones belongs"),
    ({"kind": "cosine", "end_fraction": 2}, "at most 1"), ({"kind": "step", "milestones": (3, 1)}, "in order"),
    ({"kind": "step", "decay_rate": 0.0}, "above 0"),
    ({"kind": "step", "milestones": 3}, "must be a tuple"), ({"warmup_steps": 1.5}, "whole number")])
def test_a_setting_that_its_kind_of_schedule_does_not_have_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**changes)


def test_accumulation_that_leaves_no_update_is_named():
    config = run(ScheduleConfig(), optimizer=OptimizerConfig(gradient_accumulation_steps=100))
    with pytest.raises(ValueError, match=r"has 0, each of 100 steps by optimizer\.gradient_acc"):
        schedule.check(config, EXAMPLES)
