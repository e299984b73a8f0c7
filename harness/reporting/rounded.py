"""Numbers as text, rounded for readers. CSV files have numbers in full."""

import math
from collections.abc import Sequence

from harness.analysis.scores import is_fraction
from harness.analysis.stats import Estimate
from harness.reporting.render import DASH


def percent(estimate: Estimate, sign: str = "") -> str:
    """Writes a fraction and its interval in percent."""
    return _with_interval(estimate, 100, f"{sign}.2f")


def plain(estimate: Estimate, sign: str = "") -> str:
    """Writes a loss, or another score that is no fraction, and its interval."""
    return _with_interval(estimate, 1, f"{sign}.{_places(abs(estimate.mean or 0.0))}f")


def _places(size: float) -> int:
    """Says how many digits after the point suit numbers of a size: four, or what leaves some of them."""
    if not 1e-8 <= size < math.inf or 1e-3 <= size < 1e4:  # less is another 0
        return 4
    return min(8, max(0, 3 - math.floor(math.log10(size))))


def score(estimate: Estimate, metric: str, sign: str = "") -> str:
    """Writes a score of a metric and its interval: fractions in percent."""
    return percent(estimate, sign) if is_fraction(metric) else plain(estimate, sign)


def _with_interval(estimate: Estimate, factor: float, form: str) -> str:
    if estimate.mean is None:
        return DASH
    if estimate.low is None or estimate.high is None:
        return f"{factor * estimate.mean:{form}} [n/a]"
    low, high = factor * estimate.low, factor * estimate.high
    return f"{factor * estimate.mean:{form}} [{low:{form}}, {high:{form}}]"


def single(value: float | None, metric: str) -> str:
    """Writes a number in a metric's unit: points for fractions; n/a for None."""
    if value is None:
        return "n/a"
    return f"{100 * value:.2f}" if is_fraction(metric) else f"{value:.{_places(abs(value))}f}"


def p_value(p: float | None) -> str:
    """Writes a p value with three digits after the point; n/a for None."""
    return "n/a" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def digits(value: float) -> str:
    """Writes three digits, or all before the point."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def count(value: float) -> str:
    """Writes a count with a decimal unit."""
    return _scaled(value, 1000, ("", " k", " M", " G", " T"))


def size(value: float) -> str:
    """Writes bytes with a binary unit."""
    return _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    power = 0
    while round(value) >= step and power < len(units) - 1:  # rounded, so that nothing is 1000 k
        value, power = value / step, power + 1
    return f"{digits(value) if power else round(value)}{units[power]}"
