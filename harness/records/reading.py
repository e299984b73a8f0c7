"""JSON read into its dataclass, whole and checked: types all the way down, ranges, the configuration's hash."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import dacite

from harness.records.configs import config_hash
from harness.records.record import RunRecord, Scores

Kind = TypeVar("Kind")


class FormError(ValueError):
    """A value that is not of its type or out of its range; the message is the end of a sentence."""


def structured(kind: type[Kind], stored: Mapping[str, Any]) -> Kind:
    """Builds a dataclass from JSON; what the dataclass does not have is left out.

    Raises:
      FormError: naming the field.
    """
    config = dacite.Config(cast=[tuple], type_hooks={float: _number})
    try:
        return dacite.from_dict(kind, stored, config)
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise FormError(f"has another form: {str(error).splitlines()[0]}") from None


def checked(record: RunRecord) -> RunRecord:
    """Checks what types cannot say.

    Raises:
      FormError: naming the field.
    """
    if record.config_hash != config_hash(record.config):
        raise FormError("has a config_hash that is not its configuration's")
    if record.status == "done" and not (record.best and record.last):
        raise FormError("is done and has no scores")
    for name in ("best", "last"):
        if (scores := getattr(record, name)) is not None:
            _check_scores(name, scores)
    if record.epochs_trained < 0 or record.seed < 0:
        raise FormError("has a seed or a number of epochs below 0")
    return record


def _check_scores(state: str, scores: Scores) -> None:
    for field in dataclasses.fields(scores):
        value = getattr(scores, field.name)
        if field.name.endswith("_accuracy") and not 0 <= value <= 1:
            raise FormError(f"has {state}.{field.name} = {value}, which is no fraction")
        if field.name.endswith("_loss") and not value >= 0:
            raise FormError(f"has {state}.{field.name} = {value}, which is no cross-entropy")


def _number(value: Any) -> float:
    """Takes JSON's whole numbers for numbers, and nothing else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormError(f"{value!r} is no number")
    return float(value)
