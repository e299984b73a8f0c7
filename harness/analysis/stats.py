"""Array statistics over seeds: means, intervals, paired differences, exact tests and their correction.

Pure and stateless. Knows no records. Holm's correction and McNemar's test are a few lines each on numpy and scipy;
statsmodels has them too, in 67 MB, and is what the tests hold them against.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

MOST_EXACT_PAIRS = 20
FEWEST_PAIRS_THAT_TELL = 6  # the sign flips of fewer have no p value below 0.05
_FLIPS = 100_000
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Attributes:
      n: values it rests on.
      mean: None without values.
      sd: sample standard deviation; None below two values.
      low, high: ends of the interval; None where the values cannot tell, see `estimate`.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Estimates the mean of independent values with its two-sided t interval.

    There is no interval below two values, nor where all values are equal but for rounding: seeds that agree by chance
    would otherwise claim certainty.

    Args:
      values: float [seed].
      confidence: share of such intervals that cover the true mean.
    """
    values = _one_axis(values)
    n = len(values)
    if n == 0:
        return Estimate(0)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(1, mean)
    if all_equal(values):
        return Estimate(n, mean, 0.0)
    sd = float(np.std(values, ddof=1))
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
    return estimate(differences(values, seeds, reference_values, reference_seeds))


def differences(values: ArrayLike, seeds: ArrayLike, reference_values: ArrayLike, reference_seeds: ArrayLike
                ) -> np.ndarray:
    """Takes value minus reference value for each seed that both have; arguments as in `paired_difference`."""
    _, here, there = np.intersect1d(
        np.asarray(seeds, dtype=int), np.asarray(reference_seeds, dtype=int), assume_unique=True, return_indices=True)
    return np.asarray(values, dtype=float)[here] - np.asarray(reference_values, dtype=float)[there]


def interquartile_mean(strata: Sequence[ArrayLike], generator: np.random.Generator, confidence: float = 0.95
                       ) -> Estimate:
    """Estimates the mean of the middle half of all values, with a stratified percentile bootstrap interval.

    A quarter of the values, rounded down, is cut off at each end, so that below four values it is the mean. With few
    seeds a bootstrap interval is too narrow; it tells of outliers, not of what further seeds would do.

    Args:
      strata: [stratum] of float [seed]; each stratum is resampled by itself.
      generator: draws the resamples.

    Source: Agarwal et al. 2021, sec. 4.
    """
    groups = [group for group in map(_one_axis, strata) if len(group)]
    if not groups:
        return Estimate(0)
    values = np.concatenate(groups)
    mean = float(_middle_half(values).mean())
    if len(values) == 1:
        return Estimate(1, mean)
    sd = float(np.std(values, ddof=1))
    if all(all_equal(group) for group in groups):
        return Estimate(len(values), mean, sd)
    resampled = np.concatenate(
        [group[generator.integers(0, len(group), (_RESAMPLES, len(group)))] for group in groups], axis=1)
    low, high = np.quantile(_middle_half(resampled).mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(len(values), mean, sd, float(low), float(high))


def _middle_half(values: np.ndarray) -> np.ndarray:
    """Leaves out the lowest and the highest quarter along the last axis, rounded down, in no order of the rest.

    Source: scipy.stats.trim_mean, to the bit; importing scipy.stats takes longer than a report's numbers.
    """
    number = values.shape[-1]
    cut = number // 4
    return np.partition(values, (cut, number - cut - 1), axis=-1)[..., cut:number - cut]


def t_p(found: Estimate) -> float | None:
    """Tells how often a mean at least as far from zero comes by chance; None where `found` has no interval.

    Args:
      found: as `estimate` gives it.
    """
    if found.mean is None or not found.sd:
        return None
    return float(2 * special.stdtr(found.n - 1, -abs(found.mean) * math.sqrt(found.n) / found.sd))


def sign_flip_p(paired: ArrayLike) -> float | None:
    """Tests whether paired differences are symmetric about zero: the share of sign patterns as far out as the one seen.

    Exact over all 2^n patterns up to n = 20 pairs, so that it cannot be below 2/2^n; beyond, over 100,000 random ones
    and the one seen.

    Args:
      paired: float [pair].

    Returns:
      The two-sided p value; None without pairs.
    """
    paired = _one_axis(paired)
    if len(paired) == 0:
        return None
    seen = abs(float(np.sum(paired)))
    slack = 1e-12 * float(np.sum(np.abs(paired)))  # sums in another order differ by rounding
    if len(paired) > MOST_EXACT_PAIRS:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (_FLIPS, len(paired)))
        return float((1 + np.sum(np.abs(signs @ paired) >= seen - slack)) / (1 + _FLIPS))
    sums = np.zeros(1)
    for difference in paired:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(np.abs(sums) >= seen - slack))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p values for their number, so that the chance of any false finding stays below the level.

    Args:
      p_values: [comparison]; None stays None and does not count.

    Source: Holm 1979.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected


def mcnemar_p(gained: int, lost: int) -> float:
    """Tests whether two classifiers are right equally often on the same examples: exact, two-sided.

    Args:
      gained, lost: examples that only the one, and only the other, classifies correctly.

    Source: McNemar 1947; the exact form is the sign test on the examples that differ.
    """
    return min(1.0, 2 * float(special.bdtr(min(gained, lost), gained + lost, 0.5)))


def merged_p(p_values: Sequence[float]) -> float | None:
    """Merges p values that depend on each other in unknown ways; None without any.

    The k-th smallest of K times K / k is a p value itself, whatever the dependence; k is the (upper) median's place.

    Source: Rueschendorf 1982; Vovk and Wang 2020, sec. 3.
    """
    if not p_values:
        return None
    place = len(p_values) // 2 + 1
    return min(1.0, sorted(p_values)[place - 1] * len(p_values) / place)


def _one_axis(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"values must have the one axis [seed], not shape {values.shape}")
    return values


def all_equal(values: np.ndarray) -> bool:
    """Whether values are equal but for rounding."""
    rounding = 8 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(values))))
    return bool(np.ptp(values) <= rounding)
