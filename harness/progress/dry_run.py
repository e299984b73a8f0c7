"""Prints what training would take, to the width of the terminal: columns go by importance, words stay whole."""

import itertools
import shlex
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

import ablations
from ablations.spec import Run
from harness.data.inputs import Inputs
from harness.records import Cost
from harness.training import environment, executor
from harness.training import estimate as speeds
from harness.training.estimate import CellEstimate, SweepEstimate
from harness.training.executor import Launch
from harness.training.pretended import Lying

# Header -> text of a cell, the most important first: where the terminal is narrow, the last ones go.
_COLUMNS: dict[str, Callable[[CellEstimate], str]] = {
    "runs": lambda cell: str(cell.runs),
    "time": lambda cell: about(cell.wall_s),
    "memory\nMiB": lambda cell: _mib(cell.cost.memory_estimate_bytes) if cell.cost else "unknown",
    "disk\nMiB": lambda cell: _mib(cell.disk_bytes),
    "parameters": lambda cell: f"{cell.cost.parameters:,}" if cell.cost else "unknown",
    "MACs/\nexample": lambda cell: f"{cell.cost.macs_per_example:,}" if cell.cost else "unknown",
}


def foretell(launch: Launch, absent: Sequence[Run], found: Mapping[Hashable, Inputs], costs: Mapping[str, Cost],
             results_dirs: Iterable[str], asked: Sequence[str], console: Console) -> None:
    """Tells what training would take by the speed of runs recorded on this device, and fails where it would.

    Args:
      absent, found: as `executor.check` has them.
      costs: run_id -> cost.
      results_dirs: whose records tell the speed.
      asked: flags of a command that adds to them.
    """
    for warning in executor.check(launch, absent, found):
        console.print(warning, markup=False, highlight=False, soft_wrap=True)
    device = environment.describe().device
    known = speeds.speeds(dict.fromkeys(results_dirs), device)
    show(speeds.sweep(absent, found, costs, known, keeps=launch.keep_weights != "none"), asked, device, console)


def show(estimate: SweepEstimate, asked: Sequence[str], device: str, console: Console) -> None:
    """Prints a row per cell, and below what all of it would take.

    Args:
      asked: flags of a command that trains some of it.
      device: the machine that the time is estimated for.
    """
    tables = (_table(estimate.cells, number) for number in range(len(_COLUMNS), 0, -1))
    unbounded = console.options.update(width=10_000)  # a measure is cut at the width that it is given
    fitting = itertools.dropwhile(
        lambda table: console.measure(table, options=unbounded).minimum > console.width, tables)
    console.print(next(fitting, _table(estimate.cells, 1)), highlight=False)
    console.print(f"\n{told(estimate, asked, device)}", markup=False, highlight=False)


def show_lying(lying: Sequence[Lying], devices: int, console: Console) -> None:
    """Prints how cohorts would lie on devices that are not there."""
    table = Table(box=None, pad_edge=False)
    table.add_column("cohort", overflow="fold")
    for header in ("runs", "idle\nslots", "memory per\ndevice, MiB"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("layout", overflow="fold")
    for one in lying:
        more = f" and {len(one.cells) - 1} more" if len(one.cells) > 1 else ""
        table.add_row(Text(f"{one.cells[0]}{more}"), str(one.runs), str(one.idle),
                      "n/a" if one.memory_bytes is None else _mib(one.memory_bytes), str(one.layout))
    console.print(table, highlight=False)
    runs, known = sum(one.runs for one in lying), [one.memory_bytes for one in lying if one.memory_bytes is not None]
    memory = (f"at most {_mib(max(known))} MiB on a device, data included, as XLA plans it for a CPU" if known else
              "memory is not known")
    what = (f"On {devices} devices of one process: {runs} runs in {len(lying)} cohorts, one after another, each with 3 "
            f"programs; {memory}. As tasks of a device each, with --executor=ray or slurm, they are cut into at most "
            f"{min(runs, 3 * devices)} pieces.")
    console.print(f"\n{what}", markup=False, highlight=False)


def told(estimate: SweepEstimate, asked: Sequence[str], device: str) -> str:
    """Says what all of it would take, and what that is derived from."""
    runs = sum(cell.runs for cell in estimate.cells)
    programs = f"{estimate.programs} compiled program{'s' * (estimate.programs != 1)}"
    lines = [_time(estimate, asked, device, runs, programs)]
    if estimate.features_s is None:
        lines.append("The images' features come on top if they are not kept yet, in a time unknown on this machine.")
    elif estimate.features_s:
        lines.append(f"The images' features come on top if they are not kept yet: about {about(estimate.features_s)}.")
    lines.append(f"Disk: about {_mib(estimate.disk_bytes)} MiB, records, checkpoints and kept weights. Memory is that "
                 "of one run at its batch size, without data; several may train at once.")
    return "\n".join(lines)


def _time(estimate: SweepEstimate, asked: Sequence[str], device: str, runs: int, programs: str) -> str:
    what = f"{runs} run{'s' * (runs != 1)}, {programs}"
    if estimate.wall_s is None:
        return (f"{what}; time unknown on this machine ({device}): it has no records of such networks. A trial "
                f"leaves some:\n  python -m harness.run {shlex.join(asked)} --smoke")
    differ = ([f"networks differ by up to {estimate.apart:.0f} times in MACs"] if estimate.apart >= 2 else []) + (
        [] if estimate.alike else ["precision or augmentation differ"])
    rough = f", whose {' and '.join(differ)}: rough" if differ else ""
    return (f"{what}: about {about(estimate.wall_s)} in all, compiling included. An estimate for all epochs, from the "
            f"speed of {estimate.recorded} runs recorded on {device}{rough}.")


def about(seconds: float | None) -> str:
    """Writes a time as roughly as an estimate is known."""
    if seconds is None:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{int(seconds < 10 * size)}f} {unit}"
    return f"{max(1, round(seconds))} s"


def _table(cells: Sequence[CellEstimate], columns: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(", ".join(cells[0].labels) or "cell", overflow="fold")
    chosen = dict(itertools.islice(_COLUMNS.items(), columns))
    for header in chosen:
        table.add_column(header, justify="right", no_wrap=True)
    for cell in cells:
        table.add_row(Text(", ".join(cell.labels.values()) or cell.cell), *(text(cell) for text in chosen.values()))
    return table


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def show_all(console: Console) -> None:
    """Prints every shipped ablation with its question and number of runs."""
    table = Table("ablation", "runs", "question", box=None)
    for name, ablation in ablations.ABLATIONS.items():
        table.add_row(name, str(len(ablation.runs())), ablation.question)
    console.print(table, highlight=False)
