import dataclasses
import time

import pytest
import synthetic
from watched import IDS, LEVELS, NOW, RUNS, progress

from harness.progress.status import STALE_S, Reader, latest
from harness.records import Folder, RunProgress


@pytest.fixture
def folder(tmp_path):
    return synthetic.write(tmp_path, synthetic.plan({"regularizer": LEVELS}, RUNS), RUNS[0])


def states(folder, now=NOW):
    return {run.run_id: run.state for run in Reader(folder).read(now).runs}


def test_every_planned_run_has_its_state(folder):
    folder.keep_progress(progress())
    assert states(folder) == dict(zip(IDS, ["done", "training", "waiting", "missing"], strict=True))
    sweep = Reader(folder).read(NOW)
    assert (sweep.recorded, sweep.news, sweep.examples_per_s) == (1, "", 500.0)


def test_of_a_budget_in_steps_no_number_of_epochs_is_stated(tmp_path):
    of_steps = dataclasses.replace(RUNS[0], config=RUNS[0].config | {"epochs": 20, "steps": 7})
    folder = synthetic.write(tmp_path, synthetic.plan({"regularizer": LEVELS}, RUNS), synthetic.record(
        of_steps.labels, of_steps.seed, 0.9, config=of_steps.config))
    assert Reader(folder).read(NOW).runs[0].epochs is None


def test_time_left_goes_on_to_run_out_after_it_was_written(folder):
    """One run has 5 epochs of 10 s left, the launch says 130 s; 2 s have passed since."""
    folder.keep_progress(progress())
    sweep = Reader(folder).read(NOW)
    assert sweep.runs[1].left_s == pytest.approx(48)
    assert sweep.left_s == pytest.approx(128)


def test_what_a_launch_does_not_estimate_nobody_does(folder):
    folder.keep_progress(progress(left_s=None, runs={}))
    assert Reader(folder).read(NOW).left_s is None


@pytest.mark.parametrize(("written", "news"), [(NOW - 299, ""), (NOW - 3661, "no news for 1:01:01 from process")])
def test_long_silence_is_news(folder, written, news):
    folder.keep_progress(progress(written))
    assert Reader(folder).read(NOW).news.startswith(news)
    assert bool(Reader(folder).read(NOW).news) == bool(news)
    assert states(folder)[IDS[1]] == "training"


@pytest.mark.parametrize("change", [{"ended": True}, {"pid": 2**30}, {"process_started": 1.0}],
                         ids=["said so", "no such process", "another process has its number"])
def test_a_process_that_has_ended_leaves_its_runs_broken_off(folder, change):
    folder.keep_progress(progress(**change))
    assert states(folder) == dict(zip(IDS, ["done", "broken off", "missing", "missing"], strict=True))
    sweep = Reader(folder).read(NOW)
    assert "ended 0:00:02 ago" in sweep.news
    assert (sweep.left_s, sweep.examples_per_s) == (None, 0)
    assert sweep.runs[1].epoch == 3


@pytest.mark.parametrize("change", [{}, {"ended": True}, {"host": "elsewhere"}], ids=["alive", "ended", "elsewhere"])
def test_a_clock_that_is_ahead_takes_no_time_back(folder, change):
    folder.keep_progress(progress(NOW + 5000, compiling_since=NOW + 5000, **change))
    sweep = Reader(folder).read(NOW)
    assert "-" not in sweep.news
    assert sweep.news in ("", "the process that trained here ended 0:00:00 ago; its command goes on from there")
    if "ended" not in change:
        assert (sweep.left_s, sweep.compiling_s, sweep.runs[1].left_s) == (130, 0, 50)


def test_of_a_process_on_another_machine_only_silence_tells(folder):
    folder.keep_progress(progress(host="elsewhere", pid=2**30))
    assert states(folder)[IDS[1]] == "training"
    assert Reader(folder).read(NOW).news == ""


