"""Where names stand beside points, so that none covers another name or a point."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import textalloc


class Named(NamedTuple):
    """A point and its name: coordinates of data, and whether it is to stand out."""

    text: str
    x: float
    y: float
    is_strong: bool


def place(axes: Any, points: Sequence[Named], size: float) -> None:
    """Writes each point's name near it, with a line to it where that is not beside it.

    Args:
      axes: whose place in the figure and limits stay as they are.
      points: what to name.
      size: of the letters, in points.
    """
    axes.set_xlim(axes.get_xlim())
    x, y = [point.x for point in points], [point.y for point in points]
    # Those to stand out come first: each is placed where the earlier ones leave room.
    order = sorted(range(len(points)), key=lambda number: not points[number].is_strong)
    textalloc.allocate(
        axes, [x[number] for number in order], [y[number] for number in order],
        [points[number].text for number in order], x_scatter=x, y_scatter=y, textsize=size,
        fontweight=["bold" if points[number].is_strong else "normal" for number in order],
        textcolor=["black" if points[number].is_strong else "#555555" for number in order],
        linecolor=["#999999"] * len(points), linewidth=0.6, min_distance=0.012, max_distance=0.5, nbr_candidates=600)
