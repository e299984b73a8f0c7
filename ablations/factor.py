"""Settings that an ablation varies, their levels or ranges, and where they exist."""

import dataclasses
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# What a label may hold: it becomes part of a folder's name.
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")


class SpecError(ValueError):
    """An ablation that makes no sense; the message is one line for the one who wrote it."""


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A range to draw from, each value as likely as any other; whole numbers where both ends are whole.

    Values have four significant digits, whole numbers all of theirs, so that a label says all of its value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
                      for end in (self.low, self.high))
        if not numbers or not self.low < self.high:
            raise SpecError(f"{self} needs two numbers, the lower one first")

    def draw(self, share: float) -> str:
        """Gives the label of the value that lies so far into the range, from 0 to 1."""
        if self._whole:
            return str(min(self.high, self.low + int(share * (self.high - self.low + 1))))
        return f"{self.low + share * (self.high - self.low):.4g}"

    def value(self, label: str) -> float:
        """Reads the value of a label."""
        return int(label) if label.isdecimal() and self._whole else float(label)

    @property
    def _whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclasses.dataclass(frozen=True)
class LogUniform(Uniform):
    """A range to draw from, each factor of ten as likely as any other: of learning rates or widths."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise SpecError(f"{self} needs two numbers above 0")

    def draw(self, share: float) -> str:
        """Gives the label of the value that lies so far into the range on a logarithmic scale."""
        if self._whole:  # each end is rounded to from both sides, as the numbers between them are
            low, high = self.low - 0.5, self.high + 0.5
            return str(min(self.high, int(low * (high / low)**share + 0.5)))
        return f"{self.low * (self.high / self.low)**share:.4g}"


@dataclasses.dataclass(frozen=True)
class Factor:
    """A setting that the ablation varies.

    Attributes:
      path: the field it sets, such as "model" or "optimizer.learning_rate", or several that change together.
      levels: label -> value (for several paths, a tuple of values); the first is the reference level. Or a range,
        `Uniform` or `LogUniform`, for a design that draws from it; its reference is the value in the base.
      under: factor -> its level or levels at which alone this one exists, as {"optimizer": "sgd"} of a momentum; it
        stands after that factor. Cells at other levels do not have it.
    """

    path: str | tuple[str, ...]
    levels: Mapping[str, Any] | Uniform
    under: Mapping[str, str | tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields it sets."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def labels(self) -> tuple[str, ...]:
        """Its levels' labels, the reference level first; none of a range."""
        return () if isinstance(self.levels, Uniform) else tuple(self.levels)

    def settings(self, label: str) -> dict[str, Any]:
        """Maps each path to its value at a level."""
        value: Any = self.levels.value(label) if isinstance(self.levels, Uniform) else self.levels[label]
        return {self.path: value} if isinstance(self.path, str) else dict(zip(self.path, value, strict=True))

    def exists(self, labels: Mapping[str, str]) -> bool:
        """Whether a cell with these levels of earlier factors has it."""
        return all(labels.get(name) in as_tuple(levels) for name, levels in self.under.items())

    def drawn(self, name: str, seed: int) -> Iterator[str]:
        """Draws labels without end; what other factors there are does not matter."""
        # Of Python's generators, random() alone gives the same numbers in every version.
        generator = random.Random(f"{seed},{name}")
        while True:
            share = generator.random()
            yield self.levels.draw(share) if isinstance(self.levels, Uniform) else (
                self.labels[int(share * len(self.labels))])


def as_tuple(levels: str | tuple[str, ...]) -> tuple[str, ...]:
    """Gives one label or several as several.

    Raises:
      SpecError: if one is no text.
    """
    labels = (levels,) if isinstance(levels, str) or not isinstance(levels, Iterable) else tuple(levels)
    if wrong := [label for label in labels if not isinstance(label, str)]:
        raise SpecError(f'a level is named by its label, text such as "{wrong[0]}", not by {wrong[0]!r}')
    return labels


def check(factors: Mapping[str, Factor]) -> None:
    """Checks what factors alone can tell: names, labels, and where nested ones exist.

    Raises:
      SpecError: if something is wrong.
    """
    before: dict[str, Factor] = {}
    for name, factor in factors.items():
        if not isinstance(factor, Factor):
            raise SpecError(f'factor "{name}" must be a Factor(path, levels), not {factor!r:.100}')
        _check_levels(name, factor)
        if not isinstance(factor.under, Mapping):
            raise SpecError(f'factor "{name}": under must be a dict such as {{"optimizer": "sgd"}}, not '
                            f"{factor.under!r}")
        for parent, levels in factor.under.items():
            if parent not in before:
                raise SpecError(f'factor "{name}" is under "{parent}", which must be a factor that stands before it '
                                f'(there are: {", ".join(before) or "none"})')
            if lacking := [level for level in as_tuple(levels) if level not in before[parent].labels]:
                raise SpecError(f'factor "{name}" is under {parent}={lacking[0]}; the levels of {parent} are '
                                f'{", ".join(before[parent].labels)}')
        before[name] = factor


def _check_levels(name: str, factor: Factor) -> None:
    if not _is_label(name) or name == "seed":
        raise SpecError(f'a factor\'s name holds letters, digits, spaces and ._+- only and is not "seed": {name!r}')
    paths = factor.paths
    if not isinstance(paths, tuple | list) or not all(isinstance(path, str) for path in paths):
        raise SpecError(f'factor "{name}": path must be text such as "model.dropout", or a tuple of such, not '
                        f"{factor.path!r:.100}")
    if isinstance(factor.levels, Uniform):
        if not isinstance(factor.path, str):
            raise SpecError(f'factor "{name}": a range sets one path, not {len(paths)}')
        return
    if not isinstance(factor.levels, Mapping):
        raise SpecError(f'factor "{name}": levels must be a dict such as {{"0": 0.0, "0.3": 0.3}}, or a range, not '
                        f"{factor.levels!r:.100}")
    if not factor.levels or not paths:
        raise SpecError(f'factor "{name}" needs a path and at least one level')
    for label, value in factor.levels.items():
        if not _is_label(label):
            hint = "" if isinstance(label, str) else f'; put it in quotation marks, "{label}"'
            raise SpecError(f'factor "{name}": a label holds letters, digits, spaces and ._+- only, not {label!r}'
                            f"{hint}")
        if not isinstance(factor.path, str) and (not isinstance(value, tuple) or len(value) != len(paths)):
            raise SpecError(f'factor "{name}", level "{label}": needs a tuple with a value for each of '
                            f"{', '.join(paths)}, not {value!r:.100}")


def _is_label(text: object) -> bool:
    return isinstance(text, str) and LABEL.fullmatch(text) is not None
