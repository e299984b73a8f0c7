"""How records of earlier forms are read: one step a schema.

Whoever changes what a record states raises `SCHEMA`, adds the step from the schema before, and keeps a record of the
new one in tests/records/stored. A field added to a configuration needs none of it: see `harness.records.configs`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from harness.records.record import SCHEMA


class SchemaError(ValueError):
    """A record of a form that this code does not know; the message is the end of a sentence."""


def migrated(record: Mapping[str, Any]) -> dict[str, Any]:
    """Brings a stored record into today's form. Its configuration stays as it was stored.

    Raises:
      SchemaError: if its schema is none of those that are known.
    """
    if not isinstance(record["config"], Mapping):
        raise SchemaError("has no configuration")
    schema = record.get("schema", 1)
    if schema not in range(1, SCHEMA + 1):
        raise SchemaError(f"has schema {schema!r}, and this version of the harness reads 1 to {SCHEMA}")
    current = dict(record)
    try:
        for step in _STEPS[schema - 1:]:
            current = step(current)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SchemaError(f"has not the form of schema {schema}: {type(error).__name__}: {error}") from None
    return current | {"schema": SCHEMA}


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 added backbone and placement, and two figures that older records do not tell."""
    added = {"cost": {"trainable_parameters": None}, "timing": {"end_to_end_examples_per_s": None}}
    parts = {name: fields | record[name] for name, fields in added.items() if record.get(name)}
    return {"backbone": None, "placement": None} | record | parts


def _from_2(record: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 counts a backbone whose features were computed beforehand among the parameters that memory holds.

    It also names the training code and jax's settings, and measures the peak of one run alone.
    """
    unknown: dict[str, Any] = {"harness_version": None, "training_code": None, "numerics": {}}
    changed = {"environment": unknown | record["environment"]}
    if cost := record.get("cost"):
        beforehand = (record.get("backbone") or {}).get("features_s") is not None
        held = 4 * sum(layer["parameters"] for layer in cost["layers"] if beforehand and layer.get("frozen"))
        changed["cost"] = cost | {"measured_peak_bytes": None} | {
            name: cost[name] + held for name in ("parameters_bytes", "memory_estimate_bytes")}
    return record | changed


_STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_1, _from_2)
