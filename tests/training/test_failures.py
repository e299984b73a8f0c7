"""Runs and cohorts that fail, disks that are full, memory that does not suffice: what is recorded, and what goes on."""

import dataclasses
import errno
import io
import os
import signal
import threading
import types

import jax
import pandas as pd
import pytest
from rich.console import Console
from small import small_dataset
from sweeps import ABLATION, FOUND, execute

import models
from ablations.spec import Factor, Run
from harness import records
from harness.executors import local
from harness.progress import dry_run
from harness.records.folder import read_record
from harness.training import checkpoint, cost, estimate, executor, probe, processes, stopping, train, writing
from harness.training import trainer as fit
from harness.training.ahead import Ahead
from harness.training.layout import Layout, smaller
from harness.training.programs import Programs
from harness.training.watcher import Watcher


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "made_up")


@pytest.mark.parametrize(("message", "status"), [("RESOURCE_EXHAUSTED: out of memory", "oom"), ("INTERNAL", "error")])
def test_a_run_that_fails_is_recorded_and_its_siblings_train(folder, monkeypatch, message, status):
    """The device fails whenever seed 1 takes part; runs that failed together are tried one by one."""
    whole = fit.Trainer._member

    def failing(trainer, run, checkpoints):
        if run.seed == 1:
            raise jax.errors.JaxRuntimeError(message)
        return whole(trainer, run, checkpoints)

    monkeypatch.setattr(fit.Trainer, "_member", failing)
    execute(folder, dataclasses.replace(ABLATION, factors={}))
    assert {run_id: record.status for run_id, record in folder.records().items()} == {
        "baseline,seed=0": "done", "baseline,seed=1": status, "baseline,seed=2": "done"}
    assert folder.record("baseline,seed=1").message == message
    assert isinstance(records.read_all(folder.path.parent), pd.DataFrame)
    assert (folder.run("baseline,seed=1") / "traceback.txt").read_text().startswith("Traceback (most recent call")


TWO_NETWORKS = dataclasses.replace(ABLATION, factors={"network": Factor("model.hidden", {"odd": (9,), "sound": (8,)})},
                                   seeds=(0, 1, 2))


def failing_where(monkeypatch, method, is_hit, error):
    """Has a method of trainers raise for the runs that are hit; gives the number of its calls that did."""
    whole, calls = getattr(fit.Trainer, method), []

    def failing(trainer, first, *others):
        run = first if isinstance(first, Run) else first[0] if isinstance(first, list) else others[0]
        if is_hit(run):
            calls.append(run)
            raise error
        return whole(trainer, first, *others)

    monkeypatch.setattr(fit.Trainer, method, failing)
    return calls


def is_odd(run):
    return run.labels.get("network") == "odd"


@pytest.mark.parametrize("method", ["choose", "start", "programs", "check"])
def test_whatever_a_cohort_raises_is_recorded_and_the_others_train(folder, monkeypatch, method):
    """While its layout is chosen, its states are built, its programs compiled, its checkpoints looked at."""
    monkeypatch.setattr(executor, "_check", lambda *of: [])  # which asks for the same
    failed = failing_where(monkeypatch, method, is_odd, KeyError("no such layer"))
    execute(folder, TWO_NETWORKS)
    assert failed
    found = folder.records()
    odd = "error" if method != "choose" else "done"  # another layout was taken
    assert [record.status for record in found.values()] == [odd] * 3 + ["done"] * 3
    if odd == "error":
        assert found["network=odd,seed=0"].message.startswith("KeyError: 'no such layer' (test_failures.py, line ")


def test_a_program_that_has_failed_alike_for_two_runs_is_not_tried_for_the_rest(folder, monkeypatch):
    many = dataclasses.replace(TWO_NETWORKS, seeds=tuple(range(6)))
    tried = failing_where(monkeypatch, "programs", is_odd, ValueError("cannot be lowered"))
    execute(folder, many, devices=1)
    failed = [record for record in folder.records().values() if record.status == "error"]
    assert len(failed) == 6
    assert len(tried) == 2
    assert sum("(not tried: two runs of the same program had failed so)" in record.message for record in failed) == 4


