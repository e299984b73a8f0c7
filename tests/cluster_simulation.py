"""Measures what a cluster's driver does for each cohort, and foretells grids on machines that are not at hand.

  python tests/cluster_simulation.py schedule          1,000 cohorts through Ray that take no time: seconds, memory;
                                                       a row of results/executors/schedule.csv
  python tests/cluster_simulation.py simulate [DIR]    a grid on 1 to 4,096 workers; DIR is a results folder whose
                                                       launch the simulation is checked against

Figures and what follows from them are in results/executors/README.md.
"""

import dataclasses
import heapq
import importlib.metadata
import io
import pathlib
import statistics
import sys
import tempfile
import time
from datetime import datetime

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent / "fixtures")]


OUT = pathlib.Path(__file__).parents[1] / "results" / "executors" / "schedule.csv"


@dataclasses.dataclass(frozen=True)
class Costs:
    """What things take, in seconds.

    Attributes:
      start: a worker's first task: imports, jax, data.
      compile: a cohort's programs, in each worker that trains a piece of it.
      run: a run, trained alone.
      record: a run's files written, in the worker.
      files: the same at the shared file system, which does one after another.
      task: the driver, for each task; one after another.
      recorded: the driver, for each run.
      plan: the driver before the first task, for each cohort.
      report: at the end, for each run.
    """

    start: float = 5.0
    compile: float = 2.0
    run: float = 4.0
    record: float = 0.02
    files: float = 0.004
    task: float = 0.005
    recorded: float = 0.003
    plan: float = 0.18
    report: float = 0.009


