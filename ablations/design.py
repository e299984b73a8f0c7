"""Which combinations of levels an ablation trains, and which of its runs a command picks."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ablations.factor import Factor, SpecError, Uniform, as_tuple

Labels = Mapping[str, str]
# What leaves cells out: factor -> level or levels, all of which a cell has; or a function of the cell's labels.
Condition = Mapping[str, str | tuple[str, ...]] | Callable[[Labels], bool]
NAMED = ("full_factorial", "one_at_a_time", "leave_one_out")


@dataclasses.dataclass(frozen=True)
class RandomCells:
    """The baseline and so many cells drawn at random, each factor on its own: levels alike, ranges as they say.

    The first cells of a larger number are those of a smaller one.

    Attributes:
      seed: of the draw; it has no part in training.
    """

    n: int
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 1 <= self.n <= 10_000:
            raise SpecError(f"RandomCells needs a number of cells from 1 to 10,000, not {self.n!r}")


Design = str | Sequence[Labels] | RandomCells


def name(design: Design) -> str:
    """Names a design for the plan: as it is given, else "cells" or "random"."""
    if isinstance(design, str):
        return design
    return "random" if isinstance(design, RandomCells) else "cells"


def cells(factors: Mapping[str, Factor], design: Design, exclude: Condition | Sequence[Condition],
          reference: Callable[[str], str]) -> list[dict[str, str]]:
    """Expands a design into cells, the baseline first unless a full factorial's order has it elsewhere.

    Args:
      reference: tells the reference level of a factor.

    Raises:
      SpecError: if the design does not fit the factors, or its baseline is left out.
    """
    ranges = [factor for factor, of in factors.items() if isinstance(of.levels, Uniform)]
    if ranges and not isinstance(design, RandomCells):
        raise SpecError(f'factor "{ranges[0]}" has a range: design=RandomCells(n) draws from it, or give it levels')
    excluded = _excluded(factors, exclude)
    baseline = at_reference(factors, {}, reference)
    if isinstance(design, RandomCells):
        found = _drawn(factors, design, baseline, excluded)
    elif isinstance(design, tuple | list) and all(isinstance(labels, Mapping) for labels in design):
        found = [_completed(factors, dict(labels), reference) for labels in design]
        for number, labels in enumerate(found):
            if labels in found[:number]:
                raise SpecError(f"design lists the cell {_named(labels)} twice")
    elif design == "full_factorial":
        found = _combinations(factors)
    elif design in NAMED:
        found = _single_changes(factors, baseline, reference, leaves_out=design == "leave_one_out")
    else:
        raise SpecError(f"design must be one of {', '.join(NAMED)}, RandomCells(n), or a tuple of cells, each a dict "
                        f"of factor -> level; not {design!r:.200}")
    kept = [labels for labels in found if not excluded(labels)]
    if baseline in found and baseline not in kept:
        raise SpecError(f"exclude leaves out the baseline {_named(baseline)}: put another level first")
    if not kept:
        raise SpecError("the design has no cells")
    return kept


def comparisons(of_cells: Sequence[Labels], factors: Mapping[str, Factor], within: Sequence[str],
                reference: Callable[[str], str]) -> list[tuple[Labels, Labels]]:
    """Pairs each cell with the one that it is compared with, a baseline with itself; what has none is left out.

    That is the cell of the same levels of `within` and else all reference levels; where a list of cells has no cell
    of all reference levels, its first.
    """
    pairs: list[tuple[Labels, Labels]] = []
    for labels in of_cells:
        base = at_reference(factors, {factor: labels[factor] for factor in within if factor in labels}, reference)
        if base not in of_cells and not within:
            base = dict(of_cells[0])
        if base in of_cells:
            pairs.append((labels, base))
    return pairs


def at_reference(factors: Mapping[str, Factor], fixed: Labels, reference: Callable[[str], str]) -> dict[str, str]:
    """Gives the cell that has these levels and else reference levels, of the factors that exist there."""
    labels: dict[str, str] = {}
    for factor, of in factors.items():
        if of.exists(labels):
            labels[factor] = fixed[factor] if factor in fixed else reference(factor)
    return labels


Named = TypeVar("Named", bound="HasId")


class HasId(Protocol):
    """Anything with the name of a run."""

    @property
    def run_id(self) -> str:
        """Names the run."""


def picked(runs: Iterable[Named], texts: Sequence[str]) -> list[Named]:
    """Picks the runs whose name contains one of the texts; one between slashes is a regular expression.

    Raises:
      SpecError: if an expression is none.
    """
    def matches(text: str) -> Callable[[str], Any]:
        if not (len(text) > 1 and text[0] == text[-1] == "/"):
            return lambda run_id: text in run_id
        try:
            return re.compile(text[1:-1]).search
        except re.error as error:
            raise SpecError(f"--only={text} is no regular expression: {error}") from None

    if "" in texts:
        raise SpecError("--only is empty, which picks everything: leave it out, or give a part of a run's name")
    tests = [matches(text) for text in texts]
    return [run for run in runs if not tests or any(test(run.run_id) for test in tests)]


def _combinations(factors: Mapping[str, Factor]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{}]
    for factor, of in factors.items():
        found = list(itertools.chain.from_iterable(
            [labels | {factor: label} for label in of.labels] if of.exists(labels) else [labels] for labels in found))
    return found


def _single_changes(factors: Mapping[str, Factor], baseline: dict[str, str], reference: Callable[[str], str], *,
                    leaves_out: bool) -> list[dict[str, str]]:
    """Changes one factor at a time; a nested one that the baseline lacks, where it first exists."""
    found = [baseline]
    for factor, of in factors.items():
        if leaves_out and len(of.labels) != 2:
            raise SpecError(f'factor "{factor}": leave_one_out needs two levels, with the component and without it, '
                            f"not {len(of.labels)}; one_at_a_time takes any number")
        under = _where_it_exists(factors, factor, baseline)
        found += [at_reference(factors, {**under, factor: label}, reference) for label in of.labels[1:]]
    return found


def _where_it_exists(factors: Mapping[str, Factor], factor: str, baseline: Labels) -> dict[str, str]:
    """Gives levels of the factors above a nested one that the baseline lacks, however many; nothing of any other."""
    under = {} if factors[factor].exists(baseline) else {
        parent: as_tuple(levels)[0] for parent, levels in factors[factor].under.items()}
    above = [_where_it_exists(factors, parent, baseline) for parent in under]
    return {parent: level for levels in above for parent, level in levels.items()} | under


def _drawn(factors: Mapping[str, Factor], design: RandomCells, baseline: dict[str, str],
           excluded: Callable[[Labels], bool]) -> list[dict[str, str]]:
    draws = {factor: of.drawn(factor, design.seed) for factor, of in factors.items()}
    found, known = [baseline], {tuple(baseline.items())}
    for _ in range(100 * design.n):
        chosen = {factor: next(draw) for factor, draw in draws.items()}
        labels = at_reference(factors, chosen, chosen.__getitem__)
        if tuple(labels.items()) not in known and not excluded(labels):
            found.append(labels)
            known.add(tuple(labels.items()))
        if len(found) > design.n:
            return found
    raise SpecError(f"there are only {len(found) - 1} different cells to draw, not {design.n}")


def _completed(factors: Mapping[str, Factor], labels: dict[str, str], reference: Callable[[str], str]
               ) -> dict[str, str]:
    """Adds reference levels to a listed cell where it names none."""
    for factor, label in labels.items():
        if factor not in factors:
            raise SpecError(f'a listed cell names "{factor}"; the factors are {", ".join(factors)}')
        if label not in factors[factor].labels:
            as_tuple(label)  # raises for a number, which would read like the label that was meant
            raise SpecError(f"a listed cell has {factor}={label}; the levels are {', '.join(factors[factor].labels)}")
    found = at_reference(factors, labels, reference)
    if lost := labels.keys() - found.keys():
        raise SpecError(f"the listed cell {_named(labels)} names {min(lost)}, which does not exist there")
    return found


def _excluded(factors: Mapping[str, Factor], exclude: Condition | Sequence[Condition]) -> Callable[[Labels], bool]:
    """Makes one question of all that leaves cells out."""
    conditions: Sequence[Any] = exclude if isinstance(exclude, tuple | list) else [exclude]
    for condition in conditions:
        if not isinstance(condition, Mapping) and not callable(condition):
            raise SpecError("exclude must be a dict of factor -> level or levels, a function of a cell's labels, or a "
                            f"tuple of such; not {exclude!r:.200}")
        for factor, levels in condition.items() if isinstance(condition, Mapping) else ():
            if factor not in factors:
                raise SpecError(f'exclude names "{factor}"; the factors are {", ".join(factors)}')
            there = factors[factor].labels
            if lacking := [label for label in as_tuple(levels) if there and label not in there]:
                raise SpecError(f"exclude names {factor}={lacking[0]}; the levels are {', '.join(there)}")

    def meets(labels: Labels, condition: Condition) -> bool:
        if callable(condition):
            return bool(condition(dict(labels)))
        return bool(condition) and all(labels.get(factor) in as_tuple(levels) for factor, levels in condition.items())

    return lambda labels: any(meets(labels, condition) for condition in conditions)


def _named(labels: Labels) -> str:
    return ",".join(f"{factor}={label}" for factor, label in labels.items()) or "baseline"


def seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """Reads seeds as a command has them.

    Raises:
      SpecError: if one is no whole number of at least 0.
    """
    if not all(text.isascii() and text.isdecimal() for text in texts):
        raise SpecError(f"--seeds={','.join(texts)} must be whole numbers of at least 0, such as 0,1,2")
    return tuple(map(int, texts))
