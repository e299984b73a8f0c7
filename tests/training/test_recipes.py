"""Recipes in the whole of training: cohorts, checkpoints, records."""

import dataclasses

import jax
import numpy as np
import pytest
from sweeps import ABLATION, BASE, FOUND, Listener, execute

from ablations.spec import Ablation, Factor, OptimizerConfig, ScheduleConfig
from harness import records
from harness.training import cohort, cost, estimate
from harness.training import trainer as fit
from harness.training.layout import Layout
from harness.training.trainer import StoppedError
from models import MLPConfig

RECIPE = dataclasses.replace(
    BASE, model=MLPConfig(hidden=(8,), dropout=0.2), label_smoothing=0.1, ema_decay=0.9,
    schedule=ScheduleConfig("cosine", warmup_steps=2),
    optimizer=OptimizerConfig("adamw", 0.01, weight_decay=0.01, clip_norm=1.0))
GRID = {"rate": ("optimizer.learning_rate", 0.01, 0.02), "dropout": ("model.dropout", 0.2, 0.4),
        "decay": ("optimizer.weight_decay", 0.01, 0.1), "smoothing": ("label_smoothing", 0.1, 0.2),
        "average": ("ema_decay", 0.9, 0.99), "clip": ("optimizer.clip_norm", 1.0, 0.1)}


def grid(base=RECIPE, seeds=(0, 1)):
    factors = {name: Factor(path, {str(value): value for value in values}) for name, (path, *values) in GRID.items()}
    return Ablation("Why?", base, factors, design="one_at_a_time", seeds=seeds)


def fitted(dataset, chosen, folder, stop_after=1e9):
    listener = Listener()
    trainer = fit.Trainer(dataset, 1e9, lambda: len(listener.seen) >= stop_after)
    return {member.run.run_id: member for member in trainer.fit(
        chosen, lambda run: folder / run.run_id, Layout(1, members=len(chosen)), listener)}


def test_a_grid_over_all_traced_values_of_a_recipe_and_seeds_compiles_once(tmp_path, dataset):
    """Fourteen runs in one scan, by one program each for training, validation and test."""
    chosen = grid().runs()
    assert len(chosen) == 14
    assert len(cohort.partition(chosen)) == 1
    members = fitted(dataset, chosen, tmp_path).values()
    assert {member.programs.compilation.programs for member in members} == {3}
    last = {tuple(np.asarray(member.state.history).ravel()) for member in members}
    assert len(last) == 14, "every value has an effect of its own"


def test_a_part_that_is_off_has_no_program_with_those_that_are_on():
    for path in ("ema_decay", "optimizer.clip_norm", "optimizer.weight_decay"):
        factor = Factor(path, {"off": 0.0, "on": 0.5})
        assert len(cohort.partition(Ablation("Why?", RECIPE, {"f": factor}).runs())) == 2


def test_a_resumed_run_with_an_average_equals_an_uninterrupted_one(tmp_path, dataset):
    config = dataclasses.replace(RECIPE, epochs=3)
    chosen = Ablation("Why?", config, seeds=(0, 1)).runs()
    straight = fitted(dataset, chosen, tmp_path / "straight")
    with pytest.raises(StoppedError):
        fitted(dataset, chosen, tmp_path / "stopped", stop_after=1)
    resumed = fitted(dataset, chosen, tmp_path / "stopped")
    for run in chosen:
        one, other = straight[run.run_id], resumed[run.run_id]
        assert other.launches == 2
        jax.tree.map(np.testing.assert_array_equal, (one.state, one.test), (other.state, other.test))


def test_a_budget_in_steps_ends_in_the_middle_of_an_epoch(tmp_path):
    """150 examples in batches of 32 are 5 steps an epoch: 7 are an epoch and 64 examples."""
    ablation = Ablation("Why?", dataclasses.replace(BASE, steps=7, epochs=20), seeds=(0,))
    folder = records.Folder(tmp_path, "steps")
    seen = Listener()
    execute(folder, ablation, [seen], devices=1)
    [record] = folder.records().values()
    assert (record.status, record.epochs_trained, record.last.epoch) == ("done", 2, 2)
    assert [epoch.examples for [epoch] in seen.seen] == [150, 64]
    runs = ablation.runs()
    assert estimate.epochs(runs, FOUND) == {runs[0].run_id: 2}
    costs = cost.measure_all(runs, FOUND)
    known = estimate.Speed("MLPConfig", costs[runs[0].run_id].macs_per_example, 32, 1.0, 0.0, 0.0, 1, 2, None)
    assert estimate.sweep(runs, FOUND, costs, [known]).cells[0].wall_s == 7 * 32


def test_as_many_steps_as_epochs_have_are_the_same_run(tmp_path, dataset):
    [by_epochs] = Ablation("Why?", BASE, seeds=(0,)).runs()
    by_steps = dataclasses.replace(by_epochs, config=dataclasses.replace(BASE, steps=10, epochs=1))
    one, other = (next(iter(fitted(dataset, [run], tmp_path / name).values()))
                  for name, run in (("epochs", by_epochs), ("steps", by_steps)))
    jax.tree.map(np.testing.assert_array_equal, (one.state, one.test), (other.state, other.test))


def test_a_record_counts_gradients_that_are_not_finite(tmp_path):
    """A rate beyond all bounds, under a clipping that keeps each update finite."""
    base = dataclasses.replace(BASE, optimizer=OptimizerConfig("sgd", 1e25, clip_value=1e-3))
    ablation = Ablation("Why?", base, seeds=(0,))
    folder = records.Folder(tmp_path, "wild")
    told = execute(folder, ablation, devices=1)
    [record] = folder.records().values()
    assert record.non_finite_gradients > 0
    assert f"{record.non_finite_gradients} steps had a gradient that was not finite" in told
    execute(sound := records.Folder(tmp_path, "sound"), dataclasses.replace(ABLATION, seeds=(0,)), devices=1)
    assert {one.non_finite_gradients for one in sound.records().values()} == {None}


def test_a_schedule_that_does_not_fit_is_refused_before_anything_trains():
    from ablations.spec import SpecError

    runs = Ablation("Why?", dataclasses.replace(BASE, schedule=ScheduleConfig(warmup_epochs=2))).runs()
    with pytest.raises(SpecError, match=r"baseline on small: schedule\.warmup_epochs=2 is a warm-up of 10 updates"):
        cost.measure_all(runs, FOUND)
    with pytest.raises(SpecError, match=r"^without --smoke: baseline on small: schedule\.warmup_epochs=2"):
        cost.check_whole(runs, FOUND)
