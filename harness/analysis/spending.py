"""How surely a difference must be seen at each look at growing data, so that all looks together err at one level.

Pure; knows no records. `tests/until_decided_simulation.py` measures what it promises; what came out lies in
`results/until_decided`.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

# Chosen by the simulation: with few seeds, t tests at the normal boundaries' levels err up to 1.2 times as often.
_CAUTION = 0.85
_POINTS = 401  # of Simpson's rule; published boundaries come out to four digits
_NEVER = 1e-13  # less to spend than this is nothing: its boundary is beyond what is integrated


def power_family(alpha: float, share: float) -> float:
    """Gives the error that may have been made by the time when a share of all seeds is there.

    Source: Kim and DeMets 1987, alpha * share**1.5: between Pocock's boundaries and O'Brien and Fleming's.
    """
    return float(alpha * share**1.5)


@functools.cache
def levels(alpha: float, looks: int) -> tuple[float, ...]:
    """Gives the two-sided level of the t test at each of so many looks, each after as many more seeds.

    Tests at these levels err at any look with chance `alpha` at most, all looks together; so do the intervals that
    belong to them, whatever it is that ends the study.

    Source: Lan and DeMets 1983; the t test at the normal boundary's level, and repeated confidence intervals:
    Jennison and Turnbull 2000, Group Sequential Methods, ch. 4, 7 and 9.
    """
    return boundary_levels(_CAUTION * alpha, looks, power_family)


def boundary_levels(alpha: float, looks: int, spent: Callable[[float, float], float]) -> tuple[float, ...]:
    """Gives the two-sided level of a normal test at each look, by a spending function.

    Source: the recursion of Armitage, McPherson and Rowe 1969.
    """
    found: list[float] = []
    before, grid, mass = 0.0, np.zeros(1), np.ones(1)  # of the sum of what each look adds, with variance 1
    for look in range(1, looks + 1):
        share = spent(alpha, look / looks)
        edge, scale = _edge(share - before, grid, mass), math.sqrt(look)
        before = share
        found.append(2 * float(special.ndtr(-edge / scale)))
        new = np.linspace(-1, 1, _POINTS) * min(edge, 8 * scale)
        density = np.exp(-(new[:, None] - grid)**2 / 2) @ mass / math.sqrt(2 * math.pi)
        grid, mass = new, density * _simpson(new)
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
