"""The headline test of a results table: every cell against one of them, its noise judged by more than its own pairs.

Pure and stateless; knows no records. `tests/headline_simulation.py` compares it with the tests it was chosen from;
what came out lies in `results/headline_test`.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from scipy import special

from harness.analysis.power import LEVEL, MOST_SEEDS, POWER
from harness.analysis.stats import holm

# Chosen by the simulation: with 1.5 the family-wise error exceeds 5 % where noise variances differ tenfold.
_CAUTION = 2
_LEAST_NOISE = 0.1


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A cell less the reference cell, over the seeds that both have.

    Attributes:
      n: pairs of runs.
      mean: of the paired differences; None without pairs.
      low, high: ends of the 95 % interval by the same test as `p`; None where there is no noise to judge by.
      degrees: degrees of freedom of the noise, a fraction in general.
      p: two-sided, of a true difference of zero.
      holm: `p` corrected for the number of comparisons.
    """

    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    degrees: float | None = None
    p: float | None = None
    holm: float | None = None

    def detectable(self, seeds: int | None = None, comparisons: int = 1) -> float | None:
        """Gives the true difference that so many seeds show with power 0.8 at the 5 % level.

        The noise is what was seen over what half of all estimates lie below, which few seeds put under its true value;
        its degrees of freedom grow with the seeds.

        Args:
          seeds: None means as many as were seen.
          comparisons: that the level is shared by; of Holm's correction this is what the first of them must pass.

        Source: the noncentral t distribution; Cohen 1988, ch. 2. A variance over the true one is chi squared over its
        degrees of freedom.
        """
        if self.mean is None or self.high is None or self.degrees is None:
            return None
        seeds = seeds or self.n
        error = (self.high - self.mean) / float(special.stdtrit(self.degrees, 0.975)) * math.sqrt(self.n / seeds)
        error /= math.sqrt(float(special.chdtri(self.degrees, 0.5)) / self.degrees)
        degrees = self.degrees * (seeds - 1) / (self.n - 1)
        edge = special.stdtrit(degrees, 1 - LEVEL / 2 / comparisons)
        return error * float(special.nctdtrinc(degrees, 1 - POWER, edge))

    def seeds_needed(self, size: float, comparisons: int = 1) -> int | None:
        """Finds how many seeds show a true difference of a size with power 0.8; None above `power.MOST_SEEDS`."""
        def suffice(seeds: int) -> bool:
            return (self.detectable(seeds, comparisons) or 0.0) <= size

        if self.detectable() is None or not suffice(MOST_SEEDS):
            return None
        few, many = 1, MOST_SEEDS
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if suffice(middle) else (middle, many)
        return many


def against(scores: Mapping[str, Mapping[int, float]], reference: str | Mapping[str, str]) -> dict[str, Contrast]:
    """Compares every other cell with the reference cell, or each cell with its own.

    With two cells this is the paired t test. A comparison has no p value below two pairs, nor where neither its own
    runs nor those of other cells scatter.

    Args:
      scores: cell -> seed -> value; cells may lack seeds, and their order does not matter.
      reference: one of the cells; or cell -> the one that it is compared with, of the cells to be compared.

    Returns:
      Cell -> contrast, in the order of `scores`.

    Raises:
      KeyError: if the reference is no cell.

    Source: Holm 1979 for the correction; for the test see `standard_error`.
    """
    references = dict.fromkeys(scores, reference) if isinstance(reference, str) else reference
    contrasts = {cell: _contrast(scores, cell, references[cell])
                 for cell in scores if references.get(cell, cell) != cell}
    corrected = holm([contrast.p for contrast in contrasts.values()])
    return {cell: dataclasses.replace(contrast, holm=p)
            for (cell, contrast), p in zip(contrasts.items(), corrected, strict=True)}


