"""How surely a difference must be seen at each look at growing data, so that all looks together err at one level.

Pure; knows no records. `tests/until_decided_simulation.py` measures what it promises; what came out lies in
`results/until_decided`.
"""

import functools
import math

import numpy as np
from scipy import optimize, special

_POINTS = 401  # of Simpson's rule; published boundaries come out to four digits
_NEVER = 1e-13  # less to spend than this is nothing: its boundary is beyond what is integrated


def spent(alpha: float, share: float) -> float:
    """Gives the error that may have been made by the time when a share of all seeds is there.

    Source: Kim and DeMets 1987, alpha * share**2: between Pocock's and O'Brien and Fleming's boundaries.
    """
    return float(alpha * share**2)


@functools.cache
def levels(alpha: float, looks: int) -> tuple[float, ...]:
    """Gives the two-sided level of the test at each of so many looks after equal numbers of seeds.

    A t test at these levels errs at any look with chance `alpha`, all looks together; so do the intervals that belong
    to it, whatever it is that ends the study.

    Args:
      alpha: chance of a false finding over all looks.

    Source: Lan and DeMets 1983, by the recursion of Armitage, McPherson and Rowe 1969; the t test at the normal
    boundary's level, and repeated confidence intervals: Jennison and Turnbull 2000, sec. 4.4, 7.3 and 9.
    """
    found: list[float] = []
    before, grid, density = 0.0, np.zeros(1), np.ones(1)  # of the sum of seeds' effects, the first look's variance 1
    weights = np.ones(1)
    for look in range(1, looks + 1):
        here = spent(alpha, look / looks)
        edge = _edge(here - before, grid, weights * density)
        before, scale = here, math.sqrt(look)
        found.append(2 * float(special.ndtr(-edge / scale)))
        reach = min(edge, 8 * scale)
        new = np.linspace(-reach, reach, _POINTS)
        density = np.exp(-(new[:, None] - grid)**2 / 2) @ (weights * density) / math.sqrt(2 * math.pi)
        grid, weights = new, _simpson(new)
    return tuple(found)


def _edge(error: float, grid: np.ndarray, mass: np.ndarray) -> float:
    """Finds the sum beyond which lies so much of what has not crossed before, one step on."""
    def beyond(edge: float) -> float:
        return float(mass @ (special.ndtr(grid - edge) + special.ndtr(-grid - edge)))

    if error < _NEVER:
        return math.inf
    return float(optimize.brentq(lambda edge: beyond(edge) - error, 0.0, 10.0 + float(grid[-1]), xtol=1e-10))


def _simpson(grid: np.ndarray) -> np.ndarray:
    weights = np.full(len(grid), 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    return weights * (grid[1] - grid[0]) / 3
