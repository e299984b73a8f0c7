import dataclasses
import functools
import time

import jax
import numpy as np
import pytest
from small import small_dataset

from ablations.spec import AugmentConfig, OptimizerConfig, RunConfig, with_value
from harness.training import environment, programs, train
from harness.training.layout import Layout
from harness.training.programs import OutOfMemoryError, Programs
from models import CNNConfig, MLPConfig, ResNetConfig, TransferConfig, ViTConfig

SGD = OptimizerConfig("sgd", 0.1)  # Adam turns a rounding error around a gradient of zero into a whole step
MLP = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), optimizer=SGD, batch_size=32, epochs=2,
                validation_size=40)
CNN = dataclasses.replace(MLP, model=CNNConfig(filters=(16, 16), padding="same"))
NORM = dataclasses.replace(MLP, model=CNNConfig(filters=(4,), batch_norm=True))
DROPOUT = dataclasses.replace(MLP, model=CNNConfig(filters=(4,), dropout=0.5), augment=AugmentConfig(1, True, 0.3))
AUGMENTED = dataclasses.replace(MLP, augment=AugmentConfig(
    rotation=20.0, elastic_px=0.5, brightness=0.3, erase_prob=0.5, cutmix=1.0))


@functools.cache
def compiled(config, layout):
    data = small_dataset()
    return Programs(*train.init(config, 0, data.num_classes, data.image_shape), data, layout)


def trained(config, layout, rates):
    """Trains a run per rate to the end in one layout, with idle slots; gives their states and test outcomes."""
    data, programs = small_dataset(), compiled(config, layout)
    members = [train.init(with_value(config, "optimizer.learning_rate", rate), 3, data.num_classes, data.image_shape)
               for rate in rates]
    idle = members[0][1]._replace(stopped=jax.numpy.bool_(True))
    spare = layout.slots - len(members)
    states = programs.put([state for _, state, _ in members] + [idle] * spare)
    put_rates = programs.put([own for _, _, own in members] + [members[0][2]] * spare)
    for _ in range(config.epochs):
        states, sums = programs.train(states, put_rates)
        assert [int(slot.examples) for slot in programs.take(sums)] == [150] * len(rates) + [0] * spare
        states, _ = programs.end_epoch(states, put_rates, sums)
    return list(zip(programs.take(states), programs.take(programs.test(states, put_rates)), strict=True))[:len(rates)]


def assert_close_to_solo(config, layout, rates):
    """Within 1e-4: sums are taken in another order."""
    for rate, (state, test) in zip(rates, trained(config, layout, rates), strict=True):
        [(expected_state, expected_test)] = trained(config, Layout(1), [rate])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.weights, expected_state.weights)
        np.testing.assert_allclose(state.history, expected_state.history, atol=1e-4)
        for name in ("best", "last"):
            assert test[name].sums.examples == 1007
            np.testing.assert_allclose(test[name].probability, expected_test[name].probability, atol=1e-4)


@pytest.mark.parametrize("config", [
    pytest.param(MLP, id="mlp"), pytest.param(CNN, id="cnn", marks=pytest.mark.slow),
    pytest.param(NORM, id="batch_norm", marks=pytest.mark.slow), pytest.param(DROPOUT, id="dropout")])
def test_a_run_with_a_device_to_itself_equals_its_solo_run(config):
    """Bit for bit with the same program and nobody beside it; closely with a program for a single run."""
    rates = (0.1, 0.2, 0.05)
    together = trained(config, Layout(3), rates)
    [alone] = trained(config, Layout(3), rates[1:2])
    jax.tree.map(np.testing.assert_array_equal, together[1], alone)
    assert_close_to_solo(config, Layout(3), rates)


@pytest.mark.parametrize("config", [
    pytest.param(MLP, id="mlp"), pytest.param(NORM, id="batch_norm", marks=pytest.mark.slow),
    pytest.param(AUGMENTED, id="augmented", marks=pytest.mark.slow),
    pytest.param(CNN, id="cnn", marks=pytest.mark.slow), pytest.param(DROPOUT, id="dropout", marks=pytest.mark.slow)])
def test_several_runs_on_a_device_equal_their_solo_runs(config):
    assert_close_to_solo(config, Layout(2, members=2), (0.1, 0.2, 0.05))


@pytest.mark.parametrize("layout", [
    Layout(1, members=2, form="patches"), pytest.param(Layout(1, form="lax"), marks=pytest.mark.slow)], ids=str)
def test_what_an_accelerator_trains_with_equals_what_a_cpu_does(layout):
    """A network of convolutions, all runs at once and one alone."""
    assert_close_to_solo(CNN, layout, (0.1, 0.2)[:layout.slots])


@pytest.mark.parametrize(("config", "layout"), [
    pytest.param(MLP, Layout(1, data=3), id="mlp on 3 devices"),
    pytest.param(NORM, Layout(1, data=3), id="batch_norm on 3 devices"),
    pytest.param(DROPOUT, Layout(2, data=2), id="dropout on 2 of 4 devices"),
    pytest.param(AUGMENTED, Layout(1, data=2), id="augmented on 2 devices", marks=pytest.mark.slow),
    pytest.param(MLP, Layout(2, data=2), id="mlp on 2 of 4 devices", marks=pytest.mark.slow),
    pytest.param(NORM, Layout(2, data=2), id="batch_norm on 2 of 4 devices", marks=pytest.mark.slow),
    pytest.param(DROPOUT, Layout(1, data=3), id="dropout on 3 devices", marks=pytest.mark.slow)])
def test_splitting_the_batches_changes_nothing(config, layout):
    """Batch norm covers the whole batch, and all that is drawn for an example follows from its place in it.

    150, 40 and 1,007 examples divide by no number of devices.
    """
    assert_close_to_solo(config, layout, (0.1, 0.2)[:layout.slots])


