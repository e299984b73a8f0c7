"""A benchmark's pictures as PNG bytes, the same bytes for the same measurements."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
from matplotlib.figure import Figure

from harness.benchmark.rounds import OWN
from harness.benchmark.tables import Row, Spread, rates, rows, spread
from harness.reporting.figures import style as plots

_SIDES = (OWN, "keras", "torch")


def throughput(results: Mapping[str, Any]) -> bytes:
    """Draws images per second, a panel per network and precision, a line per side that passed the guard.

    Training is drawn against K, a forward pass against the resolution.
    """
    panels: dict[str, list[Row]] = {}
    for row in rows(results):
        if row.throughput and row.learned:
            title = "MobileNetV2 forward" if row.task == "forward" else row.workload
            panels.setdefault(f"{title}, {row.precision}", []).append(row)

    def draw() -> Figure:
        columns = min(3, max(1, len(panels)))
        lines = max(1, math.ceil(len(panels) / columns))
        figure = Figure(figsize=(max(6.0, 3.4 * columns + 0.4), 2.7 * lines + 0.8), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for axes, (title, found) in zip(grid, panels.items(), strict=False):
            for side in sorted({row.side for row in found}, key=_SIDES.index):
                points = {_at(row): row.throughput for row in found if row.side == side and row.throughput}
                handles[side] = _line(axes, points, plots.STYLES[_SIDES.index(side)])
            axes.set_title(title)
            axes.set_xlabel("resolution, pixels" if found[0].task == "forward" else "K, runs trained")
            _runs_axis(axes, {_at(row) for row in found})
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))
        for axes in grid[len(panels):]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel("images/s")
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False,
                      handlelength=4)
        figure.suptitle("Throughput (median, lowest and highest of the rounds)", fontsize=10)
        return figure

    return plots.png(draw)


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
        label = f"{case['workload']}, {case['precision']}"
        if case["scale"] == 1:
            by_runs.setdefault(label, {})[case["runs"]] = time_s
        if case["runs"] == 1:
            by_scale.setdefault(label, {})[case["scale"]] = time_s

    def draw() -> Figure:
        figure = Figure(figsize=(9, 4), layout="constrained")
        handles = {}
        for axes, found, title in zip(figure.subplots(1, 2, sharey=True), (by_runs, by_scale),
                                      ("K, runs trained", "data, times the workload's, K = 1"), strict=True):
            for number, (label, points) in enumerate(found.items()):
                first = points[min(points)].median
                relative = {at: Spread(*(value / first for value in time_s)) for at, time_s in points.items()}
                handles[label] = _line(axes, relative, plots.STYLES[number % len(plots.STYLES)])
            axes.set_xlabel(title)
            _runs_axis(axes, {at for points in found.values() for at in points})
            axes.set_ylim(bottom=0)
            axes.axhline(1, **plots.REFERENCE)
        figure.axes[0].set_ylabel("seconds per run and example,\nrelative to the first point")
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False,
                      handlelength=4)
        figure.suptitle("How cost grows: flat or falling is as it should be", fontsize=10)
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
