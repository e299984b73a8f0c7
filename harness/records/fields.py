"""The columns that a record makes: their names, their types, and what the record's docstrings say of them."""

import dataclasses
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.records.record import RunRecord, Status

_TYPES = {str: "text", int: "whole", float: "number", bool: "yes/no", Status: "text"}
_UNITS = {"_per_s": "per second", "_bytes": "bytes", "_s": "seconds", "accuracy": "fraction", "loss": "nats",
          "_examples": "examples", "_per_example": "MACs", "_at": "UTC, ISO 8601", "resolution": "pixels",
          "_hash": "sha256", "_sha256": "sha256", "fingerprint": "sha256", "training_code": "sha256"}


class Field(NamedTuple):
    """A column, or as many as there are where the name ends in .*

    Attributes:
      type: as annotated.
      about: the first sentence or two that its dataclass has of it.
    """

    type: Any
    about: str


def fields() -> dict[str, Field]:
    """Describes the columns of `read_all`, by name."""
    return {"run_id": Field(str, "the run's folder")} | dict(_fields(RunRecord, ""))


def columns() -> dict[str, Any]:
    """Lists the columns of `read_all` with their types; a name that ends in .* stands for as many as there are."""
    return {name: field.type for name, field in fields().items()}


def markdown() -> str:
    """Renders the columns as a table, for results/README.md."""
    lines = [f"| `{name}` | {_kind(name, field.type)} | {field.about} |" for name, field in fields().items()]
    return "\n".join(["| column | type, unit | |", "|---|---|---|", *lines, ""])


def _fields(record: Any, prefix: str) -> Iterator[tuple[str, Field]]:
    about = _attributes(record.__doc__ or "")
    for name, annotated in typing.get_type_hints(record).items():
        kinds = typing.get_args(annotated)
        kind = next((part for part in (annotated, *kinds) if dataclasses.is_dataclass(part)), None)
        if kind is not None and typing.get_origin(annotated) is not tuple:
            yield from _fields(kind, f"{prefix}{name}.")
        elif typing.get_origin(annotated) is dict:
            yield f"{prefix}{name}.*", Field(kinds[1], about.get(name, ""))
        else:
            yield prefix + name, Field(annotated, about.get(name, ""))


def _attributes(docstring: str) -> dict[str, str]:
    """Reads a docstring's attributes: name -> text, the same for names that are described together."""
    section = textwrap.dedent(docstring.partition("Attributes:\n")[2])
    found: dict[str, str] = {}
    for names, text in re.findall(r"^([\w, ]+): ((?:.+\n?)(?:\s{2,}.+\n?)*)", section, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()).rstrip("."))
    return found


def _kind(name: str, annotated: Any) -> str:
    if typing.get_origin(annotated) is tuple:
        kind = "list"
    else:
        plain = next((part for part in typing.get_args(annotated) if part in _TYPES), annotated)
        kind = _TYPES.get(plain, "any")
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    return f"{kind}, {unit}" if unit else kind
