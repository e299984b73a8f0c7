"""The style of all pictures, their rendering to the same bytes for the same records, and learning curves.

Every module that draws takes its style from here. Every cell is told apart by colour, line style and marker at once,
so that greyscale and colour-blind readers lose nothing.
"""

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from harness.analysis.cells import CellRow, Summary
from harness.records.text import printable
from harness.reporting import colours

Metric = Literal["accuracy", "loss"]
_NARROW = 24  # characters of a label of which three stand beside one another
METRICS: tuple[Metric, ...] = ("accuracy", "loss")
Curves = Mapping[str, Sequence[pd.DataFrame]]

_COLOURS = (colours.BASELINE, *colours.CELLS)
_LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = [{"color": colour, "linestyle": line, "marker": marker}
           for colour, line, marker in zip(_COLOURS, _LINES, _MARKERS, strict=False)]
_TRAIN, _VALIDATION = STYLES[1], STYLES[2]
REFERENCE = {"color": "#888888", "linestyle": "-", "linewidth": 1.0}
_SETTINGS: Any = {
    "font.size": 9, "axes.titlesize": 9, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.4, "lines.markersize": 4,
    "text.parse_math": False, "figure.dpi": 150, "pdf.fonttype": 42}
_SPLITS = ("training, measured during the epoch", "validation, after the epoch")
_NOTE = "mean over seeds, band from the lowest to the highest seed"
# A panel each takes a tenth of a second; beyond these all cells share one.
_MOST_PANELS = 36


class Picture(NamedTuple):
    """A picture for screens and, where it holds lines rather than images, one for print."""

    png: bytes
    pdf: bytes | None


def render(draw: Callable[[], Figure], *, vector: bool) -> Picture:
    """Has a figure drawn in the harness's style and renders it; neither file says when or by what."""
    # The reader's own matplotlibrc must not change the bytes.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A class may be named in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = draw()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        # A palette makes the file a third as large and is not seen. Lines have few colours, of which none may be merged
        # into another for being rare; images have many, of which the frequent ones need the finest steps.
        colours, method = (128, PIL.Image.Quantize.MAXCOVERAGE) if vector else (256, PIL.Image.Quantize.MEDIANCUT)
        pixels = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        pixels = pixels.quantize(colours, method, kmeans=int(vector), dither=PIL.Image.Dither.NONE)
        png = io.BytesIO()
        pixels.save(png, format="png", dpi=(150, 150), optimize=True)
        if not vector:
            return Picture(png.getvalue(), None)
        figure.set_layout_engine("none")  # The layout is found already.
        pdf = io.BytesIO()
        figure.savefig(pdf, format="pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return Picture(png.getvalue(), pdf.getvalue())


def png(draw: Callable[[], Figure]) -> bytes:
    """Renders a figure for screens alone."""
    return render(draw, vector=False).png


def short(text: str, width: int) -> str:
    """Makes a string from a record inert and at most so many characters long."""
    text = printable(text)
    return text if len(text) <= width else f"{text[:width - 1]}…"


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
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    metrics: tuple[Metric, Metric] = ("accuracy", "loss")
    styles = _styles(summary)
    for axes, metric in zip(figure.subplots(1, 2), metrics, strict=True):
        handles = {}
        for row in rows:
            style = styles[row.cell]
            for split, line, marker in (("train", "--", "none"), ("validation", "-", style["marker"])):
                role = "baseline: " if row.is_baseline else ""
                handles[f"{role}{_legend(row, curves)}, {'training' if split == 'train' else split}"] = _draw(
                    axes, curves.get(row.cell, ()), f"{split}_{metric}", style | {"linestyle": line, "marker": marker})
        axes.set_xlabel("epoch")
        axes.set_title(_axis_title(metric))
        _finish(axes, metric)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2, frameon=False,
                  handlelength=4)
    return figure


def _styles(summary: Summary) -> dict[str, dict[str, Any]]:
    """Gives each cell its colour, line and marker."""
    own = colours.cell_colours(summary)
    return {row.cell: style | {"color": own[row.cell]}
            for row, style in zip(summary.rows, itertools.cycle(STYLES), strict=False)}