def test_three_cohorts_that_fail_alike_before_their_first_step_stop_the_sweep(folder, monkeypatch):
    networks = Factor("model.hidden", {f"{units}": (units,) for units in (5, 6, 7, 8)})
    failing_where(monkeypatch, "programs", lambda run: True, ValueError("cannot be lowered"))
    with pytest.raises(executor.BrokenError, match=r"3 cohorts in a row .* cannot be lowered .*--retry=error"):
        execute(folder, dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0,)))
    assert len(folder.records()) == 3


def test_cohorts_that_are_too_large_stop_nothing(folder, monkeypatch):
    networks = Factor("model.hidden", {f"{units}": (units,) for units in (5, 6, 7, 8)})
    failing_where(monkeypatch, "programs", lambda run: run.config.model.hidden != (8,), MemoryError())
    execute(folder, dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0,)))
    assert [record.status for record in folder.records().values()] == ["oom"] * 3 + ["done"]


ONE = dataclasses.replace(ABLATION, factors={}, seeds=(0,))


def test_a_run_that_cannot_be_described_is_recorded_as_failed(folder, monkeypatch):
    def odd(*arguments, **more):
        raise TypeError("no curve")

    monkeypatch.setattr("harness.training.recording.Recorder._costs", odd)
    execute(folder, ONE)
    record = folder.record("baseline,seed=0")
    assert record.status == "error"
    assert record.message.startswith("TypeError: no curve")


def test_a_cost_that_cannot_be_counted_is_unknown_and_the_run_is_recorded(folder, monkeypatch):
    def odd(*arguments, **more):
        raise TypeError("no layers to count")

    monkeypatch.setattr(cost, "measure", odd)
    told = []
    [run] = ONE.runs()
    assert cost.measure_all([run], FOUND, told.append) == {}
    assert told == ["warning: what baseline costs is unknown: TypeError: no layers to count (test_failures.py, line "
                    f"{odd.__code__.co_firstlineno + 1})"]
    assert estimate.epoch_work([run], FOUND, {}) == {run.run_id: 150}
    [cell] = estimate.sweep([run], FOUND, {}, []).cells
    assert (cell.cost, cell.wall_s) == (None, None)
    text = io.StringIO()
    dry_run.show(estimate.sweep([run], FOUND, {}, []), "small", "here", Console(file=text, width=80))
    assert text.getvalue().count("unknown") == 5
    assert "is recorded without what its network costs: TypeError: no layers to count" in execute(folder, ONE)
    record = folder.record("baseline,seed=0")
    assert (record.status, record.cost) == ("done", None)


def test_a_record_that_cannot_be_written_is_kept_until_it_can_be(folder, monkeypatch):
    whole, tries = records.Folder.write, []

    def full(*arguments):
        tries.append(arguments)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device", "record.json")
        return whole(*arguments)

    monkeypatch.setattr(writing, "AGAIN_S", 0.01)
    monkeypatch.setattr(records.Folder, "write", full)
    told = execute(folder, ONE)
    assert told.count("warning: record.json: no space left on device; free some room") == 1
    assert folder.record("baseline,seed=0").status == "done"
    assert len(tries) == 3


