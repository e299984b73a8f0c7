"""JSON read into its dataclass, whole and checked: types all the way down, ranges, the configuration's hash."""

import contextlib
import dataclasses
import datetime
import functools
import math
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.records.configs import config_hash
from harness.records.record import RunRecord, Scores

Kind = TypeVar("Kind")
_LARGEST = 2**63


class FormError(ValueError):
    """A value that is not of its type or out of its range; the message is the end of a sentence."""


def structured(kind: type[Kind], stored: Mapping[str, Any]) -> Kind:
    """Builds a dataclass from JSON; what the dataclass does not have is left out.

    Raises:
      FormError: naming the field.
    """
    try:
        found: Kind = _reader_of(typing.cast(Hashable, kind))(stored)
    except FormError as error:
        raise FormError(f"has another form: {error}") from None
    return found


@functools.cache
def _reader_of(annotated: Hashable) -> Callable[[Any], Any]:
    """Makes the function that reads JSON of a type."""
    origin, arguments = typing.get_origin(annotated), typing.get_args(annotated)
    if annotated is Any:
        return lambda value: value
    if annotated is float:
        return number
    if isinstance(annotated, type) and dataclasses.is_dataclass(annotated):
        return functools.partial(_dataclass, annotated, {
            name: _reader_of(kind) for name, kind in typing.get_type_hints(annotated).items()})
    if origin in (types.UnionType, typing.Union):
        return functools.partial(_one_of, [_reader_of(kind) for kind in arguments if kind is not type(None)],
                                 type(None) in arguments)
    if origin is tuple:
        length = None if ... in arguments else len(arguments)
        return functools.partial(_several, tuple, _reader_of(arguments[0]), length)
    if origin is dict:
        return functools.partial(_several, dict, _reader_of(arguments[1]), None)
    if origin is typing.Literal:
        return functools.partial(_choice, arguments)
    return functools.partial(_exactly, typing.cast(type[Any], annotated))


def _dataclass(kind: type[Any], readers: Mapping[str, Callable[[Any], Any]], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise FormError(f"{value!r:.80} is no object")
    found = {}
    for name, read in readers.items():
        if name in value:
            try:
                found[name] = read(value[name])
            except FormError as error:
                raise FormError(f"{name}: {error}") from None
    try:
        return kind(**found)
    except TypeError as error:  # naming what it lacks
        raise FormError(str(error).partition("() ")[2]) from None


def _one_of(readers: Sequence[Callable[[Any], Any]], or_nothing: bool, value: Any) -> Any:
    if value is None and or_nothing:
        return None
    for read in readers[:-1]:
        with contextlib.suppress(FormError):
            return read(value)
    return readers[-1](value)


def _several(kind: type[Any], read: Callable[[Any], Any], length: int | None, value: Any) -> Any:
    if not isinstance(value, Mapping if kind is dict else list | tuple) or length not in (None, len(value)):
        wanted = "object" if kind is dict else "list" if length is None else f"list of {length}"
        raise FormError(f"{value!r:.80} is no {wanted}")
    return {name: read(one) for name, one in value.items()} if isinstance(value, Mapping) else tuple(map(read, value))


def _choice(choices: Sequence[Any], value: Any) -> Any:
    if not isinstance(value, str | int) or value not in choices:
        raise FormError(f"{value!r:.80} is none of {', '.join(map(str, choices))}")
    return value


def _exactly(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormError(f"{value!r:.80} is no {_WORDS.get(kind, kind.__name__)}")
    return value


_WORDS = {str: "text", int: "whole number", bool: "true or false"}


def checked(record: RunRecord) -> RunRecord:
    """Checks what types cannot say.

    Raises:
      FormError: naming the field.
    """
    if record.config_hash != config_hash(record.config):
        raise FormError("has a config_hash that is not its configuration's")
    if record.status == "done" and not (record.best and record.last):
        raise FormError("is done and has no scores")
    for name, value in _numbers(record, ""):
        if not 0 <= value < (_LARGEST if isinstance(value, int) else math.inf):
            raise FormError(f"has {name} = {value:.6g}, which is below 0 or beyond all that is counted")
    for name in ("best", "last"):
        if (scores := getattr(record, name)) is not None:
            _check_scores(name, scores, record.epochs_trained)
    for name in ("started_at", "finished_at"):
        _check_time(name, getattr(record, name))
    return record


def _numbers(part: Any, path: str) -> Iterator[tuple[str, int | float]]:
    """Lists the numbers of a dataclass, all the way down; what it holds in dictionaries is the user's."""
    for name, value in vars(part).items():
        if isinstance(value, int | float):
            yield path + name, value
        elif isinstance(value, tuple):
            for one in value:
                if dataclasses.is_dataclass(one):
                    yield from _numbers(one, f"{path}{name}.")
                elif isinstance(one, int):
                    yield path + name, one
        elif dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{path}{name}.")


def _check_time(name: str, text: str) -> None:
    try:
        datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise FormError(f'has {name} = "{text}", which is no time') from None


def _check_scores(state: str, scores: Scores, epochs: int) -> None:
    if not 1 <= scores.epoch <= epochs:
        raise FormError(f"has {state}.epoch = {scores.epoch} of {epochs} epochs")
    for field in dataclasses.fields(scores):
        value = getattr(scores, field.name)
        if field.name.endswith("_accuracy") and not 0 <= value <= 1:
            raise FormError(f"has {state}.{field.name} = {value}, which is no fraction")


def number(value: Any) -> float:
    """Takes JSON's whole numbers for numbers, and nothing else.

    Raises:
      FormError: if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormError(f"{value!r:.80} is no number")
    try:
        return float(value)
    except OverflowError:
        raise FormError(f"a number of {len(str(value))} digits is beyond all that are stored") from None
