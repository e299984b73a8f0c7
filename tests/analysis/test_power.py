import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from harness.analysis.power import detectable_difference, planned, power, seeds_needed


@pytest.mark.parametrize("n", [2, 3, 5, 10, 50])
@pytest.mark.parametrize("effect", [-0.5, 0.2, 0.5, 0.9])
def test_power_agrees_with_statsmodels(n, effect):
    assert power(effect, n) == pytest.approx(TTestPower().power(effect, n, 0.05), abs=1e-9)


@pytest.mark.parametrize("n", [2, 50])
def test_a_huge_effect_is_always_found(n):
    assert power(1e3, n) == power(-1e3, n) == pytest.approx(1.0, abs=1e-9)


def test_seeds_agree_with_published_tables():
    # G*Power's manual and Cohen 1988: paired t test, two-sided, level 0.05, power 0.8.
    assert [seeds_needed(1.0, effect) for effect in (0.2, 0.5, 0.8)] == [199, 34, 15]


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_a_detectable_difference_is_found_in_four_of_five_studies(n):
    assert power(detectable_difference(0.3, n) / 0.3, n) == pytest.approx(0.8, abs=1e-9)


def test_fewer_seeds_than_needed_would_not_do():
    n = seeds_needed(0.004, 0.005)
    assert power(0.005 / 0.004, n) >= 0.8 > power(0.005 / 0.004, n - 1)


@pytest.mark.parametrize("n", [3, pytest.param(5, marks=pytest.mark.slow), 20])
def test_planned_figures_have_an_interval_that_covers_the_true_one(n):
    """In 95 % of 4,000 studies; three standard errors are 1.03 points."""
    noise = np.random.default_rng(0).normal(0, 0.004, (4000, n)).std(axis=1, ddof=1)
    true, covered = detectable_difference(0.004, n), 0
    for sd in noise:
        found, seeds = planned(sd, n, 0.005)
        covered += found.low <= true <= found.high
    assert covered / 4000 == pytest.approx(0.95, abs=0.0103)
    assert seeds.low <= seeds.value


def test_what_noise_does_not_allow_is_none():
    assert detectable_difference(0.3, 1) is None
    assert detectable_difference(0.0, 5) is None
    assert seeds_needed(0.0, 0.005) == 2
    assert seeds_needed(1.0, 0.005) is None
