"""Pictures of test predictions: confusion matrix, predicted classes against true ones, calibration.

Each takes panels: a title, and a value per seed.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from harness.analysis.predictions import BINS, Reliability, confused_pairs, row_percent
from harness.reporting.figures.style import STYLES, short

# Up to so many classes a matrix has figures in its fields, and names along its sides.
MOST_FIGURES = 12
MOST_NAMES = 30
# A point of fewer examples is hollow.
FEW = 20
_MOST_PAIRS = 20
_PALE, _DARK = "#B8CDE0", "#1B3A57"
# In percent. The few errors of a good classifier would all be white on a linear scale.
_STEPS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
_SHADES = matplotlib.colors.BoundaryNorm(_STEPS, 256)


def confusion(panels: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draws a matrix per panel: figures up to 12 classes, names up to 30, beyond that the most confused pairs.

    Args:
      panels: title -> counts, [seed, true class, predicted class]. Above 30 classes the last is drawn alone.
      classes: their names.
    """
    if len(classes) > MOST_NAMES:
        title, counts = list(panels.items())[-1]
        return _confusion_of_many(title, counts.mean(axis=0), classes)
    side = (4.6 if len(classes) <= MOST_FIGURES else 6.2) + 0.02 * len(classes)
    figure = Figure(figsize=(1.9 + (side - 0.9) * len(panels), side + 0.2), layout="compressed")
    names = [short(name, 16) for name in classes]
    for axes, (title, counts) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(),
                                     strict=True):
        mean = counts.mean(axis=0)
        percent = row_percent(mean)
        image = axes.imshow(percent, cmap="Blues", norm=_SHADES)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(labelsize=8 if len(names) <= MOST_FIGURES else 6, length=0)
        _matrix_axes(axes, title)
        if len(names) > MOST_FIGURES:
            continue
        for (true, guess), share in np.ndenumerate(percent):
            if mean[true, guess] > 0:
                colour = "white" if share >= 40 else "black"
                axes.text(guess, true - 0.1, _percent(share), ha="center", va="center", fontsize=7, color=colour)
                axes.text(guess, true + 0.26, _count(float(mean[true, guess])), ha="center", va="center", fontsize=5,
                          color=colour)
    figure.axes[0].set_ylabel("true class")
    _colour_bar(figure, image, figure.axes)
    return figure


def _confusion_of_many(title: str, mean: np.ndarray, classes: Sequence[str]) -> Figure:
    figure = Figure(figsize=(10.5, 5.6), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=(1.6, 1))
    image = axes.imshow(row_percent(mean), cmap="Blues", norm=_SHADES, interpolation="nearest")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    _matrix_axes(axes, title)
    axes.set_xlabel("predicted class, number")
    axes.set_ylabel("true class, number")
    _colour_bar(figure, image, axes)
    pairs = confused_pairs(mean)[:_MOST_PAIRS]
    totals = mean.sum(axis=1)
    beside.barh(range(len(pairs)), [mean[pair] for pair in pairs], color=_DARK, height=0.7)
    beside.set_yticks(range(len(pairs)), [f"{short(classes[true], 14)} → {short(classes[guess], 14)}"
                                          for true, guess in pairs], fontsize=7)
    for place, (true, guess) in enumerate(pairs):
        beside.text(mean[true, guess], place, f" {_count(mean[true, guess])} of {_count(totals[true])}", va="center",
                    fontsize=7)
    beside.set_ylim(len(pairs) - 0.4, -0.6)
    beside.margins(x=0.25)
    beside.grid(visible=False)
    beside.set_title(f"the {len(pairs)} most confused pairs, true → predicted")
    beside.set_xlabel("test examples, mean over seeds")
    return figure


def _matrix_axes(axes: Any, title: str) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(textwrap.fill(title, 40))
    axes.set_xlabel("predicted class")


def _colour_bar(figure: Any, image: Any, axes: Any) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=_STEPS, spacing="uniform")
    bar.ax.set_yticklabels([f"{step:g}" for step in _STEPS])
    bar.set_label("% of the true class")


def _percent(share: float) -> str:
    return f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"


