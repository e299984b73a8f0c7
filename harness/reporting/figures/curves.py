"""Learning curves: of every cell, and of the baseline beside the highest other cell."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.cells import CellRow, Summary
from harness.reporting.figures import fonts
from harness.reporting.figures.style import REFERENCE, STYLES, by_cell

Metric = Literal["accuracy", "loss"]
METRICS: tuple[Metric, ...] = ("accuracy", "loss")
Curves = Mapping[str, Sequence[pd.DataFrame]]

_TRAIN, _VALIDATION = STYLES[1], STYLES[2]
_SPLITS = ("training, measured during the epoch", "validation, after the epoch")
_NOTE = "mean over seeds, band from the lowest to the highest seed"
_WIDTH, _SIZE = 10.0, 9.0  # of a figure, in inches; of text, in points
_HANDLE = 0.7  # inches of a key's line with the gap behind it
# A panel each takes a tenth of a second; beyond these all cells share one.
_MOST_PANELS = 36
_FAR = 10.0  # points of accuracy


def learning_curves(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    """Draws every cell's training and validation curve.

    Up to six cells lie over each other, up to 36 have a panel each, more are thin lines with two of them named. A mean
    stops where the first of its seeds does: going on with the others would show their selection, not learning.

    Args:
      summary: names the cells and their order.
      curves: cell -> a learning curve per done run.
      metric: what to draw.
    """
    cells = len(summary.rows)
    draw = _overlay if cells <= len(STYLES) else _panels if cells <= _MOST_PANELS else _bundle
    return draw(summary, curves, metric)


def contrast(summary: Summary, rows: Sequence[CellRow], curves: Curves) -> Figure:
    """Draws the curves of a few cells, two as a rule, training and validation in one panel per metric."""
    styles = by_cell(summary)
    lines = [(row, split, line, styles[row.cell] | {"linestyle": line, "marker": marker})
             for row in rows for split, line, marker in (
                 ("train", "--", "none"), ("validation", "-", styles[row.cell]["marker"]))]
    names = [f"{'baseline: ' if row.is_baseline else ''}{_legend(row, curves)}, "
             f"{'training' if split == 'train' else split}" for row, split, *_ in lines]
    figure, panels = _two_panels(names)
    metrics: tuple[Metric, Metric] = ("accuracy", "loss")
    for axes, metric in zip(panels, metrics, strict=True):
        handles = [_draw(axes, curves.get(row.cell, ()), f"{split}_{metric}", style) for row, split, _, style in lines]
        axes.set_xlabel("epoch")
        axes.set_title(_axis_title(metric))
        _finish(axes, metric)
    _key(figure, handles, names)
    return figure


def _two_panels(names: Sequence[str], *, shared: bool = False, heading: bool = False) -> tuple[Figure, Any]:
    """Opens a figure of two panels, as high as the key below them needs."""
    lines = math.ceil(len(names) / fonts.columns(names, _WIDTH, _SIZE, _HANDLE)) + heading
    figure = Figure(figsize=(_WIDTH, 3.9 + 0.18 * lines), layout="constrained")
    return figure, figure.subplots(1, 2, sharex=shared, sharey=shared)


def _key(figure: Any, handles: Sequence[Any], names: Sequence[str], title: str | None = None) -> None:
    figure.legend(handles, [fonts.fit(name, _WIDTH - 1, _SIZE) for name in names], loc="outside lower center",
                  ncols=fonts.columns(names, _WIDTH, _SIZE, _HANDLE), frameon=False, handlelength=4, title=title)


def _overlay(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    names = [_legend(row, curves) for row in summary.rows]
    alone = summary.factors[0] if len(summary.factors) == 1 else None
    named = all(row.label.startswith(f"{alone}=") for row in summary.rows)
    factor = fonts.fit(alone, _WIDTH, _SIZE) if alone and not named else None
    figure, panels = _two_panels(names, shared=True, heading=factor is not None)
    styles = by_cell(summary)
    for axes, split, title in zip(panels, ("train", "validation"), _SPLITS, strict=True):
        lines = [_draw(axes, curves.get(row.cell, ()), f"{split}_{metric}", styles[row.cell]) for row in summary.rows]
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _finish(axes, metric)
    panels[0].set_ylabel(_axis_title(metric))
    _cut(panels[0], curves, metric)
    _key(figure, lines, names, factor)
    _titles(figure, summary, curves, metric)
    return figure


def _panels(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    columns = 3 if len(summary.rows) <= 9 else 4
    rows = math.ceil(len(summary.rows) / columns)
    figure = Figure(figsize=(11, 2.3 * rows + 1.2), layout="constrained")
    room = 11 / columns - 0.5
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    handles = {}
    for axes, row in zip(panels, summary.rows, strict=False):
        if baseline := row.cell if row.is_baseline else row.baseline:
            handles["validation, baseline"] = _draw(
                axes, curves.get(baseline, ()), f"validation_{metric}", REFERENCE, band=False)
        handles["training"] = _draw(axes, curves.get(row.cell, ()), f"train_{metric}", _TRAIN)
        handles["validation"] = _draw(axes, curves.get(row.cell, ()), f"validation_{metric}", _VALIDATION)
        if not curves.get(row.cell):
            axes.text(0.5, 0.5, "no done run", transform=axes.transAxes, ha="center", va="center")
        axes.set_title(fonts.wrap(_legend(row, curves), room, _SIZE))
        _finish(axes, metric)
    _cut(panels[0], curves, metric)
    lost = below(curves) if metric == "accuracy" else {}
    for axes, row in zip(panels, summary.rows, strict=False):
        if row.cell in lost:
            axes.text(0.5, 0.06, f"▼ ends at {lost[row.cell]:.1f} %", transform=axes.transAxes, ha="center")
    for axes in panels[:len(summary.rows)][-columns:]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("epoch")
    for axes in panels[len(summary.rows):]:
        axes.set_visible(False)
    figure.supylabel(_axis_title(metric), fontsize=9)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False,
                  handlelength=4)
    _titles(figure, summary, curves, metric)
    return figure


def _cut(axes: Any, curves: Curves, metric: Metric) -> None:
    """Has an axis of accuracy, and those that share it, begin where cells that hardly learned flatten no others."""
    if metric == "accuracy" and (floor := _floor(curves)) is not None:
        axes.set_ylim(bottom=floor)


def below(curves: Curves) -> dict[str, float]:
    """Finds the cells whose accuracy ends below where its axis begins: cell -> the end, in percent."""
    floor = _floor(curves)
    ends = {cell: _end(of_cell) for cell, of_cell in curves.items() if of_cell and floor is not None}
    return {cell: end for cell, end in ends.items() if floor is not None and end < floor}


def is_uneven(curves: Iterable[Sequence[pd.DataFrame]]) -> bool:
    """Whether the runs of a cell differ in their epochs."""
    return any(len({len(curve) for curve in of_cell}) > 1 for of_cell in curves)


def _floor(curves: Curves) -> float | None:
    """Finds where an axis of accuracy begins if cells that hardly learned would flatten the others; None if none do."""
    ends = {cell: _end(of_cell) for cell, of_cell in curves.items() if of_cell}
    if not ends:
        return None
    top = max(ends.values())
    least = top - max(4 * (top - float(np.median(list(ends.values())))), _FAR)
    lows = {learned: [float(_values(curves[cell], f"{split}_accuracy").min()) for cell, end in ends.items()
                      if (end >= least) == learned for split in ("train", "validation")] for learned in (True, False)}
    return min(lows[True]) - 1 if min(lows[False], default=math.inf) < min(lows[True]) - _FAR else None


def _end(curves: Sequence[pd.DataFrame]) -> float:
    return float(_mean(curves, "validation_accuracy")[-1])


def _bundle(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    """Draws a thin line per cell and names two of them."""
    known = [row for row in summary.rows if curves.get(row.cell) and not row.is_baseline]
    best = max(known, key=lambda row: row.test_accuracy.mean or 0.0, default=None)
    named = [row for row in summary.rows if row.is_baseline and (best is None or row.cell == best.baseline)][:1]
    named += [best] if best else []
    names = [f"{_legend(row, curves)}, {'baseline' if row.is_baseline else 'highest mean'}" for row in named]
    figure, panels = _two_panels(names, shared=True, heading=True)
    for axes, split, title in zip(panels, ("train", "validation"), _SPLITS, strict=True):
        lines = [_mean(curves[row.cell], f"{split}_{metric}") for row in summary.rows if curves.get(row.cell)]
        axes.add_collection(LineCollection(
            [np.column_stack((np.arange(1, len(line) + 1), line)) for line in lines], colors="#888888", alpha=0.5,
            linewidths=0.5), autolim=True)
        handles = [_draw(axes, curves.get(row.cell, ()), f"{split}_{metric}", style)
                   for row, style in zip(named, STYLES, strict=False)]
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _finish(axes, metric)
    panels[0].set_ylabel(_axis_title(metric))
    _cut(panels[0], curves, metric)
    _key(figure, handles, names, f"thin: the means of all {len(lines)} cells with a done run")
    _titles(figure, summary, curves, metric)
    return figure


def _draw(axes: Any, curves: Sequence[pd.DataFrame], column: str, style: Mapping[str, Any], band: bool = True) -> Any:
    """Draws the mean of [seed, epoch] over seeds; an empty line stands for a cell without a done run."""
    if not curves:
        return axes.plot([], [], **style)[0]
    values = _values(curves, column)
    epochs = values.shape[1]
    epoch = np.arange(1, epochs + 1)
    [line] = axes.plot(epoch, values.mean(axis=0), markevery=max(1, epochs // 8), **style)
    if band and len(curves) > 1:
        axes.fill_between(epoch, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.18, linewidth=0)
    return line


def _values(curves: Sequence[pd.DataFrame], column: str) -> np.ndarray:
    """Gathers [seed, epoch] up to the last epoch that all seeds reached; accuracies in percent."""
    epochs = min(len(curve) for curve in curves)
    values = np.array([curve[column].to_numpy(dtype=float)[:epochs] for curve in curves])
    return values * (100 if column.endswith("accuracy") else 1)


def _mean(curves: Sequence[pd.DataFrame], column: str) -> np.ndarray:
    return _values(curves, column).mean(axis=0)


def _finish(axes: Any, metric: Metric) -> None:
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    if metric == "loss":
        # A first epoch far off would flatten all that follows on a linear axis.
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(_LossLocator())
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())


class _LossLocator(matplotlib.ticker.LogLocator):
    """Puts as many ticks on a logarithmic axis as can be read, however few or many decades it shows."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        decades = math.log10(vmax / vmin) if 0 < vmin < vmax else 1.0
        self.set_params(subs=next(digits for most, digits in _DIGITS if decades <= most))
        return super().tick_values(vmin, vmax)


# Decades in view -> first digits that have a tick.
_DIGITS: tuple[tuple[float, Sequence[float]], ...] = (
    (0.35, [1 + half / 2 for half in range(18)]), (1.3, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)), (2.5, (1.0, 2.0, 5.0)),
    (3.5, (1.0, 3.0)), (math.inf, (1.0,)))


def _axis_title(metric: Metric) -> str:
    return "accuracy (%)" if metric == "accuracy" else "cross-entropy loss (log scale)"


def _legend(row: CellRow, curves: Curves) -> str:
    return fonts.fit(f"{row.label} (n={len(curves.get(row.cell, ()))})", _WIDTH - 3, _SIZE)


def _titles(figure: Any, summary: Summary, curves: Curves, metric: Metric) -> None:
    note = f"{_NOTE}; to the last epoch that all seeds reached" if is_uneven(curves.values()) else _NOTE
    figure.suptitle(fonts.wrap(f"{summary.ablation}: {metric} ({note})", _WIDTH - 0.2, 10), fontsize=10)
