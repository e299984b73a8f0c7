"""Draws a sweep for a terminal: a bar, what to know, and a row for each run that fits.

Where the screen is narrow, scores go first, then what all names share; bar, epoch and what tells runs apart stay.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.progress.status import ACTIVE, STATES, RunState, Sweep, duration
from harness.records.narrow import cut, distinct, paragraph
from harness.records.text import printable

_STYLES = {"training": "bold", "compiling": "cyan", "broken off": "yellow", "damaged": "red", "error": "red",
           "oom": "red", "diverged": "red", "done": "green", "waiting": "dim", "missing": "dim"}
_BAR, _GAP, _HEAD_BAR = 10, 2, 24
_LEAST_NAME = 12
# Rows that are not runs: question, bar, news, an empty one, two of headers, what does not fit.
AROUND = 7


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of figures.

    Attributes:
      write: writes a run's cell.
    """

    header: str
    write: Callable[[RunState], str]

    def width(self, runs: Sequence[RunState]) -> int:
        return max(len(text) for text in (*self.header.split("\n"), *map(self.write, runs)))


def draw(sweep: Sweep, width: int, lines: int, *, active_alone: bool = False) -> Group:
    """Draws a sweep.

    Args:
      width: cells of the screen.
      lines: rows for runs; what does not fit is counted.
      active_alone: whether rows are those of runs under way; the others are counted.
    """
    title = Text(cut(printable(f"{sweep.ablation}: {sweep.question}" if sweep.question else sweep.ablation), width))
    title.stylize("bold", 0, min(len(title), len(printable(sweep.ablation))))
    news = [Text(cut(sweep.news, width), "yellow")] if sweep.news and sweep.recorded < len(sweep.runs) else []
    if sweep.damaged:
        news.append(Text(cut(printable(f"{len(sweep.damaged)} damaged: {sweep.damaged[0]}"), width), "red"))
        lines -= 1
    # The latest ends first; Python's sort keeps the plan's order otherwise.
    ordered = sorted(sweep.runs, key=lambda run: run.ended_at, reverse=True)
    ordered.sort(key=lambda run: STATES.index(run.state))
    if active_alone:
        shown = [run for run in ordered if run.state in ACTIVE][:max(1, lines)]
    else:
        shown = ordered if len(ordered) <= lines else ordered[:max(1, lines - 1)]
    rest = ordered[len(shown):]
    counts = [Text(cut(_counted(rest, alone=not shown), width), "dim")] if rest else []
    table: list[RenderableType] = [Text(), _rows(sweep, shown, width)] if shown else []
    return Group(title, _head(sweep, width), *news, *table, *counts)


def _head(sweep: Sweep, width: int) -> RenderableType:
    """Draws the bar over all runs, with as much of what is known as fits behind it."""
    parts = [f"{sweep.recorded} of {len(sweep.runs)} runs recorded"]
    if sweep.compiling_s is not None:
        parts.append(f"compiling ({sweep.compiling_s:.0f} s)")
    if sweep.left_s is not None:
        parts.append(f"about {duration(sweep.left_s)} left")
    if sweep.examples_per_s:
        parts.append(f"{sweep.examples_per_s:,.0f} examples/s")
    while len(parts) > 1 and _BAR + 1 + len(", ".join(parts)) > width:
        parts.pop()
    told = ", ".join(parts)
    bar = ProgressBar(total=max(1, len(sweep.runs)), completed=sum(run.part for run in sweep.runs),
                      width=max(_BAR, min(_HEAD_BAR, width - 1 - len(told))))
    head = Table.grid(padding=(0, 1))
    head.add_row(bar, Text(told, no_wrap=True))
    return head


def _rows(sweep: Sweep, shown: Sequence[RunState], width: int) -> Table:
    compiling = f"compiling ({sweep.compiling_s or 0:.0f} s)"

    def state(run: RunState) -> str:
        return compiling if run.state == "compiling" and sweep.compiling_s is not None else run.state

    fixed = [_Column("state", state), _Column("epoch", _epoch)]
    scores = [
        # The first is dropped last.
        _Column("val.\nacc. %", lambda run: _number(run.validation_accuracy, 2, 100)),
        _Column("left", lambda run: duration(run.left_s)),
        _Column("test\nacc. %", lambda run: _number(run.test_accuracy, 2, 100)),
        _Column("val.\nloss", lambda run: _number(run.validation_loss, 4)),
        _Column("train\nloss", lambda run: _number(run.train_loss, 4))]
    scores = [column for column in scores if any(map(column.write, shown))]
    room = width - _BAR - _GAP - sum(column.width(shown) + _GAP for column in fixed)
    words, names = _named(sweep.runs, shown, room - (scores[0].width(shown) + _GAP if scores else 0))
    widest = max(map(cell_len, names))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), collapse_padding=True)
    table.add_column(Text("\n".join(paragraph(words, max(widest, len("run")), 2))), no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR)
    for column in (fixed[1], *_fitting(scores, shown, room - widest)):
        table.add_column(column.header, justify="right", no_wrap=True)
    for run, name in zip(shown, names, strict=True):
        bar = ProgressBar(total=1.0, completed=run.part, width=_BAR) if run.part or run.state in ACTIVE else Text()
        figures = (column.write(run) for column in scores[:len(table.columns) - 4])
        table.add_row(Text(name), Text(state(run), _STYLES.get(run.state, "")), bar, _epoch(run), *figures)
    return table


def _named(runs: Sequence[RunState], shown: Sequence[RunState], width: int) -> tuple[str, list[str]]:
    """Names the runs shown by what tells them apart from all; and says what stands above the names."""
    words, names = distinct([printable(run.run_id) for run in runs], max(_LEAST_NAME, width))
    places = {run.run_id: place for place, run in enumerate(runs)}
    return words or "run", [names[places[run.run_id]] for run in shown]


def _fitting(columns: Sequence[_Column], shown: Sequence[RunState], width: int) -> list[_Column]:
    """Takes the first columns, as many as fit."""
    taken = list(itertools.accumulate(column.width(shown) + _GAP for column in columns))
    return [column for column, needed in zip(columns, taken, strict=True) if needed <= width]


def _counted(runs: Sequence[RunState], *, alone: bool) -> str:
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return told if alone else f"and {len(runs)} more: {told}"


def _epoch(run: RunState) -> str:
    if not run.epoch and run.state in ("waiting", "missing"):
        return ""
    return f"{run.epoch}/{run.epochs}" if run.epochs else str(run.epoch)


def _number(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "" if value is None else f"{value * scale:.{digits}f}"