def _overlay(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels, styles = figure.subplots(1, 2, sharex=True, sharey=True), _styles(summary)
    for axes, split, title in zip(panels, ("train", "validation"), _SPLITS, strict=True):
        lines = [_draw(axes, curves.get(row.cell, ()), f"{split}_{metric}", styles[row.cell]) for row in summary.rows]
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _finish(axes, metric)
    panels[0].set_ylabel(_axis_title(metric))
    columns = 3 if all(len(row.label) <= _NARROW for row in summary.rows) else 2  # three wide ones leave the page
    figure.legend(lines, [_legend(row, curves) for row in summary.rows], loc="outside lower center",
                  ncols=min(columns, len(lines)), frameon=False, handlelength=4,
                  title=printable(summary.factors[0]) if len(summary.factors) == 1 else None)
    _titles(figure, summary, curves, metric)
    return figure


def _panels(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    columns = 3 if len(summary.rows) <= 9 else 4
    rows = math.ceil(len(summary.rows) / columns)
    figure = Figure(figsize=(11, 2.3 * rows + 1.2), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    baseline = next((row for row in summary.rows if row.is_baseline), None)
    for axes, row in zip(panels, summary.rows, strict=False):
        handles = {}
        if baseline:
            handles["validation, baseline"] = _draw(
                axes, curves.get(baseline.cell, ()), f"validation_{metric}", REFERENCE, band=False)
        handles["training"] = _draw(axes, curves.get(row.cell, ()), f"train_{metric}", _TRAIN)
        handles["validation"] = _draw(axes, curves.get(row.cell, ()), f"validation_{metric}", _VALIDATION)
        if not curves.get(row.cell):
            axes.text(0.5, 0.5, "no done run", transform=axes.transAxes, ha="center", va="center")
        axes.set_title(textwrap.fill(_legend(row, curves), 40))
        _finish(axes, metric)
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


def _bundle(summary: Summary, curves: Curves, metric: Metric) -> Figure:
    """Draws a thin line per cell and names two of them."""
    named = [row for row in summary.rows if row.is_baseline]
    known = [row for row in summary.rows if curves.get(row.cell) and not row.is_baseline]
    named += sorted(known, key=lambda row: row.test_accuracy.mean or 0.0)[-1:]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels, styles = figure.subplots(1, 2, sharex=True, sharey=True), _styles(summary)
    for axes, split, title in zip(panels, ("train", "validation"), _SPLITS, strict=True):
        lines = [_mean(curves[row.cell], f"{split}_{metric}") for row in summary.rows if curves.get(row.cell)]
        axes.add_collection(LineCollection(
            [np.column_stack((np.arange(1, len(line) + 1), line)) for line in lines], colors="#888888", alpha=0.5,
            linewidths=0.5), autolim=True)
        handles = [_draw(axes, curves.get(row.cell, ()), f"{split}_{metric}", styles[row.cell]) for row in named]
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _finish(axes, metric)
    panels[0].set_ylabel(_axis_title(metric))
    names = [f"{_legend(row, curves)}, {'baseline' if row.is_baseline else 'highest mean'}" for row in named]
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, handlelength=4,
                  title=f"thin: the means of all {len(lines)} cells with a done run")
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
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def _axis_title(metric: Metric) -> str:
    return "accuracy (%)" if metric == "accuracy" else "cross-entropy loss (log scale)"


def _legend(row: CellRow, curves: Curves) -> str:
    return f"{printable(row.label)} (n={len(curves.get(row.cell, ()))})"


def _titles(figure: Any, summary: Summary, curves: Curves, metric: Metric) -> None:
    uneven = any(len({len(curve) for curve in of_cell}) > 1 for of_cell in curves.values())
    note = f"{_NOTE}; to the last epoch that all seeds reached" if uneven else _NOTE
    figure.suptitle(f"{printable(summary.ablation)}: {metric} ({note})", fontsize=10)
