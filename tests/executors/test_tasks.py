"""What the driver makes of its tasks and of their records, without Ray."""

import contextlib
import types

import pytest
import synthetic
import watched

from ablations.spec import Run, RunConfig
from harness.executors import on_ray, worker
from harness.executors.following import Followed as Following
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

    def __init__(self, batches, begun=()):
        self._batches, self.begun = batches, begun

    def look(self, ended):
        return self._batches.pop(0)


class Remote:
    def remote(self, job):
        return job


class RayTaskError(Exception):
    pass


class WorkerCrashedError(Exception):
    pass


class OutOfMemoryError(Exception):
    pass


class Ray:
    exceptions = types.SimpleNamespace(RayError=Exception, TaskCancelledError=KeyError, RayTaskError=RayTaskError,
                                       WorkerCrashedError=WorkerCrashedError, OutOfMemoryError=OutOfMemoryError)

    def wait(self, references, **how):
        return [], references

    def get(self, reference):
        raise reference


def ended(run, status="error", message="cannot be lowered", epochs=0):
    return run, synthetic.record(run.labels, run.seed, 0.9 if status == "done" else None, status=status,
                                 epochs=epochs or 8, message=message, epochs_trained=epochs)


def looked(*batches, begun=()):
    """Has records come in, look by look; one job a cohort of two seeds."""
    turned = Turned()
    tasks = on_ray._Tasks(Ray(), Remote(), Followed(list(batches), begun), turned, print)
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


@pytest.mark.parametrize("sound", [ended(RUNS[0], "done", "", 8), ended(RUNS[0], message="another")],
                         ids=["done", "otherwise"])
def test_where_something_is_sound_or_fails_otherwise_the_launch_goes_on(sound):
    tasks, _ = looked([sound], [ended(run) for run in RUNS[1:]])
    assert tasks.error is None


def test_a_run_that_fails_after_some_epochs_is_no_sign_that_nothing_trains():
    """Its record says that none were trained, as that of each error does."""
    tasks, _ = looked([ended(run) for run in RUNS], begun={RUNS[0].run_id})
    assert tasks.error is None


def test_a_run_that_was_seen_to_train_has_begun_whatever_becomes_of_it(tmp_path):
    folder = synthetic.write(tmp_path, None)
    listeners = types.SimpleNamespace(tally=types.SimpleNamespace(adopt=lambda runs: None), file=None)
    following = Following(folder, RUNS, listeners)
    first, second = (run.run_id for run in RUNS[:2])
    for state, epoch in (("training", 3), ("error", 0)):
        runs = {first: watched.RunProgress(state, epoch, 8), second: watched.RunProgress("compiling", 0, 8)}
        folder.keep_progress(watched.progress(runs=runs), "node.7")
        following.look()
    assert following.begun == {first}


@pytest.mark.parametrize(("error", "why"), [
    (RayTaskError("\x1b[36mray::work()\x1b[39m (pid=7)\n  File worker.py\nKeyError: 'tokens'\n"), "KeyError: 'tokens'"),
    (WorkerCrashedError("The worker died unexpectedly."), "The worker died unexpectedly; its memory may not suffice"),
    (OutOfMemoryError("Task was killed."), "Task was killed; its memory may not suffice"),
    (RuntimeError("Failed to set up.\nNo space left."), "Failed to set up")],
    ids=["raised", "died", "too large", "otherwise"])
def test_what_has_become_of_a_task_is_told_by_its_cause(error, why):
    told = []
    tasks = on_ray._Tasks(Ray(), Remote(), Followed([]), Turned(), told.append)
    tasks._take(error, ("a", "b"))
    assert told == [f"warning: a, b: {why}"]
    assert tasks.lost == [(("a", "b"), why)]


NODES = [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}]


@pytest.mark.parametrize(("asked", "is_there"), [((8, 0), True), ((2, 0.5), True), ((4, 1), False), ((1, 2), False)])
def test_what_no_node_has_is_told(asked, is_there):
    told = on_ray._lacking(NODES, on_ray.Cluster("auto", *asked))
    assert (told == "") == is_there
    assert is_there or told == (f"no node has both the {asked[0]} CPUs of --cpus_per_cohort and the {asked[1]} GPUs of "
                                "--gpus_per_cohort")


def train(monkeypatch, tell, address):
    """Trains nothing in a cluster of such nodes, of which one that has died had what is asked for."""
    nodes = [{"Alive": node in NODES, "Resources": node} for node in (*NODES, {"CPU": 8.0, "GPU": 8.0})]
    ray = types.SimpleNamespace(nodes=lambda: nodes, cluster_resources=lambda: {"CPU": 10.0, "GPU": 1.0},
                                remote=lambda **asked: lambda function: function)
    monkeypatch.setattr(on_ray, "_connected", lambda address: contextlib.nullcontext(ray))
    on_ray.train(on_ray.Cluster(address, 1, 8), [], {}, None, Turned(), Followed([]), tell)


def test_a_launch_that_can_never_train_here_ends_and_one_of_a_cluster_says_what_it_waits_for(monkeypatch):
    told = []
    train(monkeypatch, told.append, "auto")
    assert told[0].startswith("Ray: 2 nodes")
    assert told[1].startswith("warning: no node has both the 1 CPUs")
    assert told[1].endswith("; nothing trains until one that has them joins")
    with pytest.raises(on_ray.ClusterError, match=r"^no node has both the 1 CPUs"):
        train(monkeypatch, told.append, "local")


class Elsewhere:
    """A cluster whose tasks end well, and a folder in which their records are not seen; counts the tasks."""

    exceptions = Ray.exceptions
    started = 0
    waiting = RUNS[:2]
    begun = ()

    def cluster_resources(self):
        return {"CPU": 2.0}

    def nodes(self):
        return []

    def remote(self, *asked, **how):
        self.started += not how
        return self if not how else lambda function: self

    def wait(self, references, **how):
        return references, []

    def get(self, reference):
        return worker.Outcome()

    def look(self, ended=()):
        return []

    def take(self, runs):
        return runs

    def again(self, runs, stopped):
        return runs


def test_nodes_that_write_where_it_is_not_seen_end_the_launch(monkeypatch):
    cluster = Elsewhere()
    monkeypatch.setattr(on_ray, "_connected", lambda address: contextlib.nullcontext(cluster))

    def make(runs):
        names = tuple(run.run_id for run in runs)
        return worker.Job(None, None, names, (0, 1), names, ())

    work = {run.run_id: 1.0 for run in RUNS}
    with pytest.raises(on_ray.LostError, match="do all nodes see the results folder at the same place"):
        on_ray.train(on_ray.Cluster("auto"), RUNS[:2], work, make, cluster, cluster, print)
    assert cluster.started <= 4
