"""Times the harness against Keras and PyTorch: the same networks, the same data, taking turns on the same machine.

Training (W1 to W4), the frozen forward pass of MobileNetV2 (MNV2-96, -160, -224 pixels), and what no peer takes part
in: changes to training images (AUG-...), and a whole command from its start to the table (COMMAND).

  python -m harness.bench                                  every workload against every peer that is installed
  python -m harness.bench --workloads=W1,W4 --peers=torch  some of them
  python -m harness.bench --grid=1,4,16,64                 how many runs are trained at once (K)
  python -m harness.bench --precision=float32,bfloat16     both, as rows of one table
  python -m harness.bench --scaling                        how the harness's own cost grows with K and with the data
  python -m harness.bench --report_only                    tables and pictures again from stored measurements; of those
                                                           shipped, tables alone, and printed
  python -m harness.bench --report_only --results_dir=results   the shipped ones' written anew

Peers come with: pip install -c constraints.txt -e '.[bench]'. It writes bench.json (all measurements), table.md,
table.csv, throughput.png, or scaling.json and scaling.png, into my_results/bench/<device>/. What is measured replaces
what was stored of the same workload, precision and K; the rest of bench.json stays, and the table says which commit
each is of. Leave the machine alone meanwhile: what other work disturbs is measured again, up to a point, and the table
says how often.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import sys
from typing import Any

if not __package__:  # python harness/bench.py, which puts that folder on the path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it imports, Ctrl-C ends it without a traceback

import jax
from absl import flags
from rich.console import Console

from harness import cli
from harness.benchmark import plots, rounds, tables, workloads
from harness.records import OWN_RESULTS, SHIPPED_RESULTS, write_atomic
from harness.records.configs import as_json
from harness.records.files import in_home
from models.precision import PRECISIONS

PEERS, GRID = ("keras", "torch"), (1, 8)
SCALING_RUNS, SCALING_DATA = (1, 2, 4, 8, 16), (2, 4)
GOAL_CORES = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table, for all sides.

    Attributes:
      runs: K, how many are trained at once.
      scale: how many times the workload's data.
    """

    workload: str
    precision: str
    runs: int
    scale: int


@dataclasses.dataclass(frozen=True)
class Sides:
    """Who takes turns here.

    Attributes:
      machine: what they run on.
      present: in the order of their turns.
      absent: peer -> why.
    """

    machine: dict[str, Any]
    present: list[str]
    absent: dict[str, str]


def _define_flags() -> None:
    flags.DEFINE_list("workloads", list(workloads.WORKLOADS), "Workloads to time.")
    flags.DEFINE_list("peers", None, "Peers to time against; default those that are installed.")
    flags.DEFINE_list("grid", None, "Values of K: how many runs a measurement trains; default "
                      f"{','.join(map(str, GRID))}.")
    flags.DEFINE_list("precision", ["float32"], "Some of float32, bfloat16 and, on an NVIDIA GPU, tf32.")
    flags.DEFINE_integer("rounds", 5, "Rounds in which every side is measured once.", lower_bound=1)
    flags.DEFINE_bool("scaling", False, "Time the harness alone, over K = 1 to 16 and over 1, 2 and 4 times the data.")
    flags.DEFINE_bool("report_only", False, "Measure nothing: rebuild tables and pictures from what is stored.")
    flags.DEFINE_string("results_dir", None, "Folder of the results; the benchmark's are in its folder bench. Default: "
                        f"{OWN_RESULTS}; with --report_only the tables in {SHIPPED_RESULTS} are printed, too.")


