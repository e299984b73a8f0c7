"""Checks of the values a model's config may take, and the mark of those that are traced."""

import dataclasses
import math
from collections.abc import Collection, Hashable
from typing import Any

from models.layers import ACTIVATIONS, INITIALIZERS


def traced(default: float) -> Any:
    """Declares a config field whose value may change without compiling anew; zero leaves its part out instead.

    The network must hold the value as a `Traced` variable, or in the first value of a parameter; where it holds it as a
    plain number, as `nnx.Dropout` does its rate, every value is compiled for.
    """
    return dataclasses.field(default=default, metadata={"traced": True})


def model_config(field: str, value: Any) -> None:
    """Checks that value describes a network: a frozen dataclass with a method `build` and fields that a record states.

    Raises:
      ValueError: in one line that says how to mend it.
    """
    what = f"{field} must be a frozen dataclass with a method build(num_classes, input_shape, rngs)"
    name = type(value).__name__
    if isinstance(value, type):
        mend = (f"call it, as in {value.__name__}()" if dataclasses.is_dataclass(value) else
                f"give an object whose build returns a {value.__name__}")
        raise ValueError(f"{what}, and {value.__name__} is a class: {mend}")
    if not dataclasses.is_dataclass(value):
        raise ValueError(f"{what}, not {value!r:.200}")
    if not value.__dataclass_params__.frozen:  # type: ignore[union-attr]
        raise ValueError(f"{what}: write @dataclasses.dataclass(frozen=True) above class {name}")
    if not callable(getattr(value, "build", None)):
        raise ValueError(f"{what}, and {name} has no build: give it one that returns its network, an nnx.Module")
    for own in dataclasses.fields(value):
        if own.name == "type":
            raise ValueError(f"{name} may not have a field called type: records keep the name of the class there")
        if not is_plain(held := getattr(value, own.name)):
            raise ValueError(f"{name}.{own.name} must hold finite numbers, text, True, False, None, or tuples or "
                             f"frozen dataclasses of these, which a record can state, not {held!r:.200}")


def is_plain(value: Any) -> bool:
    """Whether a record can state a value: JSON has no word for infinity and what is no number."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return isinstance(value, Hashable) and all(
            is_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def choice(field: str, value: object, valid: Collection[object]) -> None:
    """Checks that value is one of the valid names."""
    if value not in valid:
        raise ValueError(f"{field} must be one of {', '.join(map(str, valid))}; not {value!r}")


def positive(field: str, value: object, most: int | None = None) -> None:
    """Checks that value is a whole number of at least 1, and at most `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value > (most or value):
        limits = f"from 1 to {most:,}" if most else "of at least 1"
        raise ValueError(f"{field} must be a whole number {limits}, not {value!r}")


def fraction(field: str, value: object) -> None:
    """Checks that value is a number in [0, 1)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{field} must be a number in [0, 1), not {value!r}")


def not_negative(field: str, value: object) -> None:
    """Checks that value is a finite number of at least 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError(f"{field} must be a finite number of at least 0, not {value!r}")


def flag(field: str, value: object) -> None:
    """Checks that value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be True or False, not {value!r}")


def per_layer(field: str, rates: float | tuple[float, ...], layers: int) -> tuple[float, ...]:
    """Spreads one dropout rate, or one per layer, over the layers."""
    for rate in rates if isinstance(rates, tuple) else (rates,):
        fraction(field, rate)
    if not isinstance(rates, tuple):
        if rates and not layers:
            raise ValueError(f"{field} is {rates!r} where there is no layer for it to act on")
        return (rates,) * layers
    if len(rates) != layers:
        raise ValueError(f"{field} must be one rate or one for each of {layers} layers, not {len(rates)}")
    return rates


def per_block(field: str, values: int | tuple[int, ...], blocks: int) -> tuple[int, ...]:
    """Spreads one whole number, or one per block, over the blocks."""
    spread = values if isinstance(values, tuple) else (values,) * blocks
    for value in (*spread, *(() if isinstance(values, tuple) else (values,))):
        positive(field, value)
    if len(spread) != blocks:
        raise ValueError(f"{field} must be one number or one for each of {blocks} blocks, not {len(spread)}")
    return spread


def check_network(config: Any) -> None:
    """Checks the fields that every family has."""
    choice("activation", config.activation, ACTIVATIONS)
    choice("initializer", config.initializer, INITIALIZERS)
    for field in ("batch_norm", "norm_before_activation"):
        flag(field, getattr(config, field))
    for field in ("hidden", "filters", "dense"):
        widths = getattr(config, field, ())
        if not isinstance(widths, tuple):
            raise ValueError(f"{field} must be a tuple such as (256, 128), or (512,) for one layer, not {widths!r}; on "
                             f"a command line --set=model.{field}=256,128 or --set=model.{field}=512,")
        for units in widths:
            for inner in units if field == "filters" and isinstance(units, tuple) and units else (units,):
                positive(field, inner)
    for field in ("l1_kernel", "l2_kernel", "l1_bias", "l2_bias"):
        not_negative(field, getattr(config, field))
