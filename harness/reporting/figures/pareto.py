"""The picture of accuracy against what a cell's network costs.

Costs are those that are counted and so mean the same for every cell. Speed is left out: records do not say what else
the machine did meanwhile, and a head over computed features has another program than a whole network.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from harness.analysis.cells import CellRow, Summary, ranked
from harness.reporting.figures import fonts
from harness.reporting.figures.placement import Named, place
from harness.reporting.figures.style import by_cell

MACS, PARAMETERS, MEMORY = "MACs of an example", "parameters", "memory estimate (MiB)"
_COUNT = matplotlib.ticker.EngFormatter(sep=" ")  # 2.3 M, 116 k
_FRONT, _OTHER = "#0072B2", "#777777"
_SIZE, _PANEL, _ALIKE = 8.0, 3.7, 1.01
# Names stand at the points where they are few and short, else numbers that the key explains.
_MOST_NAMED, _LONGEST_NAMED = 8, 1.5


def costs(summary: Summary) -> dict[str, dict[str, float]]:
    """Gives what cells with done runs cost, where they differ by more than 1 %: title -> cell -> value."""
    found: dict[str, dict[str, float]] = {MACS: {}, PARAMETERS: {}, MEMORY: {}}
    for row in ranked(summary):
        if row.cost:
            found[MACS][row.cell] = float(row.cost.macs_per_example)
            found[PARAMETERS][row.cell] = float(row.cost.parameters)
            found[MEMORY][row.cell] = row.cost.memory_estimate_bytes / 2**20
    return {title: values for title, values in found.items()
            if values and max(values.values()) > _ALIKE * min(values.values())}


def pareto_front(cost: Sequence[float], accuracy: Sequence[float]) -> np.ndarray:
    """Marks the points that no other dominates, bool [point].

    A point is dominated if another costs no more, is at least as accurate, and is better in one of the two.
    """
    costs, accuracies = np.asarray(cost, dtype=float), np.asarray(accuracy, dtype=float)
    no_worse = (costs[:, None] <= costs) & (accuracies[:, None] >= accuracies)
    better = (costs[:, None] < costs) | (accuracies[:, None] > accuracies)
    return ~np.any(no_worse & better, axis=0)


def fronts(summary: Summary) -> dict[str, list[CellRow]]:
    """Gives the cells on the Pareto front of each cost in which cells differ, the highest mean first."""
    rows = {row.cell: row for row in ranked(summary)}
    found = {}
    for title, values in costs(summary).items():
        mask = pareto_front(list(values.values()), [rows[cell].test_accuracy.mean or 0.0 for cell in values])
        found[title] = [rows[cell] for cell, is_front in zip(values, mask, strict=True) if is_front]
    return found


class _Key(NamedTuple):
    """What stands at each point, and below what it is short for: cell -> text."""

    at_points: dict[str, str]
    below: list[str]


def pareto(summary: Summary) -> Figure:
    """Draws test accuracy against each cost in which cells differ; every cell is named, and the front is a line."""
    panels, rows, on_front = costs(summary), ranked(summary), fronts(summary)
    key = _key(rows, _PANEL * len(panels))
    figure, subplots, room = _figure(len(panels), key, len(rows))
    bottom = _zoom(subplots[0], rows)
    for axes, (title, values) in zip(subplots, panels.items(), strict=True):
        axes.grid(visible=True, alpha=0.2)
        front = [row.cell for row in on_front[title]]
        _points(axes, summary, values, front)
        line = sorted(front, key=values.__getitem__)
        means = {row.cell: 100 * (row.test_accuracy.mean or 0.0) for row in rows}
        axes.plot([values[cell] for cell in line], [means[cell] for cell in line], drawstyle="steps-post", color=_FRONT,
                  linewidth=1.2, zorder=1)
        _cost_axis(axes, list(values.values()), whole=title != MEMORY)
        axes.set_xlabel(f"{title}\n← less is better")
        place(axes, [Named(_text(key.at_points[cell], means[cell], bottom), value, max(means[cell], bottom),
                           is_strong=cell in front) for cell, value in values.items()], _SIZE)
    subplots[0].set_ylabel("test accuracy (%)")
    if key.below:
        _below(figure, key.below, room)
    return figure


def _key(rows: Sequence[CellRow], room: float) -> _Key:
    names = {row.cell: fonts.drawable(row.label) for row in rows}
    if len(names) <= _MOST_NAMED and fonts.widest(list(names.values()), _SIZE) <= _LONGEST_NAMED:
        return _Key(names, [])
    numbers = {cell: str(number) for number, cell in enumerate(names, 1)}
    return _Key(numbers, [fonts.fit(f"{numbers[cell]}: {name}", room - 0.4, _SIZE) for cell, name in names.items()])


def _text(name: str, mean: float, bottom: float) -> str:
    return name if mean >= bottom else f"{name} ▼ {mean:.1f}"


def _figure(panels: int, key: _Key, cells: int) -> tuple[Figure, list[Any], float]:
    """Opens a figure whose panels stay where they are, so that names can be placed; gives the room for a key, too."""
    width, height = 0.75 + _PANEL * panels, 3.2 + 0.02 * cells
    lines = math.ceil(len(key.below) / fonts.columns(key.below, width - 0.4, _SIZE)) if key.below else 0
    room = 0.16 * lines + 0.1 * bool(lines)
    whole = height + 0.35 + 0.6 + room
    figure = Figure(figsize=(width, whole))
    subplots: list[Any] = []
    for number in range(panels):
        left, bottom = 0.65 + _PANEL * number, 0.6 + room
        axes = figure.add_axes((left / width, bottom / whole, (_PANEL - 0.25) / width, height / whole),
                               sharey=subplots[0] if subplots else None)
        axes.tick_params(labelleft=number == 0)
        subplots.append(axes)
    return figure, subplots, width - 0.4


def _below(figure: Figure, names: Sequence[str], room: float) -> None:
    """Lists what the numbers mean, in columns read downwards."""
    width, whole = figure.get_size_inches()
    columns = fonts.columns(names, room, _SIZE)
    lines = math.ceil(len(names) / columns)
    step = max(fonts.widest(names, _SIZE) + 2 * _SIZE / 72, 0.0)
    left = (width - step * math.ceil(len(names) / lines)) / 2
    for number, name in enumerate(names):
        column, line = divmod(number, lines)
        figure.text((max(left, 0.1) + step * column) / width, (0.08 + 0.16 * (lines - 1 - line)) / whole, name,
                    fontsize=_SIZE, va="bottom")


def _points(axes: Any, summary: Summary, values: Mapping[str, float], front: Sequence[str]) -> None:
    """Marks each cell and its interval; few cells in the colours that they have in the other pictures."""
    styles, rows = by_cell(summary), {row.cell: row for row in summary.rows}
    for cell, value in values.items():
        estimate, is_front = rows[cell].test_accuracy, cell in front
        few = len(summary.rows) <= len({style["color"] for style in styles.values()})
        colour = styles[cell]["color"] if few else _FRONT if is_front else _OTHER
        if estimate.low is not None and estimate.high is not None:
            axes.plot([value, value], [100 * estimate.low, 100 * estimate.high], color=colour, alpha=0.4, linewidth=1)
        axes.plot([value], [100 * (estimate.mean or 0.0)], linestyle="none", color=colour, markersize=5.5,
                  marker=styles[cell]["marker"] if few else "o", markerfacecolor=colour if is_front else "white")


def _cost_axis(axes: Any, values: Sequence[float], *, whole: bool) -> None:
    # Powers of ten apart, a linear axis would put all but the largest on one spot.
    if max(values) > 4 * min(values) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    else:
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    axes.xaxis.set_major_formatter(_COUNT if whole else matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.12)


def _zoom(axes: Any, rows: Sequence[CellRow]) -> float:
    """Zooms in on the upper cells, so that one that hardly learned does not flatten them; returns the axis's end."""
    estimates = [row.test_accuracy for row in rows]
    means = np.array([100 * estimate.mean for estimate in estimates if estimate.mean is not None])
    top, reach = means.max(), max(4 * (means.max() - np.median(means)), 1.0)
    lowest = means[means >= top - reach].min()
    room = max(top - lowest, 0.5)
    ends = [100 * end for estimate in estimates for end in (estimate.low, estimate.high) if end is not None]
    low = max(min([lowest - 0.15 * room, *ends]), lowest - 0.6 * room)
    axes.set_ylim(low, min(max([top + 0.15 * room, *ends]), top + 0.6 * room))
    return float(low)
