"""Pictures of test predictions: predicted classes against true ones, calibration.

Each takes panels: a title, and a value per seed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from harness.analysis.predictions import BINS, Reliability
from harness.reporting.figures import fonts
from harness.reporting.figures.matrix import MOST_NAMES
from harness.reporting.figures.style import STYLES

# A point of fewer examples is hollow.
FEW = 20
_PALE, _DARK = "#B8CDE0", "#1B3A57"


def predicted_classes(panels: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draws how often each class is predicted and a line where it is true, the mean over seeds with their range.

    Args:
      panels: title -> counts, [seed, true class, predicted class]; bars side by side. Above 30 classes each panel has
        its own axes, sorted by what is predicted too often, and the ends are named.
      classes: their names.
    """
    if len(classes) > MOST_NAMES:
        return _predicted_of_many(panels, classes)
    span = max(6.5, min(12.0, 0.9 * len(classes)))
    names = [fonts.fit(name, 1.3, 9) for name in classes]
    keys = [fonts.fit(title, span - 1, 9) for title in panels]
    flat = fonts.widest(names, 9) < (span - 0.8) / len(names) - 0.1
    lines = math.ceil((len(keys) + 1) / fonts.columns([*keys, "true"], span - 0.4, 9, 0.5))
    height = 3.3 + 0.18 * lines + (0.0 if flat else fonts.widest(names, 9) * math.sqrt(0.5))
    figure = Figure(figsize=(span, height), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(panels)
    for number, (title, counts) in enumerate(zip(keys, panels.values(), strict=True)):
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
    slanted: dict[str, Any] = {} if flat else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(classes)), names, **slanted)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("test examples")
    figure.legend(loc="outside lower center", frameon=False,
                  ncols=fonts.columns([*keys, "true"], span - 0.4, 9, 0.5))
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
        axes.set_xticks(ends, [fonts.fit(classes[order[end]], 1.3, 7) for end in ends], rotation=60, ha="right",
                        rotation_mode="anchor", fontsize=7)
        axes.grid(visible=False, axis="x")
        axes.margins(x=0.01)
        axes.set_title(fonts.fit(title, 4.5, 9) + ": predicted (bars) and true (line), from too rarely to too often")
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
        above.set_title(fonts.wrap(title, 3.2, 9))
        below.bar((np.arange(BINS) + 0.5) / BINS, 100 * counts.sum(axis=0) / counts.sum(), 0.9 / BINS, color=_DARK)
        below.set_xlabel("probability of the predicted class")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("examples (%)")
    return figure


def _pooled(seeds: Sequence[Reliability], field: str, place: int) -> float:
    weights = np.array([seed.count[place] for seed in seeds])
    values = np.array([getattr(seed, field)[place] for seed in seeds])
    return float(np.average(values[weights > 0], weights=weights[weights > 0]))
