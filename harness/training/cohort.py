"""Cohorts: runs that share one compiled program."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from flax import nnx

import models
from ablations.spec import Run, is_traced
from models import plain

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
    is left out of the description, so that a field added later changes none. A value that is marked traced and that a
    network of one's own holds as a plain number is described as it is.
    """
    if not dataclasses.is_dataclass(config):
        return config
    whole: Any = config
    compiled_in = _compiled_in(whole) if hasattr(config, "build") else frozenset()

    def part(field: dataclasses.Field[Any], value: Any) -> Any:
        return _presence(value) if is_traced(field) and field.name not in compiled_in else signature(value)

    parts = ((field, part(field, getattr(config, field.name))) for field in dataclasses.fields(config))
    return (type(config), *((field.name, own) for field, own in parts
                            if field.default is dataclasses.MISSING or own != part(field, field.default)))


@functools.cache
def _compiled_in(config: Any) -> frozenset[str]:
    """Names the fields marked traced that are a part of the network's program all the same."""
    if type(config).__module__.startswith(f"{models.__name__}."):
        return frozenset()
    return frozenset(field.name for field in dataclasses.fields(config)
                     if is_traced(field) and getattr(config, field.name) and not _is_an_input(config, field.name))


def _is_an_input(config: Any, field: str) -> bool:
    """Whether the network's program stays the same when the field's value is halved."""
    value = getattr(config, field)
    halved = tuple(item / 2 for item in value) if isinstance(value, tuple) else value / 2
    try:
        one, other = (plain.program_text(nnx.eval_shape(lambda each=each: plain.built(
            each, 10, _LOOKED_AT, nnx.Rngs(0))), _LOOKED_AT) for each in (
                config, dataclasses.replace(config, **{field: halved})))
    except Exception:  # a stranger's code may raise anything; whatever it is, its own program suits every value
        return False
    return one == other


def _presence(value: float | tuple[float, ...]) -> Any:
    return tuple(bool(item) for item in value) if isinstance(value, tuple) else bool(value)
