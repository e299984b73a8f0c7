"""Pictures of pictures: test images with their predictions, mispredictions, and the first layer's weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from harness.reporting.figures.style import REFERENCE, STYLES, short

_WRONG = "#D55E00"
_COLUMNS = 6
MOST_PAIRS = 6
_TITLE = 0.35
# What has no pattern, as untrained weights, does not compress: as many as tell, in the layer's order.
_MOST_UNITS = 24
_MOST_LARGE_FILTERS, _MOST_SMALL_FILTERS = 15, 48


def test_images(images: np.ndarray, label: np.ndarray, predicted: np.ndarray, probability: np.ndarray,
                classes: Sequence[str]) -> Figure:
    """Draws a grid of images, five to a row; a wrong prediction has a frame and the true class below it.

    Args:
      images: uint8 [image, height, width, channel].
      label, predicted, probability: [image], of the images.
      classes: names.
    """
    lines = -(-len(images) // 5)
    figure, axes = _sheet(5 * 1.35, lines * 1.45)
    for place, image in enumerate(images):
        line, column = divmod(place, 5)
        wrong = label[place] != predicted[place]
        left, top = column * 1.35 + 0.175, line * 1.45 + 0.03
        _tile(axes, image, left, top, 1.0, framed=bool(wrong))
        text = f"{short(classes[predicted[place]], 16)} {_percent(probability[place])}"
        axes.text(left + 0.5, top + 1.05, text, ha="center", va="top", fontsize=7,
                  color=_WRONG if wrong else "black", fontweight="bold" if wrong else "normal")
        if wrong:
            axes.text(left + 0.5, top + 1.2, f"true: {short(classes[label[place]], 16)}", ha="center", va="top",
                      fontsize=7)
    return figure


def mispredictions(images: np.ndarray, label: np.ndarray, predicted: np.ndarray, probability: np.ndarray,
                   pairs: Mapping[tuple[int, int], str], classes: Sequence[str]) -> Figure:
    """Draws a row per confused pair, then the most confident of all errors, as far as there are images.

    Args:
      images: uint8 [image, height, width, channel], mispredicted ones.
      label, predicted, probability: [image].
      pairs: (true, predicted) -> how often, most frequent first; those without an image are left out.
      classes: names.
    """
    confident = sorted(range(len(images)), key=lambda place: -float(probability[place]))[:_COLUMNS]
    rows = []
    for (true, guess), text in pairs.items():
        of_pair = [place for place in range(len(images)) if (label[place], predicted[place]) == (true, guess)]
        if of_pair:
            title = f"{short(classes[true], 18)}\nseen as {short(classes[guess], 18)}\n{text}"
            rows.append((title, of_pair[:_COLUMNS], False))
    rows = rows[:MOST_PAIRS]
    rows.append(("the most\nconfident errors", confident, True))
    heights = [1.25 if named else 1.1 for *_, named in rows]
    figure, axes = _sheet(1.6 + 1.1 * _COLUMNS, sum(heights))
    top = 0.0
    for (title, places, named), height in zip(rows, heights, strict=True):
        axes.text(0.1, top + 0.45, title, va="center", fontsize=8)
        for column, place in enumerate(places):
            left = 1.6 + 1.1 * column
            _tile(axes, images[place], left + 0.1, top + 0.03, 0.9, framed=False)
            text = _percent(probability[place])
            if named:
                text = f"{short(classes[predicted[place]], 14)} {text}\ntrue: {short(classes[label[place]], 14)}"
            axes.text(left + 0.55, top + 0.96, text, ha="center", va="top", fontsize=6.5)
        top += height
    return figure


def _sheet(width: float, height: float) -> tuple[Figure, Any]:
    """Opens a page with inches as units, counted from its upper left."""
    figure = Figure(figsize=(width, height + _TITLE))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, -_TITLE))
    axes.set_axis_off()
    return figure, axes


def _tile(axes: Any, image: np.ndarray, left: float, top: float, side: float, *, framed: bool) -> None:
    """Shows a uint8 image, grey where it has one channel, the first three where it has more."""
    shown = image[..., 0] if image.shape[-1] < 3 else image[..., :3]
    extent = (left, left + side, top + side, top)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest", aspect="auto")
    axes.plot(*_outline(left, top, side), color=_WRONG if framed else "#BBBBBB", linewidth=2.5 if framed else 0.5)


def _outline(left: float, top: float, side: float) -> tuple[list[float], list[float]]:
    return ([left, left + side, left + side, left, left], [top, top, top + side, top + side, top])


def _percent(probability: float) -> str:
    share = 100 * float(probability)
    return f"{share:.0f} %" if share < 99.5 else ">99 %"


def weights(initial: np.ndarray, trained: np.ndarray) -> Figure:
    """Draws both states of a kernel as heat maps on one scale, and the distribution of the values drawn.

    Of a layer with more inputs than units these are those of the first 24 units.

    Args:
      initial, trained: [input, unit] or [height, width, channel, filter], finite.
    """
    before, after = _matrix(initial), _matrix(trained)
    if before.shape[1] < before.shape[0]:
        before, after = before[:, :_MOST_UNITS], after[:, :_MOST_UNITS]
    limit = float(np.quantile(np.abs(np.concatenate([before, after])), 0.995)) or 1.0
    flat = before.shape[1] > before.shape[0]
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(2.4, 1))
    left, right = halves
    panels = left.subplots(2, 1, sharex=True, sharey=True)
    for axes, values, title in zip(panels, (before, after), ("initial", "trained"), strict=True):
        image = axes.imshow(values if flat else values.T, cmap="cividis", vmin=-limit, vmax=limit, aspect="auto",
                            interpolation="nearest")
        axes.set_title(title)
        axes.grid(visible=False)
        axes.set_ylabel("unit" if not flat else "input")
    panels[1].set_xlabel("input" if not flat else "unit")
    left.colorbar(image, ax=panels, pad=0.02, extend="both").set_label("weight")
    axes = right.subplots()
    edges = np.linspace(-1.5 * limit, 1.5 * limit, 61)
    for values, title, style in ((before, "initial", REFERENCE), (after, "trained", STYLES[0])):
        share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / values.size
        axes.stairs(100 * share, edges, label=title, color=style["color"], linewidth=1.6)
    axes.set_xlabel("weight")
    axes.set_ylabel("weights (%)")
    axes.legend(frameon=False, loc="upper right")
    return figure


def _matrix(kernel: np.ndarray) -> np.ndarray:
    """Lays a kernel out as float [input, unit]."""
    return np.asarray(kernel, dtype=np.float32).reshape(-1, kernel.shape[-1])


def as_pictures(kernel: np.ndarray, image_shape: Sequence[int]) -> np.ndarray | None:
    """Lays a kernel out as float [unit, height, width, channel] of one or three channels; None if it has no such form.

    Args:
      kernel: [height, width, channel, filter], or [input, unit] over a flattened image.
      image_shape: the data set's height, width and channels.
    """
    if kernel.ndim == 2 and len(image_shape) == 3 and kernel.shape[0] == np.prod(image_shape):
        kernel = kernel.reshape(*image_shape, -1)
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3) or kernel.shape[0] == kernel.shape[1] == 1:
        return None
    return np.moveaxis(np.asarray(kernel, dtype=np.float32), -1, 0)


def filters(initial: np.ndarray, trained: np.ndarray) -> Figure:
    """Draws the first units' weights as images before and after training; mid-grey is zero, each on its own scale.

    Args:
      initial, trained: float [unit, height, width, channel] with one or three channels.
    """
    number = min(len(initial), _MOST_LARGE_FILTERS if initial.shape[1] > 8 else _MOST_SMALL_FILTERS)
    columns = 5 if number <= _MOST_LARGE_FILTERS else 8
    lines, side = -(-number // columns), 4.6 / columns
    figure, axes = _sheet(9.9, 0.35 + lines * side)
    for start, title, units in ((0.15, "initial", initial), (5.15, "trained", trained)):
        axes.text(start, 0.2, title, va="center")
        for place, unit in enumerate(units[:number]):
            line, column = divmod(place, columns)
            grey = np.round(127.5 * (1 + unit / (float(np.abs(unit).max()) or 1.0))).astype(np.uint8)
            _tile(axes, grey, start + column * side, 0.35 + line * side, 0.9 * side, framed=False)
    return figure
