"""The pictures of an ablation's report with their captions, and a page of them."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.figure

from harness.analysis.cells import Summary
from harness.records.loaded import Loaded
from harness.reporting import render
from harness.reporting.figures import fonts, style
from harness.reporting.figures.material import Material
from harness.reporting.figures.sketches import Sketch, sketches


class Figure(NamedTuple):
    """A picture of a report.

    Attributes:
      name: of its files, without an ending.
      title: a few words.
      caption: sentences that say what it shows and state its main figures; the text for who cannot see it.
      png, pdf: its bytes; the latter only where it was asked for, and lines and not images are drawn.
    """

    name: str
    title: str
    caption: str
    png: bytes
    pdf: bytes | None = None


def draw(loaded: Loaded, summary: Summary, *, pdf: bool = False, kept: Mapping[str, style.Picture] | None = None
         ) -> tuple[list[Figure], dict[str, str]]:
    """Draws what the files of an ablation allow; the same files give the same bytes.

    Args:
      loaded: the records, curves, predictions and exhibits of runs.
      summary: of the records.
      pdf: whether pictures for print are wanted, too, which takes as long again.
      kept: pictures that need not be drawn, by name.

    Returns:
      the pictures, and why others are not drawn: name -> reason.
    """
    figures, missing = [], {}
    for name, sketch in sketches(Material(loaded, summary)).items():
        if isinstance(sketch, Sketch):
            picture = (kept or {}).get(name)
            if not picture or (pdf and sketch.is_vector and not picture.pdf):
                picture = style.render(functools.partial(_titled, sketch, summary), vector=sketch.is_vector, pdf=pdf)
            figures.append(Figure(name, sketch.title, sketch.caption, *picture))
        else:
            missing[name] = sketch
    return figures, missing


def markdown(summary: Summary, figures: Sequence[Figure], missing: Mapping[str, str]) -> str:
    """Renders a page of the pictures with their captions, and what is missing with its reason."""
    lines = [f"**{render.escape_markdown(summary.question)}**", ""]
    for figure in figures:
        caption = render.escape_markdown(figure.caption)
        lines += [f"![{render.escape_markdown(figure.title)}]({figure.name}.png)", "", caption, ""]
    return "\n".join([*lines, *(f"- Not drawn, {name}: {reason}." for name, reason in missing.items()), ""])


def _titled(sketch: Sketch, summary: Summary) -> matplotlib.figure.Figure:
    figure = sketch.draw()
    if not figure.get_suptitle():
        width, height = figure.get_size_inches()
        # Where a layout engine makes room for it, a place of its own would keep it from doing so.
        place = {} if figure.get_layout_engine() else {"y": 1 - 0.07 / height}
        figure.suptitle(fonts.fit(f"{summary.ablation}: {sketch.title}", width - 0.2, 10), fontsize=10, **place)
    return figure
