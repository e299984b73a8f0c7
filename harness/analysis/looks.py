"""Seeds until decided: which differences are decided after how many seeds, and which cells are to have more.

Pure. Looks are taken at validation accuracy, so that the test set has no part in what is trained; they are taken again
from the records whenever that is asked, and kept nowhere.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from scipy import special

from harness.analysis import spending
from harness.analysis.headline import Contrast, against
from harness.records import RunRecord, Stopping

LEVEL = 0.05
Scores = Mapping[str, Mapping[int, float]]
Answer = Literal["differs", "alike", "failed", "open"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What looks have made of a cell's difference from its baseline.

    Attributes:
      answer: "differs" (the interval excludes zero), "alike" (it lies within the rule's bounds), "failed" (no pair of
        runs is done), or "open".
      seeds: at the look that decided, or the latest.
      interval: of the difference in validation accuracy then, for all looks and comparisons together.
    """

    answer: Answer
    seeds: int
    interval: Contrast


@dataclasses.dataclass(frozen=True)
class Looked:
    """Where a study stands.

    Attributes:
      outcomes: cell -> outcome, of the cells that are compared; none before the first look.
      waiting: cells that the next look needs more runs of; none where nothing is left to add.
      seeds: of the next look, those that are added by it.
    """

    outcomes: Mapping[str, Outcome]
    waiting: tuple[str, ...]
    seeds: tuple[int, ...]


def rule(points: float, seeds: Sequence[int], most: int) -> Stopping:
    """States a rule: as many seeds are added at a time as an ablation has, two at least.

    Args:
      points: of accuracy, within which a difference is none.
      seeds: the ablation's; the ones added are the smallest whole numbers that it has not.
      most: seeds, at most; no more than whole looks take of it.

    Raises:
      ValueError: where no bound or no second look is left.
    """
    step = max(2, len(seeds))
    if not points > 0:
        raise ValueError(f"--until_decided={points:g} must be above 0, such as 0.5, in points of accuracy")
    if most < 2 * step:
        raise ValueError(f"--max_seeds={most} leaves no second look: {step} seeds are added at a time, so that "
                         f"{2 * step} or more are needed")
    others = (seed for seed in itertools.count() if seed not in seeds)
    more = itertools.islice(others, most // step * step - len(seeds))
    return Stopping(points / 100, step, (*seeds, *more))


def look(rule: Stopping, comparisons: Mapping[str, str], records: Mapping[str, RunRecord], most: int | None = None
         ) -> Looked:
    """Takes all looks that the records allow, in their order.

    Args:
      comparisons: cell -> the one that it is compared with, a baseline with itself.
      records: run_id -> record; runs that failed are there, and count in no comparison.
      most: looks, at most; None takes all for which every run that they need is recorded.
    """
    ended: dict[str, set[int]] = {}
    scores: dict[str, dict[int, float]] = {}
    for record in records.values():
        ended.setdefault(record.cell, set()).add(record.seed)
        if record.status == "done" and record.best is not None:
            scores.setdefault(record.cell, {})[record.seed] = record.best.validation_accuracy
    open_cells = [cell for cell, base in comparisons.items() if base != cell]
    levels = spending.levels(LEVEL / max(1, len(open_cells)), rule.looks)
    outcomes: dict[str, Outcome] = {}
    needed = tuple(comparisons)
    for number, level in enumerate(levels):
        seeds = rule.seeds[:(number + 1) * rule.step]
        whole = all(ended.get(cell, set()) >= set(seeds) for cell in needed)
        if (most is None and not whole) or (most is not None and number >= most):
            return Looked(outcomes, needed, seeds[-rule.step:])
        table = {cell: {seed: value for seed, value in scores.get(cell, {}).items() if seed in seeds}
                 for cell in needed}
        tests = against(table, {cell: comparisons[cell] for cell in open_cells})
        outcomes |= {cell: Outcome(_answer(found := at_level(test, level), rule.within), len(seeds), found)
                     for cell, test in tests.items()}
        open_cells = [cell for cell in open_cells if outcomes[cell].answer == "open"]
        if not open_cells:
            break
        bases = {comparisons[cell] for cell in open_cells}
        needed = tuple(cell for cell in comparisons if cell in open_cells or cell in bases)
    return Looked(outcomes, (), ())


def _answer(test: Contrast, within: float) -> Answer:
    if not test.n:
        return "failed"
    if test.low is None or test.high is None:
        return "open"
    if test.low > 0 or test.high < 0:
        return "differs"
    return "alike" if -within <= test.low and test.high <= within else "open"


def corrected(tests: Mapping[str, Contrast], rule: Stopping) -> dict[str, Contrast]:
    """Corrects tests of a study that may have stopped at any look: for the looks, and by Bonferroni for their number.

    They hold whatever the study was stopped by; see `spending.levels`. A test's look is that of its seeds, the one
    before where some are missing.
    """
    levels = spending.levels(LEVEL / max(1, len(tests)), rule.looks)
    return {cell: at_level(test, levels[min(max(test.n // rule.step, 1), rule.looks) - 1])
            for cell, test in tests.items()}


def at_level(test: Contrast, level: float) -> Contrast:
    """Gives a test's interval at a level in place of 5 %, and the p value that is below 5 % where it is below that."""
    if test.mean is None or test.high is None or test.degrees is None or test.p is None:
        return test
    error = (test.high - test.mean) / float(special.stdtrit(test.degrees, 0.975))
    half_width = float(-special.stdtrit(test.degrees, level / 2)) * error
    return dataclasses.replace(test, low=test.mean - half_width, high=test.mean + half_width,
                               holm=min(1.0, test.p * LEVEL / level))
