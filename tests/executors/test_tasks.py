"""What the driver makes of its tasks' records, without Ray."""

import pytest
import synthetic

from ablations.spec import Run, RunConfig
from harness.executors import on_ray, worker
from harness.training.executor import BrokenError
from harness.training.watcher import Watcher

RUNS = [Run({"a": level}, seed, RunConfig(dataset="digits")) for level in "wxyz" for seed in range(2)]


class Turned(Watcher):
    def __init__(self):
        self.finished_ids = []

    def finished(self, run, record):
        self.finished_ids.append(run.run_id)


class Followed:
    """Gives one batch of records at each look."""

    def __init__(self, batches):
        self._batches = batches

    def look(self, ended):
        return self._batches.pop(0)


class Remote:
    def remote(self, job):
        return job


class Ray:
    def wait(self, references, **how):
        return [], references


def ended(run, status="error", message="cannot be lowered", epochs=0):
    return run, synthetic.record(run.labels, run.seed, 0.9 if status == "done" else None, status=status,
                                 epochs=epochs or 8, message=message, epochs_trained=epochs)


def looked(*batches):
    """Has records come in, look by look; one job a cohort of two seeds."""
    turned = Turned()
    tasks = on_ray._Tasks(Ray(), Remote(), Followed(list(batches)), turned, print)
    for runs in zip(RUNS[::2], RUNS[1::2], strict=True):
        names = tuple(run.run_id for run in runs)
        tasks.start(worker.Job(None, None, names, (0, 1), names, ()))
    for _ in batches:
        tasks._looked = 0.0
        tasks.wait()
    return tasks, turned


def test_cohorts_that_fail_alike_at_first_end_the_launch_and_runs_of_one_do_not():
    few, turned = looked([ended(run) for run in RUNS[:4]], [ended(RUNS[3])])
    assert few.error is None, "two cohorts, however many runs"
    assert turned.finished_ids == [run.run_id for run in RUNS[:4]] + [RUNS[3].run_id]
    many, _ = looked([ended(run) for run in RUNS[:3]], [ended(RUNS[4], message="cannot be lowered (not tried: x)")])
    assert isinstance(many.error, BrokenError)
    assert "the first 3 cohorts failed alike" in str(many.error)


@pytest.mark.parametrize("sound", [ended(RUNS[0], "done", "", 8), ended(RUNS[0], epochs=2),
                                   ended(RUNS[0], message="another")], ids=["done", "after some epochs", "otherwise"])
def test_where_something_is_sound_or_fails_otherwise_the_launch_goes_on(sound):
    tasks, _ = looked([sound], [ended(run) for run in RUNS[1:]])
    assert tasks.error is None