@pytest.mark.parametrize("status", ["done", "error"])
def test_a_run_that_another_launch_has_recorded_meanwhile_is_told_and_the_sweep_goes_on(folder, monkeypatch, status):
    """As one does that takes over the leases of a machine that sleeps."""
    three, whole, there = dataclasses.replace(ABLATION, factors={}), records.Folder.write, {}

    other = folder.run("baseline,seed=1")

    def beside(folder, run_id, record, *more):
        if not there:
            whole(folder, other.name, dataclasses.replace(record, seed=1), *more)
            (other / "traceback.txt").write_text("of the other")
            there.update((path.name, path.read_bytes()) for path in other.iterdir() if path.is_file())
        return whole(folder, run_id, record, *more)

    monkeypatch.setattr(records.Folder, "write", beside)
    if status == "error":
        failing_where(monkeypatch, "programs", lambda run: True, ValueError("cannot be lowered"))
    told = execute(folder, three)
    assert told.count("baseline,seed=1: another launch has recorded it meanwhile, and that record stays") == 1
    assert [record.status for record in folder.records().values()] == [status] * 3
    assert {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()} == there


class Filling(Watcher):
    """Fills a disk once something has been trained, and makes room once it is told that it is waited for."""

    def __init__(self, disk, waiting="is kept in memory"):
        self._disk, self._waiting, self.lines = disk, waiting, []

    def epochs(self, epochs):
        if not self.lines:
            self._disk.fill()
            self.lines.append("full")

    def told(self, what):
        self.lines.append(what)
        if self._waiting in what:
            self._disk.clear()


def test_a_sweep_outlives_a_full_disk(small_disk, monkeypatch):
    """Neither progress nor a checkpoint can be written, and the record not yet; nothing is left half-written."""
    monkeypatch.setattr(writing, "AGAIN_S", 0.01)
    folder, filling = records.Folder(small_disk.folder, "made_up"), Filling(small_disk)
    execute(folder, ONE, watchers=[filling], save_every_s=0)
    assert filling.lines.pop(0) == "full"
    told = [line.partition(" could not")[0].partition("; free")[0] for line in filling.lines]
    assert [line for line in told if line.endswith("no space left on device")] == [
        f"warning: {folder.run('baseline,seed=0') / 'curve.csv'}: no space left on device"]
    assert sum(line.startswith("warning: checkpoint ") for line in told) == 1
    assert folder.record("baseline,seed=0").status == "done"
    assert len(folder.curve("baseline,seed=0")) == 2
    assert small_disk.names() == {"layouts.json", "progress.json", "curve.csv", "predictions.npz", "exhibits.npz",
                                  "record.json"}


@pytest.mark.parametrize(("train", "first"), [
    (lambda launch, *what: local.train(launch, launch.planned, FOUND, {}, *what), "in_training/network=sound,seed=0"),
    (lambda launch, *what: executor.execute(launch, launch.planned, FOUND, *what), ".layouts.lock")],
    ids=["a lease", "a layout"])
def test_a_sweep_of_several_cohorts_outlives_it_where_records_are_written_beside_training(
        small_disk, monkeypatch, train, first):
    """As on an accelerator: the disk is full for what the next cohort begins with, while a record waits for room."""
    monkeypatch.setattr(writing, "AGAIN_S", 0.01)
    monkeypatch.setattr(writing, "jax", types.SimpleNamespace(default_backend=lambda: "gpu"))
    folder, filling = records.Folder(small_disk.folder, "made_up"), Filling(small_disk, "training goes on once there")
    late = threading.Timer(60, small_disk.clear)  # a launch that ended would wait for its record for ever
    late.start()
    train(executor.Launch("Why?", dataclasses.replace(TWO_NETWORKS, seeds=(0,)).runs(), folder), filling)
    late.cancel()
    assert [record.status for record in folder.records().values()] == ["done"] * 2
    assert sum(f"warning: {folder.path / first}: no space left on device" in line for line in filling.lines) == 1


def test_room_is_waited_for_until_the_user_stops_and_nothing_else_is():
    def failing(number):
        raise OSError(number, os.strerror(number), "plan.json")

    with pytest.raises(stopping.StoppedError):
        writing.with_room(lambda: failing(errno.EDQUOT), print, lambda: True)
    with pytest.raises(OSError, match="Permission denied"):
        writing.with_room(lambda: failing(errno.EACCES), print, lambda: True)


