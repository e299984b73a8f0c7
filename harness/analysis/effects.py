"""What the factors of an ablation do: each level on average over the others, and two changes together.

Pure. `tests/effects_simulation.py` compares the test with others; what came out lies in `results/headline_test`.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from harness.analysis.headline import Contrast
from harness.analysis.stats import holm
from harness.records.configs import differences

Cell = tuple[str, ...]
Seeds = Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Margin:
    """A level against its factor's reference level, on average over all levels of the other factors.

    Attributes:
      contrast: corrected over all margins of the ablation.
    """

    factor: str
    level: str
    reference: str
    contrast: Contrast


@dataclasses.dataclass(frozen=True)
class Together:
    """How far two changes together are from the sum of both alone.

    Attributes:
      parts: the two changes: each a factor and its level, or a cell that differs from the baseline by it.
      references: the levels that stand for no change; None where the parts are cells.
      alone, together: what the first change does without the second, and with it.
      contrast: together less alone; corrected over all such pairs of the ablation.
    """

    parts: tuple[tuple[str, str], tuple[str, str]] | tuple[str, str]
    references: tuple[str, str] | None
    alone: float
    together: float
    contrast: Contrast


@dataclasses.dataclass(frozen=True)
class Effects:
    """What factors do, as far as the cells that are done tell.

    Attributes:
      margins: each level on average; of a full factorial alone.
      together: pairs of changes.
      note: what is missing; empty if nothing is.
    """

    margins: tuple[Margin, ...] = ()
    together: tuple[Together, ...] = ()
    note: str = ""


def factorial_effects(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds]) -> Effects:
    """Estimates every main effect and two-way interaction from the seeds that all cells have.

    Args:
      factors: name -> levels, the reference level first; two factors or more.
      values: cell -> seed -> value; a cell is one level of each factor, in the factors' order.
    """
    cells = {cell: values.get(cell, {}) for cell in itertools.product(*factors.values())}
    everywhere = set().union(*cells.values())
    seeds = sorted(everywhere.intersection(*cells.values()))
    short = [", ".join(f"{name}={level}" for name, level in zip(factors, cell, strict=True))
             for cell, here in cells.items() if here.keys() != everywhere or not here]
    named = "; ".join(short[:3]) + (f"; and {len(short) - 3} more" if len(short) > 3 else "")
    if not seeds:
        return Effects(note=f"Effects are n/a: no seed is done in every cell; short of runs: {named}.")
    left_out = ", ".join(map(str, sorted(everywhere - set(seeds))))
    note = (f"Effects rest on the seeds that every cell has ({', '.join(map(str, seeds))}); left out: {left_out}, "
            f"missing from {named}.") if left_out else ""
    return Effects(_margins(factors, cells), _interactions(factors, cells), note)


def _margins(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds]) -> tuple[Margin, ...]:
    """Compares each level with its factor's reference level, on average over the others."""
    table, cells = _table(values), list(values)
    found = []
    for axis, (name, levels) in enumerate(factors.items()):
        for level in levels[1:]:
            sides = np.array([_side(cell[axis], level, levels[0]) for cell in cells])
            found.append(Margin(name, level, levels[0], across(table, sides * len(levels) / len(cells))))
    return tuple(dataclasses.replace(one, contrast=contrast) for one, contrast in _corrected(found))


def _interactions(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds]) -> tuple[Together, ...]:
    """Says of each two levels of two factors how far their effects are from adding up."""
    table, cells, names = _table(values), list(values), list(factors)
    found = []
    for pair in itertools.combinations(range(len(names)), 2):
        # The factor with fewer levels is the one whose effect is followed over the other's.
        first, second = sorted(pair, key=lambda axis: len(factors[names[axis]]))
        one, two = factors[names[first]], factors[names[second]]
        for level, other in itertools.product(one[1:], two[1:]):
            share = len(one) * len(two) / len(cells)
            change = np.array([_side(cell[first], level, one[0]) for cell in cells]) * share
            there, here = (change * np.array([cell[second] == at for cell in cells]) for at in (two[0], other))
            found.append(_together(((names[first], level), (names[second], other)), (one[0], two[0]),
                                   table, there, here))
    return tuple(dataclasses.replace(one, contrast=contrast) for one, contrast in _corrected(found))


