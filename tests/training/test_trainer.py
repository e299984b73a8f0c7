import dataclasses
import gc
import re
import threading
import time
import weakref

import jax
import numpy as np
import pytest
from small import small_dataset
from sweeps import Listener

from ablations.spec import Ablation, EarlyStopping, Factor, OptimizerConfig, RunConfig
from harness.training import checkpoint, probe, stopping
from harness.training import trainer as fit
from harness.training.layout import Layout
from harness.training.programs import Programs
from models import CNNConfig, MLPConfig

MLP = RunConfig(dataset="small", model=MLPConfig(hidden=(8,), dropout=0.2), batch_size=32, epochs=3, validation_size=40)
CNN = dataclasses.replace(MLP, model=CNNConfig(filters=(4,), batch_norm=True, dropout=0.1))


def runs(config, rates=(0.01,), seeds=(0,)):
    factor = Factor("optimizer.learning_rate", {str(rate): rate for rate in rates})
    return Ablation("Why?", config, {"rate": factor}, seeds=seeds).runs()


def fitted(dataset, chosen, folder, layout=None, stop_after=1e9, save_every_s=1e9, listener=None):
    """Trains runs side by side, so many epochs, and gives their members, by run_id."""
    listener = listener or Listener()
    trainer = fit.Trainer(dataset, save_every_s, lambda: len(listener.seen) >= stop_after)
    members = trainer.fit(chosen, lambda run: folder / run.run_id, layout or Layout(len(chosen)), listener)
    return {member.run.run_id: member for member in members}


