"""What a table answers, worked out once: which cell is ahead, and which differ from the baseline.

Tables, pictures, pages and the terminal show this and judge nothing themselves.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from harness.analysis import looks
from harness.analysis.headline import Contrast, against
from harness.analysis.looks import LEVEL
from harness.records import Stopping

Scores = Mapping[str, Mapping[int, float]]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer, by the headline test with its correction at the 5 % level; cells are named, in the table's order.

    Attributes:
      leader: the cell with the best mean; None without a done run.
      near: those that it is not clearly ahead of.
      above, below, unclear: those that are clearly better and worse than their baseline, and the rest compared.
      against: cell -> its test against its baseline.
      behind: cell -> its test of the leader's lead over it.
    """

    leader: str | None = None
    near: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    against: Mapping[str, Contrast] = dataclasses.field(default_factory=dict)
    behind: Mapping[str, Contrast] = dataclasses.field(default_factory=dict)

    @property
    def best(self) -> str | None:
        """Names the leader if it is clearly ahead of every other cell, of which there must be one."""
        return None if self.near or not self.behind else self.leader


def decide(scores: Scores, baselines: Mapping[str, str], sign: int, rule: Stopping | None = None) -> Verdict:
    """Decides what scores answer.

    Args:
      scores: cell -> seed -> value; cells without any count nowhere.
      baselines: cell -> the one that it is compared with, of the cells that are compared.
      sign: 1 where higher is better, else -1.
      rule: by which seeds were added, for which tests are then corrected.
    """
    found = {cell: values for cell, values in scores.items() if values}
    if not found:
        return Verdict()
    leader = max(found, key=lambda cell: sign * float(np.mean(list(found[cell].values()))))
    compared = against(found, {cell: base for cell, base in baselines.items() if cell in found and base in found})
    behind = against(found, leader)
    if rule:
        compared, behind = looks.corrected(compared, rule), looks.corrected(behind, rule)
    for cell, test in compared.items():  # the same two cells: one answer, wherever it is asked
        if leader in (pair := {cell, baselines[cell]}):
            [other] = pair - {leader}
            behind[other] = dataclasses.replace(behind[other], holm=test.holm)
    # Where seeds are unequal, the pairs may say the opposite of the means.
    near = [cell for cell, test in behind.items() if not is_clear(test) or sign * (test.mean or 0.0) >= 0]
    sides: dict[str, list[str]] = {"above": [], "below": [], "unclear": []}
    for cell, test in compared.items():
        side = "unclear" if not is_clear(test) else "above" if sign * (test.mean or 0.0) > 0 else "below"
        sides[side].append(cell)
    return Verdict(leader, tuple(near), against=compared, behind=behind,
                   **{side: tuple(cells) for side, cells in sides.items()})


def is_clear(test: Contrast | None) -> bool:
    """Whether a test finds a difference, corrected for the others beside it."""
    return test is not None and test.holm is not None and test.holm < LEVEL
