"""How long a launch will still take, from the speed of what it has trained."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast a cohort trains.

    Attributes:
      work: of one epoch of one run, in a unit that all cohorts share: MACs times examples.
      epochs_left: of all its runs.
      epochs: of all its runs, trained in this launch.
      seconds: that those took, runs side by side.
      compile_s: what its programs took to compile; None before they are.
    """

    work: float
    epochs_left: int = 0
    epochs: int = 0
    seconds: float = 0.0
    compile_s: float | None = None


def estimate(cohorts: Sequence[Pace]) -> float | None:
    """Estimates the seconds until all cohorts are trained; None before any has ended an epoch.

    A cohort goes on at its own speed. One that has not begun takes as long for a unit of work as those that have, on
    average, and as long to compile.
    """
    begun = [cohort for cohort in cohorts if cohort.epochs]
    if not begun:
        return None
    per_work = sum(cohort.seconds for cohort in begun) / max(1.0, sum(cohort.epochs * cohort.work for cohort in begun))
    compiled = [cohort.compile_s for cohort in cohorts if cohort.compile_s is not None]
    to_compile = sum(compiled) / len(compiled) if compiled else 0.0
    return sum(cohort.epochs_left * cohort.seconds / cohort.epochs if cohort.epochs else
               cohort.epochs_left * cohort.work * per_work + to_compile
               for cohort in cohorts if cohort.epochs_left)
