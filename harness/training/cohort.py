"""Cohorts: runs that share one compiled program."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from ablations.spec import Run, is_traced


def partition(runs: Iterable[Run]) -> list[list[Run]]:
    """Groups runs that differ in traced values and seeds alone, in order of first appearance."""
    cohorts: dict[Any, list[Run]] = {}
    for run in runs:
        cohorts.setdefault(signature(run.config), []).append(run)
    return list(cohorts.values())


def signature(config: Any) -> Any:
    """Describes the program a config needs: the config with each traced value reduced to whether it is zero.

    A zero leaves its part out of the program, so that a network without dropout draws no masks. What is as by default
    is left out of the description, so that a field added later changes none.
    """
    if not dataclasses.is_dataclass(config):
        return config
    parts = ((field, _part(field, getattr(config, field.name))) for field in dataclasses.fields(config))
    return (type(config), *((field.name, part) for field, part in parts
                            if field.default is dataclasses.MISSING or part != _part(field, field.default)))


def _part(field: dataclasses.Field[Any], value: Any) -> Any:
    return _presence(value) if is_traced(field) else signature(value)


def _presence(value: float | tuple[float, ...]) -> Any:
    return tuple(bool(item) for item in value) if isinstance(value, tuple) else bool(value)
