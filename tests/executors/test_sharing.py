import json
import os
import pathlib
import types

import pytest
from sweeps import ABLATION, FOUND

from harness import records
from harness.executors import local, sharing
from harness.executors.following import Followed
from harness.records.leases import Leases
from harness.training import executor, turns
from harness.training.watcher import Watcher

IDS = [run.run_id for run in ABLATION.runs()]


class Heard(Watcher):
    def __init__(self):
        self.recorded = []

    def finished(self, run, record):
        self.recorded.append(run.run_id)


def launched(folder, retried=()):
    launch, heard = executor.Launch("Why?", ABLATION.runs(), folder, save_every_s=1e9, devices=4), Heard()
    absent = executor.missing(ABLATION.runs(), folder, retried)
    old = sharing.retried(folder, absent, retried)
    return [record.cell for record in local.train(launch, absent, FOUND, old, heard)], heard


def test_a_launch_trains_what_no_other_does_and_nothing_is_left_over(tmp_path):
    folder = records.Folder(tmp_path, "made_up")
    with Leases(folder.in_training) as other:
        other.take(IDS[:2])
        assert sharing.elsewhere(folder, ABLATION.runs()).endswith(", 4 are left")
        launched(folder)
        assert set(folder.recorded()) == set(IDS[2:])
    assert sharing.elsewhere(folder, ABLATION.runs()) == ""
    launched(folder)
    assert set(folder.recorded()) == set(IDS)
    assert not folder.in_training.exists()


def test_runs_of_a_launch_that_died_are_trained_by_the_one_that_waits_for_them(tmp_path, monkeypatch):
    """Its process is elsewhere, so that nothing but silence tells."""
    folder = records.Folder(tmp_path, "made_up")
    folder.in_training.mkdir(parents=True)
    (folder.in_training / IDS[0]).write_text(json.dumps(
        {"host": "elsewhere", "pid": 7, "started": 1.0, "namespace": "", "key": "k"}))
    monkeypatch.setattr(local, "Leases", lambda folder: Leases(folder, expires_s=0.3, renewed_s=0.05))
    launched(folder)
    assert set(folder.recorded()) == set(IDS)


class Fake:
    """Turns whose first run another holds at first."""

    def __init__(self):
        self.asked = []

    def take(self, runs):
        self.asked.append(list(runs))
        return runs[1:] if len(self.asked) == 1 else list(runs)

    def again(self, runs, stopped):
        return list(runs)


def test_what_another_gives_up_gets_a_turn_at_the_end():
    runs = ABLATION.runs()
    given = list(turns.in_turn([(runs[:3], "one"), (runs[3:], "two")], Fake()))
    assert given == [(runs[1:3], "one", "two"), (runs[3:], "two", None), (runs[:1], "one", None)]


def test_what_another_launch_has_recorded_meanwhile_is_told_and_not_trained(tmp_path):
    folder = records.Folder(tmp_path, "made_up")
    launched(folder)
    heard = Heard()
    with Leases(folder.in_training) as held:
        shared = sharing.Shared(folder, held, {}, heard)
        assert shared.take(ABLATION.runs()) == []
        assert heard.recorded == IDS
        assert held.others(IDS) == {}


@pytest.fixture
def remembering(monkeypatch):
    """A file system that goes on saying that a record is not there until its folder is opened, as NFS does."""
    opened, exists, scandir = set(), pathlib.Path.exists, os.scandir
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: (
        exists(path) and (path.name != "record.json" or {path.parent, path.parents[1]} <= opened)))
    monkeypatch.setattr(os, "scandir", lambda path: opened.add(pathlib.Path(path)) or scandir(path))
    return opened


def test_what_another_host_has_just_recorded_is_told_and_not_trained_again(tmp_path, request):
    launched(records.Folder(tmp_path, "made_up"))
    opened = request.getfixturevalue("remembering")
    folder, heard = records.Folder(tmp_path, "made_up"), Heard()
    assert folder.record(IDS[0]) is None
    with Leases(folder.in_training) as held:
        shared = sharing.Shared(folder, held, {}, heard)
        assert shared.take(ABLATION.runs()[:3]) == []
        assert shared.again(ABLATION.runs()[3:], bool) == []
    assert heard.recorded == IDS[:3]
    opened.clear()
    heard.tally, heard.file = types.SimpleNamespace(adopt=len), None
    assert len(Followed(folder, ABLATION.runs(), heard).look(IDS)) == len(IDS)
    old = {IDS[0]: folder.record(IDS[0]).finished_at, IDS[1]: "an earlier time"}
    told = Followed(folder, ABLATION.runs(), heard, old).look(IDS)
    assert [run.run_id for run, _ in told] == IDS[1:], "a record that is to be set aside is not what came of the run"


def test_a_retried_record_is_set_aside_once(tmp_path):
    folder = records.Folder(tmp_path, "made_up")
    launched(folder)
    diverged = [run for run in ABLATION.runs() if folder.record(run.run_id).status == "diverged"]
    old = sharing.retried(folder, diverged, ["diverged"])
    assert old == sharing.retried(folder, ABLATION.runs(), ["diverged"])
    assert not sharing.retried(folder, ABLATION.runs(), [])
    with Leases(folder.in_training) as held:
        assert sharing.Shared(folder, held, old, Heard()).take(diverged[:1]) == diverged[:1]
    assert folder.record(diverged[0].run_id) is None
    assert len(list((folder.path / "set_aside").iterdir())) == 1
    launched(folder)
    with Leases(folder.in_training) as held:  # another, which was told to retry what was there before
        later = dict.fromkeys(old, "1999-01-01T00:00:00+00:00")
        assert sharing.Shared(folder, held, later, Heard()).take(diverged) == []


def test_the_layout_that_was_kept_first_counts_for_all_who_train_the_cohort(tmp_path):
    folder = records.Folder(tmp_path, "made_up")
    first, second = ({"layout": {"runs": runs}, "why": "faster"} for runs in (1, 2))
    assert folder.keep_layout("cohort", first) == first
    assert folder.keep_layout("cohort", second) == first
    assert folder.keep_layout("cohort", second, replaces=True) == second


def test_what_another_trains_is_told_once_it_is_recorded(tmp_path):
    """Else the bar of the launch that passed it over would stand still at the end."""
    folder, runs, heard = records.Folder(tmp_path, "made_up"), ABLATION.runs(), Heard()
    with Leases(folder.in_training) as other, Leases(folder.in_training) as own:
        shared = sharing.Shared(folder, own, {}, heard)
        other.take(IDS[:1])
        assert [run.run_id for run in shared.take(runs[:2])] == IDS[1:2]
        assert heard.recorded == []
        executor.execute(executor.Launch("Why?", runs, folder, devices=4), runs[:1], FOUND, Watcher())
        shared.take(runs[2:3])
        assert heard.recorded == IDS[:1]
        shared.take(runs[3:4])
        assert heard.recorded == IDS[:1]