def _contrast(scores: Mapping[str, Mapping[int, float]], cell: str, reference: str) -> Contrast:
    seeds = sorted(scores[cell].keys() & scores[reference].keys())
    if not seeds:
        return Contrast(0)
    here, there = (np.array([scores[one][seed] for seed in seeds], float) for one in (cell, reference))
    mean = float(np.mean(here - there))
    if len(seeds) == 1:
        return Contrast(1, mean)
    # Sorted, so that rounding is the same in whatever order cells come.
    others = [[scores[one][seed] for seed in seeds] for one in sorted(scores)
              if one not in (cell, reference) and scores[one].keys() >= set(seeds)]
    error, degrees = map(float, standard_error(here, there, np.array(others, float).reshape(-1, len(seeds))))
    rounding = 8 * np.finfo(float).eps * max(1.0, float(np.max(np.abs([here, there]))))
    if error * math.sqrt(len(seeds)) <= rounding:
        return Contrast(len(seeds), mean)
    half_width = float(special.stdtrit(degrees, 0.975)) * error
    return Contrast(len(seeds), mean, mean - half_width, mean + half_width, degrees,
                    p=float(2 * special.stdtr(degrees, -abs(mean) / error)))


def standard_error(cell: np.ndarray, reference: np.ndarray, others: np.ndarray, caution: float = _CAUTION
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the standard error of the mean difference of two cells, and its degrees of freedom.

    The paired t test has n - 1 degrees of freedom, since the differences alone must tell what seeds share. Welch's
    test has up to twice as many, one noise variance per cell, but counts what seeds share as noise. Here what seeds
    share is estimated from the other cells and taken out first. Whatever they give, the error can only grow by it:
    it is independent of both cells' noise and leaves their difference alone. The variance is a weighted mean of both
    tests', the paired one's weight falling with the number of other cells, 1 without any. Cells' noise variances are
    not pooled: with few seeds, an outlying cell would be judged by the quiet ones.

    Args:
      cell, reference: float [..., seed], two seeds or more.
      others: float [..., other cell, seed], of the same seeds; there may be none.
      caution: exponent on the balance of the two variances, 0 to 1, before Satterthwaite's formula; 1 is his own,
        which grants too many degrees of freedom where a noisy cell looks quiet by chance.

    Returns:
      Both [...]; the error is zero where there is no noise to judge by.

    Source: Welch 1947; Satterthwaite 1946, on w var(x - y) + (1 - w) (var x + var y) for independent normal x and y.
    """
    n, count = cell.shape[-1], others.shape[-2]
    shared = _shared(others)
    own, theirs = _variance(cell - shared), _variance(reference - shared)
    weight = 1 / (1 + count)
    variance = weight * _variance(cell - reference) + (1 - weight) * (own + theirs)
    if count > 1:  # with one other cell, an outlier would set the least noise of the table
        typical = _lower_median(_variance(others - shared[..., None, :]))
        variance = np.maximum(variance, _LEAST_NOISE * 2 * typical)
    balance = _ratio(2 * own * theirs, own**2 + theirs**2) ** caution
    return np.sqrt(variance / n), (n - 1) * (1 + balance) / (1 + weight**2 * balance)


def _shared(cells: np.ndarray) -> np.ndarray:
    """Estimates what seeds share from [..., cell, seed]: [..., seed], zero with fewer than two cells.

    Cells that scatter count for less. Their mean is shrunk by how well each cell is predicted by the others.
    """
    if cells.shape[-2] < 2:
        return np.zeros_like(cells[..., :1, :].sum(axis=-2))
    centred = cells - cells.mean(axis=-1, keepdims=True)
    variance = _variance(cells)
    scale = variance + _lower_median(variance)[..., None]
    weight = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)[..., None]
    total, sum_of_weights = (weight * centred).sum(axis=-2, keepdims=True), weight.sum(axis=-2, keepdims=True)
    without = _ratio(total - weight * centred, sum_of_weights - weight)
    slope = _ratio((weight * centred * without).sum(axis=(-2, -1)), (weight * without**2).sum(axis=(-2, -1)))
    return np.clip(slope, 0, 1)[..., None] * _ratio(total, sum_of_weights)[..., 0, :]


def _variance(values: np.ndarray) -> np.ndarray:
    return np.var(values, axis=-1, ddof=1)


def _lower_median(values: np.ndarray) -> np.ndarray:
    return np.sort(values, axis=-1)[..., (values.shape[-1] - 1) // 2]


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Divides; zero where the divisor is zero."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0)
