"""In which turns cohorts train, where other processes may train runs of theirs too."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from ablations.spec import Run

Training = TypeVar("Training")


class Turns(Protocol):
    """Decides which runs are this process's to train."""

    def take(self, runs: Sequence[Run]) -> list[Run]:
        """Gives those of a cohort's runs that this process trains now."""

    def again(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Run]:
        """Gives those runs that others had taken and have given up, once every other has had its turn.

        Args:
          stopped: whether the user asked to stop, while it is waited for others.
        """


class Alone:
    """Turns of a process that trains all it is given."""

    def take(self, runs: Sequence[Run]) -> list[Run]:
        return list(runs)

    def again(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Run]:
        return []


def in_turn(cohorts: Sequence[tuple[Sequence[Run], Training]], turns: Turns, stopped: Callable[[], bool] = bool
            ) -> Iterator[tuple[list[Run], Training, Training | None]]:
    """Gives each cohort with the runs to train now, and what comes next; then those that others have left."""
    waiting = list(cohorts)
    while waiting:
        left = []
        for number, (runs, training) in enumerate(waiting):
            if mine := turns.take(runs):
                yield mine, training, waiting[number + 1][1] if number + 1 < len(waiting) else None
            taken = {run.run_id for run in mine}
            left.append(([run for run in runs if run.run_id not in taken], training))
        again = {run.run_id for run in turns.again([run for runs, _ in left for run in runs], stopped)}
        left = [([run for run in runs if run.run_id in again], training) for runs, training in left]
        waiting = [(runs, training) for runs, training in left if runs]
