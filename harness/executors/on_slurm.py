"""Trains the cohorts of a launch in the tasks of a Slurm job array, which submitit submits and requeues."""

import dataclasses
import math
import pathlib
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablations.spec import Run
from harness import records
from harness.executors import extras, shard, worker
from harness.executors.following import Followed
from harness.training import cohort, stopping

# Slurm's own limit on the size of an array, where nobody has raised it.
MOST_TASKS = 1000
# Workers that few cohorts are cut up for: each piece loads the data and compiles anew.
AT_LEAST = 4
# How often a task may come to the end of its time and go on.
TIMEOUTS = 50
_LOOK_S = 2.0
# How long after its task's end a result may take to be seen.
_GRACE_S = 15.0


class SlurmError(Exception):
    """A job that could not be submitted, or tasks that failed; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """What is asked of Slurm.

    Attributes:
      time: of each task, as sbatch has it: minutes, HH:MM:SS or D-HH:MM:SS.
      set: further options of sbatch.
      cpus, gpus: of each task.
      cluster: "slurm"; "local" has submitit run the tasks as processes of this machine.
    """

    partition: str | None = None
    time: str = "01:00:00"
    set: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cpus: float = 1.0
    gpus: float = 0.0
    cluster: str = "slurm"


class Task:
    """Trains jobs one after another; after preemption or a timeout, those that are left.

    Slurm's signal comes while a job trains: what it last saved is where its next process goes on.
    """

    def __call__(self, jobs: Sequence[worker.Job]) -> list[worker.Outcome]:
        # Slurm's first word of a preemption. What submitit does at its own signal requeues the task; ending would not.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        number = _submitit().JobEnvironment._usr_sig()
        if callable(requeue := signal.getsignal(number)):
            signal.signal(number, _ending(requeue))
        outcomes = []
        for job in jobs:
            outcomes.append(worker.work(job))
            if outcomes[-1].stopped:
                break
        return outcomes

    def checkpoint(self, jobs: Sequence[worker.Job]) -> Any:
        """Is submitit's hook: says what the requeued task is to do. Jobs whose runs are recorded take no time."""
        return _submitit().helpers.DelayedSubmission(self, jobs)


def _ending(requeue: Callable[..., Any]) -> Callable[..., None]:
    """Has a task end that cannot be requeued: in training, an error would be taken for the run's own and recorded."""
    def requeued(number: int, frame: object) -> None:
        try:
            requeue(number, frame)
        except Exception as error:
            raise SystemExit(f"this task is not requeued ({error}): give the command again to have its runs go on"
                             ) from error
    return requeued


def _submitit() -> Any:
    return extras.needed("submitit", "slurm", "--executor=slurm")


def train(batch: Batch, folder: records.Folder, absent: Sequence[Run], work: Mapping[str, float],
          make: Callable[[Sequence[Run]], worker.Job], followed: Followed, tell: Callable[[str], None]) -> None:
    """Submits one array job and follows it to its end. Stopped meanwhile, it leaves the job to Slurm.

    Args:
      work: run_id -> what it costs, in any unit.
      make: makes a job of a part of a cohort.
      followed: reads how far the tasks are.
      tell: is given lines for the user.

    Raises:
      stopping.StoppedError: if the user asked to stop.
      SlurmError: if tasks failed, or Slurm is not there.
      Exception: what ended a job before its time.
    """
    if not absent:  # another launch has recorded the last of them
        return
    tasks = [[make(piece) for piece in pieces] for pieces in _in_tasks(absent, work)]
    submitit = _submitit()
    try:
        executor = submitit.AutoExecutor(folder.path / "slurm", cluster=batch.cluster, slurm_max_num_timeout=TIMEOUTS)
        executor.update_parameters(**_parameters(batch, folder.ablation, submitit))
        submitted = executor.map_array(Task(), tasks)
    except (RuntimeError, NameError, TypeError, ValueError, FileNotFoundError) as error:
        raise SlurmError(f"--executor=slurm: {str(error).strip().splitlines()[0]}") from None
    tell(f"Slurm: {len(tasks)} tasks as job {submitted[0].job_id.partition('_')[0]}, their logs in {executor.folder}; "
         "they go on if this command is stopped, and harness.report --watch shows them")
    outcomes, failed = _followed(submitted, tasks, followed, tell)
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    if failed:
        job, why = failed[0]
        raise SlurmError(f"{len(failed)} of {len(tasks)} tasks failed, the first with: {why}; its log is "
                         f"{job.paths.stderr}")