def test_a_user_who_stops_ends_the_waiting_for_room(folder, monkeypatch):
    def full(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.ENOSPC, "No space left on device", "record.json")

    monkeypatch.setattr(records.Folder, "write", full)
    with pytest.raises(stopping.StoppedError):
        execute(folder, ONE)
    assert folder.records() == {}
    assert list(folder.run("baseline,seed=0").glob("*.*")) == [], "nothing is half-written"


def test_what_is_tried_again_leaves_its_old_record_aside(folder, monkeypatch):
    one = dataclasses.replace(ABLATION, factors={}, seeds=(0, 1))
    with monkeypatch.context() as patch:
        failing_where(patch, "programs", lambda run: True, ValueError("cannot be lowered"))
        execute(folder, one)
    assert executor.missing(one.runs(), folder) == []
    assert executor.missing(one.runs(), folder, ("oom", "diverged")) == []
    again = executor.missing(one.runs(), folder, ("error",))
    launch = executor.Launch("Why?", one.runs(), folder)
    assert executor.check(launch, again, FOUND) == [], "what will be moved is in the way of nothing"
    for _ in range(2):
        folder.set_aside("baseline,seed=0")
        execute(folder, one)
    assert folder.record("baseline,seed=0").status == "done"
    aside = {path.parent.name: read_record(path).status for path in folder.path.glob("set_aside/*/record.json")}
    assert aside == {"baseline,seed=0,1": "error", "baseline,seed=0,2": "done"}
    assert len(folder.records()) == 2


def test_a_checkpoint_that_cannot_be_written_is_told_once_and_training_goes_on(folder, monkeypatch):
    def full(*arguments):
        raise checkpoint.NotSavedError("1 could not be written")

    monkeypatch.setattr(checkpoint, "save", full)
    told = execute(folder, dataclasses.replace(ABLATION, factors={}), save_every_s=0)
    assert told.count("warning: checkpoint 1 could not be written") == 1
    assert {record.status for record in folder.records().values()} == {"done"}


def needed_bytes(layout):
    config = ABLATION.runs()[0].config
    data = small_dataset()
    programs = Programs(*train.init(config, 0, data.num_classes, data.image_shape), data, layout)
    programs.compile_all()
    return programs.needed_bytes


