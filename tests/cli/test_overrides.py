"""What the overriding flags derive; a trial of a minute fits every ablation."""

import dataclasses
import pathlib

import commands
import pytest
from absl import flags
from absl.testing import flagsaver

from ablations import ABLATIONS, lookup
from ablations.lookup import Study
from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig, ScheduleConfig, SpecError
from harness import cli
from harness.cli import overrides
from harness.training import budget, schedule

BASE = RunConfig(dataset="digits", validation_size=1300)  # which leaves 138 examples


def tried(ablation, settings=None, examples=512):
    study = lookup.overridden(Study("mine", ablation), {"smoke": examples, **(settings or {})}, ablation.seeds[:1])
    return study.runs()


def derived(ablation, *given):
    with flagsaver.flagsaver():
        flags.FLAGS(["run", *given])
        return overrides.derived(Study("mine", ablation), None, skip_unreadable=False)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_shipped_ablation_can_be_tried_in_a_minute(name):
    found = lookup.overridden(Study(name, ABLATIONS[name]), {"smoke": 512}, (0,))
    assert found.name == f"{name},smoke=512"
    assert [run.run_id for run in found.runs()] == [run.run_id for run in found.ablation.runs()]
    for run in found.runs():
        assert run.config.train_size == 512
        assert run.config.batch_size <= 512
        assert 4 <= budget.updates(run.config, 512) <= 16
        schedule.check(run.config, 512)


@pytest.mark.parametrize("changes", [
    {"schedule": ScheduleConfig("onecycle"), "batch_size": 256},
    {"schedule": ScheduleConfig("cosine", warmup_steps=500)}, {"schedule": ScheduleConfig("step", milestones=(30, 60))},
    {"schedule": ScheduleConfig("step", milestones=(2,)), "batch_size": 2048}, {"steps": 50_000, "epochs": 3},
    {"optimizer": OptimizerConfig(gradient_accumulation_steps=8)}, {"batch_size": 2048}, {"train_size": 300}])
def test_a_trial_fits_whatever_the_file_says(changes):
    for run in tried(Ablation("Why?", dataclasses.replace(BASE, **changes))):
        assert run.config.train_size == changes.get("train_size", 512)
        assert 4 <= budget.updates(run.config, run.config.train_size) <= 8
        schedule.check(run.config, run.config.train_size)


@pytest.mark.parametrize(("settings", "count"), [
    ({"smoke": 512}, 2), ({"smoke": 512, "batch_size": 8}, 2), ({"smoke": 512, "epochs": 1}, 0), ({"epochs": 1}, 0)])
def test_a_trial_knows_its_runs_as_they_are_without_it(settings, count):
    study = lookup.overridden(Study("mine", Ablation("Why?", BASE)), settings, (0, 1))
    assert [run.config.train_size for run in study.uncut] == [BASE.train_size] * count


@pytest.mark.parametrize(("factor", "cells"), [
    (Factor("epochs", {"5": 5, "9": 9}, under={"kind": "b"}), 3), (Factor("steps", {"1": 1000, "2": 2000}), 4),
    (Factor("train_size", {"all": None, "100": 100}), 4), (Factor("batch_size", {"64": 64, "1024": 1024}), 4),
    (Factor("schedule", {"flat": ScheduleConfig(), "warm": ScheduleConfig("cosine", warmup_epochs=2.0)}), 4)])
def test_no_cell_of_a_factor_on_what_a_trial_sets_is_trained_in_full(factor, cells):
    runs = tried(Ablation("Why?", dataclasses.replace(BASE, epochs=20, batch_size=1024), {
        "kind": Factor("optimizer.kind", {"a": "adam", "b": "lion"}), "it": factor}))
    assert len(runs) == cells
    for run in runs:
        assert budget.steps(run.config, run.config.train_size) <= 8
        schedule.check(run.config, run.config.train_size)


@pytest.mark.parametrize(("batch_size", "examples", "expected"), [(1024, 512, 512), (128, 100, 100), (64, 100, 64)])
def test_a_batch_is_no_larger_than_what_is_trained_on(batch_size, examples, expected):
    for settings in ({}, {"batch_size": batch_size}):
        [run] = tried(Ablation("Why?", dataclasses.replace(BASE, batch_size=batch_size)), settings, examples)
        assert run.config.batch_size == expected


