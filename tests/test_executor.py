import dataclasses
import io
import sys

import jax
import pandas as pd
import pytest
from conftest import small_dataset
from rich.console import Console

from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig
from harness import checkpoint, executor, fit, records
from harness.summary import MixtureError
from models import MLPConfig

small_dataset_as_it_is = small_dataset
BASE = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), batch_size=32, epochs=2, validation_size=40,
                 optimizer=OptimizerConfig("sgd", 0.1))
ABLATION = Ablation("Why?", BASE, {"rate": Factor("optimizer.learning_rate", {"sound": 0.1, "wild": 1e30})},
                    seeds=(0, 1, 2))


def execute(folder, ablation=ABLATION):
    runs = ablation.runs()
    told = io.StringIO()
    executor.execute(ablation.question, runs, executor.missing(runs, folder), {("small", 40): small_dataset()}, folder,
                     Console(file=told, width=200), save_every_s=1e9)
    return told.getvalue()


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "made_up")


def test_a_diverged_run_is_recorded_and_the_sweep_goes_on(folder):
    told = execute(folder)
    found = folder.records()
    assert {run_id: record["status"] for run_id, record in found.items()} == {
        f"rate={level},seed={seed}": status for level, status in (("sound", "done"), ("wild", "diverged"))
        for seed in (0, 1, 2)}
    wild, sound = found["rate=wild,seed=0"], found["rate=sound,seed=0"]
    assert wild["message"] == "loss not finite in epoch 1"
    assert (wild["best"], wild["last"], wild["epochs_trained"]) == (None, None, 1)
    assert len(folder.curve("rate=wild,seed=0")) == 1
    assert "6 runs] rate=wild,seed=0: diverged" in told
    assert sound["timing"]["members_at_once"] == 4
    assert sound["best"]["validation_accuracy"] == folder.curve("rate=sound,seed=0")["validation_accuracy"].max()


def test_a_record_agrees_with_its_predictions_and_its_curve(folder):
    execute(folder)
    labels = small_dataset().test.labels
    for run_id, record in folder.records().items():
        if record["status"] == "done":
            predicted = folder.predictions(run_id)["predicted"]
            assert predicted.dtype == "uint8"
            assert record["best"]["test_accuracy"] == (predicted == labels).mean()
            row = folder.curve(run_id).iloc[record["best"]["epoch"] - 1]
            assert row["validation_loss"] == record["best"]["validation_loss"]


@pytest.mark.parametrize(("message", "status"), [("RESOURCE_EXHAUSTED: out of memory", "oom"), ("INTERNAL", "error")])
def test_a_run_that_fails_is_recorded_and_its_siblings_train(folder, monkeypatch, capsys, message, status):
    """The device fails whenever seed 1 takes part; runs that failed together are tried one by one."""
    whole = fit.Trainer.fit

    def failing(trainer, members, *callbacks):
        if any(member.run.seed == 1 for member in members):
            raise jax.errors.JaxRuntimeError(message)
        return whole(trainer, members, *callbacks)

    monkeypatch.setattr(fit.Trainer, "fit", failing)
    execute(folder, dataclasses.replace(ABLATION, factors={}))
    assert {run_id: record["status"] for run_id, record in folder.records().items()} == {
        "baseline,seed=0": "done", "baseline,seed=1": status, "baseline,seed=2": "done"}
    assert folder.record("baseline,seed=1")["message"] == message
    assert isinstance(records.read_all(folder.path.parent), pd.DataFrame)
    assert ("Traceback" in capsys.readouterr().err) == (status == "error")


def test_what_has_a_record_is_not_trained_again(folder):
    execute(folder)
    assert executor.missing(ABLATION.runs(), folder) == []
    more = dataclasses.replace(ABLATION, seeds=(0, 1, 2, 3))
    assert [run.run_id for run in executor.missing(more.runs(), folder)] == ["rate=sound,seed=3", "rate=wild,seed=3"]


@pytest.mark.parametrize("change", ["fingerprint", "device"])
def test_runs_that_would_not_belong_with_those_there_are_refused_before_training(folder, monkeypatch, change):
    execute(folder)
    described = executor.environment.describe()
    if change == "device":
        monkeypatch.setattr(executor.environment, "describe", lambda: described | {"device": "another"})
    else:
        monkeypatch.setattr(sys.modules[__name__], "small_dataset",
                            lambda: dataclasses.replace(small_dataset_as_it_is(), fingerprint="another"))
    with pytest.raises(MixtureError, match=change):
        execute(folder, dataclasses.replace(ABLATION, seeds=(3,)))
    assert len(folder.records()) == 6


@pytest.mark.parametrize(("change", "field"), [
    ({"fingerprint": "another"}, "data"), ({}, "config.batch_size"), ({}, "width")])
def test_a_checkpoint_from_elsewhere_stops_the_sweep_before_it_starts(folder, change, field):
    """Width: how many runs train side by side; a program for another number rounds differently."""
    networks = Factor("model.hidden", {"sound": (8,), "stale": (9,)})
    two_programs = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(1,))
    run = two_programs.runs()[-1]
    saved = run
    if field == "config.batch_size":
        saved = dataclasses.replace(run, config=dataclasses.replace(run.config, batch_size=16))
    width = 2 if field == "width" else 1
    trainer = fit.Trainer(dataclasses.replace(small_dataset(), **change), width, 1e9, lambda: False)
    trainer.fit([trainer.member(saved, folder.checkpoints(run.run_id))], lambda compiled: None, lambda epochs: None)
    with pytest.raises(checkpoint.CheckpointError, match=field):
        execute(folder, two_programs)
    assert folder.records() == {}, "the sound run was trained first"


def test_a_changed_configuration_is_named_and_stops(folder):
    execute(folder)
    changed = dataclasses.replace(ABLATION, base=dataclasses.replace(BASE, batch_size=16))
    with pytest.raises(records.RecordError, match=r"batch_size: 32 -> 16"):
        executor.missing(changed.runs(), folder)
