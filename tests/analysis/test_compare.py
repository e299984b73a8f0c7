import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar

from harness.analysis.compare import compare, corrected, shared_examples
from harness.analysis.power import Planned

LABEL = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.uint8)


def predictions(*wrong, label=LABEL):
    predicted = label.copy()
    predicted[list(wrong)] += 1
    return {"predicted": predicted, "label": label}


def test_a_comparison_is_balanced_only_if_both_have_the_same_seeds():
    same = compare({0: 0.9, 1: 0.91}, {1: 0.8, 0: 0.8}, {}, {})
    assert same.balanced
    fewer = compare({0: 0.9, 4: 0.91}, {0: 0.8, 1: 0.8}, {}, {})
    assert (fewer.balanced, fewer.only_here, fewer.only_there, fewer.difference.n) == (False, (4,), (1,), 1)


def test_values_are_paired_by_seed():
    found = compare({2: 0.93, 0: 0.90, 1: 0.92}, {0: 0.89, 1: 0.90, 2: 0.90}, {}, {})
    assert found.difference.mean == pytest.approx(0.02)
    assert found.t_p == pytest.approx(scipy.stats.ttest_rel([0.90, 0.92, 0.93], [0.89, 0.90, 0.90]).pvalue, abs=1e-9)
    assert found.sign_flip_p == 2 / 2**3
    assert 0 < found.detectable.low < found.detectable.value < found.detectable.high
    assert 2 <= found.seeds_for_half_a_point.low < found.seeds_for_half_a_point.value
    assert found.shared is None


def test_one_pair_tells_a_difference_and_nothing_of_chance():
    found = compare({0: 0.9}, {0: 0.8}, {}, {})
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.t_p, found.detectable, found.seeds_for_half_a_point) == (None, Planned(), None)
    assert found.sign_flip_p == 1.0


def test_no_pair_tells_nothing():
    found = compare({0: 0.9}, {1: 0.8}, {}, {})
    assert (found.difference.n, found.sign_flip_p, found.t_p) == (0, None, None)


def test_p_values_are_corrected_for_the_comparisons_of_the_table():
    clear = compare({0: 0.95, 1: 0.96, 2: 0.952}, {0: 0.9, 1: 0.91, 2: 0.901}, {}, {})
    vague = compare({0: 0.95, 1: 0.90, 2: 0.92}, {0: 0.9, 1: 0.91, 2: 0.901}, {}, {})
    first, absent, second = corrected([clear, None, vague])
    assert absent is None
    assert first.t_holm == pytest.approx(2 * clear.t_p)
    assert second.t_holm == pytest.approx(vague.t_p)


def test_shared_examples_are_counted_by_hand():
    # The cell gains examples 0, 1 and 2 and loses 7; 3 is wrong in both.
    found = shared_examples({0: predictions(3, 7)}, {0: predictions(0, 1, 2, 3)})
    assert (found.pairs, found.gained, found.lost) == (1, 3, 1)
    assert found.difference.mean == pytest.approx(2 / 8)
    assert found.p == pytest.approx(mcnemar([[3, 3], [1, 1]], exact=True).pvalue, abs=1e-9)
    assert found.clear == 0


@pytest.mark.parametrize(("gained", "p", "clear"), [(5, 2 / 2**5, 0), (6, 2 / 2**6, 1)])
def test_a_pair_is_clear_below_one_in_twenty(gained, p, clear):
    found = shared_examples({0: predictions(), 1: predictions()}, {0: predictions(*range(gained)), 1: predictions()})
    assert (found.pairs, found.clear) == (2, clear)
    assert shared_examples({0: predictions()}, {0: predictions(*range(gained))}).p == pytest.approx(p)


def test_the_interval_is_over_examples_not_over_pairs_of_runs():
    one = shared_examples({0: predictions(3, 7)}, {0: predictions(0, 1, 2, 3)})
    thrice = shared_examples({seed: predictions(3, 7) for seed in range(3)},
                             {seed: predictions(0, 1, 2, 3) for seed in range(3)})
    assert thrice.pairs == 3
    assert (thrice.difference.low, thrice.difference.high) == pytest.approx((one.difference.low, one.difference.high))
    change = np.array([1, 1, 1, 0, 0, 0, 0, -1])
    expected = scipy.stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert (one.difference.low, one.difference.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_only_runs_of_one_seed_on_the_same_examples_are_compared():
    other = predictions(0, label=LABEL[::-1].copy())
    assert shared_examples({0: predictions(0)}, {1: predictions(1)}) is None
    assert shared_examples({0: predictions(0)}, {0: other}) is None
    assert shared_examples({0: predictions(0), 1: predictions(0)}, {0: other, 1: predictions(1)}).pairs == 1


def test_counts_of_small_integers_do_not_overflow():
    label = np.zeros(1000, np.uint8)
    found = shared_examples({0: {"predicted": label, "label": label}}, {0: {"predicted": label + 1, "label": label}})
    assert (found.gained, found.lost, found.clear) == (1000, 0, 1)
    assert found.difference.mean == 1.0
