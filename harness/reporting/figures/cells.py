"""Pictures with a mark per cell: effects with their intervals, and accuracy against what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from harness.analysis.cells import CellRow, Summary, ranked
from harness.analysis.stats import Estimate
from harness.reporting import rounded
from harness.reporting.figures.style import REFERENCE, STYLES, short

MOST_ROWS = 60
_MOST_NAMED = 8
_SURE: dict[str, Any] = {"color": "#0072B2", "marker": "o", "markersize": 5}
_UNSURE: dict[str, Any] = _SURE | {"markerfacecolor": "white"}


def rows_drawn(summary: Summary) -> list[CellRow]:
    """Lists the cells that `effects` has room for: all in the plan's order, or the baseline and the highest means."""
    if len(summary.rows) <= MOST_ROWS:
        return list(summary.rows)
    baseline = [row for row in summary.rows if row.is_baseline]
    return baseline + [row for row in ranked(summary) if not row.is_baseline][:MOST_ROWS - len(baseline)]


def effects(summary: Summary, accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Draws each cell's test accuracy, and beside it its difference from the baseline, with intervals.

    Args:
      summary: estimates per cell.
      accuracies: cell -> the fractions behind its mean, one per done run.
    """
    rows = rows_drawn(summary)
    with_difference = any(row.difference.n for row in rows)
    figure = Figure(figsize=(10, 1.3 + 0.27 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 2 if with_difference else 1, sharey=True, squeeze=False)[0]
    for place, row in enumerate(rows):
        seeds = [100 * value for value in accuracies.get(row.cell, ())]
        panels[0].plot(seeds, [place + 0.22] * len(seeds), linestyle="none", marker="|", color="#666666", markersize=5)
        _interval(panels[0], place, row.test_accuracy, STYLES[0] | {"markersize": 5})
        if not row.runs["done"]:
            panels[0].text(0.01, place, "no done run", transform=panels[0].get_yaxis_transform(), va="center",
                           color="#666666")
        if with_difference:
            is_clear = row.comparison is not None and row.comparison.verdict != "unclear"
            _interval(panels[1], place, row.difference, _SURE if is_clear else _UNSURE)
            if row.is_baseline:
                panels[1].text(0, place, "baseline ", ha="right", va="center", color="#666666",
                               clip_on=True)
    baseline = next((row.test_accuracy.mean for row in rows if row.is_baseline), None)
    if baseline is not None:
        panels[0].axvline(100 * baseline, zorder=0, **REFERENCE)
    panels[0].set_yticks(range(len(rows)), [short(row.label, 60) for row in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_xlabel("test accuracy (%)")
    _zoom(panels[0], [row.test_accuracy for row in rows])
    if with_difference:
        panels[1].axvline(0, zorder=0, **REFERENCE)
        panels[1].set_xlabel("difference from the baseline (percentage points)")
        _zoom(panels[1], [row.difference for row in rows])
    return figure


def _interval(axes: Any, place: int, estimate: Estimate, style: Mapping[str, Any]) -> None:
    if estimate.mean is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=style["color"], linewidth=1.4)
    axes.plot([100 * estimate.mean], [place], **(dict(style) | {"linestyle": "none"}))


def _zoom(axes: Any, estimates: Sequence[Estimate]) -> None:
    """Keeps a cell far off from flattening all others: beyond the axis it is an arrow with its figure."""
    means = np.array([100 * estimate.mean for estimate in estimates if estimate.mean is not None])
    if not len(means):
        return
    middle = np.median(means)
    widths = [100 * (estimate.high - estimate.low) for estimate in estimates
              if estimate.low is not None and estimate.high is not None]
    reach = max(8 * float(np.median(np.abs(means - middle))), 2 * float(np.median(widths)) if widths else 0.0, 1.0)
    if np.all(np.abs(means - middle) <= reach):
        spread = float(np.ptp(means)) or 1.0
        left, right = means.min() - 1.5 * max(spread, reach / 4), means.max() + 1.5 * max(spread, reach / 4)
    else:
        left, right = middle - reach, middle + reach
    kept = means[(means >= left) & (means <= right)]
    ends = [100 * end for estimate in estimates for end in (estimate.low, estimate.high) if end is not None]
    left = max(left, min([*ends, *kept]) - 0.2)
    right = min(right, max([*ends, *kept]) + 0.2)
    axes.set_xlim(left, right)
    for place, estimate in enumerate(estimates):
        if estimate.mean is None or left <= 100 * estimate.mean <= right:
            continue
        is_left = 100 * estimate.mean < left
        axes.text(0.01 if is_left else 0.99, place, f"◀ {100 * estimate.mean:.1f}" if is_left
                  else f"{100 * estimate.mean:.1f} ▶", transform=axes.get_yaxis_transform(), va="center",
                  ha="left" if is_left else "right", color="#D55E00")


def pareto_front(cost: Sequence[float], accuracy: Sequence[float]) -> np.ndarray:
    """Marks the points that no other dominates, bool [point].

    A point is dominated if another costs no more, is at least as accurate, and is better in one of the two.
    """
    costs, accuracies = np.asarray(cost, dtype=float), np.asarray(accuracy, dtype=float)
    no_worse = (costs[:, None] <= costs) & (accuracies[:, None] >= accuracies)
    better = (costs[:, None] < costs) | (accuracies[:, None] > accuracies)
    return ~np.any(no_worse & better, axis=0)


def costs(summary: Summary) -> dict[str, dict[str, float]]:
    """Gives what cells cost and where cells differ in it: title -> cell -> value, of cells with done runs."""
    found: dict[str, dict[str, float]] = {_PARAMETERS: {}, _MEMORY: {}, _THROUGHPUT: {}}
    for row in ranked(summary):
        if row.cost:
            found[_PARAMETERS][row.cell] = float(row.cost.parameters)
            found[_MEMORY][row.cell] = row.cost.memory_estimate_bytes / 2**20
        if row.timing:
            found[_THROUGHPUT][row.cell] = row.timing.throughput_examples_per_s
    return {title: values for title, values in found.items() if len(set(values.values())) > 1}


_PARAMETERS, _MEMORY, _THROUGHPUT = "parameters", "estimated memory of a run (MiB)", "training examples/s of a run"


def fronts(summary: Summary) -> dict[str, list[CellRow]]:
    """Gives the cells on the Pareto front of each cost in which cells differ, the highest mean first."""
    rows = {row.cell: row for row in ranked(summary)}
    found = {}
    for title, values in costs(summary).items():
        sign = -1 if title == _THROUGHPUT else 1
        mask = pareto_front([sign * value for value in values.values()],
                            [rows[cell].test_accuracy.mean or 0.0 for cell in values])
        found[title] = [rows[cell] for cell, is_front in zip(values, mask, strict=True) if is_front]
    return found


def pareto(summary: Summary) -> Figure:
    """Draws test accuracy against each cost in which cells differ; the front is a line and its cells have numbers."""
    panels = costs(summary)
    rows = {row.cell: row for row in ranked(summary)}
    on_front = {title: [row.cell for row in front] for title, front in fronts(summary).items()}
    named = [cell for cell in rows if any(cell in front for front in on_front.values())]
    if len(named) > _MOST_NAMED:
        named = [named[place] for place in np.linspace(0, len(named) - 1, _MOST_NAMED).astype(int)]
    columns = 1 if max(len(rows[cell].label) for cell in named) > 50 else 2
    lines = -(-len(named) // columns)
    figure = Figure(figsize=(max(6.0, 3.5 * len(panels)), 3.5 + 0.2 * lines), layout="constrained")
    subplots = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    bottom = _bottom(subplots[0], [row.test_accuracy for row in rows.values()])
    for axes, (title, values) in zip(subplots, panels.items(), strict=True):
        axes.grid(visible=True, alpha=0.2)
        for cell, value in values.items():
            is_front = cell in on_front[title]
            _point(axes, value, rows[cell].test_accuracy, is_front=is_front)
            mean = 100 * (rows[cell].test_accuracy.mean or 0.0)
            if is_front and cell in named:
                number = str(named.index(cell) + 1)
                axes.annotate(number if mean >= bottom else f"{number} ▼ {mean:.1f}", (value, max(mean, bottom)),
                              textcoords="offset points", xytext=(5, 4), fontsize=9, fontweight="bold")
        front = sorted(on_front[title], key=values.__getitem__)
        axes.plot([values[cell] for cell in front], [100 * (rows[cell].test_accuracy.mean or 0.0) for cell in front],
                  drawstyle="steps-pre" if title == _THROUGHPUT else "steps-post", color=_SURE["color"], linewidth=1.2,
                  zorder=1)
        _cost_axis(axes, list(values.values()))
        axes.set_xlabel(f"{title}\n{'more is better →' if title == _THROUGHPUT else '← less is better'}")
    figure.axes[0].set_ylabel("test accuracy (%)")
    blank = [figure.axes[0].plot([], [], linestyle="none")[0] for _ in named]
    names = [f"{number}: {short(rows[cell].label, 100 // columns)}" for number, cell in enumerate(named, 1)]
    figure.legend(blank, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=0)
    return figure


def _point(axes: Any, value: float, estimate: Estimate, *, is_front: bool) -> None:
    colour = _SURE["color"] if is_front else "#888888"
    mean = 100 * (estimate.mean or 0.0)
    if estimate.low is not None and estimate.high is not None:
        axes.plot([value, value], [100 * estimate.low, 100 * estimate.high], color=colour, alpha=0.5, linewidth=1)
    axes.plot([value], [mean], linestyle="none", marker="o" if is_front else "x", color=colour,
              markersize=6 if is_front else 4)


def _cost_axis(axes: Any, values: Sequence[float]) -> None:
    # Powers of ten apart, a linear axis would put all but the largest on one spot.
    if max(values) > 4 * min(values) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: rounded.count(value)))
    else:
        # Cells that hardly differ would get the same three digits.
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.margins(x=0.12)


def _bottom(axes: Any, estimates: Sequence[Estimate]) -> float:
    """Zooms in on the upper cells, so that one that hardly learned does not flatten them; returns the axis's end."""
    means = np.array([100 * estimate.mean for estimate in estimates if estimate.mean is not None])
    top, reach = means.max(), max(4 * (means.max() - np.median(means)), 1.0)
    lowest = means[means >= top - reach].min()
    room = max(top - lowest, 0.5)
    ends = [100 * end for estimate in estimates for end in (estimate.low, estimate.high) if end is not None]
    low = max(min([lowest - 0.15 * room, *ends]), lowest - 0.6 * room)
    axes.set_ylim(low, min(max([top + 0.15 * room, *ends]), top + 0.6 * room))
    return float(low)
