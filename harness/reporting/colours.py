"""One colour per cell, the same in every picture and chart."""

import itertools

from harness.analysis.cells import Summary

BASELINE = "#000000"
# Source: Okabe and Ito 2008, with amber and violet for orange, yellow and sky blue, too pale for a line on white.
# All have a contrast of at least 3 with a white and with a dark ground, so that no theme need change them.
CELLS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#B27D00", "#7E6BD6")


def cell_colours(summary: Summary) -> dict[str, str]:
    """Gives each cell its colour, as a hexadecimal RGB value; the baseline's is black, the others' repeat after six."""
    others = itertools.cycle(CELLS)
    return {row.cell: BASELINE if row.is_baseline else next(others) for row in summary.rows}
