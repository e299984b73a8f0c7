"""Divides runs into parts that need not know of each other. Pure."""

import re
from collections.abc import Mapping, Sequence

from ablations.spec import Run
from harness.training import cohort


class ShardError(ValueError):
    """A part that there is not; the message is one line."""


def parsed(text: str) -> tuple[int, int]:
    """Reads "I/N".

    Raises:
      ShardError: unless I is from 1 to N.
    """
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise ShardError(f"--shard={text} must be I/N with I from 1 to N, such as 2/4 for the second of four parts")
    return int(numbers[1]), int(numbers[2])


def part(runs: Sequence[Run], work: Mapping[str, float], number: int, parts: int) -> list[Run]:
    """Gives one of so many parts, which together have every run once.

    Whole cohorts stay together where that leaves the parts alike, since each part compiles what it trains. The parts
    follow from the runs alone, whatever is recorded.

    Args:
      runs: all of the ablation.
      work: run_id -> what it costs, in any unit.
      number: which part, from 1.
    """
    mine = spread(pieces(runs, work, parts), work, parts)[number - 1]
    wanted = {run.run_id for piece in mine for run in piece}
    return [run for run in runs if run.run_id in wanted]


def spread(pieces: Sequence[list[Run]], work: Mapping[str, float], parts: int) -> list[list[list[Run]]]:
    """Gives each piece, the costliest first, to the part that has least to do so far."""
    load, found = [0.0] * parts, [list[list[Run]]() for _ in range(parts)]
    for piece in sorted(pieces, key=lambda piece: -_cost(piece, work)):
        lightest = min(range(parts), key=load.__getitem__)
        load[lightest] += _cost(piece, work)
        found[lightest].append(piece)
    return found


def pieces(runs: Sequence[Run], work: Mapping[str, float], workers: int) -> list[list[Run]]:
    """Cuts cohorts into pieces for so many workers: none costs more than half of a worker's share, if it can be cut."""
    most = sum(work[run.run_id] for run in runs) / (2 * workers)
    found = []
    for together in cohort.partition(runs):
        number = min(len(together), max(1, -int(-_cost(together, work) // most) if most else 1))
        number = 1 if workers == 1 else number
        size, longer = divmod(len(together), number)
        start = 0
        for place in range(number):
            end = start + size + (place < longer)
            found.append(together[start:end])
            start = end
    return found


def _cost(runs: Sequence[Run], work: Mapping[str, float]) -> float:
    return sum(work[run.run_id] for run in runs)
