"""A benchmark's pictures as PNG bytes, the same bytes for the same measurements."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
from matplotlib.figure import Figure

from harness.benchmark.rounds import OWN
from harness.benchmark.tables import Row, Spread, rates, rows, spread
from harness.benchmark.workloads import WORKLOADS
from harness.reporting.figures import fonts
from harness.reporting.figures import style as plots

_SIDES = {OWN: "this harness", "keras": "Keras", "torch": "PyTorch"}
_FORWARD = "features of images by a frozen MobileNetV2"
_RUNS = "number of runs trained (K)"
_PANEL, _SIZE = 3.6, 9.0  # a panel's width in inches, text in points


def throughput(results: Mapping[str, Any]) -> bytes:
    """Draws images per second, a panel per network and precision, a line per side that passed the guard.

    Training is drawn against K, a forward pass against the resolution.
    """
    panels: dict[str, list[Row]] = {}
    for row in rows(results):
        if row.throughput and row.learned and row.task in ("train", "forward"):
            title = _FORWARD if row.task == "forward" else _named(row.workload)
            panels.setdefault(f"{title}, {row.precision}", []).append(row)

    def draw() -> Figure:
        columns = min(3, max(1, len(panels)))
        lines = max(1, math.ceil(len(panels) / columns))
        figure = Figure(figsize=(max(6.0, _PANEL * columns + 0.4), 2.9 * lines + 0.8), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for axes, (title, found) in zip(grid, panels.items(), strict=False):
            for side, style in zip(_SIDES, plots.STYLES, strict=False):
                if points := {_at(row): row.throughput for row in found if row.side == side and row.throughput}:
                    handles[_SIDES[side]] = _line(axes, points, style)
            axes.set_title(fonts.wrap(title, _PANEL - 0.5, _SIZE))
            axes.set_xlabel("resolution, pixels" if found[0].task == "forward" else _RUNS)
            _runs_axis(axes, {_at(row) for row in found})
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))
        for axes in grid[len(panels):]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel("images/s")
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False,
                      handlelength=4)
        figure.suptitle("Images per second, more is better (median, lowest and highest of the rounds)", fontsize=10)
        return figure

    return plots.png(draw)


def _named(workload: str) -> str:
    """Says what network a workload is; the name alone where it is known no more."""
    return f"{workload}: {WORKLOADS[workload].question}" if workload in WORKLOADS else workload


def _at(row: Row) -> int:
    return (row.image_px or 0) if row.task == "forward" else row.runs


def scaling(results: Mapping[str, Any]) -> bytes:
    """Draws the time of a run against K, and the time of a run for the workload's data against the size of its data."""
    by_runs: dict[str, dict[int, Spread]] = {}
    by_scale: dict[str, dict[int, Spread]] = {}
    for case in results["cases"]:
        if not (measured := rates(case["sides"][OWN])):
            continue
        # Seconds for one run to see the workload's examples once, as many as there are at scale 1.
        time_s = spread([case["examples"] / case["scale"] / rate for rate in measured])
        label = f"{_named(case['workload'])}, {case['precision']}"
        if case["scale"] == 1:
            by_runs.setdefault(label, {})[case["runs"]] = time_s
        if case["runs"] == 1:
            by_scale.setdefault(label, {})[case["scale"]] = time_s

    def draw() -> Figure:
        names = [*by_runs, *(name for name in by_scale if name not in by_runs)]
        columns = fonts.columns(names, 10, _SIZE, handle=0.7)
        figure = Figure(figsize=(10, 3.6 + 0.2 * math.ceil(len(names) / columns)), layout="constrained")
        handles = {}
        for axes, found, title in zip(figure.subplots(1, 2, sharey=True), (by_runs, by_scale),
                                      (_RUNS, "data of one run, as a multiple of the smallest"), strict=True):
            for label, points in found.items():
                first = points[min(points)].median
                relative = {at: Spread(*(value / first for value in time_s)) for at, time_s in points.items()}
                handles[label] = _line(axes, relative, plots.STYLES[names.index(label) % len(plots.STYLES)])
            axes.set_xlabel(title)
            _runs_axis(axes, {at for points in found.values() for at in points})
            axes.set_ylim(bottom=0)
            axes.axhline(1, **plots.REFERENCE)
        figure.axes[0].set_ylabel("seconds per run and example,\nrelative to the first point")
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, frameon=False,
                      handlelength=4)
        figure.suptitle("Time per run and example as work grows: flat or falling is as it should be", fontsize=10)
        return figure

    return plots.png(draw)


def _line(axes: Any, points: Mapping[int, Spread], style: Mapping[str, Any]) -> Any:
    at = sorted(points)
    medians = [points[x].median for x in at]
    errors = [[points[x].median - points[x].low for x in at], [points[x].high - points[x].median for x in at]]
    return axes.errorbar(at, medians, yerr=errors, capsize=2, **style)


def _runs_axis(axes: Any, values: Sequence[int] | set[int]) -> None:
    """Doubling steps evenly; a tick at each value measured."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(values), [str(value) for value in sorted(values)])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
