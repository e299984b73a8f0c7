"""In which turns cohorts train, where other processes may train runs of theirs too."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from ablations.spec import Run

Training = TypeVar("Training")


class Turns(Protocol):
    """Decides which runs are this process's to train."""

    def take(self, runs: Sequence[Run]) -> list[Run]:
        """Gives those of a cohort's runs that this process trains now."""

    def again(self, runs: Sequence[Run]) -> list[Run]:
        """Gives those runs that others had taken and have given up, once every other has had its turn."""


class Alone:
    """Turns of a process that trains all it is given."""

    def take(self, runs: Sequence[Run]) -> list[Run]:
        return list(runs)

    def again(self, runs: Sequence[Run]) -> list[Run]:
        return []


def in_turn(cohorts: Sequence[tuple[Sequence[Run], Training]], turns: Turns
            ) -> Iterator[tuple[list[Run], Training, Training | None]]:
    """Gives each cohort with the runs to train now, and what comes next; then those that others have left."""
    waiting = list(cohorts)
    while waiting:
        left = []
        for number, (runs, training) in enumerate(waiting):
            if mine := turns.take(runs):
                yield mine, training, waiting[number + 1][1] if number + 1 < len(waiting) else None
            left.append(([run for run in runs if run not in mine], training))
        waiting = [(again, training) for runs, training in left if (again := turns.again(runs))]
