"""Cohorts: runs that share one compiled program."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from typing import Any

from flax import nnx

import models
from ablations.spec import Run, is_traced
from models import plain, written

# On images of this shape a network of one's own is looked at, before it is known what it will read.
_LOOKED_AT = (64, 64, 3)


def partition(runs: Iterable[Run]) -> list[list[Run]]:
    """Groups runs that differ in traced values and seeds alone, in order of first appearance."""
    cohorts: dict[Any, list[Run]] = {}
    for run in runs:
        cohorts.setdefault(signature(run.config), []).append(run)
    return list(cohorts.values())


def signature(config: Any) -> Any:
    """Describes the program a config needs: the config with each traced value reduced to whether it is zero.

    A zero leaves its part out of the program, so that a network without dropout draws no masks. What is as by default
    is left out of the description, so that a field added later changes none. A network of one's own with traced values,
    its own or of configs inside it, is described by its program too, which has those that it holds as plain numbers;
    where it cannot be looked at, by its values as they are. Data of one's own is always described so.
    """
    return _described(config, reduces=True)


def _described(value: Any, *, reduces: bool) -> Any:
    """Describes a value, field by field.

    Args:
      reduces: whether what is marked traced is reduced.
    """
    if isinstance(value, tuple):
        return tuple(_described(item, reduces=reduces) for item in value)
    if not dataclasses.is_dataclass(value):
        return value
    config: Any = value
    program = None
    if reduces and _is_own_network(value) and _traces(value):
        program = _program(config)
        reduces = program is not None
    reduces = reduces and not hasattr(value, "load")

    def part(field: dataclasses.Field[Any], held: Any) -> Any:
        return _presence(held) if reduces and is_traced(field) else _described(held, reduces=reduces)

    parts = ((field, part(field, getattr(config, field.name))) for field in dataclasses.fields(config))
    return (type(config), *((field.name, own) for field, own in parts
                           if field.default is dataclasses.MISSING or own != part(field, field.default)),
            *([("program", program)] if program else []))


def _is_own_network(config: Any) -> bool:
    return hasattr(config, "build") and not type(config).__module__.startswith(f"{models.__name__}.")


def _traces(value: Any) -> bool:
    """Whether a config, or one inside it, has a value that is marked traced and is not zero."""
    if isinstance(value, tuple):
        return any(map(_traces, value))
    return dataclasses.is_dataclass(value) and any(
        (is_traced(field) and bool(getattr(value, field.name))) or _traces(getattr(value, field.name))
        for field in dataclasses.fields(value))


@functools.cache
def _program(config: Any) -> str | None:
    """Names the program of a network of one's own; None if that cannot be looked at."""
    try:
        network = written.abstract(lambda: plain.built(config, 10, _LOOKED_AT, nnx.Rngs(0)))
        return hashlib.sha256(written.text(network, _LOOKED_AT).encode()).hexdigest()[:16]
    except Exception:  # a stranger's code may raise anything; whatever it is, its own program suits every value
        return None


def _presence(value: float | tuple[float, ...]) -> Any:
    return tuple(bool(item) for item in value) if isinstance(value, tuple) else bool(value)
