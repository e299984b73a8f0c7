import dataclasses

import jax
import numpy as np
import pytest
from conftest import small_dataset

from ablations.spec import Ablation, EarlyStopping, Factor, OptimizerConfig, RunConfig
from harness import checkpoint, fit
from models import CNNConfig, MLPConfig

MLP = RunConfig(dataset="small", model=MLPConfig(hidden=(8,), dropout=0.2), batch_size=32, epochs=3, validation_size=40)
CNN = dataclasses.replace(MLP, model=CNNConfig(filters=(4,), batch_norm=True, dropout=0.1))


def runs(config, rates=(0.01,), seeds=(0,)):
    factor = Factor("optimizer.learning_rate", {str(rate): rate for rate in rates})
    return Ablation("Why?", config, {"rate": factor}, seeds=seeds).runs()


def fitted(dataset, chosen, folder, width=None, stop=lambda: False, save_every_s=1e9):
    """Trains runs side by side and gives their members, by run_id."""
    trainer = fit.Trainer(dataset, width or len(chosen), save_every_s, stop)
    members = [trainer.member(run, folder / run.run_id) for run in chosen]
    trainer.fit(members, lambda compiled: None, lambda epochs: None)
    return {member.run.run_id: member for member in members}


def assert_same(one, other):
    """Bit for bit, in state and test outcome."""
    for a, b in zip(jax.tree.leaves((one.state, one.test)), jax.tree.leaves((other.state, other.test)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("config", [MLP, CNN], ids=["mlp", "cnn"])
def test_a_run_does_not_depend_on_who_trains_beside_it(tmp_path, dataset, config):
    both = runs(config, rates=(0.01, 0.1))
    together = fitted(dataset, both, tmp_path / "together")
    for run in both:
        alone = fitted(dataset, [run], tmp_path / "alone", width=2)
        assert_same(alone[run.run_id], together[run.run_id])


def test_a_diverging_run_leaves_its_sibling_alone(tmp_path, dataset):
    sgd = dataclasses.replace(MLP, optimizer=OptimizerConfig("sgd"))
    sound, broken = runs(sgd, rates=(0.01, 1e30))
    together = fitted(dataset, [sound, broken], tmp_path / "together")
    assert bool(together[broken.run_id].state.diverged)
    assert not bool(together[sound.run_id].state.diverged)
    assert_same(fitted(dataset, [sound], tmp_path / "alone", width=2)[sound.run_id], together[sound.run_id])


@pytest.mark.parametrize("config", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, dataset, config, stop_after):
    config = dataclasses.replace(config, early_stopping=EarlyStopping(patience=2), optimizer=OptimizerConfig("adam"))
    chosen = runs(config, seeds=(0, 1))
    straight = fitted(dataset, chosen, tmp_path / "straight")
    epochs = iter(range(1, 9))
    with pytest.raises(fit.StoppedError):
        fitted(dataset, chosen, tmp_path / "stopped", stop=lambda: next(epochs) == stop_after)
    resumed = fitted(dataset, chosen, tmp_path / "stopped")
    for run in chosen:
        assert resumed[run.run_id].launches == 2
        assert_same(resumed[run.run_id], straight[run.run_id])


def test_runs_at_different_epochs_resume_side_by_side(tmp_path, dataset):
    ahead, behind = runs(MLP, seeds=(0, 1))
    epochs = iter((1, 2))
    with pytest.raises(fit.StoppedError):
        fitted(dataset, [ahead], tmp_path / "mixed", width=2, stop=lambda: next(epochs) == 2)
    mixed = fitted(dataset, [ahead, behind], tmp_path / "mixed")
    straight = fitted(dataset, [ahead, behind], tmp_path / "straight")
    for run in (ahead, behind):
        assert_same(mixed[run.run_id], straight[run.run_id])


def test_a_checkpoint_of_another_configuration_is_not_resumed(tmp_path, dataset):
    [run] = runs(MLP)
    fitted(dataset, [run], tmp_path)
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

    def one_short(program, weights, rates, examples):
        return whole(program, weights, rates, jax.tree.map(lambda leaf: leaf[:-1], examples))

    monkeypatch.setattr(fit.train, "evaluate", one_short)
    with pytest.raises(AssertionError, match="39 examples were seen where there are 40"):
        fitted(dataset, runs(MLP), tmp_path)


def test_train_size_limits_the_training_examples(tmp_path, dataset):
    [run] = runs(dataclasses.replace(MLP, train_size=70))
    seen = []
    trainer = fit.Trainer(dataset, 1, 1e9, lambda: False)
    trainer.fit([trainer.member(run, tmp_path)], lambda compiled: None, seen.extend)
    assert [epoch.examples for epoch in seen] == [70, 70, 70]


def test_a_cohort_compiles_once(tmp_path, dataset):
    compiled = []
    trainer = fit.Trainer(dataset, 2, 1e9, lambda: False)
    chosen = runs(MLP, rates=(0.01, 0.02, 0.03))
    for batch in (chosen[:2], chosen[2:]):
        trainer.fit([trainer.member(run, tmp_path / run.run_id) for run in batch], compiled.append, lambda epochs: None)
    assert len(compiled) == 1
    assert compiled[0].memory_bytes > 0
