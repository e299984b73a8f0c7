"""Trains the cohorts of a launch as tasks of a Ray cluster, which decides where and starts what died again."""

import collections
import contextlib
import dataclasses
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ablations.spec import Run
from harness import records
from harness.executors import extras, shard, worker
from harness.executors.following import Followed
from harness.executors.sharing import Shared
from harness.training import stopping
from harness.training.executor import BROKEN, BrokenError
from harness.training.watcher import Watcher

# How often a task is started again whose node or process has died. A run's own failure is a record, and no such death.
RETRIES = 3
# So many rounds in which all tasks end well and no record of theirs is seen show that the nodes write elsewhere.
_UNSEEN_ROUNDS = 2
# Tasks handed to Ray for each that can run: enough to keep every node busy and to tell an autoscaler of demand.
AHEAD = 4
_LOOK_S = 1.0


class ClusterError(Exception):
    """A cluster that is not there; the message is one line."""


class LostError(Exception):
    """Tasks whose process died again and again, or that failed outside of any run; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Which cluster, and what each cohort gets of it.

    Attributes:
      address: "local" starts Ray on this machine, "auto" is the cluster that this machine is in; else HOST:PORT.
      cpus, gpus: of each task; fractions share a device.
    """

    address: str = "auto"
    cpus: float = 1.0
    gpus: float = 0.0


def train(cluster: Cluster, absent: Sequence[Run], work: Mapping[str, float],
          make: Callable[[Sequence[Run]], worker.Job], turns: Shared, followed: Followed, tell: Callable[[str], None]
          ) -> None:
    """Trains runs in a cluster, until all are recorded that no other launch trains.

    Args:
      work: run_id -> what it costs, in any unit.
      make: makes a job of a part of a cohort.
      turns: which runs are this launch's.
      followed: reads how far the workers are.
      tell: is given lines for the user.

    Raises:
      stopping.StoppedError: if the user asked to stop; what was in training is saved.
      BrokenError: if it looks as if nothing will train.
      LostError: if tasks died as often as they may.
      Exception: what ended a job before its time.
    """
    with _connected(cluster.address) as ray, stopping.on_signal(tell) as stop:
        slots = _slots(ray.cluster_resources(), cluster)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        tell(f"Ray: {len(nodes)} nodes, {slots} cohorts at once")
        if lacking := _lacking(nodes, cluster):
            if cluster.address == "local":
                raise ClusterError(lacking)
            tell(f"warning: {lacking}; nothing trains until one that has them joins")
        tasks = _Tasks(ray, ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES)(worker.work),
                       followed, turns, tell)
        waiting, unseen = list(absent), 0
        while waiting:
            before, began = len(followed.waiting), False
            queue = collections.deque(shard.pieces(waiting, work, slots))
            while queue or tasks.pending:
                if (stop or tasks.error) and (queue or not tasks.cancelled):
                    queue.clear()
                    tasks.cancel()
                while queue and len(tasks.pending) < AHEAD * slots:
                    if mine := turns.take(queue.popleft()):
                        began = True
                        tasks.start(make(mine))
                tasks.wait()
            if tasks.error:
                raise tasks.error
            if stop:
                raise stopping.StoppedError
            unseen = unseen + 1 if began and not tasks.lost and len(followed.waiting) == before else 0
            if unseen >= _UNSEEN_ROUNDS:
                raise LostError("all tasks ended well and left no record that is seen here: do all nodes see the "
                                f"results folder at the same place? One that is missing is "
                                f"{followed.waiting[0].run_id}")
            lost = {run_id for ids, _ in tasks.lost for run_id in ids}
            waiting = turns.again([run for run in followed.waiting if run.run_id not in lost], lambda: bool(stop))
        if tasks.lost:
            (first, *_), why = tasks.lost[0]
            raise LostError(f"{len(tasks.lost)} tasks were lost, the first with {first}: {why}; what they had saved "
                            "stays")