@pytest.mark.parametrize("settings", [{}, {"epochs": 2}, {"steps": 4}])
def test_a_trial_sees_a_rate_fall_at_a_milestone_halfway(settings):
    stepped = ScheduleConfig("step", milestones=(30, 60), decay_rate=0.5)
    [run] = tried(Ablation("Why?", dataclasses.replace(BASE, schedule=stepped)), settings)
    shares, updates = schedule.relative(run.config, 512), budget.updates(run.config, 512)
    assert [float(shares(update)) for update in range(updates)] == [1.0] * (updates // 2) + [0.5] * (updates // 2)


@pytest.mark.parametrize("settings", [{"epochs": 3}, {"steps": 7}, {"train_size": 600}])
def test_what_a_command_sets_itself_stays(settings):
    [run] = tried(Ablation("Why?", dataclasses.replace(BASE, epochs=9)), settings)
    assert {path: getattr(run.config, path) for path in settings} == settings


def test_what_a_command_sets_itself_still_undoes_no_factor():
    with pytest.raises(SpecError, match='an override sets "epochs" and would undo the factor "epochs"'):
        tried(ABLATIONS["kmnist_mlp_best"], {"epochs": 3})


@pytest.mark.parametrize("examples", ["few", 0, True, 0.5])
def test_a_trial_is_on_a_number_of_examples(examples):
    with pytest.raises(SpecError, match="give the number of training examples that runs are tried on"):
        tried(Ablation("Why?", BASE), examples=examples)


@pytest.mark.parametrize("own", [{"base": dataclasses.replace(BASE, steps=1000)},
                                 {"base": BASE, "overrides": {"steps": 1000}}])
def test_epochs_that_a_command_gives_count_wherever_steps_are_given(own):
    found = lookup.overridden(Study("mine", Ablation("Why?", **own)), {"epochs": 5}, (0,))
    assert [(run.config.epochs, run.config.steps) for run in found.runs()] == [(5, None)]


def test_epochs_that_would_do_nothing_are_refused():
    by_steps = Ablation("Why?", BASE, {"steps": Factor("steps", {"1": 1000, "2": 2000})})
    with pytest.raises(cli.UsageError, match="--epochs=5 would do nothing: a factor gives all runs a number of steps"):
        derived(by_steps, "--epochs=5")
    with pytest.raises(cli.UsageError, match="--epochs=5 and --set=steps=100 both say how long runs train"):
        derived(Ablation("Why?", BASE), "--epochs=5", "--set=steps=100")


def test_epochs_that_some_of_the_runs_go_by_are_taken():
    some = Ablation("Why?", BASE, {"steps": Factor("steps", {"by epochs": None, "1000": 1000})}, seeds=(0,))
    assert [(run.config.epochs, run.config.steps) for run in derived(some, "--epochs=5").runs()] == [
        (5, None), (5, 1000)]


def test_a_trial_without_its_data_is_named_all_the_same():
    """What is missing is told where it is loaded, and stops no other ablation of the command."""
    missing = Ablation("Why?", dataclasses.replace(BASE, dataset="folder:no such folder"))
    assert derived(missing, "--smoke").name == "mine,smoke=512"


def test_a_trial_can_be_given_again_in_words():
    asked, again = (derived(Ablation("Why?", BASE), flag) for flag in ("--smoke", "--set=smoke=138"))
    assert asked == again
    assert asked.overrides == {"smoke": 138}
    assert [run.seed for run in again.runs()] == [0]


def test_fewer_examples_than_a_trial_takes_are_all_tried(tmp_path: pathlib.Path):
    (tmp_path / "few.py").write_text(
        "from ablations.spec import Ablation, RunConfig\n"
        "ABLATION = Ablation('Why?', RunConfig(dataset='digits', batch_size=100, validation_size=1300))\n")
    told = commands.here().run("harness.run", "--ablation=few.py", "--smoke", "--dry_run", where=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "few,smoke=138: 1 runs, 0 recorded, 1 to train" in told.stdout


@pytest.mark.parametrize("text", ["{[1]: 2}", "{{}}"])
def test_what_looks_like_a_value_and_is_none_is_refused_in_one_line(text):
    with pytest.raises(SpecError, match='override "class_weight": class_weight must be'):
        derived(Ablation("Why?", BASE), f"--set=class_weight={text}")


@pytest.mark.parametrize("given", [
    ("--precision=float32", "--set=precision=bfloat16"), ("--epochs=3", "--set=epochs=2")])
def test_two_flags_that_say_different_things_are_refused(given):
    with pytest.raises(cli.UsageError, match=f"{given[0]} and {given[1]} say different things: leave out one of them"):
        derived(Ablation("Why?", BASE), *given)


def test_a_setting_that_is_given_twice_is_refused():
    with pytest.raises(cli.UsageError, match="leave out one of them"):
        derived(Ablation("Why?", BASE, {}), "--set=epochs=3", "--set=epochs=4")


def test_a_precision_that_the_file_overrides_is_overridden_in_turn():
    found = derived(Ablation("Why?", BASE, overrides={"precision": "bfloat16"}), "--precision=float32")
    assert [run.config.precision for run in found.ablation.runs()] == ["float32"] * 3
    assert derived(Ablation("Why?", BASE), "--precision=float32").name == "mine"