def main() -> None:
    """Carries out the command."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    given = flags.FLAGS.results_dir
    folder = in_home(given or OWN_RESULTS) / "bench"
    if flags.FLAGS.report_only:
        _report_stored(folder, console, with_shipped=not given)
        return
    if flags.FLAGS.scaling and (useless := [one for one in ("peers", "grid") if getattr(flags.FLAGS, one) is not None]):
        raise cli.UsageError(f"--scaling times the harness alone, over a grid of its own: leave out --{useless[0]}")
    names = _chosen("workloads", list(workloads.WORKLOADS))
    precisions = _chosen("precision", list(PRECISIONS))
    peers = [] if flags.FLAGS.scaling else PEERS if flags.FLAGS.peers is None else _chosen("peers", list(PEERS))
    grid = GRID if flags.FLAGS.grid is None else _whole_numbers("grid")
    # This process works out sizes only, and leaves the accelerator to the sides.
    jax.config.update("jax_platforms", "cpu")
    with_peers = [name for name in names if workloads.WORKLOADS[name].task in ("train", "forward")]
    sides = _sides((with_peers or names)[0], peers, must_be_there=flags.FLAGS.peers is not None)
    if "tf32" in precisions and sides.machine["platform"] != "gpu":
        raise cli.UsageError("--precision=tf32 is for an NVIDIA GPU; the harness runs on the "
                             f"{sides.machine['platform']} here: give float32 or bfloat16")
    for name, why in sides.absent.items():
        console.print(f"{name} is absent: {why}")
    if flags.FLAGS.scaling:
        cases = [(runs, 1) for runs in SCALING_RUNS] + [(1, scale) for scale in SCALING_DATA]
    else:
        cases = [(runs, 1) for runs in grid]
    about = {"started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
             "rounds": flags.FLAGS.rounds, "load": os.getloadavg()[0], "machine": sides.machine, "absent": sides.absent}
    path = folder / _slug(sides.machine["device"]) / ("scaling.json" if flags.FLAGS.scaling else "bench.json")
    _stored(path)  # what cannot be read is to stop the command now
    new: list[dict[str, Any]] = []
    for name in names:
        # Where nothing is trained there is no K.
        once = workloads.WORKLOADS[name].task not in ("train", "command")
        for precision in precisions[:1] if workloads.WORKLOADS[name].task == "augment" else precisions:
            settings: dict[str, Any] = {}
            for runs, scale in sorted({(1, scale) for _, scale in cases}) if once else cases:
                settings.pop(rounds.OWN, None)  # its layout depends on K and on the data
                new.append(about | _measured(Case(name, precision, runs, scale), sides, settings, console))
                merged = {"schema": 2, "cases": _merged(_stored(path), new)}
                write_atomic(path, (json.dumps(merged, indent=1, allow_nan=False) + "\n").encode())
    report(path, console)
    failed = [f"{case['workload']} K={case['runs']} {side}: {found['failed']}" for case in new
              for side, found in case["sides"].items() if "failed" in found]
    if failed:
        raise cli.UsageError(f"{len(failed)} measurements failed, the first: {failed[0]}")


def _report_stored(folder: pathlib.Path, console: Console, *, with_shipped: bool) -> None:
    """Reports all that was measured here, and what was shipped, whose files stay as they are."""
    shipped = sorted((pathlib.Path(SHIPPED_RESULTS) / "bench").glob("*/bench.json")) if with_shipped else []
    stored = sorted([*folder.glob("*/bench.json"), *folder.glob("*/scaling.json")])
    if not shipped and not stored:
        raise cli.UsageError(f"no measurements in {folder}; make some with: python -m harness.bench")
    for path in [*shipped, *stored]:
        report(path, console, keep=path in shipped)


def report(path: pathlib.Path, console: Console, *, keep: bool = False) -> None:
    """Prints what is made from stored measurements, and writes it beside them.

    Args:
      keep: whether the files there stay as they are.

    Raises:
      UsageError: if they cannot be read.
    """
    try:
        results = json.loads(path.read_text())
        if path.name == "scaling.json":
            files = {"scaling.png": plots.scaling(results)}
        else:
            table = tables.markdown(results)
            console.print(table)
            files = {} if keep else {
                "table.md": table.encode(), "table.csv": tables.csv(results).encode(),
                "throughput.png": plots.throughput(results)}
    except (KeyError, TypeError, ValueError) as error:
        raise cli.UsageError(f"{path} cannot be read: {type(error).__name__}: {error}") from None
    if keep:
        console.print(str(path))
    for name, content in files.items():
        write_atomic(path.with_name(name), content)
        console.print(str(path.with_name(name)))


def _stored(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the cases measured before; none without a file.

    Raises:
      UsageError: if it cannot be read.
    """
    try:
        return tables.cases(json.loads(path.read_text())) if path.exists() else []
    except (KeyError, TypeError, ValueError) as error:
        raise cli.UsageError(f"{path} cannot be read: {type(error).__name__}: {error}; move it away to measure anew"
                             ) from None