def assert_same(one, other):
    """Bit for bit, in state and test outcome."""
    for a, b in zip(jax.tree.leaves((one.state, one.test)), jax.tree.leaves((other.state, other.test)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("config", [
    pytest.param(MLP, id="mlp"), pytest.param(CNN, id="cnn", marks=pytest.mark.slow)])
def test_a_run_does_not_depend_on_who_trains_beside_it(tmp_path, dataset, config):
    both = runs(config, rates=(0.01, 0.1))
    together = fitted(dataset, both, tmp_path / "together")
    for run in both:
        alone = fitted(dataset, [run], tmp_path / "alone", layout=Layout(2))
        assert_same(alone[run.run_id], together[run.run_id])


def test_what_is_prepared_is_trained_with_where_there_is_nothing_to_choose(dataset, monkeypatch):
    """As of dense networks on a GPU."""
    monkeypatch.setattr(fit.Choices, "variants", lambda *_: [])
    trainer = fit.Trainer(dataset)
    trainer.prepare(runs(MLP), 1, "jit")
    prepared = trainer._built
    choice = trainer.choose(runs(MLP), 1, "jit")
    assert choice.why == "no other layout"
    assert trainer.programs(choice.layout, runs(MLP)[0]) is prepared


def test_a_diverging_run_leaves_its_sibling_alone(tmp_path, dataset):
    sgd = dataclasses.replace(MLP, optimizer=OptimizerConfig("sgd"))
    sound, broken = runs(sgd, rates=(0.01, 3e38))
    together = fitted(dataset, [sound, broken], tmp_path / "together")
    assert bool(together[broken.run_id].state.diverged)
    assert not bool(together[sound.run_id].state.diverged)
    assert_same(fitted(dataset, [sound], tmp_path / "alone", layout=Layout(2))[sound.run_id], together[sound.run_id])


@pytest.mark.parametrize("config", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("stop_after", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, dataset, config, stop_after):
    config = dataclasses.replace(config, early_stopping=EarlyStopping(patience=2), optimizer=OptimizerConfig("adam"))
    chosen = runs(config, seeds=(0, 1))
    straight = fitted(dataset, chosen, tmp_path / "straight")
    with pytest.raises(fit.StoppedError):
        fitted(dataset, chosen, tmp_path / "stopped", stop_after=stop_after)
    resumed = fitted(dataset, chosen, tmp_path / "stopped")
    for run in chosen:
        assert resumed[run.run_id].launches == 2
        assert_same(resumed[run.run_id], straight[run.run_id])


def test_an_epoch_that_is_given_up_is_trained_again_to_the_same_digits(tmp_path, dataset, monkeypatch):
    """The second epoch takes for ever; what is saved is the first, although no checkpoint was due."""
    [run] = runs(MLP)
    straight = fitted(dataset, [run], tmp_path / "straight", layout=Layout(2))[run.run_id]
    whole, for_ever = Programs.train, threading.Event()
    monkeypatch.setattr(fit, "GRACE_S", 0.0)
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)
    trainer = fit.Trainer(dataset, 1e9, lambda: any(thread.name == "slow" for thread in threading.enumerate()))
    trained = []

    def slow(programs, *states):
        trained.append(states)
        if len(trained) == 2:
            threading.current_thread().name = "slow"
            for_ever.wait(timeout=60)
        return whole(programs, *states)

    with monkeypatch.context() as patch:
        patch.setattr(Programs, "train", slow)
        started = time.monotonic()
        with pytest.raises(fit.StoppedError):
            list(trainer.fit([run], lambda run: tmp_path / "stopped", Layout(2), Listener()))
        assert time.monotonic() - started < 30
        for_ever.set()
    listener = Listener()
    [resumed] = fit.Trainer(dataset).fit([run], lambda run: tmp_path / "stopped", Layout(2), listener)
    assert listener.started == [(run.run_id, 1)]
    assert_same(resumed, straight)


@pytest.mark.parametrize("method", ["compile_all", "test"])
def test_what_takes_long_is_given_up_and_no_epoch_is_lost(tmp_path, dataset, monkeypatch, method):
    """A run that has ended and is not scored yet is saved, and so is one whose programs are compiled again."""
    still, moving = runs(stopping_early(1, epochs=3), rates=(1e-30, 0.05))
    straight = fitted(dataset, [still, moving], tmp_path / "straight")
    whole, for_ever, called = getattr(Programs, method), threading.Event(), []
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)

    def slow(programs, *states):
        called.append(method)
        if len(called) == (2 if method == "compile_all" else 1):
            for_ever.wait(timeout=60)
        return whole(programs, *states)

    trainer = fit.Trainer(dataset, 1e9, lambda: len(called) == (2 if method == "compile_all" else 1))
    with monkeypatch.context() as patch:
        patch.setattr(Programs, method, slow)
        with pytest.raises(fit.StoppedError):
            list(trainer.fit([still, moving], lambda run: tmp_path / run.run_id, Layout(2), Listener()))
        for_ever.set()
    listener = Listener()
    resumed = {member.run.run_id: member for member in fit.Trainer(dataset).fit(
        [still, moving], lambda run: tmp_path / run.run_id, Layout(2), listener)}
    assert dict(listener.started)[moving.run_id] == 2
    assert_same(resumed[moving.run_id], straight[moving.run_id])


def test_runs_at_different_epochs_resume_side_by_side(tmp_path, dataset):
    ahead, behind = runs(MLP, seeds=(0, 1))
    with pytest.raises(fit.StoppedError):
        fitted(dataset, [ahead], tmp_path / "mixed", layout=Layout(2), stop_after=2)
    mixed = fitted(dataset, [ahead, behind], tmp_path / "mixed")
    straight = fitted(dataset, [ahead, behind], tmp_path / "straight")
    for run in (ahead, behind):
        assert_same(mixed[run.run_id], straight[run.run_id])


def test_who_trained_beside_a_run_before_it_was_resumed_counts(tmp_path, dataset):
    both = runs(MLP, seeds=(0, 1))
    with pytest.raises(fit.StoppedError):
        fitted(dataset, both, tmp_path, stop_after=2)
    assert fitted(dataset, both[:1], tmp_path)[both[0].run_id].at_once == 2


@pytest.mark.parametrize("damaged", [("2",), ("1", "2")], ids=["latest", "all"])
def test_a_damaged_checkpoint_costs_time_and_no_digit(tmp_path, dataset, damaged):
    [run] = runs(MLP)
    straight = fitted(dataset, [run], tmp_path / "straight")[run.run_id]
    with pytest.raises(fit.StoppedError):
        fitted(dataset, [run], tmp_path / "stopped", stop_after=2, save_every_s=0)
    folder, told = tmp_path / "stopped" / run.run_id, []
    assert {path.name for path in folder.iterdir()} == {"1", "2"}
    for epoch in damaged:
        for path in (folder / epoch).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-1])
    trainer, listener = fit.Trainer(dataset, 1e9, tell=told.append), Listener()
    [resumed] = trainer.fit([run], lambda run: folder, Layout(1), listener)
    assert listener.started == [(run.run_id, 2 - len(damaged))]
    assert [("is damaged" in line, "set aside" in line) for line in told] == [(True, True)] * len(damaged)
    assert_same(resumed, straight)


