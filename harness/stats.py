"""Array statistics over seeds: means, t intervals, differences paired by seed.

Pure and stateless; `harness.summary` calls it. Knows no records.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Attributes:
      n: values it rests on.
      mean: None without values.
      sd: sample standard deviation; None below two values.
      low, high: ends of the t interval; None where the values cannot tell, see `estimate`.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Estimates the mean of independent values with its two-sided t interval.

    There is no interval below two values, nor where all values are equal but for rounding: seeds that agree by chance
    would otherwise claim certainty.

    Args:
      values: float [seed].
      confidence: share of such intervals that cover the true mean.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"values must have the one axis [seed], not shape {values.shape}")
    n = len(values)
    if n == 0:
        return Estimate(0)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(1, mean)
    sd = float(np.std(values, ddof=1))
    rounding = 8 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(values))))
    if np.ptp(values) <= rounding:
        return Estimate(n, mean, 0.0)
    half_width = float(special.stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half_width, mean + half_width)


def paired_difference(
    values: ArrayLike, seeds: ArrayLike, reference_values: ArrayLike, reference_seeds: ArrayLike
) -> Estimate:
    """Estimates the mean of value minus reference value over the seeds that both have.

    Args:
      values, seeds: float and int [seed], one entry per run; a seed occurs once.
      reference_values, reference_seeds: float and int [reference seed]; their order and number may be others.
    """
    _, here, there = np.intersect1d(
        np.asarray(seeds, dtype=int), np.asarray(reference_seeds, dtype=int), assume_unique=True, return_indices=True)
    return estimate(np.asarray(values, dtype=float)[here] - np.asarray(reference_values, dtype=float)[there])
