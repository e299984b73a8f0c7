"""A network in plain Flax trains in the harness as in a plain loop."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from plain_networks import NestedNet, Part, ResidualConfig, ScaledNet, TwoFacedNet
from small import small_dataset
from sweeps import Listener

from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig, SpecError, with_value
from harness.data import inputs
from harness.data.inputs import Inputs
from harness.records import configs
from harness.training import batches, cohort, cost, train
from harness.training import trainer as fit
from harness.training.layout import Choices, Layout
from harness.training.programs import Programs
from harness.training.watcher import Watcher
from models import CNNConfig

# 150 examples in steps of 32: the fifth has 22.
OWN = RunConfig(dataset="small", model=ResidualConfig(), batch_size=32, epochs=4, validation_size=40,
                optimizer=OptimizerConfig("sgd", 0.05))
SGD = optax.sgd(0.05)
DATA = small_dataset()


def runs(config=OWN, seeds=(0, 1)):
    return Ablation("Why?", config, {}, seeds=seeds).runs()


@functools.cache
def compiled(layout, config=OWN):
    return Programs(*train.init(config, 0, 4, (8, 8, 1)), DATA, layout)


def trained(layout, seeds, epochs=4):
    """Trains a run per seed; gives their states."""
    programs = compiled(layout)
    members = [train.init(OWN, seed, 4, (8, 8, 1)) for seed in seeds]
    states, traced = (programs.put([member[part] for member in members]) for part in (1, 2))
    for _ in range(epochs):
        states, sums = programs.train(states, traced)
        assert [int(slot.examples) for slot in programs.take(sums)] == [150] * len(seeds)
        states, _ = programs.end_epoch(states, traced, sums)
    return programs.take(states)


@nnx.jit
def plain_step(network, tuned, images, labels):
    def loss(network):
        return optax.softmax_cross_entropy_with_integer_labels(network(images), labels).mean()

    tuned.update(network, nnx.grad(loss)(network))


@functools.cache
def plain_loop(seed):
    """Trains with Flax's own optimizer and calls; only the order and the dropout keys are the harness's."""
    network = ResidualConfig().build(4, (8, 8, 1), rngs=train.streams(seed))
    tuned = nnx.Optimizer(network, SGD, wrt=nnx.Param)
    network.train()
    step = 0
    for epoch in range(4):
        order = jax.random.permutation(batches.key(jnp.int32(seed), batches.SHUFFLE, jnp.int32(epoch)), 150)
        for start in range(0, 150, 32):
            chosen = np.asarray(order[start:start + 32])
            stream = network.dropout.rngs
            stream.key.set_value(jax.random.fold_in(
                batches.key(jnp.int32(seed), batches.DROPOUT, jnp.int32(step)), 1))
            stream.count.set_value(jnp.uint32(0))
            plain_step(network, tuned, DATA.train.images[chosen] / np.float32(255), DATA.train.labels[chosen])
            step += 1
    assert step == 20
    return nnx.state(network, nnx.Param), nnx.state(network, nnx.BatchStat)


@pytest.mark.parametrize(("layout", "seeds"), [
    (Layout(1), (1,)), pytest.param(Layout(1, members=2), (0, 1), marks=pytest.mark.slow),
    pytest.param(Layout(2), (0, 1), marks=pytest.mark.slow)],
    ids=str)
def test_twenty_steps_are_those_of_a_plain_flax_loop_alone_and_in_a_cohort(layout, seeds):
    """A batch of 22 is among every five: padded, it would change the statistics of batch norm."""
    for seed, state in zip(seeds, trained(layout, seeds), strict=True):
        params, statistics = plain_loop(seed)
        for ours, theirs in ((state.weights.params, params), (state.weights.statistics, statistics)):
            for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    def fitted(folder, stop_after=1e9):
        listener = Listener()
        members = fit.Trainer(DATA, 1e9, lambda: len(listener.seen) >= stop_after).fit(
            runs(), lambda run: tmp_path / folder / run.run_id, Layout(2), listener)
        return {member.run.run_id: member for member in members}

    straight = fitted("straight")
    with pytest.raises(fit.StoppedError):
        fitted("stopped", stop_after=2)
    for name, member in fitted("stopped").items():
        assert member.launches == 2
        jax.tree.map(np.testing.assert_array_equal, (member.state, member.test),
                     (straight[name].state, straight[name].test))


def test_flaxs_dropout_draws_anew_each_step_and_differs_by_seed():
    program, state, traced = train.init(OWN, 0, 4, (8, 8, 1))
    batch = train.Examples(jnp.asarray(DATA.train.images[:32]), jnp.asarray(DATA.train.labels[:32]))
    taken = jax.jit(lambda state: train.train_step(program, state, traced, batch, jnp.ones(32, bool))[1].loss)

    def step(**changes):
        """Takes a step of a network whose parameters stay, and gives its loss, which dropout decides."""
        return float(taken(state._replace(**{name: jnp.int32(value) for name, value in changes.items()})))

    losses = {step(), step(step=1), step(seed=1), step(step=2)}
    assert len(losses) == 4
    assert step() == step(), "and follows from seed and step alone"


def test_evaluation_is_flaxs_own_and_pads_nothing():
    program, state, traced = train.init(OWN, 0, 4, (8, 8, 1))
    [state] = trained(Layout(1), (1,), epochs=1)
    examples = train.Examples(jnp.asarray(DATA.test.images), jnp.asarray(DATA.test.labels))
    result = jax.jit(functools.partial(train.evaluate, program))(state.weights, traced, examples)
    network = ResidualConfig().build(4, (8, 8, 1), rngs=nnx.Rngs(0))
    nnx.update(network, state.weights.params, state.weights.statistics)
    network.eval()
    expected = nnx.jit(lambda network, images: network(images))(network, DATA.test.images / np.float32(255))
    assert int(result.sums.examples) == len(result.predicted) == 1007
    np.testing.assert_allclose(result.probability, jax.nn.softmax(expected).max(-1), atol=1e-5)


def test_a_network_that_is_not_told_of_padding_never_has_its_batches_split():
    assert Choices(1, 4, whole_batches=True).alternatives() == [[], [], []]
    assert train.init(OWN, 0, 4, (8, 8, 1))[0].whole_batches
    assert not train.init(with_value(OWN, "model", CNNConfig(filters=(4,))), 0, 4, (8, 8, 1))[0].whole_batches
    with pytest.raises(ValueError, match="may not be split"):
        Programs(*train.init(OWN, 0, 4, (8, 8, 1)), DATA, Layout(1, data=2))


HELD = [("traced", 1), ("number", 2), ("tuple", 2), ("numpy", 2), ("list of modules", 2), ("backward", 2),
        ("evaluation", 2)]


def programs_of(model, path, levels):
    factor = Factor(path, {str(place): level for place, level in enumerate(levels)})
    chosen = Ablation("Why?", dataclasses.replace(OWN, model=model), {"scale": factor}, seeds=(0, 1)).runs()
    return len(cohort.partition(chosen))


@pytest.mark.parametrize(("held", "programs"), HELD)
def test_a_value_marked_traced_shares_a_program_only_where_the_network_holds_it_so(held, programs):
    assert programs_of(ScaledNet(held=held), "model.scale", (1.0, 0.3)) == programs


@pytest.mark.parametrize(("held", "programs"), HELD[:2])
@pytest.mark.parametrize(("path", "levels"), [
    ("model.part.scale", (1.0, 0.3)), ("model.parts", ((Part(1.0), Part(0.3)), (Part(1.0), Part(0.2))))])
def test_so_does_a_value_in_a_config_inside_the_networks(held, programs, path, levels):
    assert programs_of(NestedNet(held=held), path, levels) == programs


def test_values_share_no_program_where_the_network_cannot_be_looked_at():
    @dataclasses.dataclass(frozen=True)
    class Picky(NestedNet):
        def build(self, num_classes, input_shape, rngs):
            assert input_shape == (8, 8, 1)
            return super().build(num_classes, input_shape, rngs)

    assert programs_of(Picky(), "model.part.scale", (1.0, 0.3)) == 2


@pytest.mark.parametrize("layout", [Layout(1), Layout(2)], ids=str)
def test_a_run_whose_network_computes_something_else_than_the_program_in_use_stops_in_one_line(tmp_path, layout):
    rates = Factor("model.scale", {"1": 1.0, "0.3": 0.3})
    chosen = Ablation("Why?", dataclasses.replace(OWN, model=TwoFacedNet(), epochs=1), {"scale": rates},
                      seeds=(0,)).runs()
    assert len(cohort.partition(chosen)) == 1
    members = fit.Trainer(DATA).fit(chosen, lambda run: tmp_path / run.run_id, layout, Watcher())
    with pytest.raises(SpecError, match=r"scale=0\.3,seed=0 would train in a program .*model\.scale: 1\.0 -> 0\.3"
                       ) as caught:
        list(members)
    assert "\n" not in str(caught.value)


def test_a_hint_at_faster_convolutions_stops_no_launch():
    """Numpy's numbers compare with a tuple item by item, and lists have no hash."""
    @dataclasses.dataclass(frozen=True)
    class Dilated(ResidualConfig):
        held: str = "tuple"

        def build(self, num_classes, input_shape, *, rngs):
            network = super().build(num_classes, input_shape, rngs=rngs)
            network.first.kernel_dilation = [1, 1]
            network.extra = {"tuple": (1.0, 2.0), "numpy": np.float32(1.0)}[self.held]
            return network

    for held in ("tuple", "numpy"):
        [run] = runs(dataclasses.replace(OWN, model=Dilated(held=held)), seeds=(0,))
        assert "3 layers, the first is first" in cost.faster_forms(run, Inputs(DATA))


