import dataclasses
import shutil
import types

import jax
import numpy as np
import pytest
from plain_networks import ResidualConfig
from small import small_dataset
from sweeps import ABLATION, BASE, FOUND, Listener, execute

from ablations.spec import Factor, Run, RunConfig, SpecError
from harness import records
from harness.data import inputs
from harness.data.inputs import Inputs
from harness.records import pooling
from harness.records.pooling import MixtureError
from harness.training import checkpoint, executor, probe
from harness.training import trainer as fit
from harness.training.layout import Layout, asked_for
from harness.training.turns import Alone
from harness.training.watcher import Watcher


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "made_up")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The ablation's folder once all of its runs are trained, and what was told; not to be changed."""
    folder = records.Folder(tmp_path_factory.mktemp("trained"), "made_up")
    return folder, execute(folder)


@pytest.fixture
def copied(trained, folder):
    """A folder of all runs trained, that may be changed."""
    shutil.copytree(trained[0].path, folder.path)
    return folder


def test_a_diverged_run_is_recorded_and_the_sweep_goes_on(trained):
    folder, told = trained
    found = folder.records()
    assert {run_id: record.status for run_id, record in found.items()} == {
        f"rate={level},seed={seed}": status for level, status in (("sound", "done"), ("wild", "diverged"))
        for seed in (0, 1, 2)}
    wild, sound = found["rate=wild,seed=0"], found["rate=sound,seed=0"]
    assert wild.message == "loss not finite in epoch 1"
    assert (wild.best, wild.last, wild.epochs_trained) == (None, None, 1)
    assert len(folder.curve("rate=wild,seed=0")) == 1
    assert "6] rate=wild,seed=0: diverged" in told
    assert sound.timing.members_at_once == 4
    assert sound.best.validation_accuracy == folder.curve("rate=sound,seed=0")["validation_accuracy"].max()


def test_a_record_agrees_with_its_predictions_and_its_curve(trained):
    folder, _ = trained
    labels = small_dataset().test.labels
    for run_id, record in folder.records().items():
        if record.status == "done":
            predictions = folder.predictions(run_id)
            predicted = predictions["predicted"]
            assert predicted.dtype == predictions["label"].dtype == "uint8"
            assert (predictions["label"] == labels).all()
            assert record.best.test_accuracy == (predicted == labels).mean()
            row = folder.curve(run_id).iloc[record.best.epoch - 1]
            assert row["validation_loss"] == record.best.validation_loss


def test_the_first_seed_of_each_cell_keeps_images_and_its_first_layer(folder):
    execute(folder, dataclasses.replace(ABLATION, factors={"rate": Factor(
        "optimizer.learning_rate", {"slow": 0.1, "fast": 0.2})}, seeds=(2, 1)))
    kept = {path.parent.name: np.load(path) for path in folder.path.glob("runs/*/exhibits.npz")}
    assert set(kept) == {"rate=slow,seed=1", "rate=fast,seed=1"}
    slow, fast = kept["rate=slow,seed=1"], kept["rate=fast,seed=1"]
    np.testing.assert_array_equal(slow["image"], small_dataset().test.images[slow["index"]])
    np.testing.assert_array_equal(slow["initial"], fast["initial"])
    assert (slow["trained"] != fast["trained"]).any()


def test_what_has_a_record_is_not_trained_again(trained):
    folder, _ = trained
    assert executor.missing(ABLATION.runs(), folder) == []
    more = dataclasses.replace(ABLATION, seeds=(0, 1, 2, 3))
    assert [run.run_id for run in executor.missing(more.runs(), folder)] == ["rate=sound,seed=3", "rate=wild,seed=3"]


