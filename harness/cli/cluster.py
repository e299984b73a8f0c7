"""Where `harness.run` trains: the flags that say so, and the executor that they name."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence

from absl import flags
from rich.console import Console

from ablations.spec import Run, RunConfig
from harness import cli, records
from harness.data import inputs
from harness.data.inputs import Inputs
from harness.executors import extras, local, on_ray, on_slurm, shard, sharing, worker
from harness.executors.following import Followed
from harness.progress import audience, dry_run
from harness.progress.audience import Listeners
from harness.progress.clock import Clock
from harness.records.leases import Leases
from harness.training import cohort, estimate, executor, processes
from harness.training.executor import Launch
from harness.training.pretended import lie

EXECUTOR = flags.DEFINE_enum(
    "executor", "local", ["local", "ray", "slurm"], "Who trains: this process; tasks of a Ray cluster, which must see "
    "the same files; or the tasks of one Slurm job array.")
RAY_ADDRESS = flags.DEFINE_string(
    "ray_address", "auto", "With --executor=ray: auto is the cluster that this machine is in, local starts Ray on this "
    "machine alone, HOST:PORT is a cluster's head.")
CPUS = flags.DEFINE_float("cpus_per_cohort", 1.0, "CPUs of each task of a cluster.", lower_bound=0)
GPUS = flags.DEFINE_float("gpus_per_cohort", 0.0, "GPUs of each task of a cluster; with Ray, a part of one is allowed.",
                          lower_bound=0)
SLURM_PARTITION = flags.DEFINE_string("slurm_partition", None, "With --executor=slurm: the partition.")
SLURM_TIME = flags.DEFINE_string("slurm_time", "01:00:00", "With --executor=slurm: time of a task, as sbatch has it; "
                                 "after it, a task is requeued and goes on.")
SLURM_SET = flags.DEFINE_multi_string("slurm_set", [], "With --executor=slurm: key=value for sbatch, such as "
                                      "account=physics; may be given again. cluster=local has the tasks run as "
                                      "processes of this machine, to try it.")
SHARD = flags.DEFINE_string("shard", None, "Train the I-th of N parts of the runs, as I/N: the same parts whenever it "
                            "is asked for, about equal in cost. For any batch system, without a coordinator.")

PRETEND_DEVICES = flags.DEFINE_integer(
    "pretend_devices", None, "With --dry_run: print how the runs would lie on that many devices, and compile their "
    "programs for them.", lower_bound=1, upper_bound=4096)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Train each run on the devices of several processes, each of which is given the same "
    "command: batches are split over all of them. jax finds them out under Slurm, Open MPI, Kubernetes and on TPUs.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "With --distributed: HOST:PORT of the first process.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --distributed: how many there are.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --distributed: which one this is, from 0.", lower_bound=0)

# Of anything else, jax fails in its own ways, waits for ever or takes the process with it.
_ADDRESS = re.compile(r".+:[1-9][0-9]{0,4}")
# Those of these executors alone.
_OF_EXECUTORS = {("ray", "slurm"): (CPUS, GPUS), ("ray",): (RAY_ADDRESS,),
                 ("slurm",): (SLURM_PARTITION, SLURM_TIME, SLURM_SET)}

_GOES_ON = "stopped; run the same command again to go on from here"
# What to do after a stop.
AFTERWARDS = {"local": _GOES_ON, "ray": _GOES_ON,
              "slurm": "stopped, and the job goes on in Slurm; run the same command again once squeue no longer has it"}

ERRORS = (on_ray.ClusterError, on_ray.LostError, on_slurm.SlurmError, shard.ShardError, extras.MissingExtraError,
          processes.JoinError)


def check(*, dry_run: bool, own: Sequence[str]) -> None:
    """Checks flags before anything is loaded.

    Args:
      own: those given of --layout and --devices, which say how this process trains.

    Raises:
      cli.UsageError, on_slurm.SlurmError, shard.ShardError: if one is wrong.
    """
    for executors, of_them in _OF_EXECUTORS.items():
        if EXECUTOR.value not in executors and (given := [f"--{one.name}" for one in of_them if one.present]):
            raise cli.UsageError(f"{given[0]} belongs to --executor={' or '.join(executors)}: give that, or leave it "
                                 "out")
    if SHARD.value:
        shard.parsed(SHARD.value)
    on_slurm.minutes(SLURM_TIME.value)
    for setting in SLURM_SET.value:
        if not all(setting.partition("=")):
            raise cli.UsageError(f"--slurm_set={setting} needs the form key=value, such as account=physics")
    if COORDINATOR.value is not None and not _ADDRESS.fullmatch(COORDINATOR.value):
        raise cli.UsageError(f"--coordinator={COORDINATOR.value} needs the form HOST:PORT, such as node1:1234")
    if PRETEND_DEVICES.value and not dry_run:
        raise cli.UsageError("--pretend_devices belongs to --dry_run: there is nothing to train on")
    for name in own:
        if EXECUTOR.value != "local" or (DISTRIBUTED.value and name == "layout"):
            raise cli.UsageError(f"--{name} is for a process that trains by itself: leave it out where others do")
    if EXECUTOR.value != "local" and not CPUS.value and not GPUS.value:
        raise cli.UsageError("--cpus_per_cohort=0 and no GPU: a task needs one of the two")


def join() -> None:
    """Joins the other processes of a launch with --distributed.

    Raises:
      cli.UsageError, processes.JoinError: if flags do not go together, or the others are not there.
    """
    if not DISTRIBUTED.value:
        if any(flag.value is not None for flag in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)):
            raise cli.UsageError("--coordinator, --num_processes and --process_id belong to --distributed")
        return
    if EXECUTOR.value != "local" or flags.FLAGS["parallel"].value == "pmap":
        raise cli.UsageError("--distributed trains one run on many machines: it goes with --executor=local and without "
                             "--parallel=pmap")
    processes.join(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)


def refuse(configs: Iterable[RunConfig]) -> None:
    """Refuses runs that are not for several processes.

    Raises:
      cli.UsageError: if a run reads features, which one process computes.
    """
    if DISTRIBUTED.value and any(map(inputs.reads_features, configs)):
        raise cli.UsageError("--distributed: heads on features of a frozen backbone train on one machine; spread their "
                             "runs with --executor or --shard")


def own_part(runs: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost]) -> list[Run]:
    """Gives those of the runs that are in the part that --shard names, in their order."""
    number, parts = shard.parsed(SHARD.value or "1/1")
    part = {run.run_id for run in shard.part(runs, _work(runs, found, costs), number, parts)}
    return [run for run in runs if run.run_id in part]


def train(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost],
          source: worker.Source, retry: Sequence[str], clock: Clock, console: Console, *, verbose: bool,
          tensorboard: bool) -> list[records.RunRecord]:
    """Trains runs where the flags say.

    Args:
      absent: those to train.
      found: `inputs.key` -> inputs; with features where this process trains.
      source: where workers find the ablation and its data.
      retry: statuses of records whose runs are trained again.

    Returns:
      the new records.

    Raises:
      stopping.StoppedError: if the user asked to stop; and what executors raise.
    """
    old = sharing.retried(launch.folder, absent, retry)
    listeners = audience.gather(launch, absent, found, estimate.epoch_work(absent, found, costs), clock, console,
                                verbose=verbose, tensorboard=tensorboard and EXECUTOR.value == "local")
    if EXECUTOR.value == "local":
        return local.train(launch, absent, found, old, listeners)
    followed = Followed(launch.folder, absent, listeners, old)
    try:
        _spread(launch, absent, _work(absent, found, costs), old, source, followed, listeners, tensorboard=tensorboard)
    finally:
        listeners.close()
    return followed.finished


def check_first(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs]) -> None:
    """Fails where training here would, before anything is planned; a cluster's workers look at their own devices."""
    if EXECUTOR.value == "local":
        executor.check(launch, absent, found)