def test_a_checkpoint_of_another_configuration_is_not_resumed(tmp_path, dataset):
    [run] = runs(MLP)
    fitted(dataset, [run], tmp_path, save_every_s=0)
    other = dataclasses.replace(run, config=dataclasses.replace(run.config, batch_size=16))
    with pytest.raises(checkpoint.CheckpointError, match="batch_size: 32 -> 16"):
        fitted(dataset, [other], tmp_path)


@pytest.mark.parametrize("test_examples", [1, 499, 500, 501])
def test_the_whole_test_set_is_seen(tmp_path, test_examples):
    data = small_dataset(test=test_examples)
    [member] = fitted(data, runs(MLP), tmp_path).values()
    for outcome in member.test.values():
        assert outcome.sums.examples == len(outcome.predicted) == test_examples
        assert outcome.sums.correct == (outcome.predicted == data.test.labels).sum()


def test_an_example_too_few_is_never_a_result(tmp_path, dataset, monkeypatch):
    """A count that is off by one must stop everything: break the evaluation and see."""
    whole = fit.train.evaluate

    def one_short(program, weights, rates, examples, *more, **named):
        return whole(program, weights, rates, jax.tree.map(lambda leaf: leaf[:-1], examples), *more, **named)

    monkeypatch.setattr(fit.train, "evaluate", one_short)
    with pytest.raises(AssertionError, match="39 examples were seen where there are 40"):
        fitted(dataset, runs(MLP), tmp_path)


def test_train_size_limits_the_training_examples(tmp_path, dataset):
    listener = Listener()
    fitted(dataset, runs(dataclasses.replace(MLP, train_size=70)), tmp_path, listener=listener)
    assert [epoch.examples for epochs in listener.seen for epoch in epochs] == [70, 70, 70]


def test_a_grid_of_25_runs_compiles_once(tmp_path, dataset, monkeypatch):
    built = []
    monkeypatch.setattr(fit, "Programs", lambda *args, **named: built.append(Programs(*args, **named)) or built[-1])
    chosen = runs(dataclasses.replace(MLP, epochs=1), rates=(0.01, 0.02, 0.03, 0.04, 0.05), seeds=(0, 1, 2, 3, 4))
    assert len(fitted(dataset, chosen, tmp_path, layout=Layout(4))) == 25
    assert [programs.compilation.programs for programs in built] == [3]


def stopping_early(patience, epochs=6):
    """Nothing moves, so a run stops after its first epoch and its patience."""
    still = OptimizerConfig("sgd", learning_rate=1e-30)
    return dataclasses.replace(MLP, epochs=epochs, optimizer=still, early_stopping=EarlyStopping(patience=patience))


def test_a_free_slot_takes_the_next_run(tmp_path, dataset):
    """One of two stops early; the third run joins while the other still trains, and all equal their solo runs."""
    still, moving, next_one = runs(stopping_early(2), rates=(1e-30, 0.05, 0.02))
    listener = Listener()
    together = fitted(dataset, [still, moving, next_one], tmp_path / "together", Layout(2), listener=listener)
    trained = [sorted(epoch.run.run_id for epoch in epochs) for epochs in listener.seen]
    assert trained[2] == sorted([still.run_id, moving.run_id])
    assert trained[3] == sorted([moving.run_id, next_one.run_id])
    assert together[still.run_id].state.epoch == 3
    assert sorted(listener.scored) == sorted((run.run_id, True) for run in (still, moving, next_one))
    for run in (still, moving, next_one):
        alone = fitted(dataset, [run], tmp_path / "alone", layout=Layout(2))
        assert_same(alone[run.run_id], together[run.run_id])


