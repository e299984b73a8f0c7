"""What an ablation has planned, as types: its runs, its factors, what its source claims."""

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that is to be trained: see `record.RunRecord`."""

    run_id: str
    cell: str
    labels: dict[str, str]
    seed: int


@dataclasses.dataclass(frozen=True)
class PlannedClaim:
    """What a source states, as `ablations.claim.Claim` has it; what an earlier plan lacks has its default."""

    source: str
    metric: str
    value: int | float | None
    kind: str
    within: int | float
    state: str
    labels: dict[str, str]
    over: dict[str, str] | None
    protocol: str
    of: tuple[str, ...] = ()
    unaudited: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a launch has planned.

    Attributes:
      factors: name -> labels, the reference level first.
      runs: cells in the ablation's order.
      claims: the source's figures.
      varied: paths of the fields that factors set.
      within: factors at whose levels cells are compared: each with the one of the same level, and of the reference
        levels of the other factors.
      origin, sources, overrides: see `record.Provenance`.
    """

    ablation: str
    question: str
    factors: dict[str, tuple[str, ...]]
    runs: tuple[PlannedRun, ...]
    claims: tuple[PlannedClaim, ...] = ()
    varied: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    origin: str = ""
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)

    def joined_by(self, earlier: Iterable[PlannedRun]) -> "Plan":
        """Keeps the runs of an earlier plan that this one has not."""
        known = {run.run_id for run in self.runs}
        return dataclasses.replace(self, runs=(*self.runs, *(run for run in earlier if run.run_id not in known)))