def _followed(submitted: Sequence[Any], tasks: Sequence[Sequence[worker.Job]], followed: Followed,
              tell: Callable[[str], None]) -> tuple[list[worker.Outcome], list[tuple[Any, str]]]:
    """Waits for all tasks; gives the outcomes of those that ended well, and the others with why they failed."""
    outcomes, failed = list[worker.Outcome](), list[tuple[Any, str]]()
    left, silent = dict(enumerate(submitted)), dict[int, float]()

    def has_ended(number: int, job: Any) -> bool:
        if not job.done():
            return False
        # A killed task leaves no result, and a slow file system shows one late: all wait for that together.
        return (_result(job).exists()
                or time.monotonic() - silent.setdefault(number, time.monotonic()) > _GRACE_S)

    with stopping.on_signal(tell) as stop:
        while left:
            if stop:
                raise stopping.StoppedError
            ended = [number for number, job in left.items() if has_ended(number, job)]
            for number in ended:
                job = left.pop(number)
                if not _result(job).exists():
                    failed.append((job, f"no result, its state is {job.state}"))
                elif (error := job.exception()) is not None:
                    failed.append((job, str(error).strip().splitlines()[-1]))
                else:
                    for outcome in job.result():
                        outcomes.append(outcome)
                        for line in outcome.told:
                            tell(line)
            followed.look([run_id for number in ended for job in tasks[number] for run_id in job.run_ids])
            if left:
                time.sleep(_LOOK_S)
    return outcomes, failed


def _result(job: Any) -> pathlib.Path:
    """Names the file in which a task leaves what has come of it."""
    return job.paths.result_pickle


def _in_tasks(absent: Sequence[Run], work: Mapping[str, float]) -> list[list[list[Run]]]:
    """Gives each cohort, or piece of a large one, a task of its own; where there are too many, several share one."""
    pieces = shard.pieces(absent, work, max(AT_LEAST, len(cohort.partition(absent)) // 2))
    return shard.spread(pieces, work, min(MOST_TASKS, len(pieces)))


def _parameters(batch: Batch, name: str, submitit: Any) -> dict[str, Any]:
    """Names the options as submitit does; those that it has no name for are handed to sbatch as they are."""
    own = submitit.SlurmExecutor._valid_parameters()
    known = {f"slurm_{key}": _number(value) for key, value in batch.set.items() if key in own}
    more = {key: value for key, value in batch.set.items() if key not in own}
    return {"name": re.sub(r"\W+", "_", name), "timeout_min": minutes(batch.time),
            "cpus_per_task": max(1, math.ceil(batch.cpus)), "gpus_per_node": math.ceil(batch.gpus), **known,
            **({"slurm_partition": batch.partition} if batch.partition else {}),
            **({"slurm_additional_parameters": more} if more else {})}


def minutes(text: str) -> int:
    """Reads a time as sbatch has it.

    Raises:
      SlurmError: if it is none.
    """
    form = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not form:
        raise SlurmError(f"--slurm_time={text} must be minutes, HH:MM:SS or D-HH:MM:SS")
    days, *parts = (int(part) if part else 0 for part in form.groups())
    if form[1] or form[4]:
        hours, mins, secs = parts
    else:  # minutes, or minutes:seconds
        hours, mins, secs = 0, parts[0], parts[1]
    return max(1, math.ceil(days * 1440 + hours * 60 + mins + secs / 60))


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