def _work(runs: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, records.Cost]) -> dict[str, float]:
    epochs, work = estimate.epochs(runs, found), estimate.epoch_work(runs, found, costs)
    return {run_id: float(epochs[run_id] * work[run_id]) for run_id in work}


def _spread(launch: Launch, absent: Sequence[Run], work: Mapping[str, float], old: Mapping[str, str],
            source: worker.Source, followed: Followed, listeners: Listeners, *, tensorboard: bool) -> None:
    together = {run.run_id: members for members in cohort.partition(launch.planned) for run in members}
    devices = None if GPUS.value else max(1, int(CPUS.value))
    on_slurms = EXECUTOR.value == "slurm"

    def make(runs: Sequence[Run]) -> worker.Job:
        mine = {run.run_id for run in runs}
        again = tuple((run_id, when) for run_id, when in old.items() if on_slurms and run_id in mine)
        return worker.job(launch, runs, together[runs[0].run_id], source, devices=devices,
                          memory_share=1.0 if on_slurms else min(1.0, GPUS.value or 1.0),  # Slurm gives whole GPUs
                          takes_leases=on_slurms, retried=again, tensorboard=tensorboard)

    tell = listeners.display.told
    if on_slurms:
        options = dict(setting.split("=", 1) for setting in SLURM_SET.value)
        batch = on_slurm.Batch(SLURM_PARTITION.value, SLURM_TIME.value, options, CPUS.value, GPUS.value,
                               options.pop("cluster", "slurm"))
        on_slurm.train(batch, launch.folder, absent, work, make, followed, tell)
        return
    with Leases(launch.folder.in_training) as held:
        turns = sharing.Shared(launch.folder, held, old, listeners)
        on_ray.train(on_ray.Cluster(RAY_ADDRESS.value, CPUS.value, GPUS.value), absent, work, make, turns, followed,
                     tell)


def foretell(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs],
             costs: Mapping[str, records.Cost], results_dirs: Iterable[str], asked: Sequence[str], console: Console
             ) -> None:
    """Tells what training would take, here and on devices that are not there; see `dry_run.foretell`."""
    dry_run.foretell(launch, absent, found, costs, results_dirs, asked, console)
    if devices := PRETEND_DEVICES.value:
        console.print()
        dry_run.show_lying(lie(absent, found, devices), devices, console)
