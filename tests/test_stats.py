import numpy as np
import pytest
import scipy.stats

from harness.stats import estimate, paired_difference


def test_interval_agrees_with_a_hand_computed_one():
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.n, found.mean) == (5, 3.0)
    assert found.sd == pytest.approx(2.5**0.5, abs=1e-12)
    # t(0.975, 4 degrees of freedom) = 2.7764451051977987, from a table; standard error = sqrt(2.5 / 5).
    assert found.high == pytest.approx(3 + 2.7764451051977987 * 0.5**0.5, abs=1e-9)
    assert found.low == pytest.approx(3 - 2.7764451051977987 * 0.5**0.5, abs=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_interval_agrees_with_scipy(n, confidence):
    values = np.random.default_rng(n).normal(0.9, 0.01, n)
    found = estimate(values, confidence)
    expected = scipy.stats.t.interval(confidence, n - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_paired_difference_agrees_with_scipy():
    generator = np.random.default_rng(0)
    values, reference = generator.normal(0.91, 0.01, 5), generator.normal(0.9, 0.01, 5)
    found = paired_difference(values, range(5), reference, range(5))
    expected = scipy.stats.ttest_rel(values, reference).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_pairs_are_found_by_seed_and_the_others_left_out():
    found = paired_difference([0.70, 0.90, 0.80], [7, 4, 1], [0.10, 0.75, 0.60, 0.50], [9, 1, 4, 2])
    assert found.n == 2
    assert found.mean == pytest.approx(((0.90 - 0.60) + (0.80 - 0.75)) / 2, abs=1e-12)
    assert found.sd == pytest.approx(((0.90 - 0.60) - (0.80 - 0.75)) / 2**0.5, abs=1e-12)


def test_too_few_values_give_no_interval():
    assert estimate([]) == estimate(np.zeros(0))
    assert (estimate([]).n, estimate([]).mean) == (0, None)
    one = estimate([0.9])
    assert (one.n, one.mean, one.sd, one.low, one.high) == (1, 0.9, None, None, None)


def test_an_interval_never_has_zero_width():
    differences = paired_difference([0.9, 0.8, 0.7], [0, 1, 2], [0.8, 0.7, 0.6], [0, 1, 2])
    for same in (estimate([0.1, 0.1, 0.1]), differences):
        assert same.n == 3
        assert same.mean == pytest.approx(0.1)
        assert same.low is same.high is None
        assert not same.excludes_zero


def test_excludes_zero_needs_both_ends_on_one_side():
    assert estimate([1.0, 1.1, 1.2]).excludes_zero
    assert estimate([-1.0, -1.1, -1.2]).excludes_zero
    assert not estimate([-1.0, 1.0, 0.5]).excludes_zero


def test_a_second_axis_is_refused():
    with pytest.raises(ValueError, match="one axis"):
        estimate(np.zeros((2, 3)))
