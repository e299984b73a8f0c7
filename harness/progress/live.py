"""Draws the sweeps that other processes train, live in a terminal."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.progress.status import STATES, Reader, RunState, Sweep, duration
from harness.records import STATUSES, Folder
from harness.records.text import printable

_STYLES = {"training": "bold", "broken off": "yellow", "error": "red", "oom": "red", "diverged": "red", "done": "green",
           "waiting": "dim", "missing": "dim"}


def watch(folders: Sequence[Folder], console: Console, every_s: float = 1.0,
          pause: Callable[[float], None] = time.sleep) -> None:
    """Shows sweeps until all their runs are recorded or the user stops it; once, where there is no terminal.

    Raises:
      harness.records.RecordError: if a file cannot be read, naming it.
    """
    watches = [Reader(folder) for folder in folders]

    def look() -> tuple[bool, Group]:
        sweeps = [one.read(time.time()) for one in watches]
        lines = max(3, console.height // len(sweeps) - 7)
        over = all(sweep.recorded == len(sweep.runs) for sweep in sweeps)
        return over, Group(*(render(sweep, lines) for sweep in sweeps))

    over, shown = look()
    if over or not console.is_terminal:
        console.print(shown)
        return
    try:
        with Live(shown, console=console, auto_refresh=False) as live:
            while not over:
                pause(every_s)
                over, shown = look()
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        pass  # how one leaves; what was last shown stays on the screen


def render(sweep: Sweep, lines: int) -> Group:
    """Draws a sweep.

    Args:
      lines: rows for runs; what does not fit is counted.
    """
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("run", overflow="ellipsis", no_wrap=True, ratio=1)  # cut where all does not fit
    table.add_column("state", no_wrap=True)
    for header in ("epoch", "train\nloss", "val.\nloss", "val.\nacc. %", "test\nacc. %", "left"):
        table.add_column(header, justify="right", no_wrap=True)
    # The latest ends first; Python's sort keeps the plan's order otherwise.
    ordered = sorted(sweep.runs, key=lambda run: run.ended_at, reverse=True)
    ordered.sort(key=lambda run: STATES.index(run.state))
    shown = ordered if len(ordered) <= lines else ordered[:lines - 1]
    for run in shown:
        table.add_row(
            Text(printable(run.run_id)), Text(run.state, _STYLES.get(run.state, "")), _epoch(run),
            _number(run.scores.get("train_loss"), 4), _number(run.scores.get("validation_loss"), 4),
            _number(run.scores.get("validation_accuracy"), 2, 100), _number(run.scores.get("test_accuracy"), 2, 100),
            duration(run.left_s))
    rest = ordered[len(shown):]
    if rest:
        counts = {state: sum(run.state == state for run in rest) for state in STATES}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        table.add_row(Text(f"and {len(rest)} more", "dim"), Text(told, "dim"))
    done = sum(run.epoch / run.epochs if run.epochs and run.state not in STATUSES else run.state in STATUSES
               for run in sweep.runs)
    parts = [f"{sweep.recorded} of {len(sweep.runs)} runs recorded"]
    if sweep.examples_per_s:
        parts.append(f"{sweep.examples_per_s:,.0f} examples/s")
    if sweep.left_s is not None:
        parts.append(f"about {duration(sweep.left_s)} left")
    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(total=max(1, len(sweep.runs)), completed=done, width=30), Text(", ".join(parts)))
    title = Text.assemble((printable(sweep.ablation), "bold"), ": ", printable(sweep.question), overflow="ellipsis",
                          no_wrap=True)
    news = [Text(sweep.news, "yellow")] if sweep.news and sweep.recorded < len(sweep.runs) else []
    return Group(title, head, *news, Text(), table)


def _epoch(run: RunState) -> str:
    if not run.epoch and run.state in ("waiting", "missing"):
        return ""
    return f"{run.epoch}/{run.epochs}" if run.epochs else str(run.epoch)


def _number(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "" if value is None else f"{value * scale:.{digits}f}"
