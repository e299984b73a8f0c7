"""How a page writes the fields of records and rows: readable names, and values with their units."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from harness.analysis.power import MOST_SEEDS, Planned
from harness.analysis.stats import Estimate
from harness.reporting import rounded

Rows = list[tuple[str, str]]
# Ends of fields' names that say the unit -> what a reader sees in their place, and how the value is written.
_UNITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "_bytes": ("", rounded.size),
    "_examples_per_s": ("", lambda value: f"{rounded.count(value)} examples/s"),
    "_s": ("", lambda value: f"{rounded.digits(value)} s"),
    "accuracy": ("accuracy", lambda value: f"{100 * value:.2f} %"),
}
_P_VALUES = {
    "p": "p", "headline_p": "headline p", "headline_holm": "headline p, corrected", "t_p": "p, these pairs alone",
    "t_holm": "p, these pairs alone, corrected", "sign_flip_p": "p, sign flips",
    "sign_flip_holm": "p, sign flips, corrected", "behind_best_p": "p of being behind the best"}
_NAMES = _P_VALUES | {
    "members_at_once": "runs side by side", "macs": "MACs", "macs_per_example": "MACs per example",
    "oom": "out of memory", "shared": "same test examples", "only_here": "seeds in this cell alone",
    "only_there": "seeds in the baseline alone", "clear": "pairs with p < 0.05", "mixed": "runs differ in",
    "unlike": "pairs differ in", "seeds_for_half_a_point": "seeds for 0.5 points",
    "detectable": "detectable difference", "parameters_bytes": "memory of parameters",
    "gradients_bytes": "memory of gradients", "optimizer_bytes": "memory of the optimizer's state",
    "activations_bytes": "memory of activations", "compiled_bytes": "memory of the compiled program",
    "measured_peak_bytes": "measured peak of memory"}


def told(value: Any, *path: str) -> Rows:
    """Lists a value field by field.

    Args:
      value: a dataclass, a mapping, a sequence or what JSON has.
      path: the names of the fields that lead to it.

    Returns:
      a readable name and the text of each.
    """
    if isinstance(value, Estimate | Planned):
        return [(_name(path), _interval(value, path))]
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return [row for name, part in value.items() for row in told(part, *path, str(name))]
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        return [row for place, part in enumerate(value, 1) for row in told(part, *path, f"{place}")]
    return [(_name(path), _text(value, path[-1] if path else ""))]


def plainly(value: Any, *path: str) -> Rows:
    """Lists a configuration field by field, as its author named and wrote them: no field is one of a record's."""
    if isinstance(value, Mapping):
        return [row for name, part in value.items() for row in plainly(part, *path, str(name))]
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        return [row for place, part in enumerate(value, 1) for row in plainly(part, *path, f"{place}")]
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _text(value, "")
    return [(": ".join(path).replace("_", " "), repr(value) if isinstance(value, float) else text)]


def _name(path: tuple[str, ...]) -> str:
    return ": ".join(map(_word, path))


def _word(field: str) -> str:
    end = _unit(field)
    return _NAMES.get(field) or (field.removesuffix(end) + _UNITS[end][0] if end else field).replace("_", " ")


def _unit(field: str) -> str:
    return next((end for end in _UNITS if field.endswith(end)), "")


def _text(value: Any, field: str) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return (" x " if field.endswith("shape") else ", ").join(map(str, value)) or "none"
    if not isinstance(value, int | float):
        return str(value)
    if field in _P_VALUES:
        return rounded.p_value(value)
    if end := _unit(field):
        return _UNITS[end][1](value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _interval(value: Estimate | Planned, path: tuple[str, ...]) -> str:
    middle = value.mean if isinstance(value, Estimate) else value.value
    if path[-1].startswith("seeds") and isinstance(value, Planned):
        return " to ".join(dict.fromkeys(f">{MOST_SEEDS:,}" if end is None else f"{end:,.0f}"
                                         for end in (value.low, middle, value.high)))
    if middle is None:
        return "n/a"
    is_difference = not path[-1].endswith(("accuracy", "mean", "score"))
    sign = "+" if path[-1] == "difference" else ""
    unit = "points" if is_difference else "%"
    text = f"{rounded.percent(Estimate(2, middle, None, value.low, value.high), sign)} {unit}"
    if isinstance(value, Planned):
        return text
    spread = "" if value.sd is None else f", standard deviation {100 * value.sd:.2f} points"
    return f"{text}, n = {value.n}{spread}"
