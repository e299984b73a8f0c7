import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness.analysis.stats import (
    estimate,
    holm,
    interquartile_mean,
    mcnemar_p,
    merged_p,
    paired_difference,
    sign_flip_p,
    t_p,
)


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


def test_a_second_axis_is_refused():
    with pytest.raises(ValueError, match="one axis"):
        estimate(np.zeros((2, 3)))


def test_the_interquartile_mean_is_that_of_the_middle_half():
    found = interquartile_mean([[100.0, 1.0, 50.0, 0.0, 6.0, 3.0, 5.0, 4.0]], np.random.default_rng(0))
    assert found.mean == (3 + 4 + 5 + 6) / 4
    assert interquartile_mean([[1.0, 2.0, 9.0]], np.random.default_rng(0)).mean == 4.0, "below four values, the mean"


def test_its_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).normal(0.9, 0.02, 9)
    found = interquartile_mean([values], np.random.default_rng(7))
    expected = scipy.stats.bootstrap(
        (values,), lambda sample, axis: scipy.stats.trim_mean(sample, 0.25, axis=axis), n_resamples=2000,
        method="percentile", rng=np.random.default_rng(7)).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_each_stratum_is_resampled_by_itself():
    strata = [[0.0, 0.1, 0.2, 0.3], [10.0, 10.1, 10.2, 10.3]]
    apart = interquartile_mean(strata, np.random.default_rng(0))
    together = interquartile_mean([np.concatenate(strata)], np.random.default_rng(0))
    assert apart.mean == together.mean == pytest.approx(5.15)
    # Every resample has four values of each stratum, so the middle half has two of each.
    assert 5.0 < apart.low < apart.high < 5.3
    assert together.high - together.low > 5
    # Of 6 and 2 values the middle half is of the larger stratum, in every resample.
    assert interquartile_mean([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [10.0, 10.1]], np.random.default_rng(0)).high < 1


def test_a_bootstrap_needs_values_that_differ():
    for strata in ([[0.5]], [[0.5, 0.5, 0.5]], [[1.0, 1.0], [2.0, 2.0]]):
        found = interquartile_mean(strata, np.random.default_rng(0))
        assert found.low is found.high is None
    assert interquartile_mean([[]], np.random.default_rng(0)) == estimate([])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_sign_flips_agree_with_scipy(n):
    paired = np.random.default_rng(n).normal(0.01, 0.01, n)
    expected = scipy.stats.permutation_test((paired,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(paired) == pytest.approx(expected, abs=1e-9)


def test_sign_flips_agree_with_a_published_example():
    # Darwin's maize: 15 pairs, 863 of the 32,768 patterns are as far out on one side. Fisher 1935, sec. 21.
    inches = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]) / 8
    assert sign_flip_p(inches) == pytest.approx(2 * 863 / 2**15, abs=1e-12)


def test_few_pairs_cannot_have_a_small_p():
    assert sign_flip_p([]) is None
    assert sign_flip_p([0.3]) == 1.0
    assert sign_flip_p([0.1, 0.2, 0.3]) == 2 / 2**3, "sums of 0.1, 0.2 and 0.3 in any order count as equal"
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_many_pairs_are_sampled_and_give_the_same_value_each_time():
    paired = np.random.default_rng(0).normal(0.4, 1.0, 24)
    expected = scipy.stats.ttest_1samp(paired, 0).pvalue
    assert sign_flip_p(paired) == sign_flip_p(paired) == pytest.approx(expected, abs=0.01)


def test_the_t_test_agrees_with_scipy():
    values = np.random.default_rng(2).normal(0.3, 1.0, 6)
    assert t_p(estimate(values)) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=1e-12)
    assert t_p(estimate([0.1])) is t_p(estimate([0.1, 0.1])) is t_p(estimate([])) is None


def test_holm_agrees_with_a_hand_computed_example_and_statsmodels():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    many = np.random.default_rng(0).uniform(0, 0.2, 12)
    assert holm(many) == pytest.approx(multipletests(many, method="holm")[1].tolist(), abs=1e-9)


def test_holm_counts_what_is_known_alone():
    assert holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]
    assert holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), [(1, 5), (0, 8), (7, 7), (120, 80), (0, 1)])
def test_mcnemar_agrees_with_statsmodels(gained, lost):
    expected = mcnemar([[50, gained], [lost, 9]], exact=True).pvalue
    assert mcnemar_p(gained, lost) == pytest.approx(expected, abs=1e-9)


def test_mcnemar_agrees_with_a_hand_computed_example():
    assert mcnemar_p(1, 5) == pytest.approx(2 * (1 + 6) / 2**6, abs=1e-12)
    assert mcnemar_p(0, 0) == 1.0


def test_merging_one_p_value_changes_nothing_and_of_three_takes_the_median():
    assert merged_p([0.03]) == 0.03
    assert merged_p([0.9, 0.02, 0.001]) == pytest.approx(0.02 * 3 / 2)
    assert merged_p([0.9, 0.8]) == 0.9
    assert merged_p([]) is None
