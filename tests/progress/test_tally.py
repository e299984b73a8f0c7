import types

import numpy as np
import pytest
from sweeps import BASE

from ablations.spec import Ablation, Factor
from harness.progress import tally
from harness.records import RunProgress
from harness.training.layout import Layout
from harness.training.watcher import Compiled, Epoch, Started

RUNS = Ablation("Why?", BASE, {"width": Factor("model.hidden", {"8": (8,), "4": (4,)})}, seeds=(0, 1)).runs()
WIDE = [run for run in RUNS if run.labels["width"] == "8"]


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(tally, "time", types.SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0]))
    return now


def test_a_launch_is_counted_by_what_its_watcher_is_told(clock):
    """Two runs of two epochs side by side after 3 s of compiling; another two with half the work an epoch wait."""
    count = tally.Tally(RUNS, {run.run_id: 2.0 if run in WIDE else 1.0 for run in RUNS},
                        dict.fromkeys((run.run_id for run in RUNS), 2))
    assert count.progress.left_s is None
    for run in WIDE:
        count.starting(Started(run, 0, np.zeros((0, 5)), ()))
    count.compiling(WIDE)
    assert count.progress.compiling_since == 100.0
    clock[0] += 3
    count.compiled(Compiled(Layout(1, 1, 1), 3.0, is_new=True))
    assert count.progress.compiling_since is None
    clock[0] += 10  # for an epoch of both: 5 s for one, 2.5 s for a unit of work
    count.epochs([Epoch(run, 1, {"train_loss": 0.5, "validation_loss": float("inf")}, 10.0, 100) for run in WIDE])
    assert [count.progress.runs[run.run_id].state for run in RUNS] == ["training"] * 2 + ["waiting"] * 2
    told = count.progress.runs[WIDE[0].run_id]
    assert (told.epoch, told.epoch_s, told.examples_per_s, told.train_loss, told.validation_loss) == (
        1, 10.0, 10.0, 0.5, None)
    # Two epochs at 5 s; four of half the work at 2.5 s, and as long to compile.
    assert count.progress.left_s == pytest.approx(2 * 5 + 4 * 2.5 + 3)


def test_what_workers_elsewhere_do_is_adopted_and_what_is_left_follows_from_the_time_since_the_start(clock):
    count = tally.Tally(RUNS, {run.run_id: 2.0 if run in WIDE else 1.0 for run in RUNS},
                        dict.fromkeys((run.run_id for run in RUNS), 2))
    first, second = (run.run_id for run in WIDE)
    count.adopt({first: RunProgress("starting", 0, 2)})
    clock[0] += 12
    count.adopt({first: RunProgress("training", 1, 2), second: RunProgress("compiling", 0, 2)})
    assert count.progress.runs[first].state == "training"
    assert count.progress.left_s == pytest.approx(12 / 2 * 10), "2 of 12 are done"
    count.adopt({second: RunProgress("training", 1, 2)})  # the first one's worker has died
    assert count.progress.runs[first].state == "waiting"


def test_what_is_left_follows_from_what_was_done_since_a_worker_first_trained(clock):
    """The workers wait an hour for their nodes, and one goes on from a checkpoint."""
    count = tally.Tally(RUNS, dict.fromkeys((run.run_id for run in RUNS), 1.0),
                        dict.fromkeys((run.run_id for run in RUNS), 10))
    first, second = (run.run_id for run in WIDE)
    count.adopt({})
    clock[0] += 3600
    count.adopt({first: RunProgress("starting", 8, 10), second: RunProgress("starting", 0, 10)})
    assert count.progress.left_s is None
    clock[0] += 10
    count.adopt({first: RunProgress("training", 9, 10), second: RunProgress("training", 1, 10)})
    assert count.progress.left_s == pytest.approx((1 + 9 + 20) * 10 / 2)
