"""Main effects and two-way interactions of a full factorial, with seeds as blocks.

Pure. The noise is what is left when each cell's and each seed's mean are taken out.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from harness.analysis.stats import Estimate

Cell = tuple[str, ...]

# With equal noise, 8 or 9 cells and 3 seeds, a ratio as large comes up in one table of a hundred.
_UNEQUAL = 4.0


@dataclasses.dataclass(frozen=True)
class Effect:
    """How far a level, or two levels together, moves the mean.

    Attributes:
      factors, levels, references: one entry of each for a main effect, two for an interaction.
      estimate: of a main effect the mean at the level less the mean at the reference level, over all levels of the
        other factors; of an interaction that difference at the second factor's level less the same at its reference.
        `n` counts seeds, `sd` is that of the noise.
      p: of its t test; None without noise to judge by.
    """

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    references: tuple[str, ...]
    estimate: Estimate
    p: float | None


@dataclasses.dataclass(frozen=True)
class Term:
    """Whether a factor, or two together, matter at all: one line of the analysis of variance.

    Attributes:
      f, degrees, residual_degrees, p: the F test; f and p are None without noise to judge by.
    """

    factors: tuple[str, ...]
    f: float | None
    degrees: int
    residual_degrees: int
    p: float | None


@dataclasses.dataclass(frozen=True)
class Effects:
    """All effects, or why there are none.

    Attributes:
      seeds: that every cell has; the others are left out.
      note: what is missing; empty if nothing is.
    """

    effects: tuple[Effect, ...]
    terms: tuple[Term, ...]
    seeds: tuple[int, ...]
    note: str


def factorial_effects(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Mapping[int, float]]) -> Effects:
    """Estimates every main effect and two-way interaction from the seeds that all cells have.

    Args:
      factors: name -> levels, the reference level first; two factors or more.
      values: cell -> seed -> value; a cell is one level of each factor, in the factors' order.

    Source: randomised complete blocks, Montgomery, Design and Analysis of Experiments, ch. 4 and 5.
    """
    cells = list(itertools.product(*factors.values()))
    present = [set(values.get(cell, ())) for cell in cells]
    seeds = tuple(sorted(set.intersection(*present)))
    everywhere = set.union(*present)
    short = [", ".join(f"{name}={level}" for name, level in zip(factors, cell, strict=True))
             for cell, here in zip(cells, present, strict=True) if here != everywhere or not here]
    named = "; ".join(short[:3]) + (f"; and {len(short) - 3} more" if len(short) > 3 else "")
    if not seeds:
        return Effects((), (), (), f"Effects are n/a: no seed is done in every cell; short of runs: {named}.")
    left_out = ", ".join(map(str, sorted(everywhere - set(seeds))))
    note = (f"Effects rest on the seeds that every cell has ({', '.join(map(str, seeds))}); left out: {left_out}, "
            f"missing from {named}.") if left_out else ""
    shape = tuple(map(len, factors.values()))
    table = np.array([[values[cell][seed] for seed in seeds] for cell in cells])
    note = " ".join(filter(None, [note, _unequal(factors, cells, table)]))
    return Effects(*_analyse(factors, table.reshape(*shape, len(seeds))), seeds, note)


def _unequal(factors: Mapping[str, Sequence[str]], cells: Sequence[Cell], table: np.ndarray) -> str:
    """Warns of a cell whose seeds scatter far more than the others': pooled noise then describes none of them."""
    if table.shape[1] < 2:
        return ""
    spread = np.std(table, axis=1, ddof=1)
    worst = int(np.argmax(spread))
    ratio = spread[worst] / max(float(np.median(spread)), 1e-12)
    if ratio < _UNEQUAL:
        return ""
    name = ", ".join(f"{factor}={level}" for factor, level in zip(factors, cells[worst], strict=True))
    return (f"Noise is unequal: seeds of {name} scatter {ratio:.0f} times as far as those of the median cell, so that "
            "the intervals are too wide for effects without it and too narrow for those with it.")


def _analyse(factors: Mapping[str, Sequence[str]], table: np.ndarray) -> tuple[tuple[Effect, ...], tuple[Term, ...]]:
    """Analyses [level of each factor..., seed]."""
    names, axes, seeds = list(factors), range(table.ndim - 1), table.shape[-1]
    cells = table.size // seeds
    noise = (table - table.mean(axis=-1, keepdims=True) - table.mean(axis=tuple(axes), keepdims=True) + table.mean())
    degrees = (cells - 1) * (seeds - 1)
    # Differences below rounding are no noise to judge by.
    rounding = 8 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(table))))
    variance = float(np.sum(noise**2)) / degrees if degrees and np.max(np.abs(noise)) > rounding else 0.0

    def effect(which: tuple[int, ...], at: tuple[int, ...]) -> Effect:
        means = table.mean(axis=tuple(axis for axis in range(table.ndim) if axis not in which))
        corners = itertools.product(*((0, level) for level in at))
        size = sum((-1) ** corner.count(0) * means[corner] for corner in corners)
        per_corner = table.size / math.prod(means.shape)
        error = math.sqrt(variance * 2 ** len(which) / per_corner)
        low = high = p = None
        if error:
            half_width = float(special.stdtrit(degrees, 0.975)) * error
            low, high = float(size) - half_width, float(size) + half_width
            p = float(2 * special.stdtr(degrees, -abs(float(size)) / error))
        return Effect(
            tuple(names[axis] for axis in which),
            tuple(factors[names[axis]][level] for axis, level in zip(which, at, strict=True)),
            tuple(factors[names[axis]][0] for axis in which),
            Estimate(seeds, float(size), math.sqrt(variance) if degrees else None, low, high), p)

    def term(which: tuple[int, ...]) -> Term:
        means = table.mean(axis=tuple(axis for axis in range(table.ndim) if axis not in which))
        for axis in range(means.ndim):
            means = means - means.mean(axis=axis, keepdims=True)
        own = math.prod(size - 1 for size in means.shape)
        per_mean = table.size / math.prod(means.shape)
        f = float(np.sum(means**2)) * per_mean / own / variance if variance else None
        p = float(special.fdtrc(own, degrees, f)) if f is not None else None
        return Term(tuple(names[axis] for axis in which), f, own, degrees, p)

    subsets = [*itertools.combinations(axes, 1), *itertools.combinations(axes, 2)]
    effects = tuple(effect(which, at) for which in subsets
                    for at in itertools.product(*(range(1, table.shape[axis]) for axis in which)))
    return effects, tuple(term(which) for which in subsets)