def wall(cohorts: int, runs: int, workers: int, costs: Costs) -> dict[str, float]:
    """Simulates a launch, event by event: pieces in order, each to the worker that is free first.

    Returns:
      part -> seconds until the last record and in the report; shares of the training in percent.
    """
    pieces = [piece for _ in range(cohorts) for piece in cut(runs, min(runs, max(1, -(-2 * workers // cohorts))))]
    number, start = len(pieces), costs.plan * cohorts
    pieces.reverse()
    driver = disk = end = start
    # Time, worker, runs left of its piece; -1 before its first.
    events = [(start, worker, -1) for worker in range(workers)]
    while events:
        at, worker, left = heapq.heappop(events)
        if left > 0:  # a run is trained
            disk = max(disk, at) + costs.files
            at, left = max(at + costs.record, disk), left - 1
            driver += costs.recorded
            end = max(end, at)
        if left <= 0:
            if not pieces:
                continue
            driver = max(driver, at) + costs.task
            at = driver + costs.compile + (costs.start if left < 0 else 0.0)
            left = pieces.pop()
        heapq.heappush(events, (at + costs.run, worker, left))
    total, training = cohorts * runs, end - start
    return {"planning": start, "training": training, "report": costs.report * total,
            "driver": min(100.0, 100 * (costs.task * number + costs.recorded * total) / training),
            "files": 100 * costs.files * total / training,
            "compiling": 100 * costs.compile * number / (workers * training),
            "used": 100 * costs.run * total / (workers * training)}


def cut(runs: int, pieces: int) -> list[int]:
    size, longer = divmod(runs, pieces)
    return [size + (place < longer) for place in range(pieces)]


def check(results: pathlib.Path) -> None:
    """Compares a launch that one process trained with what the simulation says of it."""
    from harness import records

    for name in records.ablations_in(results):
        found = list(records.Folder(results, name).records().values())
        if any(record.timing is None for record in found):
            continue
        cohorts = len({record.timing.compile_s for record in found})
        costs = Costs(start=0.0, plan=0.0, report=0.0, task=0.0,
                      compile=statistics.mean({record.timing.compile_s for record in found}),
                      run=statistics.mean((record.timing.train_s + record.timing.validate_s)
                                          / record.timing.members_at_once for record in found))
        said = wall(cohorts, len(found) // cohorts, 1, costs)["training"]
        began, ended = (pick(datetime.fromisoformat(when) for when in times) for pick, times in (
            (min, [record.started_at for record in found]), (max, [record.finished_at for record in found])))
        print(f"{name}: {len(found)} runs, {cohorts} cohorts: simulated {said:.1f} s, "
              f"took {(ended - began).total_seconds():.0f} s")


def simulate() -> None:
    """Prints a table: 10,000 runs in 500 cohorts of 20."""
    print("| workers | planning | training | report | workers train | compile | driver busy | file system busy |")
    print("|---|---|---|---|---|---|---|---|")
    for workers in (1, 4, 16, 64, 256, 1024, 4096):
        said = wall(500, 20, workers, Costs())
        parts = (f"{said[part]:.{int(said[part] < 10)}f} %" for part in ("used", "compiling", "driver", "files"))
        print(f"| {workers:,} | {said['planning']:.0f} s | {said['training']:,.0f} s | {said['report']:.0f} s | "
              f"{' | '.join(parts)} |")


def schedule(number: int = 1000) -> dict[str, object]:
    """Sends cohorts through Ray whose runs are recorded already, so that workers find nothing to train.

    Returns:
      a row of the table: seconds from the first to the last, the driver's CPU in ms a cohort, its memory in MiB after
      a tenth of the cohorts and after all.
    """
    import psutil
    from rich.console import Console
    from sweeps import BASE, FOUND

    from ablations.spec import Ablation, Factor
    from harness import records
    from harness.executors import on_ray, worker
    from harness.executors.following import Followed
    from harness.progress import audience
    from harness.progress.clock import Clock
    from harness.training import cohort, environment, executor, turns
    from harness.training.watcher import Watcher

    class Alone(turns.Alone, Watcher):
        """Turns of a driver that shares its folder with nobody."""

    record = next(pathlib.Path("results").glob("kmnist_mlp/runs/*/record.json")).read_bytes()
    ablation = Ablation("Why?", BASE, {"units": Factor("model.hidden", {str(n): (n,) for n in range(1, number + 1)})},
                        seeds=(0,))
    runs, process = ablation.runs(), psutil.Process()
    with tempfile.TemporaryDirectory() as results:
        folder = records.Folder(results, "made_up")
        for run in runs:
            folder.run(run.run_id).mkdir(parents=True)
            (folder.run(run.run_id) / "record.json").write_bytes(record)
        launch = executor.Launch("Why?", runs, folder, wanted=frozenset(run.run_id for run in runs))
        together = {run.run_id: members for members in cohort.partition(runs) for run in members}
        work = {run.run_id: 1 for run in runs}
        listeners = audience.gather(launch, runs, FOUND, work, Clock(), Console(file=io.StringIO()), verbose=False,
                                    tensorboard=False)
        source, seen = worker.Source("quickstart", {}, str(pathlib.Path.cwd())), []

        def make(piece):
            seen.append((time.monotonic(), process.memory_info().rss / 2**20))
            return worker.job(launch, piece, together[piece[0].run_id], source, devices=1)

        followed = Followed(folder, runs, listeners)
        before = process.cpu_times().user
        on_ray.train(on_ray.Cluster("local"), runs, dict.fromkeys(work, 1.0), make, Alone(), followed, print)
        took, used = time.monotonic() - seen[0][0], process.cpu_times().user - before
        assert len(followed.finished) == number
        here = environment.describe()
        return {"code": (here.git_commit or "")[:12], "cohorts": number, "seconds": round(took, 1),
                "driver_cpu_ms": round(1000 * used / number, 1), "mib_after_a_tenth": round(seen[number // 10][1]),
                "mib_at_the_end": round(process.memory_info().rss / 2**20),
                "ray": importlib.metadata.version("ray"), "machine": here.device}


if __name__ == "__main__":
    if sys.argv[1:2] == ["schedule"]:
        from rows import append

        append(OUT, schedule())
    else:
        for folder in sys.argv[2:]:
            check(pathlib.Path(folder))
        simulate()
