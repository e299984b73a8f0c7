"""The picture of effects: every cell's accuracy and its difference from the baseline, with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from harness.analysis.cells import CellRow, Summary, ranked
from harness.analysis.stats import Estimate
from harness.records import narrow
from harness.reporting.figures import fonts
from harness.reporting.figures.style import REFERENCE, STYLES

MOST_ROWS = 60
_PANEL = 3.9  # inches wide
_LONGEST = 3.6  # inches of a name
_SIZE = 9.0  # points of a name
_CELLS = 45  # characters that such room has in any case
_SURE: dict[str, Any] = {"color": "#0072B2", "marker": "o", "markersize": 5}
_UNSURE: dict[str, Any] = _SURE | {"markerfacecolor": "white"}


def rows_drawn(summary: Summary) -> list[CellRow]:
    """Lists the cells that `effects` has room for: all in the plan's order, or the baseline and the highest means."""
    if len(summary.rows) <= MOST_ROWS:
        return list(summary.rows)
    best = [row for row in ranked(summary) if not row.is_baseline]
    baselines = [row for row in summary.rows if row.is_baseline]
    if len(baselines) > MOST_ROWS // 2:  # those of the highest means
        needed = {row.baseline for row in best[:MOST_ROWS // 2]}
        baselines = [row for row in baselines if row.cell in needed]
    return baselines + best[:MOST_ROWS - len(baselines)]


def effects(summary: Summary, accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Draws each cell's test accuracy, and beside it its difference from the baseline, with intervals.

    Args:
      summary: estimates per cell.
      accuracies: cell -> the fractions behind its mean, one per done run.
    """
    rows = rows_drawn(summary)
    with_difference = any(row.difference.n for row in rows)
    shared, names = _names(rows)
    number = 2 if with_difference else 1
    figure = Figure(figsize=(max(6.0, 0.3 + fonts.widest(names, _SIZE) + _PANEL * number), 1.3 + 0.27 * len(rows)),
                    layout="constrained")
    panels = figure.subplots(1, number, sharey=True, squeeze=False)[0]
    seeds = [[100 * value for value in accuracies.get(row.cell, ())] for row in rows]
    for place, row in enumerate(rows):
        panels[0].plot(seeds[place], [place + 0.22] * len(seeds[place]), linestyle="none", marker="|", color="#666666",
                       markersize=5)
        _interval(panels[0], place, row.test_accuracy, STYLES[0] | {"markersize": 5})
        if not row.runs["done"]:
            panels[0].text(0.01, place, "no done run", transform=panels[0].get_yaxis_transform(), va="center",
                           color="#666666")
        if with_difference:
            is_clear = row.comparison is not None and row.comparison.verdict != "unclear"
            _interval(panels[1], place, row.difference, _SURE if is_clear else _UNSURE)
    baselines = [row.test_accuracy.mean for row in rows if row.is_baseline]
    if len(baselines) == 1 and baselines[0] is not None:
        panels[0].axvline(100 * baselines[0], zorder=0, **REFERENCE)
    panels[0].set_yticks(range(len(rows)), names)
    panels[0].text(-0.02, 1.0, shared, transform=panels[0].transAxes, ha="right", va="bottom", fontsize=_SIZE)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_xlabel("test accuracy (%)")
    _zoom(panels[0], [row.test_accuracy for row in rows], seeds)
    if with_difference:
        panels[1].axvline(0, zorder=0, **REFERENCE)
        panels[1].set_xlabel("difference from the baseline (percentage points)")
        _zoom(panels[1], [row.difference for row in rows], reference=0.0)
        low, high = panels[1].get_xlim()
        side = "right" if -low > high else "left"  # of the words that end, or begin, at zero
        for place in (place for place, row in enumerate(rows) if row.is_baseline):
            panels[1].text(0, place, " baseline ", ha=side, va="center", color="#666666", clip_on=True)
    return figure


def _names(rows: Sequence[CellRow]) -> tuple[str, list[str]]:
    """Makes the cells' labels fit; gives what stands once above them, where they would else be cut to the same."""
    labels = [row.label for row in rows]
    names = [fonts.fit(label, _LONGEST, _SIZE) for label in labels]
    if len(set(names)) == len(set(labels)):
        return "", names
    words, short = narrow.distinct([label.replace(", ", ",") for label in labels], _CELLS)
    return fonts.fit(words, _LONGEST, _SIZE), [fonts.fit(name, _LONGEST, _SIZE) for name in short]


def _interval(axes: Any, place: int, estimate: Estimate, style: Mapping[str, Any]) -> None:
    if estimate.mean is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=style["color"], linewidth=1.4)
    axes.plot([100 * estimate.mean], [place], **(dict(style) | {"linestyle": "none"}))


def _zoom(axes: Any, estimates: Sequence[Estimate], seeds: Sequence[Sequence[float]] = (),
          reference: float | None = None) -> None:
    """Keeps a cell or a seed far off from flattening all others: beyond the axis they are arrows.

    Args:
      seeds: what is behind each estimate, in percent.
      reference: a value that stays in view.
    """
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
    near = [seed for values in seeds for seed in values if abs(seed - middle) <= 2 * reach]
    left, right = max(left, min([*ends, *kept]) - 0.2), min(right, max([*ends, *kept]) + 0.2)
    if near:
        left, right = min(left, min(near) - 0.2), max(right, max(near) + 0.2)
    if reference is not None:
        left = min(left, reference - 0.05 * (right - reference))
        right = max(right, reference + 0.05 * (reference - left))
    axes.set_xlim(left, right)
    for place, estimate in enumerate(estimates):
        if estimate.mean is None:
            continue
        if not left <= 100 * estimate.mean <= right:
            _arrow(axes, place, 100 * estimate.mean, is_left=100 * estimate.mean < left, color="#D55E00")
            continue
        values = seeds[place] if seeds else ()
        for beyond, is_left in (([value for value in values if value < left], True),
                                ([value for value in values if value > right], False)):
            if beyond:
                _arrow(axes, place + 0.3, min(beyond) if is_left else max(beyond), is_left=is_left, color="#666666",
                       fontsize=6)


def _arrow(axes: Any, place: float, value: float, *, is_left: bool, **style: Any) -> None:
    axes.text(0.01 if is_left else 0.99, place, f"◀ {value:.1f}" if is_left else f"{value:.1f} ▶",
              transform=axes.get_yaxis_transform(), va="center", ha="left" if is_left else "right", zorder=5,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, **style)