def _merged(stored: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puts new cases in the places of those they repeat, and the others at the end."""
    def key(case: dict[str, Any]) -> tuple[Any, ...]:
        return case["workload"], case["precision"], case["runs"], case["scale"]

    return list(({key(case): case for case in stored} | {key(case): case for case in new}).values())


def _measured(case: Case, sides: Sides, settings: dict[str, Any], console: Console) -> dict[str, Any]:
    """Measures a case; adds to `settings` what the sides are fastest with."""
    workload = workloads.WORKLOADS[case.workload]
    parameters, flops = workloads.size(workload)
    title = f"{case.workload} {case.precision} K={case.runs}" + (f" data x{case.scale}" if case.scale > 1 else "")
    measured = rounds.compare(
        workloads.job(workload, case.precision, case.runs, case.scale),
        [name for name in sides.present if name in rounds.MODULES[workload.task]], flags.FLAGS.rounds, settings,
        lambda line: console.print(f"{title}: {line}"), learn=not flags.FLAGS.scaling)
    loss_goal = (workload.bfloat16_loss_goal if case.precision == "bfloat16" else None) or workload.loss_goal
    are_aims = sides.machine["device"].endswith(f", {GOAL_CORES} cores")  # what is aimed at is stated for these
    return {**vars(case), "task": workload.task, "image_px": workload.image_shape[0], "grid": workload.grid,
            "examples": case.scale * workload.examples, "parameters": parameters, "flops_per_example": flops,
            "loss_goal": loss_goal, "goals": as_json(workload.goals) if are_aims else {},
            "peak_goal": workload.peak_goal if are_aims else None, "sides": measured}


def _sides(name: str, peers: tuple[str, ...] | list[str], must_be_there: bool) -> Sides:
    """Starts every side once."""
    job = workloads.job(dataclasses.replace(workloads.WORKLOADS[name], examples=1), "float32", 1)
    try:
        with rounds.Side(rounds.OWN, job) as own:
            about = own.about
    except rounds.SideError as error:
        raise cli.UsageError(f"the harness itself does not start: {error}") from None
    absent = {}
    for peer in [peer for peer in peers if peer in rounds.MODULES[job["task"]]]:
        try:
            with rounds.Side(peer, job) as side:
                if (platform := side.about["platform"]) != about["platform"]:
                    absent[peer] = f"it runs on the {platform} here, the harness on the {about['platform']}"
        except rounds.SideError as error:
            absent[peer] = f"{error}; peers come with: pip install -c constraints.txt -e '.[bench]'"
    if absent and must_be_there:
        raise cli.UsageError("; ".join(f"{peer} is absent: {why}" for peer, why in absent.items()))
    present = [rounds.OWN, *(peer for peer in peers if peer not in absent)]
    return Sides(about["machine"], present if flags.FLAGS.scaling else [*present, rounds.PEAK], absent)


def _chosen(flag: str, valid: list[str]) -> list[str]:
    chosen = list(dict.fromkeys(getattr(flags.FLAGS, flag)))
    if not chosen or (unknown := [name for name in chosen if name not in valid]):
        wrong = ", ".join(unknown) if chosen else "nothing"
        raise cli.UsageError(f"--{flag} names {wrong}; there are {', '.join(valid)}")
    return chosen


def _whole_numbers(flag: str) -> list[int]:
    texts = getattr(flags.FLAGS, flag)
    if not texts or not all(text.isdecimal() and int(text) > 0 for text in texts):
        raise cli.UsageError(f"--{flag}={','.join(texts)} must be whole numbers of at least 1, such as 1,8")
    return sorted(set(map(int, texts)))


def _slug(device: str) -> str:
    return re.sub("[^a-z0-9]+", "_", device.lower()).strip("_")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