def test_a_cohort_that_runs_out_of_memory_is_split_and_retried(folder):
    """Four devices share one memory that is enough for two and a half."""
    total = int(2.5 * needed_bytes(Layout(1)))
    told = execute(folder, device_memory=lambda devices: total // devices)
    assert "out of memory with 4 devices, one run on each; going on with 2 devices, one run on each" in told
    found = folder.records().values()
    assert sorted(record.status for record in found) == ["diverged"] * 3 + ["done"] * 3
    assert {tuple(record.placement.layouts) for record in found} == {("2 devices, one run on each",)}
    assert all(record.placement.choice.endswith("then out of memory") for record in found)


def test_devices_with_a_memory_each_split_batches_that_are_too_large_for_one(folder, monkeypatch):
    monkeypatch.setattr(fit, "smaller", lambda layout, one_memory, splits_over: smaller(
        layout, one_memory=False, splits_over=splits_over))
    limit = needed_bytes(Layout(1, data=2))
    assert limit < needed_bytes(Layout(1))
    told = execute(folder, device_memory=lambda devices: limit)
    assert ("out of memory with 4 devices, one run on each; going on with 4 devices, one run on every 2, batches split"
            in told)
    found = folder.records().values()
    assert sorted(record.status for record in found) == ["diverged"] * 3 + ["done"] * 3
    assert {tuple(record.placement.layouts) for record in found} == {("4 devices, one run on every 2, batches split",)}


def test_a_layout_that_was_asked_for_is_not_spread_over_devices_that_it_does_not_name(folder, monkeypatch):
    monkeypatch.setattr(fit, "smaller", lambda layout, one_memory, splits_over: smaller(
        layout, one_memory=False, splits_over=splits_over))
    limit = needed_bytes(Layout(1, data=2))
    told = execute(folder, device_memory=lambda devices: limit, layout=Layout(1))
    assert "out of memory with 1 device, one run; going on with 1 device, one run, data streamed" in told
    assert "batches split" not in told


def test_runs_under_vmap_are_halved_until_they_fit(folder, monkeypatch):
    monkeypatch.setattr(fit.Trainer, "choose", lambda *args: probe.Choice(Layout(1, members=6), "told to"))
    limit = needed_bytes(Layout(1, members=3))
    assert limit < needed_bytes(Layout(1, members=6))
    told = execute(folder, device_memory=lambda devices: limit)
    assert "out of memory with 1 device, 6 runs under vmap; going on with 1 device, 3 runs under vmap" in told
    assert {record.placement.layouts[0] for record in folder.records().values()} == {
        "1 device, 3 runs under vmap"}


def test_a_run_that_cannot_fit_is_recorded_and_the_sweep_goes_on(folder, monkeypatch):
    """The network of the first cohort is too large, that of the second is not."""
    networks = Factor("model.hidden", {"large": (4000,), "small": (8,)})
    ablation = dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0, 1))
    limit = 2 * needed_bytes(Layout(1))
    execute(folder, ablation, devices=1, device_memory=lambda devices: limit)
    assert {run_id: record.status for run_id, record in folder.records().items()} == {
        "network=large,seed=0": "oom", "network=large,seed=1": "oom",
        "network=small,seed=0": "done", "network=small,seed=1": "done"}
    assert "needs" in folder.record("network=large,seed=0").message


def test_what_validation_needs_is_held_against_the_memory_as_well():
    """A network that trains on few examples at a time is validated on many."""
    config = dataclasses.replace(ABLATION.base, model=models.CNNConfig((16,)), batch_size=4)
    made = train.init(config, 0, 4, (8, 8, 1))
    [found] = FOUND.values()
    ample = Programs(*made, found.dataset, Layout(1), memory_limit=2**30)
    ample.compile_all()
    limit = ample.memory_bytes + ample.beside_bytes
    with pytest.raises(MemoryError, match=r"1 device, one run needs .* MiB on each device, which has"):
        Programs(*made, found.dataset, Layout(1), memory_limit=limit).compile_all()


def test_processes_that_do_not_see_the_same_end_the_launch_and_no_run_is_recorded_for_it(folder, monkeypatch):
    failing_where(monkeypatch, "_member", lambda run: True, processes.JoinError("processes read checkpoints unlike"))
    with pytest.raises(processes.JoinError):
        execute(folder)
    assert folder.records() == {}


def test_what_is_prepared_for_the_next_cohort_goes_before_this_one_is_made_smaller(folder, monkeypatch):
    """As on an accelerator, where both hold a copy of the data."""
    def start(ahead):
        if ahead.next is not None:
            ahead._preparing = ahead._thread.submit(ahead.next.prepare)

    epoch, failed = fit.Trainer._train_an_epoch, []

    def short_of_memory(trainer, *arguments):
        if not failed:
            failed.append(trainer)
            raise MemoryError("RESOURCE_EXHAUSTED")
        return epoch(trainer, *arguments)

    monkeypatch.setattr(Ahead, "start", start)
    monkeypatch.setattr(fit.Trainer, "_train_an_epoch", short_of_memory)
    networks = Factor("model.hidden", {"16": (16,), "8": (8,)})
    execute(folder, dataclasses.replace(ABLATION, factors={"network": networks}, seeds=(0, 1)), devices=2)
    found = folder.records().values()
    assert [record.status for record in found] == ["done"] * 4
    assert {record.placement.layouts for record in found} == {("2 devices, one run on each",)}
    assert not any("out of memory" in record.placement.choice for record in found)