def test_bfloat16_casts_inputs_and_parameters_and_keeps_statistics_in_float32():
    program, state, traced = train.init(dataclasses.replace(OWN, precision="bfloat16"), 0, 4, (8, 8, 1))
    batch = train.Examples(jnp.asarray(DATA.train.images[:32]), jnp.asarray(DATA.train.labels[:32]))
    step = functools.partial(train.train_step, program)
    after, _ = jax.jit(step)(state, traced, batch, jnp.ones(32, bool))
    assert {leaf.dtype for leaf in jax.tree.leaves(after.weights)} == {jnp.dtype("float32")}
    assert "bf16" in str(jax.make_jaxpr(step)(state, traced, batch, jnp.ones(32, bool)))
    cast, _ = train._cast(state.weights, traced["model"], "bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(cast.params)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(cast.statistics)} == {jnp.dtype("float32")}


def test_a_record_names_the_class_and_its_fields():
    assert configs.as_json(dataclasses.replace(OWN, model=ScaledNet(0.5)))["model"] == {
        "type": "ScaledNet", "scale": 0.5, "held": "traced"}


def test_the_cost_counts_every_parameter_of_the_network():
    program, state, traced = train.abstract_init(OWN, 4, (8, 8, 1))
    counted = cost.measure(program, state, traced, (8, 8, 1))
    by_hand = (9 * 4 + 4) + 2 * 4 + 9 * 16 + (16 + 4) + 2 * 4 + (4 * 4 + 4)
    assert counted.parameters == counted.trainable_parameters == by_hand
    assert counted.macs_per_example == 64 * 9 * 4 + 16 * 9 * 16 + 16 * 16 + 4 * 4


class UnlistedNet(nnx.Module):
    """A dense layer that nobody can look at."""

    def __init__(self, inputs, classes, rngs):
        self.linear = nnx.Linear(inputs, classes, rngs=rngs)
        self.mean = nnx.Variable(jnp.ones(inputs))  # a constant

    def __call__(self, x):
        return self.linear(x.reshape(len(x), -1) - self.mean)

    def rows(self, input_shape):
        raise TypeError("no table")


@dataclasses.dataclass(frozen=True)
class UnlistedConfig:
    def build(self, num_classes, input_shape, *, rngs):
        return UnlistedNet(64, num_classes, rngs)


def test_a_network_whose_layers_cannot_be_told_trains(tmp_path):
    [run] = runs(dataclasses.replace(OWN, model=UnlistedConfig()), seeds=(0,))
    told = []
    assert cost.measure_all([run], {inputs.key(run.config): Inputs(DATA)}, told.append) == {}
    assert "is unknown: TypeError: no table" in told[0]
    [member] = fit.Trainer(DATA).fit([run], lambda run: tmp_path, Layout(1), Watcher())
    assert member.programs.rows == []
    assert int(member.state.epoch) == 4


def test_gradients_may_accumulate_beside_a_constant():
    config = dataclasses.replace(OWN, optimizer=OptimizerConfig("sgd", 0.05, gradient_accumulation_steps=2))
    train.init(dataclasses.replace(config, model=UnlistedConfig()), 0, 4, (8, 8, 1))
    with pytest.raises(ValueError, match="batch norm"):
        train.init(config, 0, 4, (8, 8, 1))
