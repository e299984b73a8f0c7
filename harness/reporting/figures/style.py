"""The style of all pictures, and their rendering to the same bytes for the same records.

Every module that draws takes its style from here. Every cell is told apart by colour, line style and marker at once,
so that greyscale and colour-blind readers lose nothing.
"""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.analysis.cells import Summary
from harness.records.text import printable
from harness.reporting import colours

_COLOURS = (colours.BASELINE, *colours.CELLS)
_LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = [{"color": colour, "linestyle": line, "marker": marker}
           for colour, line, marker in zip(_COLOURS, _LINES, _MARKERS, strict=False)]
REFERENCE = {"color": "#888888", "linestyle": "-", "linewidth": 1.0}
_SETTINGS: Any = {
    "font.size": 9, "axes.titlesize": 9, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.4, "lines.markersize": 4,
    "text.parse_math": False, "figure.dpi": 150, "pdf.fonttype": 42,
    # Hinted letters are whole pixels wide: how wide a name is would depend on the resolution.
    "text.hinting": "no_hinting"}


class Picture(NamedTuple):
    """A picture for screens and, where asked for and where it holds lines rather than images, one for print."""

    png: bytes
    pdf: bytes | None


def by_cell(summary: Summary) -> dict[str, dict[str, Any]]:
    """Gives each cell its colour, line style and marker, the same in all pictures: the baseline's are the first."""
    order, own = sorted(summary.rows, key=lambda row: not row.is_baseline), colours.cell_colours(summary)
    styles = STYLES[:1] + [STYLES[1 + place % (len(STYLES) - 1)] for place in range(len(order))]
    return {row.cell: style | {"color": own[row.cell]} for row, style in zip(order, styles, strict=False)}


def render(draw: Callable[[], Figure], *, vector: bool, pdf: bool = False) -> Picture:
    """Has a figure drawn in the harness's style and renders it; neither file says when or by what.

    Args:
      draw: composes the figure.
      vector: whether it holds lines rather than images.
      pdf: whether one for print is wanted of lines.
    """
    # The reader's own matplotlibrc must not change the bytes.
    with matplotlib.rc_context():
        figure = compose(draw)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        png = _png(np.asarray(canvas.buffer_rgba())[..., :3], vector=vector)
        if not (vector and pdf):
            return Picture(png, None)
        figure.set_layout_engine("none")  # The layout is found already.
        printed = io.BytesIO()
        figure.savefig(printed, format="pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return Picture(png, printed.getvalue())


def compose(draw: Callable[[], Figure]) -> Figure:
    """Has a figure drawn in the harness's style, whose settings stay in force."""
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_SETTINGS)
    fonts_at_first = matplotlib.rcParams["font.family"]
    figure = draw()
    if matplotlib.rcParams["font.family"] != fonts_at_first:
        figure = draw()  # for what was composed before the first name that needs further fonts
    for axes in figure.axes:
        # What lies inside the axes needs no room beside them, and measuring it takes as long as drawing.
        for artist in (*axes.lines, *axes.collections, *axes.patches, *axes.images):
            artist.set_in_layout(False)
    return figure


def _png(pixels: np.ndarray, *, vector: bool) -> bytes:
    """Encodes pixels, [y, x, 3], with a palette, which makes the file a third as large and is not seen."""
    if vector:
        image = _with_palette(pixels)
    else:
        image = PIL.Image.fromarray(pixels).quantize(256, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
    encoded = io.BytesIO()
    image.save(encoded, format="png", dpi=(150, 150), compress_level=6)
    return encoded.getvalue()


def _with_palette(pixels: np.ndarray) -> PIL.Image.Image:
    """Keeps the 256 most frequent colours as they are and takes the nearest of them for the others.

    Lines have few colours; what is rare are steps between them at their edges. Pillow's own ways take ten times as
    long or shift the white of the page.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    of_pixel, colours = pd.factorize(packed.ravel())
    most = np.argsort(-np.bincount(of_pixel), kind="stable")[:256]
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.int32)
    nearest = np.array([np.argmin(((rgb[most] - colour) ** 2).sum(axis=1)) for colour in rgb], np.uint8)
    image = PIL.Image.fromarray(nearest[of_pixel].reshape(pixels.shape[:2]))
    image.putpalette(rgb[most].astype(np.uint8).tobytes())
    return image


def png(draw: Callable[[], Figure]) -> bytes:
    """Renders a figure of lines for screens alone."""
    return render(draw, vector=True).png


def short(text: str, width: int) -> str:
    """Makes a string from a record inert and at most so many characters long; of one too long the middle is left out.

    For words beside pictures; in them `fonts.fit` goes by the room that there is.
    """
    text = printable(text)
    head = width // 2
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head):]}"
