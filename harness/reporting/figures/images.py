"""Pictures of pictures: test images with their predictions, mispredictions, and the first layer's weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from harness.reporting.figures import fonts
from harness.reporting.figures.style import REFERENCE, STYLES

_WRONG = "#D55E00"
# Inches of a page: a column, its image, a line of text below an image, and the room for the title above all.
_COLUMN, _SIDE, _LINE, _TITLE = 1.35, 1.15, 0.13, 0.35
_TEXT = 7.0
_IN_ROW, _OF_PAIR = 6, 3
MOST_PAIRS = 6
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
    number = min(5, len(images))
    rows = [range(first, min(first + number, len(images))) for first in range(0, len(images), number)]
    heights = [_SIDE + 0.1 + _LINE * (2 if any(label[place] != predicted[place] for place in row) else 1)
               for row in rows]
    # The title has a line of its own however few images there are.
    figure, axes = _sheet(max(number * _COLUMN, 3.0), sum(heights) + 0.05)
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            wrong = bool(label[place] != predicted[place])
            _tile(axes, images[place], column * _COLUMN + 0.1, top, _SIDE, framed=wrong)
            below = [_named(classes[predicted[place]], _percent(probability[place]), bold=wrong)]
            _below(axes, column, top, below + [_named("true:", classes[label[place]])] * wrong, wrong=wrong)
        top += height
    return figure


def mispredictions(images: np.ndarray, label: np.ndarray, predicted: np.ndarray, probability: np.ndarray,
                   pairs: Mapping[tuple[int, int], str], classes: Sequence[str]) -> Figure:
    """Draws a few images of each confused pair, two pairs to a row, then the most confident of all errors.

    Args:
      images: uint8 [image, height, width, channel], mispredicted ones.
      label, predicted, probability: [image].
      pairs: (true, predicted) -> how often, most frequent first; those without an image are left out.
      classes: names.
    """
    shown = {pair: places for pair in pairs if (places := [
        place for place in range(len(images)) if (label[place], predicted[place]) == pair][:_OF_PAIR])}
    shown = dict(list(shown.items())[:MOST_PAIRS])
    lines = -(-len(shown) // 2)
    height = 0.25 + _SIDE + 0.1 + _LINE
    figure, axes = _sheet(_IN_ROW * _COLUMN, (lines + 1) * height + _LINE + 0.05)
    for number, (pair, places) in enumerate(shown.items()):
        line, half = divmod(number, 2)
        first, top = half * _OF_PAIR, line * height
        _heading(axes, first, top, _pair(classes[pair[0]], classes[pair[1]], pairs[pair]))
        for column, place in enumerate(places, first):
            _tile(axes, images[place], column * _COLUMN + 0.1, top + 0.25, _SIDE, framed=False)
            _below(axes, column, top + 0.25, [_percent(probability[place])])
    top = lines * height
    _heading(axes, 0, top, "the most confident errors")
    for column, place in enumerate(sorted(range(len(images)), key=lambda at: -float(probability[at]))[:_IN_ROW]):
        _tile(axes, images[place], column * _COLUMN + 0.1, top + 0.25, _SIDE, framed=False)
        _below(axes, column, top + 0.25, [_named(classes[predicted[place]], _percent(probability[place])),
                                          _named("true:", classes[label[place]])])
    return figure


def _named(first: str, second: str, *, bold: bool = False) -> str:
    """Joins a class's name and what stands with it, as wide as a column has room for; the name gives way."""
    room = (_COLUMN - 0.08) * (0.88 if bold else 1.0)  # DejaVu's bold letters are so much wider, and more
    if first == "true:":
        return f"{first} {fonts.fit(second, room - fonts.width(f'{first} ', _TEXT), _TEXT)}"
    return f"{fonts.fit(first, room - fonts.width(f' {second}', _TEXT), _TEXT)} {second}"


def _pair(true: str, guess: str, often: str) -> str:
    room = (_OF_PAIR * _COLUMN - 0.2 - fonts.width(f" seen as , {often}", 8)) / 2
    return f"{fonts.fit(true, room, 8)} seen as {fonts.fit(guess, room, 8)}, {often}"


def _heading(axes: Any, column: int, top: float, text: str) -> None:
    axes.text(column * _COLUMN + 0.1, top + 0.2, text, va="bottom", fontsize=8)


def _below(axes: Any, column: int, top: float, lines: Sequence[str], *, wrong: bool = False) -> None:
    """Writes lines below an image, the first one so that a wrong prediction stands out."""
    for number, line in enumerate(lines):
        axes.text(column * _COLUMN + 0.1 + _SIDE / 2, top + _SIDE + 0.04 + _LINE * number, line, ha="center", va="top",
                  fontsize=_TEXT, color=_WRONG if wrong and number == 0 else "black",
                  fontweight="bold" if wrong and number == 0 else "normal")


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
