"""What the factors of an ablation do: each level on average over the others, and two changes together.

Pure. `tests/effects_simulation.py` compares the test with others; what came out lies in `results/headline_test`.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
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
      pairs: where some combinations of levels are not there, over how many pairs of cells that differ in this factor
        alone it is an average; 0 where it is over all.
    """

    factor: str
    level: str
    reference: str
    contrast: Contrast
    pairs: int = 0


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
      margins: each level on average; of a full factorial, or of what matched pairs of cells there are.
      together: pairs of changes.
      note: what is missing; empty if nothing is.
    """

    margins: tuple[Margin, ...] = ()
    together: tuple[Together, ...] = ()
    note: str = ""


def factorial_effects(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds],
                      planned: Sequence[Cell] = ()) -> Effects:
    """Estimates main effects and two-way interactions from the seeds that all cells have.

    Where combinations of levels are not planned, or have no run, means over what is there would mix up the factors:
    then each level is compared over pairs of cells that differ in its factor alone, of which there must be two, and
    two factors' levels over sets of four cells.

    Args:
      factors: name -> levels, the reference level first; two factors or more.
      values: cell -> seed -> value; a cell is one level of each factor, in the factors' order, "" where it lacks one.
      planned: cells; none means every combination.
    """
    full = not planned or is_full(factors, planned)
    cells = {cell: values.get(cell, {}) for cell in (itertools.product(*factors.values()) if full else planned)}
    everywhere = set().union(*cells.values())
    there = _sharing_seeds({cell: of_cell for cell, of_cell in cells.items() if of_cell}, factors)
    seeds = sorted(everywhere.intersection(*there.values()))
    matched = not full or len(there) < len(cells)
    margins = _margins(factors, there, matched=matched) if seeds else ()

    def short(of: Iterable[Cell]) -> str:
        names = [_named(factors, cell) for cell in of if cells[cell].keys() != everywhere or not cells[cell]]
        return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")

    if not margins:
        possible = _margins(factors, {cell: {0: 0.0} for cell in cells}, matched=True)
        return Effects(note="Main effects are n/a: " + (
            f"no seed is done in every cell; short of runs: {short(cells)}." if possible else
            "not every combination of levels is planned."))
    notes = [_matched_note(factors, margins, [_named(factors, cell) for cell in cells if cell not in there])
             ] if matched else []
    if left_out := ", ".join(map(str, sorted(everywhere - set(seeds)))):
        which = "every cell" if len(there) == len(cells) else "every cell that enters"
        notes.append(f"Effects rest on the seeds that {which} has ({', '.join(map(str, seeds))}); left out: "
                     f"{left_out}, missing from {short(there)}.")
    return Effects(margins, _interactions(factors, there), " ".join(notes))


def _sharing_seeds(there: dict[Cell, Seeds], factors: Mapping[str, Sequence[str]]) -> dict[Cell, Seeds]:
    """Leaves out cells that lack most seeds and would leave all others a single one; their pairs are lost with them.

    Where nothing could be compared without them they stay: what one seed tells has no interval.
    """
    everywhere, kept = set[int]().union(*there.values()), dict(there)
    while len(everywhere.intersection(*kept.values())) < 2 <= len(everywhere):
        del kept[min(kept, key=lambda cell: len(kept[cell]))]
    if len(kept) == len(there):
        return there
    return kept if kept and _margins(factors, kept, matched=True) else there


def is_full(factors: Mapping[str, Sequence[str]], planned: Sequence[Cell]) -> bool:
    """Whether every combination of levels is planned."""
    whole = {cell for cell in planned if all(level in levels for level, levels in zip(cell, factors.values(),
                                                                                      strict=True))}
    return len(whole) == math.prod(map(len, factors.values()))


def _named(factors: Mapping[str, Sequence[str]], cell: Cell) -> str:
    return ", ".join(f"{name}={level}" for name, level in zip(factors, cell, strict=True) if level)


def _matched_note(factors: Mapping[str, Sequence[str]], margins: Sequence[Margin], empty: Sequence[str]) -> str:
    """Says what effects rest on where combinations of levels are missing."""
    counts = "; ".join(f"{one.factor}={one.level}: {one.pairs}" for one in margins)
    known = {(one.factor, one.level) for one in margins}
    lost = [f"{name}={level}" for name, levels in factors.items() for level in levels[1:] if (name, level) not in known]
    left_out = f" (without a done run, or short of seeds: {'; '.join(empty)})" if empty else ""
    return (f"Not every combination of levels is there{left_out}: a main effect is the mean over pairs of cells that "
            f"differ in that factor alone ({counts})"
            + (f", and n/a for {'; '.join(lost)}, which has fewer than two" if lost else "") + ".")


def _margins(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds], *, matched: bool
             ) -> tuple[Margin, ...]:
    """Compares each level with its factor's reference level, on average over the others."""
    table, cells = _table(values), {cell: place for place, cell in enumerate(values)}
    found = []
    for axis, (name, levels) in enumerate(factors.items()):
        for level in levels[1:]:
            pairs = [(place, cells[other]) for cell, place in cells.items()
                     if cell[axis] == level and (other := _at(cell, axis, levels[0])) in cells]
            if len(pairs) < 2:
                continue
            weights = np.zeros(len(cells))
            for here, there in pairs:
                weights[here], weights[there] = 1 / len(pairs), -1 / len(pairs)
            found.append(Margin(name, level, levels[0], across(table, weights), len(pairs) if matched else 0))
    return tuple(dataclasses.replace(one, contrast=contrast) for one, contrast in _corrected(found))