@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout(1, members=2), Layout(1, data=3)], ids=str)
@pytest.mark.parametrize("model", [
    CNNConfig(filters=((3, 4), 5), padding="same", batch_norm=True, norm_before_activation=True, global_average=True),
    ViTConfig(patch=4, dim=8, depth=2, heads=2, mlp_ratio=1, dropout=0.2, drop_path=0.3),
    ResNetConfig(depth=8)], ids=["blocks", "vit", "resnet"])
def test_a_run_of_any_family_trains_alike_alone_beside_another_and_with_its_batches_split(model, layout):
    assert_close_to_solo(dataclasses.replace(MLP, model=model), layout, (0.02, 0.05)[:layout.slots])


@pytest.mark.parametrize("layout", [
    pytest.param(Layout(3), marks=pytest.mark.slow), Layout(2, members=2),
    pytest.param(Layout(1, data=4), marks=pytest.mark.slow)], ids=str)
def test_pmap_trains_as_jit_does(layout):
    assert_close_to_solo(NORM, dataclasses.replace(layout, parallel="pmap"), (0.1, 0.2, 0.05)[:layout.slots])


@pytest.mark.parametrize(("model", "library"), [
    (MLPConfig(hidden=(8,)), "XLA"), (CNNConfig(filters=(4,)), "YNNPACK"),
    (CNNConfig(filters=(2,), dense=(512,)), "XLA")])
def test_xla_itself_multiplies_for_networks_of_dense_layers(dataset, monkeypatch, model, library):
    program, state, rates = train.init(dataclasses.replace(MLP, model=model), 0, 4, dataset.image_shape)
    rows = program.network(state.weights, rates["model"]).rows(dataset.image_shape)
    assert programs.multiplied_by(rows) == library
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert programs.multiplied_by(rows) is None


def test_either_library_gives_the_same_numbers_but_for_rounding_and_a_layout_says_which(dataset):
    start = train.init(MLP, 0, dataset.num_classes, dataset.image_shape)
    trained, options = {}, []
    for library in ("XLA", "YNNPACK", None):
        made = Programs(*start, dataset, Layout(1, matrices=library))
        options.append(made._options)
        states, _ = made.train(made.put([start[1]]), made.put([start[2]]))
        trained[library] = jax.tree.leaves(made.take(states)[0].weights)
    assert options[0] == options[2] != options[1]
    jax.tree.map(np.testing.assert_array_equal, trained["XLA"], trained[None])
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
                 trained["XLA"], trained["YNNPACK"])


@pytest.mark.parametrize(("augment", "by_xla"), [(AugmentConfig(), True), (AugmentConfig(flip=True), False)])
def test_what_was_computed_beforehand_does_not_decide_about_the_program(augment, by_xla):
    """A head on features is all dense, however many convolutions its backbone has; the layer table has both."""
    model = TransferConfig(width=0.35, resolution=32, hidden=(8,))
    shape = (model.features,) if by_xla else (8, 8, 3)
    program, state, rates = train.abstract_init(dataclasses.replace(MLP, model=model, augment=augment), 4, shape)
    rows = program.network(state.weights, rates["model"]).rows(shape)
    assert sum(row.macs for row in rows if row.kind == "dense") < 0.1 * sum(row.macs for row in rows)
    assert (programs.multiplied_by(rows) == "XLA") is by_xla


def test_a_program_that_needs_more_than_the_device_has_is_refused(dataset):
    start = train.init(MLP, 0, dataset.num_classes, dataset.image_shape)
    alone = Programs(*start, dataset, Layout(1)).memory_bytes
    assert alone > dataset.train.images.nbytes
    # All three programs hold their data at the same time.
    needed = alone + sum(map(programs.split_bytes, (dataset.validation, dataset.test)))
    Programs(*start, dataset, Layout(1), memory_limit=needed)
    with pytest.raises(OutOfMemoryError, match="1 device, one run needs"):
        Programs(*start, dataset, Layout(1), memory_limit=needed - 1)
    assert Programs(*start, dataset, Layout(1, members=8)).memory_bytes > alone


def test_the_compilation_cache_is_counted(dataset, tmp_path):
    start = train.init(dataclasses.replace(MLP, batch_size=31), 0, dataset.num_classes, dataset.image_shape)
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    old = {name: jax.config.values[name] for name in settings}
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        first = Programs(*start, dataset, Layout(1))
        jax.clear_caches()
        second = Programs(*start, dataset, Layout(1))
        before = environment.cache_counts()
        for _ in range(2):
            jax.jit(lambda x: 31 * x + 7).lower(np.float32(1)).compile()
            jax.clear_caches()
        after = environment.cache_counts()
    finally:
        for name, value in old.items():
            jax.config.update(name, value)
    assert (first.compilation.programs, first.compilation.cache_hits, first.compilation.cache_misses) == (1, 0, 1)
    assert (second.compilation.cache_hits, second.compilation.cache_misses) == (1, 0)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1), "of this thread, which compiled neither of the two"


def test_where_the_training_program_does_not_compile_the_others_are_not_left_compiling(monkeypatch):
    begun, ended = [], []

    def compiled(programs, function, *arguments, **more):
        begun.append(function)
        if function is train.train_epoch:
            raise RuntimeError("no such kernel")
        time.sleep(0.3)
        ended.append(function)

    monkeypatch.setattr(Programs, "_compile", compiled)
    data = small_dataset()
    start = train.init(MLP, 0, data.num_classes, data.image_shape)
    with pytest.raises(RuntimeError, match="no such kernel"):
        Programs(*start, data, Layout(1), whole=True)
    assert len(ended) == len(begun) - 1