def sums(configs: Mapping[str, Mapping[str, Any]], baselines: Mapping[str, str], values: Mapping[str, Seeds]
         ) -> tuple[Together, ...]:
    """Finds cells that make the changes of two others at once, and says how far these are from adding up.

    Args:
      configs: cell -> its configuration, of the cells that are known.
      baselines: cell -> the cell that it is compared with, itself for a baseline.
      values: cell -> seed -> value, of the same cells.
    """
    changes = {cell: _changes(configs[base], configs[cell]) for cell, base in baselines.items()
               if cell in configs and base in configs}
    cells = {(baselines[cell], changed): cell for cell, changed in changes.items()}
    found = []
    for first, second in itertools.combinations([cell for cell in changes if changes[cell]], 2):
        base = baselines[first]
        whole = cells.get((base, changes[first] | changes[second]))
        paths = [change.partition(":")[0] for cell in (first, second) for change in changes[cell]]
        if baselines[second] != base or whole is None or len(set(paths)) < len(paths):
            continue
        table = _table({cell: values[cell] for cell in (base, first, second, whole)})
        if table.size:
            found.append(_together((first, second), None, table, np.array([-1, 1, 0, 0]), np.array([0, 0, -1, 1])))
    return tuple(dataclasses.replace(one, contrast=contrast) for one, contrast in _corrected(found))


def _changes(base: Mapping[str, Any], config: Mapping[str, Any]) -> frozenset[str]:
    """Lists what a configuration changes; a field that one of both was recorded without is no change."""
    def shared(one: Any, other: Any) -> Any:
        if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
            return one
        return {name: shared(value, other[name]) for name, value in one.items() if name in other}

    return frozenset(differences(shared(base, config), shared(config, base)))


def across(table: np.ndarray, weights: np.ndarray) -> Contrast:
    """Tests a contrast of many cells: Welch's test for more than two, less what a seed does to all cells.

    Each cell has a noise variance of its own, estimated from what is left of its runs besides cell and seed means: a
    cell that scatters far more than the others widens the contrasts that it enters, and hardly those of the others.

    Args:
      table: [cell, seed]. Below two seeds, or without noise, there is no p value.
      weights: [cell], their sum zero.

    Source: Welch 1947 and Satterthwaite 1946, for a linear combination of means.
    """
    cells, seeds = table.shape
    mean = float(weights @ table.mean(axis=1))
    if seeds < 2:
        return Contrast(seeds, mean)
    noise = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    # Seed means take one cell's worth of noise with them.
    variance = weights**2 * np.sum(noise**2, axis=1) / (seeds - 1) * cells / (cells - 1)
    rounding = 8 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(table))))
    if math.sqrt(np.sum(variance)) <= rounding:
        return Contrast(seeds, mean)
    degrees = (seeds - 1) * max(1.0, float(np.sum(variance)**2 / np.sum(variance**2)) * (cells - 1) / cells)
    error = math.sqrt(float(np.sum(variance)) / seeds)
    half_width = float(special.stdtrit(degrees, 0.975)) * error
    return Contrast(seeds, mean, mean - half_width, mean + half_width, degrees,
                    p=float(2 * special.stdtr(degrees, -abs(mean) / error)))


def _together(parts: Any, references: tuple[str, str] | None, table: np.ndarray, there: np.ndarray, here: np.ndarray
              ) -> Together:
    means = table.mean(axis=1)
    return Together(parts, references, float(there @ means), float(here @ means), across(table, here - there))


def _corrected(found: Sequence[Any]) -> list[tuple[Any, Contrast]]:
    corrected = holm([one.contrast.p for one in found])
    return [(one, dataclasses.replace(one.contrast, holm=p)) for one, p in zip(found, corrected, strict=True)]


def _side(level: str, here: str, there: str) -> int:
    return (level == here) - (level == there)


def _table(values: Mapping[Any, Seeds]) -> np.ndarray:
    """Lays values out as [cell, seed], over the seeds that all cells have."""
    seeds = sorted(set.intersection(*(set(of) for of in values.values())))
    return np.array([[of[seed] for seed in seeds] for of in values.values()], float)
