import math

import numpy as np
import pytest
from scipy import special

from harness.analysis import spending


def edges(alpha, looks, spent):
    return [float(-special.ndtri(level / 2)) for level in spending.boundary_levels(alpha, looks, spent)]


@pytest.mark.parametrize(("spent", "published"), [
    # Lan and DeMets 1983, both sides 0.025, five equal steps: O'Brien and Fleming's kind, and Pocock's.
    (lambda alpha, share: 4 * special.ndtr(special.ndtri(alpha / 4) / math.sqrt(share)),
     (4.877, 3.357, 2.680, 2.290, 2.031)),
    (lambda alpha, share: alpha * math.log(1 + (math.e - 1) * share), (2.438, 2.427, 2.410, 2.397, 2.386)),
    # Kim and DeMets 1987.
    (lambda alpha, share: alpha * share, (2.576, 2.492, 2.411, 2.339, 2.275)),
])
def test_boundaries_are_the_published_ones(spent, published):
    assert edges(0.05, 5, spent) == pytest.approx(published, abs=1.5e-3)


def test_one_look_spends_all_and_many_no_more():
    assert spending.boundary_levels(0.05, 1, spending.power_family) == pytest.approx([0.05], rel=1e-6)
    walks = np.random.default_rng(0).normal(size=(40_000, 20)).cumsum(axis=1) / np.sqrt(np.arange(1, 21))
    crossed = np.any(np.abs(walks) > edges(0.05, 20, spending.power_family), axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 40_000))


def test_later_looks_ask_for_less_and_a_smaller_error_for_more():
    for looks in (2, 10, 30):
        levels, stricter = spending.levels(0.05, looks), spending.levels(0.05 / 9, looks)
        assert list(levels) == sorted(levels)
        assert all(0 < strict < level < 0.05 for strict, level in zip(stricter, levels, strict=True))
