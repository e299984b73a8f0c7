"""How many seeds a difference needs, and how small a difference so many seeds can show: power of the paired t test.

The noise is the standard deviation of the paired differences that were seen, which few of them leave uncertain: what
is planned with it has an interval. statsmodels' TTestPower solves to seven digits alone, and gives NaN with a warning
where two pairs are more than enough; the tests hold the power itself against it.
"""

import dataclasses
import functools
import math

import numpy as np
from scipy import optimize, special

POWER = 0.8
LEVEL = 0.05
MOST_SEEDS = 10_000


@dataclasses.dataclass(frozen=True)
class Planned:
    """A figure that follows from the noise, and what it is at the ends of the noise's 95 % interval.

    Attributes:
      value, low, high: None where that is not known, or more than is looked for.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None


def planned(sd: float, n: int, difference: float) -> tuple[Planned, Planned | None]:
    """Plans with the noise of n paired differences.

    Args:
      sd: their standard deviation.
      difference: that is to be shown.

    Returns:
      the smallest true difference that n pairs show with power 0.8, and the pairs that show `difference`; None where
      there is no noise to plan with.

    Source: a variance of normal values over the true one is chi squared with n - 1 degrees of freedom, over these.
    """
    if n < 2 or sd <= 0:
        return Planned(), None
    ends = [sd * math.sqrt((n - 1) / float(special.chdtri(n - 1, tail))) for tail in (0.025, 0.975)]
    return (Planned(*(detectable_difference(noise, n) for noise in (sd, *ends))),
            Planned(*(seeds_needed(noise, difference) for noise in (sd, *ends))))


def power(effect: float, n: int) -> float:
    """Tells how often the two-sided paired t test at the 5 % level finds an effect.

    Args:
      effect: true mean difference over the standard deviation of the differences.
      n: pairs, at least two.

    Source: the statistic is noncentral t with noncentrality effect * sqrt(n); Cohen 1988, ch. 2.
    """
    edge = float(special.stdtrit(n - 1, 1 - LEVEL / 2))
    noncentrality = effect * math.sqrt(n)
    # The far tail is NaN where it is next to nothing.
    beyond, below = special.nctdtr(n - 1, noncentrality, [edge, -edge])
    return float(1 - np.nan_to_num(beyond) + np.nan_to_num(below))


def detectable_difference(sd: float, n: int) -> float | None:
    """Finds the smallest true difference that n pairs show with power 0.8; None below two pairs or without noise."""
    return sd * _detectable_effect(n) if n >= 2 and sd > 0 else None


def seeds_needed(sd: float, difference: float) -> int | None:
    """Finds the smallest number of pairs that shows a true difference with power 0.8.

    Returns:
      At least 2; None if that takes more than `MOST_SEEDS`.
    """
    if sd <= 0:
        return 2
    few, many = 1, 2
    while power(difference / sd, many) < POWER:
        if many >= MOST_SEEDS:
            return None
        few, many = many, min(2 * many, MOST_SEEDS)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power(difference / sd, middle) >= POWER else (middle, many)
    return many


@functools.cache
def _detectable_effect(n: int) -> float:
    return float(optimize.brentq(lambda effect: power(effect, n) - POWER, 1e-9, 64.0, xtol=1e-12))