class _Tasks:
    """The tasks that Ray has.

    Attributes:
      pending: reference -> run_ids.
      lost: the run_ids of each task that died as often as it may, or failed outside of any run, and why.
      error: what ended a job before its time.
      cancelled: whether those pending were told to stop.
    """

    def __init__(self, ray: Any, remote: Any, followed: Followed, turns: Watcher, tell: Callable[[str], None]):
        self._ray, self._remote, self._followed, self._turns, self._tell = ray, remote, followed, turns, tell
        self._looked = 0.0
        self._cohorts: dict[str, str] = {}
        self._broken: tuple[str, set[str]] | None = ("", set())
        self.pending: dict[Any, tuple[str, ...]] = {}
        self.lost: list[tuple[tuple[str, ...], str]] = []
        self.error: Exception | None = None
        self.cancelled = False

    def start(self, job: worker.Job) -> None:
        """Hands a job to Ray."""
        self.pending[self._remote.remote(job)] = job.run_ids
        self._cohorts |= dict.fromkeys(job.run_ids, job.planned[0])

    def cancel(self) -> None:
        """Has those that train save what they have, and the others not begin."""
        self.cancelled = True
        for reference in self.pending:
            self._ray.cancel(reference)

    def wait(self) -> None:
        """Waits for a task to end, a second at most, and tells what came of it."""
        ended: list[str] = []
        if self.pending:
            ready, _ = self._ray.wait(list(self.pending), timeout=_LOOK_S)
            if ready:  # all that are
                ready, _ = self._ray.wait(list(self.pending), num_returns=len(self.pending), timeout=0)
            for reference in ready:
                run_ids = self.pending.pop(reference)
                self._take(reference, run_ids)
                ended += run_ids
        if ended or time.monotonic() - self._looked > _LOOK_S:
            for run, record in self._followed.look(ended):
                self._turns.finished(run, record)
                self._look_for_broken(record)
            self._looked = time.monotonic()

    def _take(self, reference: Any, run_ids: tuple[str, ...]) -> None:
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return
        except self._ray.exceptions.RayError as error:
            if not self.cancelled:
                self.lost.append((run_ids, self._why(error)))
                self._tell(f"warning: {', '.join(run_ids)}: {self.lost[-1][1]}")
            return
        for line in outcome.told:
            self._tell(line)
        self.error = self.error or outcome.error

    def _why(self, error: Exception) -> str:
        """Says in one line what has become of a task: of what it raised, the end of the traceback."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return lines[-1]
        died = isinstance(error, (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.OutOfMemoryError))
        return lines[0].rstrip(".") + ("; its memory may not suffice" if died else "")

    def _look_for_broken(self, record: records.RunRecord) -> None:
        """Ends the launch if nothing has trained yet and cohort after cohort fails alike before its first step."""
        message = record.message.partition(" (not tried")[0]
        known, cohorts = self._broken or ("", set[str]())
        begun = record.run_id in self._followed.begun  # which the record of an error does not tell
        if self._broken is None or record.status != "error" or begun or known not in ("", message):
            self._broken = None  # something is sound, or it fails in many ways
            return
        self._broken = message, {*cohorts, self._cohorts.get(record.run_id, "")}
        if len(self._broken[1]) >= BROKEN:
            self.error = self.error or BrokenError(
                f"the first {BROKEN} cohorts failed alike before their first step, the last with: {message}; mend "
                "that, and train them again with --retry=error")


def _slots(resources: Mapping[str, float], cluster: Cluster) -> int:
    """Counts the tasks that the cluster can run at once."""
    asked = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    found = [resources.get(name, 0.0) / number for name, number in asked.items() if number]
    return max(1, int(min(found, default=1.0)))


def _lacking(nodes: Sequence[Mapping[str, float]], cluster: Cluster) -> str:
    """Says that no node has what a cohort is to get; empty if one has.

    Args:
      nodes: the resources of each.
    """
    asked = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    if any(all(node.get(name, 0.0) >= number for name, number in asked.items()) for node in nodes):
        return ""
    return (f"no node has both the {cluster.cpus:g} CPUs of --cpus_per_cohort and the {cluster.gpus:g} GPUs of "
            "--gpus_per_cohort")


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here speaks to anybody outside
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # of a local cluster on a busy machine
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # Ray counts these apart, and by default has no end
    ray = extras.needed("ray", "ray", "--executor=ray")
    try:
        with warnings.catch_warnings():
            # A local cluster's processes are forked from this one, to be other programs at once.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **(
                {"include_dashboard": False} if address == "local" else {}))
    except Exception as error:  # of many kinds, Exception itself among them
        raise ClusterError(f"--ray_address={address}: {str(error).strip().splitlines()[0]}; start a cluster with "
                              "`ray start --head` and on each other node `ray start --address=HOST:PORT`, or give "
                              "--ray_address=local") from None
    try:
        yield ray
    finally:
        ray.shutdown()