def _count(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or value >= 99.95 else f"{value:.1f}"


def predicted_classes(panels: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draws how often each class is predicted and a line where it is true, the mean over seeds with their range.

    Args:
      panels: title -> counts, [seed, true class, predicted class]; bars side by side. Above 30 classes each panel has
        its own axes, sorted by what is predicted too often, and the ends are named.
      classes: their names.
    """
    if len(classes) > MOST_NAMES:
        return _predicted_of_many(panels, classes)
    figure = Figure(figsize=(max(6.5, min(12.0, 0.9 * len(classes))), 3.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(panels)
    for number, (title, counts) in enumerate(panels.items()):
        predicted = counts.sum(axis=1)
        mean, at = predicted.mean(axis=0), np.arange(len(classes)) + (number - (len(panels) - 1) / 2) * width
        axes.bar(at, mean, 0.92 * width, label=title, edgecolor=_DARK, linewidth=0.6,
                 color=_DARK if number == len(panels) - 1 else _PALE)
        if len(predicted) > 1:
            axes.errorbar(at, mean, yerr=[mean - predicted.min(axis=0), predicted.max(axis=0) - mean], fmt="none",
                          ecolor="#777777", elinewidth=1, capsize=2)
    true = next(iter(panels.values())).mean(axis=0).sum(axis=1)
    axes.hlines(true, np.arange(len(classes)) - 0.45, np.arange(len(classes)) + 0.45, color="#D55E00", linewidth=1.8,
                label="true")
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(classes) > 6 else {}
    axes.set_xticks(range(len(classes)), [short(name, 16) for name in classes], **slanted)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("test examples")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _predicted_of_many(panels: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    figure = Figure(figsize=(10.5, 3.2 * len(panels)), layout="constrained")
    for axes, (title, counts) in zip(figure.subplots(len(panels), 1, sharey=True, squeeze=False)[:, 0], panels.items(),
                                     strict=True):
        predicted, true = counts.sum(axis=1), counts.mean(axis=0).sum(axis=1)
        mean = predicted.mean(axis=0)
        order = np.argsort(mean - true, kind="stable")
        place = np.arange(len(classes))
        axes.bar(place, mean[order], 0.8, color=_PALE, edgecolor=_DARK, linewidth=0.4)
        if len(predicted) > 1:
            axes.vlines(place, predicted.min(axis=0)[order], predicted.max(axis=0)[order], color="#777777", linewidth=1)
        axes.step(place, true[order], where="mid", color="#D55E00", linewidth=1.8)
        ends = [*range(5), *range(len(classes) - 5, len(classes))]
        axes.set_xticks(ends, [short(classes[order[end]], 16) for end in ends], rotation=60, ha="right",
                        rotation_mode="anchor", fontsize=7)
        axes.grid(visible=False, axis="x")
        axes.margins(x=0.01)
        axes.set_title(f"{title}: predicted (bars) and true (line), from too rarely to too often predicted")
        axes.set_ylabel("test examples")
    return figure


def calibration(panels: Mapping[str, Sequence[Reliability]]) -> Figure:
    """Draws accuracy against the predicted class's probability, and below how many examples lie where.

    Args:
      panels: title -> a result per seed. Points are means over all seeds' examples, bars span the seeds.
    """
    figure = Figure(figsize=(0.6 + 3.6 * len(panels), 5.0), layout="constrained")
    grid = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    for (above, below), (title, seeds) in zip(grid.T, panels.items(), strict=True):
        counts = np.stack([seed.count for seed in seeds])
        some, few = counts.sum(axis=0) > 0, (counts.sum(axis=0) < FEW)[counts.sum(axis=0) > 0]
        accuracy, confidence = (np.array([_pooled(seeds, field, int(place)) for place in np.flatnonzero(some)])
                                for field in ("accuracy", "confidence"))
        by_seed = np.stack([seed.accuracy for seed in seeds])[:, some]
        above.plot([0, 1], [0, 1], color="#888888", linewidth=1)
        above.vlines(confidence[~few], confidence[~few], accuracy[~few], color="#D55E00", alpha=0.35, linewidth=6)
        above.vlines(confidence[~few], np.nanmin(by_seed, axis=0)[~few], np.nanmax(by_seed, axis=0)[~few],
                     color="black", linewidth=1)
        above.plot(confidence[~few], accuracy[~few], **STYLES[0])
        if few.any():  # A line without points and without clipping has no size, which breaks the layout.
            above.plot(confidence[few], accuracy[few], linestyle="none", marker="o", color="black",
                       markerfacecolor="white", clip_on=False)
        errors = [100 * seed.error for seed in seeds]
        spread = f"\n({min(errors):.2f} to {max(errors):.2f} over {len(seeds)} seeds)" if len(errors) > 1 else ""
        above.text(0.04, 0.96, f"ECE {np.mean(errors):.2f} %{spread}", transform=above.transAxes, va="top")
        above.set_xlim(0, 1)
        above.set_ylim(0, 1)
        above.set_title(textwrap.fill(title, 40))
        below.bar((np.arange(BINS) + 0.5) / BINS, 100 * counts.sum(axis=0) / counts.sum(), 0.9 / BINS, color=_DARK)
        below.set_xlabel("probability of the predicted class")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("examples (%)")
    return figure


def _pooled(seeds: Sequence[Reliability], field: str, place: int) -> float:
    weights = np.array([seed.count[place] for seed in seeds])
    values = np.array([getattr(seed, field)[place] for seed in seeds])
    return float(np.average(values[weights > 0], weights=weights[weights > 0]))
