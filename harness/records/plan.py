"""What an ablation has planned, as types: its runs, its factors, its source's claims, what was fixed beforehand."""

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from harness.records.reading import FormError

_KINDS, _STATES = ("about", "at_least", "each_at_least", "at_most"), ("last", "best_validation")


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
class Stopping:
    """How long seeds are added: until each difference from a baseline is decided on validation accuracy.

    Attributes:
      within: a difference is decided where its interval excludes zero or lies within this, a fraction, of it.
      step: seeds that are added between two looks.
      seeds: all that there may be, in the order in which they are added; a multiple of `step`.
    """

    within: float
    step: int
    seeds: tuple[int, ...]

    @property
    def looks(self) -> int:
        """How many looks there may be."""
        return len(self.seeds) // self.step


@dataclasses.dataclass(frozen=True)
class Fixed:
    """What was fixed before anything was trained, and stays as it was whatever is planned later.

    Attributes:
      at: UTC, ISO 8601.
      score, select: what is compared; see `harness.analysis.cells.View`.
      comparisons: cell -> the one that it is compared with.
      seeds: that every cell is trained with, before any that the rule adds.
      stopping: the rule that adds seeds; None if none are added.
      sha256: of all the rest.
    """

    at: str
    score: str
    select: str
    comparisons: dict[str, str]
    seeds: tuple[int, ...]
    stopping: Stopping | None = None
    sha256: str = ""

    @property
    def digest(self) -> str:
        """Works the hash out."""
        stated = dataclasses.asdict(self) | {"sha256": ""}
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()

    @property
    def is_whole(self) -> bool:
        """Whether it is what was written."""
        return self.sha256 == self.digest


def fixed(comparisons: dict[str, str], seeds: tuple[int, ...], stopping: Stopping | None,
          at: datetime.datetime | None = None) -> Fixed:
    """Fixes a plan now, or at a time: test accuracy of the best validation epoch is what is compared."""
    stated = Fixed((at or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds"), "test_accuracy",
                   "best_validation", comparisons, seeds, stopping)
    return dataclasses.replace(stated, sha256=stated.digest)


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
      design: "full_factorial", "one_at_a_time", "leave_one_out", "cells" or "random"; empty in earlier plans.
      comparisons: cell -> the one that it is compared with; in earlier plans none, and reference levels tell.
      stopping: the rule that adds seeds, as the latest launch that had one had it.
      fixed: what was fixed before training; None in earlier plans.
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

    design: str = ""
    comparisons: dict[str, str] = dataclasses.field(default_factory=dict)
    stopping: Stopping | None = None
    fixed: Fixed | None = None

    def joined_by(self, earlier: "Plan", *, has_results: bool) -> "Plan":
        """Keeps what of an earlier plan this one has not: runs, and what was fixed before there were results.

        Runs of cells that the ablation no longer has are not planned any more.
        """
        known, cells = {run.run_id for run in self.runs}, {run.cell for run in self.runs}
        return dataclasses.replace(
            self, runs=(*self.runs, *(
                run for run in earlier.runs if run.run_id not in known and run.cell in cells)),
            comparisons=earlier.comparisons | self.comparisons if self.comparisons else {},
            stopping=self.stopping or earlier.stopping,
            fixed=earlier.fixed or self.fixed if has_results else self.fixed or earlier.fixed)

    def current(self) -> "Plan":
        """Leaves out the runs of levels that the ablation has had and no longer has."""
        runs = tuple(run for run in self.runs if self._has(run.labels))
        cells = {run.cell for run in runs}
        return dataclasses.replace(self, runs=runs, comparisons={
            cell: base for cell, base in self.comparisons.items() if {cell, base} <= cells})

    def _has(self, labels: Mapping[str, str]) -> bool:
        return all(level in self.factors.get(name, ()) for name, level in labels.items())


def checked(plan: Plan) -> Plan:
    """Checks what types cannot say.

    Raises:
      FormError: naming the field.
    """
    if empty := [name for name, levels in plan.factors.items() if not levels]:
        raise FormError(f"has no level of {empty[0]}")
    for run in plan.runs:
        if not 0 <= run.seed < 2**63:
            raise FormError(f"has a seed of {run.run_id} that is none")
    for claim in plan.claims:
        if claim.kind not in _KINDS or claim.state not in _STATES or (claim.value is None and not claim.unaudited):
            raise FormError(f"has a claim about {claim.metric} that cannot be held against anything")
        if claim.kind == "each_at_least" and claim.over:
            raise FormError(f"has a claim about each run's {claim.metric} and about a difference")
        if not all(abs(value) < math.inf for value in (claim.value or 0, claim.within)):
            raise FormError(f"has a claim about {claim.metric} with a figure that is none")
    for rule in (plan.stopping, plan.fixed.stopping if plan.fixed else None):
        if rule and (not 1 <= rule.step <= len(rule.seeds) or not 0 <= rule.within < math.inf):
            raise FormError("has a rule that adds no seeds")
    if plan.fixed and plan.fixed.select not in _STATES:
        raise FormError(f"has fixed scores of a state {plan.fixed.select!r:.80}")
    return plan