@pytest.mark.parametrize("change", ["fingerprint", "device"])
def test_runs_that_would_not_belong_with_those_there_are_refused_before_training(copied, monkeypatch, change):
    described = executor.environment.describe()
    if change == "device":
        monkeypatch.setattr(executor.environment, "describe",
                            lambda own: dataclasses.replace(described, device="another"))
    else:
        another = dataclasses.replace(small_dataset(), fingerprint="another")
        monkeypatch.setitem(FOUND, inputs.key(BASE), Inputs(another))
    with pytest.raises(MixtureError, match=change):
        execute(copied, dataclasses.replace(ABLATION, seeds=(3,)))
    assert len(copied.records()) == 6


@pytest.mark.parametrize(("change", "field"), [({"fingerprint": "another"}, "data"), ({}, "config.batch_size")])
def test_a_checkpoint_from_elsewhere_stops_the_sweep_before_it_starts(folder, change, field):
    networks = Factor("model.hidden", {"sound": (8,), "stale": (9,)})
    two_programs = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(1,))
    run = two_programs.runs()[-1]
    saved = run
    if field == "config.batch_size":
        saved = dataclasses.replace(run, config=dataclasses.replace(run.config, batch_size=16))
    trainer = fit.Trainer(dataclasses.replace(small_dataset(), **change), save_every_s=0)
    list(trainer.fit([saved], lambda run: folder.checkpoints(run.run_id), Layout(1), Listener()))
    with pytest.raises(checkpoint.CheckpointError, match=field):
        execute(folder, two_programs)
    assert folder.records() == {}, "the sound run was trained first"


@pytest.mark.parametrize("several", [False, True])
def test_what_needs_whole_batches_is_refused_before_anything_is_trained(folder, monkeypatch, several):
    plain = dataclasses.replace(ABLATION, base=dataclasses.replace(BASE, model=ResidualConfig()), seeds=(0,))
    if several:
        monkeypatch.setattr(executor.processes, "several", lambda: True)
        monkeypatch.setattr(executor.processes, "of_first", list)
    with pytest.raises(SpecError, match=r"rate=sound,seed=0: a network in plain Flax needs whole batches"):
        execute(folder, plain, layout=None if several else Layout(1, data=2))
    assert not folder.recorded()


def test_what_several_processes_compile_ahead_is_what_they_train_in(folder, monkeypatch):
    monkeypatch.setattr(executor.processes, "several", lambda: True)
    compiled, runs = [], ABLATION.runs()
    trainer = types.SimpleNamespace(programs=lambda layout, run: compiled.append(layout))
    launch = executor.Launch("Why?", runs, folder, 1.0, 4)
    executor._Cohort(launch, runs, trainer, None, Watcher()).prepare()
    assert compiled == [Layout(1, data=4)]


class Meanwhile(Alone):
    """Has another launch at work while this one trains what is asked for first."""

    def __init__(self, at_work):
        self._at_work, self._is_first = at_work, True

    def take(self, runs):
        if self._is_first:
            self._is_first = False
            return list(runs)
        return self._at_work(runs)


def test_a_checkpoint_of_other_code_that_appears_meanwhile_ends_the_launch_and_is_no_failure_of_its_run(folder):
    networks = Factor("model.hidden", {"sound": (8,), "stale": (9,)})
    runs = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(1,)).runs()
    launch = executor.Launch("Why?", runs, folder)

    def another_was_killed(runs):
        other = fit.Trainer(small_dataset(), 0, machine=dataclasses.replace(launch.machine(), training_code="other"))
        list(other.fit(runs, lambda run: folder.checkpoints(run.run_id), Layout(1), Listener()))
        return runs

    with pytest.raises(checkpoint.CheckpointError, match="training_code"):
        executor.execute(launch, runs, FOUND, Watcher(), Meanwhile(another_was_killed))
    assert folder.recorded() == [runs[0].run_id]
    assert checkpoint.progress(folder.checkpoints(runs[1].run_id)) is not None