def test_a_cohort_is_compacted_when_half_of_it_has_stopped(tmp_path, dataset):
    """Two of three stop after epoch 3; the last goes on alone, on one slot, to the same end."""
    chosen = runs(stopping_early(2), rates=(1e-30, 2e-30, 0.05))
    listener = Listener()
    together = fitted(dataset, chosen, tmp_path / "together", Layout(1, members=4), listener=listener)
    assert listener.layouts == [Layout(1, members=4), Layout(1)]
    last = together[chosen[-1].run_id]
    assert last.layouts == ["1 device, 4 runs under vmap", "1 device, one run"]
    [alone] = fitted(dataset, chosen[-1:], tmp_path / "alone").values()
    assert int(last.state.epoch) == int(alone.state.epoch) > 3
    np.testing.assert_allclose(last.state.history, alone.state.history, atol=1e-4)


def test_before_a_cohort_is_compacted_all_of_it_is_saved_and_its_programs_are_let_go(tmp_path, dataset, monkeypatch):
    """A launch that is killed after it goes on in the same layout from the same epoch, whatever was recorded."""
    chosen = runs(stopping_early(2), rates=(1e-30, 2e-30, 0.05))
    compiled, made = fit.Trainer._compiled, []

    def counted(*arguments, **more):
        gc.collect()
        assert not [one for one in made if one() is not None], "the data would be on the device twice"
        found = compiled(*arguments, **more)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(fit.Trainer, "_compiled", counted)
    trainer = fit.Trainer(dataset, save_every_s=1e9)
    training = trainer.fit(chosen, lambda run: tmp_path / run.run_id, Layout(1, members=4), Listener())
    first = next(training)
    epoch = int(first.state.epoch)
    assert [len(list((tmp_path / run.run_id).glob(str(epoch)))) for run in chosen] == [1, 1, 1]
    del first
    while next(training, None):
        pass
    assert len(made) == 2


@pytest.mark.parametrize("layout", [Layout(2), Layout(1, members=2)], ids=str)
def test_a_sibling_that_stops_or_diverges_changes_no_bit(tmp_path, dataset, layout):
    """The sound run beside a broken one, and beside itself."""
    sgd = dataclasses.replace(MLP, optimizer=OptimizerConfig("sgd"), epochs=1)
    sound, broken, other = runs(sgd, rates=(0.01, 3e38, 0.02))
    beside_broken = fitted(dataset, [sound, broken], tmp_path / "broken", layout)
    beside_other = fitted(dataset, [sound, other], tmp_path / "other", layout)
    assert bool(beside_broken[broken.run_id].state.diverged)
    assert_same(beside_broken[sound.run_id], beside_other[sound.run_id])


def test_the_probe_measures_real_programs(tmp_path, dataset, monkeypatch):
    """With every training worth a probe, the choice is what the fastest of the measured rates says."""
    monkeypatch.setattr(probe, "WORTHWHILE_S", 0.0)
    monkeypatch.setattr(probe, "WORTHWHILE_COMPILES", 0.0)
    monkeypatch.setattr(probe, "MEASURE_S", 0.01)
    choice = fit.Trainer(dataset).choose(runs(MLP, seeds=(0, 1, 2, 3)), devices=1, parallel="jit")
    rates = {name: float(rate.replace(",", "")) for name, rate in
             re.findall(r"(1 device, [\w ,]+): ([\d.,]+) steps/s", choice.why)}
    several = rates["1 device, 4 runs under vmap"] > 1.1 * rates["1 device, one run"]
    best = Layout(1, members=4 if several else 1)
    other = dataclasses.replace(best, matrices="YNNPACK")
    assert list(rates) == ["1 device, one run", "1 device, 4 runs under vmap", str(other)]
    assert choice.layout == (other if rates[str(other)] > 1.1 * rates[str(best)] else best)


def test_what_trains_in_the_simplest_layout_compiles_once_and_all_programs_together(dataset):
    both = runs(MLP, seeds=(0, 1))
    trainer = fit.Trainer(dataset)
    choice = trainer.choose(both, 2, "jit")
    built = trainer._built
    programs = trainer.programs(choice.layout, both[0])
    assert "not probed" in choice.why
    assert programs is built
    assert programs.compilation.programs == 3
    programs.compile_all()
    assert programs.compilation.programs == 3
