"""Configurations as JSON: written, hashed and compared, however old they are."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any

_PACKAGES = ("harness", "ablations", "models")


def as_json(value: Any) -> Any:
    """Turns dataclasses into plain JSON values; those that may stand for each other keep their type's name.

    These are configs, data sets, what builds a network, and whatever is a user's own. It stands under "type".
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        name, is_own = type(value).__name__, type(value).__module__.partition(".")[0] not in _PACKAGES
        is_one_of_several = (name.endswith("Config") or name == "ImageFolder" or {"load", "build"} & set(dir(value))
                             or is_own)
        return {"type": name} | plain if is_one_of_several else plain
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value


def config_hash(config: Mapping[str, Any]) -> str:
    """Hashes a configuration as written by `as_json`."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Lists the fields in which two JSON values differ, as "path: old -> new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys
                for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)]
    return [] if old == new else [
        f"{path}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}"]


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """Lists where two run configurations differ, as `differences` does; what one lacks counts as its default.

    So does the name of a type, which was once not kept of every class.
    """
    found = differences(old, new, path)
    return found and differences(*_alike(completed(old), completed(new)), path)


def _alike(old: Any, new: Any) -> tuple[Any, Any]:
    """Leaves out the names of types that one of two values lacks."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [_alike(*pair) for pair in zip(old, new, strict=True)]
        return [one for one, _ in pairs], [other for _, other in pairs]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old, new
    both = {name: _alike(old[name], new[name]) for name in old.keys() & new.keys()}
    lone = (old.keys() ^ new.keys()) & {"type"}
    whole = [{name: both[name][place] if name in both else value for name, value in stored.items() if name not in lone}
             for place, stored in enumerate((old, new))]
    return whole[0], whole[1]


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in the fields that have been added since a run's configuration was stored.

    Each counts as its default. That is right as long as a new field's default leaves what is described as it was;
    where it would not, `harness.records.schemas` must say what older records meant.

    Args:
      config: a `RunConfig` as `as_json` gave it. Fields and types that are not known today stay as they are.
    """
    from ablations.spec import RunConfig  # takes seconds with the networks behind it, and a report seldom needs it

    return _completed(RunConfig, config)


def _completed(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    annotated = typing.get_type_hints(kind)
    whole = {name: value for name, value in stored.items() if name == "type"}
    for field in dataclasses.fields(kind):
        value = stored.get(field.name)
        if field.name not in stored:
            if field.default is not dataclasses.MISSING:
                whole[field.name] = as_json(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                whole[field.name] = as_json(field.default_factory())
        elif isinstance(value, dict) and (inner := _kind(annotated[field.name], value)) is not None:
            whole[field.name] = _completed(inner, value)
        else:
            whole[field.name] = value
    return whole | {name: value for name, value in stored.items() if name not in whole}


def _kind(annotated: Any, stored: Mapping[str, Any]) -> type | None:
    """Finds the dataclass behind a stored value; None where it is not known today."""
    import models  # see above

    kinds = [kind for kind in (annotated, *typing.get_args(annotated), getattr(models, str(stored.get("type")), None))
             if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    named = [kind for kind in kinds if stored.get("type", kind.__name__) == kind.__name__]
    return named[0] if named else None