@pytest.mark.parametrize("share_a_cohort", [True, False])
def test_launches_that_begin_together_on_unlike_machines_train_no_cohort_more(folder, monkeypatch, share_a_cohort):
    networks = Factor("model.hidden", {"first": (7,), "second": (8,), "third": (9,)})
    ablation = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0, 1))
    launch = executor.Launch("Why?", ablation.runs(), folder)
    machine = dataclasses.replace(launch.machine(), device="Another CPU")

    def another_has_recorded(runs):
        if runs[0].labels["network"] == "third":
            return runs
        with monkeypatch.context() as patch:
            patch.setattr(executor.Launch, "machine", lambda launch: machine)
            patch.setattr(pooling, "refuse_mixtures", lambda *of: None)  # it began before there was a record
            executor.execute(launch, runs[:1], FOUND, Watcher())
        return runs[1:] if share_a_cohort else []

    with pytest.raises(MixtureError, match="Another CPU"):
        executor.execute(launch, launch.planned, FOUND, Watcher(), Meanwhile(another_has_recorded))
    assert len(folder.recorded()) == 3


def test_what_a_launch_looks_for_again_is_what_others_have_recorded_since(copied, monkeypatch):
    read, whole = [], records.Folder.record

    def record(folder, run_id, **how):
        read.append(run_id)
        return whole(folder, run_id, **how)

    monkeypatch.setattr(records.Folder, "record", record)
    own, new = "rate=sound,seed=1", "rate=sound,seed=2"
    for run_id in (own, new):
        copied.run(run_id).rename(copied.path / run_id)
    for near in (None, {own, new}):
        table = pooling.Table(copied, near, {}, ())
        read.clear()
        for run_id in (own, new):
            shutil.copytree(copied.path / run_id, copied.run(run_id))
        table.look([own])
        table.look([own])
        assert read == [new]
        for run_id in (own, new):
            shutil.rmtree(copied.run(run_id))


def test_a_part_of_a_launch_sees_that_the_others_train_on_another_machine(copied):
    """It reads one record beside its own runs': what differs between machines differs in every one."""
    [own, *_] = copied.recorded()
    here = copied.record(own)
    there = dataclasses.replace(here, environment=dataclasses.replace(here.environment, device="Another CPU"))
    pooling.Table(copied, {own}, {own: here}, ()).refuse_mixtures()
    with pytest.raises(MixtureError, match="Another CPU"):
        pooling.Table(copied, {own}, {own: there}, ()).refuse_mixtures()


@pytest.mark.parametrize("is_near", [False, True])
def test_what_another_launch_has_trained_anew_meanwhile_is_looked_at(copied, monkeypatch, is_near):
    """As where two machines retry the same failed runs: the old record is not taken for news, the new one is."""
    [run_id, *_] = copied.recorded()
    old = copied.record(run_id)
    intended = dataclasses.replace(old, message="intended")
    table = pooling.Table(copied, set(copied.recorded()) if is_near else None, {run_id: intended}, ())
    table.look([])
    assert table.records[run_id] == intended
    elsewhere = dataclasses.replace(old.environment, device="Another CPU")
    renewed = dataclasses.replace(old, environment=elsewhere, finished_at="2031-01-01T00:00:00")
    monkeypatch.setattr(records.Folder, "record", lambda folder, name, **how: renewed if name == run_id else None)
    with pytest.raises(MixtureError, match="Another CPU"):
        table.look([])


def test_a_layout_once_chosen_is_kept(folder, monkeypatch):
    """What is added later, or resumed, trains as the rest did, whatever a probe would say now."""
    monkeypatch.setattr(fit.Trainer, "choose", lambda *args: probe.Choice(Layout(2, members=2), "told to"))
    runs = ABLATION.runs()
    executor.execute(executor.Launch(ABLATION.question, runs, folder, devices=4), runs[:1], FOUND, Watcher())
    monkeypatch.setattr(fit.Trainer, "choose", lambda *args: pytest.fail("probed again"))
    execute(folder)
    placed = [record.placement for record in folder.records().values()]
    assert len(placed) == 6
    assert {place.choice for place in placed} == {"told to"}


