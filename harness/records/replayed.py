"""Holds a run that was trained again against its record, number by number."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from harness.records import curves, outcomes
from harness.records.configs import differences
from harness.records.files import RecordError, read_arrays
from harness.records.folder import read_record
from harness.records.pooling import unlike
from harness.records.record import RunRecord


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a run that was trained again.

    Attributes:
      is_equal: whether it gave the same numbers, all of them to the last digit.
      line: says so, or what differs first, and what else is not as it was.
    """

    is_equal: bool
    line: str


def compare(original: pathlib.Path, again: pathlib.Path) -> Outcome:
    """Compares two runs in the order of their training: epochs, scores, test predictions.

    Args:
      original, again: folders of runs.

    Raises:
      RecordError: if a file of them cannot be read.
    """
    here, there = (read_record(folder / "record.json") for folder in (original, again))
    kept = [folder / "predictions.npz" for folder in (original, again) if (folder / "predictions.npz").exists()]
    try:
        found = _first_difference(here, there, original, again)
        if found is None and len(kept) == 2:
            found = _first_prediction(*(read_arrays(path, outcomes.REPORTED) for path in kept))
    except (OSError, ValueError) as error:
        raise RecordError(f"{original} and {again} cannot be compared: {error}") from None
    if found is None:
        examples = (f" and {here.dataset.test_examples:,} test predictions" if len(kept) == 2 else
                    "; test predictions are not kept of both" if here.status == "done" else "")
        return Outcome(True, f"equal: {here.epochs_trained} epochs{examples}, to the last digit")
    changed = [f"{fact}: {' -> '.join(values)}" for fact, values in unlike([here, there]).items()]
    machine, other = ({"device": one.environment.device, "data": one.dataset.fingerprint} for one in (here, there))
    changed += differences(machine, other)
    return Outcome(False, f"different: {found}; recorded first, trained now second"
                   + (f". Not as it was: {'; '.join(changed)}" if changed else ""))


def _first_difference(here: RunRecord, there: RunRecord, original: pathlib.Path, again: pathlib.Path) -> str | None:
    one, other = (curves.read(folder / "curve.csv") for folder in (original, again))
    for epoch in range(min(len(one), len(other))):
        for name in curves.CURVE_COLUMNS[1:]:
            if found := _unequal(float(one[name].iloc[epoch]), float(other[name].iloc[epoch])):
                return f"{name} of epoch {epoch + 1}, {found}"
    for name in ("status", "epochs_trained"):
        if getattr(here, name) != getattr(there, name):
            return f"{name}, {getattr(here, name)} and {getattr(there, name)}"
    for state in ("best", "last"):
        mine, other_s = getattr(here, state), getattr(there, state)
        for name in vars(mine) if mine and other_s else ():
            if found := _unequal(getattr(mine, name), getattr(other_s, name)):
                return f"{state}.{name}, {found}"
    return None


def _first_prediction(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> str | None:
    for name in (name for name in outcomes.REPORTED if name in one and name in other):
        if len(one[name]) != len(other[name]):
            return f"{name} of the test set, of which there are {len(one[name])} and {len(other[name])}"
        places = np.flatnonzero(one[name] != other[name])
        if len(places):
            return (f"{name} of {len(places)} test examples, the first is {places[0]}: {one[name][places[0]]} and "
                    f"{other[name][places[0]]}")
    return None


def _unequal(one: float, other: float) -> str:
    """Says how far two numbers are from each other; nothing where they are the same."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return ""
    largest = max(abs(one), abs(other))
    if not math.isfinite(largest):
        return f"{one} and {other}"
    digits = max(0, math.floor(-math.log10(abs(one - other) / largest)))
    return f"{one} and {other}: alike to {digits} digits"
