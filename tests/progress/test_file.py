import json
import os
import time

import numpy as np
import pytest
from sweeps import ABLATION, execute
from watched import progress as watched_progress

from harness import records
from harness.progress import file
from harness.progress.tally import Tally
from harness.records.files import started
from harness.training import executor
from harness.training.layout import Layout
from harness.training.watcher import Audience, Compiled, Epoch, Started, Watcher


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "made_up")


class Spy(Watcher):
    """Reads the progress file whenever something happens."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def look(self, *told):
        self.seen.append(self.folder.progress())

    starting = compiling = compiled = epochs = ended = finished = close = look


def watched(folder, **changes):
    spy = Spy(folder)
    execute(folder, watchers=[spy], **changes)
    return spy.seen


def test_it_follows_every_run_from_waiting_to_its_record(folder, monkeypatch):
    monkeypatch.setattr(file, "_LEAST_S", 0.0)
    seen = watched(folder, devices=2)
    states = [progress.runs["rate=sound,seed=2"].state for progress in seen]
    assert [state for state, before in zip(states, [None, *states], strict=False) if state != before] == [
        "waiting", "starting", "compiling", "training", "done"]
    assert seen[-1].ended
    assert not seen[-2].ended
    assert {run: progress.state for run, progress in seen[-1].runs.items()} == {
        run: record.status for run, record in folder.records().items()}
    assert [progress.left_s for progress in seen][-1] == 0
    curve = folder.curve("rate=sound,seed=0").iloc[-1]
    for column in records.CURVE_COLUMNS[1:]:
        assert getattr(seen[-1].runs["rate=sound,seed=0"], column) == pytest.approx(curve[column], abs=1e-4)


def test_it_is_written_at_most_once_a_second_between_starts_and_ends(folder, monkeypatch):
    assert file._LEAST_S == 1.0
    monkeypatch.setattr(file, "_LEAST_S", 1e9)
    written = []
    whole = records.Folder.keep_progress
    monkeypatch.setattr(records.Folder, "keep_progress",
                        lambda folder, progress, of="": written.append(1) or whole(folder, progress, of))
    execute(folder)
    # Once at the beginning, as the layout is chosen, as each of six runs starts and is recorded, before and after each
    # of three times that programs are made ready, and at the end.
    assert len(written) == 1 + 1 + 12 + 6 + 1


def test_a_full_disk_is_told_once_and_training_goes_on(folder, monkeypatch):
    def fail(folder, progress, of=""):
        raise OSError("no space left")

    monkeypatch.setattr(records.Folder, "keep_progress", fail)
    told = execute(folder)
    assert told.count("no space left") == 1
    assert len(folder.records()) == 6


def test_after_a_full_disk_it_is_written_again(folder, monkeypatch):
    whole, told = records.Folder.keep_progress, []
    monkeypatch.setattr(file, "_LEAST_S", 1e9)
    kept = file.ProgressFile(folder, Tally([], {}, {}), told.append)

    def fail(folder, progress, of=""):
        raise OSError("no space left")

    monkeypatch.setattr(records.Folder, "keep_progress", fail)
    kept.close()
    kept.close()
    assert len(told) == 1
    (folder.path / "progress.json").unlink()
    monkeypatch.setattr(records.Folder, "keep_progress", whole)
    kept.close()
    assert folder.progress() is not None


def test_a_sweep_that_is_broken_off_says_so(folder, monkeypatch):
    monkeypatch.setattr(executor._Cohort, "train", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execute(folder)
    assert folder.progress().ended


def test_it_is_strict_json_whatever_a_run_computes(folder):
    """The wild runs diverge: their losses are not finite, and JSON has no word for that."""
    execute(folder)
    json.loads((folder.path / "progress.json").read_text(), parse_constant=lambda text: pytest.fail(text))


def test_a_launch_beside_one_that_lives_and_has_been_silent_states_its_own_progress(folder, monkeypatch):
    tally = Tally([], {}, {})
    silent = watched_progress(time.time() - 3600, pid=os.getppid(), process_started=started(os.getppid()))
    folder.keep_progress(silent)
    file.ProgressFile(folder, tally, print)
    assert folder.progress() == silent
    assert folder.beside() == [f"{tally.progress.host}.{os.getpid()}"]


def test_a_run_that_ran_out_of_memory_starts_again(folder):
    """Told twice that a run starts, the file says where it is now."""
    runs = ABLATION.runs()
    tally = Tally(runs, {run.run_id: 1.0 for run in runs}, {run.run_id: run.config.epochs for run in runs})
    kept = Audience([tally, file.ProgressFile(folder, tally, print)])
    [run, *_] = runs
    started = Started(run, 0, np.zeros((0, 4)), ())
    kept.starting(started)
    kept.compiled(Compiled(Layout(1), 1.0, is_new=True))
    kept.epochs([Epoch(run, 1, dict.fromkeys(records.CURVE_COLUMNS[1:], 0.5), 1.0, 150)])
    kept.starting(started)
    progress = folder.progress().runs[run.run_id]
    assert (progress.state, progress.epoch) == ("starting", 0)