def test_a_layout_that_was_asked_for_is_not_kept_when_memory_runs_out(folder, monkeypatch):
    """What is launched without the flag afterwards trains as it did before."""
    monkeypatch.setattr(fit.Trainer, "choose", lambda *args: probe.Choice(Layout(2, members=2), "told to"))
    runs, whole = ABLATION.runs(), fit.Trainer.programs
    executor.execute(executor.Launch(ABLATION.question, runs, folder, devices=4), runs[:1], FOUND, Watcher())
    kept = folder.layouts()

    def full(trainer, layout, run):
        if layout.members > 2:
            raise MemoryError
        return whole(trainer, layout, run)

    monkeypatch.setattr(fit.Trainer, "programs", full)
    told = execute(folder, layout=asked_for("1 device, 4 runs under vmap", 4))
    assert "out of memory with 1 device, 4 runs under vmap; going on with 1 device, 2 runs under vmap" in told
    assert folder.layouts() == kept


def test_what_was_prepared_for_a_cohort_that_another_launch_takes_is_let_go_before_the_next_one_trains(
        folder, monkeypatch):
    networks = Factor("model.hidden", {"first": (5,), "taken": (6,), "last": (7,)})
    runs = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0,)).runs()
    let_go, while_last = [], []

    class Others(Alone):
        def take(self, runs):
            return [run for run in runs if run.labels["network"] != "taken"]

    class Look(Watcher):
        def compiling(self, runs):
            if [run.labels["network"] for run in runs] == ["last"]:
                while_last[:] = let_go

    def prepare(trainer, runs, devices, parallel):
        trainer.prepared = runs[0].labels["network"]

    whole = fit.Trainer.release
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(fit.Trainer, "prepare", prepare)
    monkeypatch.setattr(fit.Trainer, "release", lambda trainer: (
        let_go.append(getattr(trainer, "prepared", "")), whole(trainer)))
    executor.execute(executor.Launch("Why?", runs, folder), runs, FOUND, Look(), Others())
    assert while_last == ["", "taken"]
    assert let_go == ["", "taken", ""], "the last one was not prepared for"
    assert folder.recorded() == ["network=first,seed=0", "network=last,seed=0"]


def test_a_changed_configuration_is_named_and_stops(trained):
    folder, _ = trained
    changed = dataclasses.replace(ABLATION, base=dataclasses.replace(BASE, batch_size=16))
    with pytest.raises(records.RecordError, match=r"batch_size: 32 -> 16"):
        executor.missing(changed.runs(), folder)


def test_a_users_own_code_counts_as_training_code_where_a_configuration_holds_objects_of_it(tmp_path):
    """Elsewhere a file of the user's holds values alone, which the configuration states."""
    @dataclasses.dataclass(frozen=True)
    class OwnConfig(RunConfig):
        """Stands for a configuration of the user's class."""

    def code(config, sources):
        launch = executor.Launch("Why?", [Run({}, 0, config)], records.Folder(tmp_path, "a"),
                                 provenance=records.Provenance("a.py", sources))
        return launch.machine().training_code

    plain, own = RunConfig(dataset="small"), OwnConfig(dataset="small")
    assert code(plain, {"a.py": "1"}) == code(plain, {}) == code(own, {}) == executor.environment.training_code()
    assert len({code(plain, {}), code(own, {"a.py": "1"}), code(own, {"a.py": "2"})}) == 3


def test_a_precision_that_a_factor_varies_is_known_before_anything_is_recorded(folder):
    halves = Factor("precision", {"32 bits": "float32", "16 bits": "bfloat16"})
    ablation = dataclasses.replace(ABLATION, factors={"precision": halves}, seeds=(0,))
    launch = executor.Launch("Why?", ablation.runs(), folder, varied=ablation.varied)
    assert executor.check(launch, launch.planned, FOUND) == []
    with pytest.raises(MixtureError, match=r"config\.precision"):
        executor.check(dataclasses.replace(launch, varied=()), launch.planned, FOUND)