def test_failures_have_their_own_state_and_a_done_run_its_scores(tmp_path):
    runs = [RUNS[0], *(synthetic.record({"regularizer": level}, 0, None, status=status)
                       for level, status in zip(LEVELS[1:], ["diverged", "oom", "error"], strict=True))]
    folder = synthetic.write(tmp_path, synthetic.plan({"regularizer": LEVELS}, runs), *runs)
    sweep = Reader(folder).read(NOW)
    assert [run.state for run in sweep.runs] == ["done", "diverged", "oom", "error"]
    assert sweep.runs[0].test_accuracy == 0.9
    assert sweep.recorded == 4


def test_a_reader_sees_what_is_recorded_later_and_reads_no_record_twice(folder, monkeypatch):
    reader = Reader(folder)
    reader.read(NOW)
    read = []
    whole = Folder.record
    monkeypatch.setattr(Folder, "record", lambda folder, run_id: read.append(run_id) or whole(folder, run_id))
    synthetic.write(folder.path.parent, None, RUNS[1])
    assert [run.state for run in reader.read(NOW).runs] == ["done", "done", "missing", "missing"]
    assert IDS[0] not in read


def test_a_record_that_was_moved_away_is_missing_again(folder):
    folder.keep_progress(progress())
    (folder.run(IDS[0]) / "record.json").unlink()
    assert states(folder)[IDS[0]] == "missing"


def test_the_latest_sweep_is_the_one_with_the_latest_news(tmp_path):
    folders = [Folder(tmp_path, name) for name in ("a", "b", "c")]
    folders[0].keep_progress(progress(NOW))
    folders[1].keep_progress(progress(NOW - 9))
    assert latest(folders) == folders[0]


def beside(name, run, **changes):
    return progress(NOW - 1, runs={IDS[2]: RunProgress(run, 2, 8, 10.0, 250.0)}, left_s=60.0, **changes), name


def test_workers_beside_a_launch_are_shown_as_one_sweep(folder):
    folder.keep_progress(progress())
    folder.keep_progress(*beside("node.7", "training", host="elsewhere"))
    folder.keep_progress(*beside("node.8", "compiling", ended=True))
    assert states(folder) == dict(zip(IDS, ["done", "training", "training", "missing"], strict=True))
    sweep = Reader(folder).read(NOW)
    assert (sweep.examples_per_s, sweep.left_s) == (750.0, 129.0)


def test_silence_hides_no_worker_that_is_seen_to_live_and_every_process_elsewhere(folder):
    """The launch's process was on a node that is gone, one worker is here, one where nothing is seen of it."""
    silent = time.time() - STALE_S - 1
    folder.keep_progress(progress(silent, host="elsewhere"))
    folder.keep_progress(progress(silent, runs={IDS[2]: RunProgress("training", 2, 8, 10.0, 250.0)}), "here.7")
    folder.keep_progress(progress(silent, host="elsewhere", runs={IDS[3]: RunProgress("training", 2, 8)}), "node.8")
    assert states(folder) == dict(zip(IDS, ["done", "waiting", "training", "missing"], strict=True))
    assert Reader(folder).read(NOW).examples_per_s == 250.0


def test_a_run_that_is_retried_is_shown_as_it_is_now(folder):
    reader = Reader(folder)
    assert reader.read(NOW).runs[0].state == "done"
    folder.keep_progress(progress(runs={IDS[0]: RunProgress("waiting", 0, 8)}))
    assert reader.read(NOW).runs[0].state == "done", "not set aside yet"
    folder.set_aside(IDS[0])
    folder.keep_progress(progress(runs={IDS[0]: RunProgress("training", 3, 8)}))
    assert reader.read(NOW).runs[0].state == "training"
    folder.keep_progress(progress(runs={IDS[0]: RunProgress("diverged", 5, 8)}))
    synthetic.write(folder.path.parent, None, dataclasses.replace(RUNS[0], status="diverged"))
    assert reader.read(NOW).runs[0].state == "diverged"


def test_workers_of_a_launch_that_has_ended_still_train(folder):
    folder.keep_progress(progress(ended=True))
    folder.keep_progress(*beside("node.7", "training", host="elsewhere"))
    assert states(folder) == dict(zip(IDS, ["done", "waiting", "training", "missing"], strict=True))
    assert Reader(folder).read(NOW).news == ""
