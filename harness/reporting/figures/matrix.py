"""The picture of the confusion matrix, as large as its classes and their names need.

It takes panels: a title, and counts per seed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from harness.analysis.predictions import confused_pairs, row_percent
from harness.reporting.figures import fonts

# Up to so many classes a matrix has figures in its fields, and names along its sides.
MOST_FIGURES = 12
MOST_NAMES = 30
_MOST_PAIRS = 20
_DARK = "#1B3A57"
# In percent. The few errors of a good classifier would all be white on a linear scale.
_STEPS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
_SHADES = matplotlib.colors.BoundaryNorm(_STEPS, 256)
# Inches: a panel is no narrower, a class's name no longer, of its title no line longer than the panel with its margin.
_NARROWEST, _LONGEST = 2.4, 1.3
_TITLE, _SLANT = 9.0, math.sqrt(0.5)


def confusion(panels: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draws a matrix per panel: figures up to 12 classes, names up to 30, beyond that the most confused pairs.

    Args:
      panels: title -> counts, [seed, true class, predicted class]. Above 30 classes the last is drawn alone.
      classes: their names.
    """
    if len(classes) > MOST_NAMES:
        title, counts = list(panels.items())[-1]
        return _confusion_of_many(title, counts.mean(axis=0), classes)
    few = len(classes) <= MOST_FIGURES
    size = 8.0 if few else 7.0
    side = max(_NARROWEST, (0.38 if few else 0.2) * len(classes))
    names = [fonts.fit(name, _LONGEST, size) for name in classes]
    longest = fonts.widest(names, size)
    between = 0.25 + longest * _SLANT * 0.5  # the first column's slanted name reaches to the left
    titles = [fonts.wrap(title, side + between - 0.15, _TITLE) for title in panels]
    left, below, above = 0.35 + longest, 0.35 + longest * _SLANT + 0.1, 0.35 + 0.16 * max(
        title.count("\n") + 1 for title in titles)
    width = left + side * len(panels) + between * (len(panels) - 1) + 1.0
    height = below + side + above
    figure = Figure(figsize=(width, height))
    for number, (title, counts) in enumerate(zip(titles, panels.values(), strict=True)):
        axes = figure.add_axes(((left + (side + between) * number) / width, below / height, side / width,
                                side / height))
        image = _matrix(axes, counts.mean(axis=0), names, size, figures=few, first=number == 0)
        axes.set_title(title, fontsize=_TITLE)
    figure.text(0.06 / width, (below + side / 2) / height, "true class", rotation=90, va="center")
    bar = figure.add_axes(((width - 0.85) / width, (below + 0.1 * side) / height, 0.12 / width, 0.8 * side / height))
    _colour_bar(figure, image, cax=bar)
    return figure


def _matrix(axes: Any, mean: np.ndarray, names: Sequence[str], size: float, *, figures: bool, first: bool) -> Any:
    percent = row_percent(mean)
    image = axes.imshow(percent, cmap="Blues", norm=_SHADES, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names if first else [""] * len(names))
    axes.tick_params(labelsize=size, length=0)
    _bare(axes)
    axes.set_xlabel("predicted class")
    if not figures:
        return image
    for (true, guess), share in np.ndenumerate(percent):
        if mean[true, guess] > 0:
            colour = "white" if share >= 40 else "black"
            axes.text(guess, true - 0.12, _percent(share), ha="center", va="center", fontsize=7, color=colour)
            axes.text(guess, true + 0.27, count(float(mean[true, guess])), ha="center", va="center", fontsize=5,
                      color=colour)
    return image


def _confusion_of_many(title: str, mean: np.ndarray, classes: Sequence[str]) -> Figure:
    figure = Figure(figsize=(11.5, 5.6), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=(1.5, 1))
    image = axes.imshow(row_percent(mean), cmap="Blues", norm=_SHADES, interpolation="nearest")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    _bare(axes)
    axes.set_title(fonts.wrap(title, 5.0, _TITLE), fontsize=_TITLE)
    axes.set_xlabel("predicted class, number")
    axes.set_ylabel("true class, number")
    _colour_bar(figure, image, ax=axes)
    pairs = confused_pairs(mean)[:_MOST_PAIRS]
    totals = mean.sum(axis=1)
    beside.barh(range(len(pairs)), [mean[pair] for pair in pairs], color=_DARK, height=0.7)
    beside.set_yticks(range(len(pairs)), [f"{fonts.fit(classes[true], 1.1, 7)} → {fonts.fit(classes[guess], 1.1, 7)}"
                                          for true, guess in pairs], fontsize=7)
    for line, (true, guess) in enumerate(pairs):
        beside.text(mean[true, guess], line, f" {count(mean[true, guess])} of {count(totals[true])}", va="center",
                    fontsize=7)
    beside.set_ylim(len(pairs) - 0.4, -0.6)
    beside.margins(x=0.35)
    beside.grid(visible=False)
    beside.set_title(f"the {len(pairs)} most confused pairs,\ntrue → predicted")
    beside.set_xlabel("test examples, mean over seeds")
    return figure


def _bare(axes: Any) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _colour_bar(figure: Any, image: Any, **where: Any) -> None:
    beside = {} if "cax" in where else {"shrink": 0.8, "pad": 0.02}
    bar = figure.colorbar(image, ticks=_STEPS, spacing="uniform", **beside, **where)
    bar.ax.set_yticklabels([f"{step:g}" for step in _STEPS], fontsize=8)
    bar.set_label("% of the true class")


def _percent(share: float) -> str:
    return f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"


def count(value: float) -> str:
    """Writes a mean count with one digit after the point where it has one."""
    return f"{value:.0f}" if value == round(value) or value >= 99.95 else f"{value:.1f}"