def _interactions(factors: Mapping[str, Sequence[str]], values: Mapping[Cell, Seeds]) -> tuple[Together, ...]:
    """Says of each two levels of two factors how far their effects are from adding up."""
    table, names, cells = _table(values), list(factors), {cell: place for place, cell in enumerate(values)}
    found = []
    for pair in itertools.combinations(range(len(names)), 2):
        # The factor with fewer levels is the one whose effect is followed over the other's.
        first, second = sorted(pair, key=lambda axis: len(factors[names[axis]]))
        one, two = factors[names[first]], factors[names[second]]
        for level, other in itertools.product(one[1:], two[1:]):
            squares = _squares(cells, (first, level, one[0]), (second, other, two[0]))
            there, here = np.zeros((2, len(cells)))
            for neither, alone, without, both in squares:
                there[alone], there[neither] = 1 / len(squares), -1 / len(squares)
                here[both], here[without] = 1 / len(squares), -1 / len(squares)
            if squares:
                found.append(_together(((names[first], level), (names[second], other)), (one[0], two[0]),
                                       table, there, here))
    return tuple(dataclasses.replace(one, contrast=contrast) for one, contrast in _corrected(found))


def _squares(cells: Mapping[Cell, int], first: tuple[int, str, str], second: tuple[int, str, str]
             ) -> list[tuple[int, ...]]:
    """Finds the places of four cells each that differ in two factors alone.

    Args:
      first, second: a factor's axis, its level and its reference level.

    Returns:
      cells with neither level, with the first, with the second, and with both.
    """
    (axis, level, reference), (other_axis, other, other_reference) = first, second
    corners = [[_at(_at(cell, axis, here), other_axis, there)
                for there in (other_reference, other) for here in (reference, level)]
               for cell in cells if (cell[axis], cell[other_axis]) == (level, other)]
    return [tuple(cells[corner] for corner in four) for four in corners if all(corner in cells for corner in four)]


def _at(cell: Cell, axis: int, level: str) -> Cell:
    return (*cell[:axis], level, *cell[axis + 1:])


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
    """Tests a contrast of many cells: Welch's test for more than two, less what a seed does to all of them.

    Each cell has a noise variance of its own, estimated from what is left of its runs besides cell and seed means. Both
    are of the cells that enter alone: one that scatters far more than the others widens the contrasts that it enters,
    and would leave a share of its noise in every other cell's if its seeds counted for what seeds share.

    Args:
      table: [cell, seed]. Below two seeds, or without noise, there is no p value.
      weights: [cell], their sum zero, of two cells at least not zero.

    Source: Welch 1947 and Satterthwaite 1946, for a linear combination of means.
    """
    table, weights = table[weights != 0], weights[weights != 0]
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


def _table(values: Mapping[Any, Seeds]) -> np.ndarray:
    """Lays values out as [cell, seed], over the seeds that all cells have."""
    seeds = sorted(set.intersection(*(set(of) for of in values.values())))
    return np.array([[of[seed] for seed in seeds] for of in values.values()], float)
