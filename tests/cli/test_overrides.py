"""What the overriding flags derive; a trial of a minute fits every ablation."""

import dataclasses
import pathlib

import commands
import pytest
from absl import flags
from absl.testing import flagsaver

from ablations import ABLATIONS, lookup
from ablations.lookup import Study
from ablations.spec import Ablation, Factor, RandomCells, RunConfig, ScheduleConfig, SpecError, Uniform
from harness import cli
from harness.cli import overrides
from harness.training import schedule

BASE = RunConfig(dataset="digits", validation_size=1300)


def tried(ablation, settings=None, examples=512):
    return lookup.overridden(Study("mine", ablation), settings or {}, ablation.seeds[:1], smoke=examples)


def derived(ablation, *given):
    with flagsaver.flagsaver():
        flags.FLAGS(["run", *given])
        return overrides.derived(Study("mine", ablation), None, skip_unreadable=False)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_shipped_ablation_can_be_tried_in_a_minute(name):
    found = lookup.overridden(Study(name, ABLATIONS[name]), {}, (0,), smoke=512)
    warmup = ",schedule.warmup_epochs=0" * bool(ABLATIONS[name].base.schedule.warmup_epochs)
    assert found.name == f"{name},epochs=1{warmup},train_size=512"
    for run in found.ablation.runs():
        assert (run.config.epochs, run.config.steps, run.config.train_size) == (1, None, 512)
        assert run.config.batch_size <= 512
        schedule.check(run.config, 512)


def test_of_cells_that_are_alike_in_a_trial_the_first_is_tried():
    found = tried(ABLATIONS["kmnist_mlp_best"]).ablation
    assert [run.cell for run in found.runs()] == ["augment=affine and elastic,epochs=20", "augment=none,epochs=20"]
    assert len(set(found.comparisons().values())) == 1


def test_cells_may_be_drawn_nested_and_left_out():
    ablation = Ablation("Why?", BASE, {
        "kind": Factor("schedule.kind", {"flat": "constant", "cosine": "cosine"}),
        "warm": Factor("schedule.warmup_epochs", {"short": 2.0, "long": 4.0}, under={"kind": "cosine"}),
        "rate": Factor("optimizer.learning_rate", Uniform(0.001, 0.01)), "epochs": Factor("epochs", {"5": 5, "9": 9}),
    }, design=RandomCells(12), exclude=lambda labels: labels.get("warm") == "short")
    cells = [run.labels for run in tried(ablation).ablation.runs()]
    assert cells[0] == {"kind": "flat", "rate": "0.001", "epochs": "5"}
    assert 1 < len(cells) <= 13
    assert len({(labels["kind"], labels["rate"]) for labels in cells}) == len(cells)


@pytest.mark.parametrize(("batch_size", "examples", "expected"), [(1024, 512, 512), (128, 100, 100), (64, 100, 64)])
def test_a_batch_is_no_larger_than_what_is_trained_on(batch_size, examples, expected):
    found = tried(Ablation("Why?", dataclasses.replace(BASE, batch_size=batch_size)), examples=examples)
    assert {run.config.batch_size for run in found.ablation.runs()} == {expected}
    assert ("batch_size" in found.overrides) == (expected != batch_size)


def test_levels_of_the_batch_that_fit_stay_as_they_are():
    sizes = {str(size): size for size in (64, 1024, 2048)}
    found = tried(Ablation("Why?", BASE, {"batch": Factor("batch_size", sizes)}))
    assert [(run.cell, run.config.batch_size) for run in found.ablation.runs()] == [("batch=64", 64),
                                                                                   ("batch=1024", 512)]


def test_a_warm_up_of_a_level_is_left_out_of_a_trial():
    kinds = {"flat": ScheduleConfig(), "warm": ScheduleConfig("cosine", warmup_epochs=2.0)}
    found = tried(Ablation("Why?", BASE, {"schedule": Factor("schedule", kinds)}))
    for run in found.ablation.runs():
        schedule.check(run.config, 512)


def test_what_a_command_sets_itself_still_undoes_no_factor():
    with pytest.raises(SpecError, match='an override sets "epochs" and would undo the factor "epochs"'):
        tried(ABLATIONS["kmnist_mlp_best"], {"epochs": 3})


def test_fewer_examples_than_a_trial_takes_are_all_tried(tmp_path: pathlib.Path):
    (tmp_path / "few.py").write_text(
        "from ablations.spec import Ablation, RunConfig\n"
        "ABLATION = Ablation('Why?', RunConfig(dataset='digits', batch_size=256, validation_size=1300))\n")
    told = commands.here().run("harness.run", "--ablation=few.py", "--smoke", "--dry_run", where=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "few,batch_size=138,epochs=1,train_size=138: 1 runs, 0 recorded, 1 to train" in told.stdout


def test_workers_that_could_not_derive_a_trial_are_refused():
    with pytest.raises(cli.UsageError, match="leave out --executor"):
        derived(Ablation("Why?", BASE, {"epochs": Factor("epochs", {"5": 5, "9": 9})}), "--smoke", "--executor=ray")


@pytest.mark.parametrize("given", [
    ("--precision=float32", "--set=precision=bfloat16"), ("--epochs=3", "--set=epochs=2")])
def test_two_flags_that_say_different_things_are_refused(given):
    with pytest.raises(cli.UsageError, match=f"{given[0]} and {given[1]} say different things: leave out one of them"):
        derived(Ablation("Why?", BASE), *given)


def test_a_precision_that_the_file_overrides_is_overridden_in_turn():
    found = derived(Ablation("Why?", BASE, overrides={"precision": "bfloat16"}), "--precision=float32")
    assert [run.config.precision for run in found.ablation.runs()] == ["float32"] * 3
    assert derived(Ablation("Why?", BASE), "--precision=float32").name == "mine"
