import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import stats
from harness.analysis.headline import Contrast, against, standard_error
from tests import headline_simulation

SEEDS = range(5)


def table(cells, seeds, *, noise=0.01, seed_effect=0.0, generator=0):
    """Draws cell -> seed -> value for as many cells and seeds."""
    draw = np.random.default_rng(generator)
    shared = draw.normal(0, seed_effect, seeds) if seed_effect else np.zeros(seeds)
    values = 0.9 + draw.normal(0, noise, (cells, seeds)) + shared
    return {f"cell {cell}": dict(enumerate(map(float, row))) for cell, row in enumerate(values)}


def numbers(contrast):
    return [getattr(contrast, field.name) for field in dataclasses.fields(Contrast)]


tables = st.builds(table, st.integers(2, 6), st.integers(2, 5), seed_effect=st.sampled_from([0.0, 0.01, 0.1]),
                   generator=st.integers(0, 10_000))


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_one_comparison_is_the_paired_t_test(seeds, generator):
    scores = table(2, seeds, generator=generator, seed_effect=0.02)
    found = against(scores, "cell 0")["cell 1"]
    values, reference = (list(scores[cell].values()) for cell in ("cell 1", "cell 0"))
    expected = scipy.stats.ttest_rel(values, reference)
    interval = expected.confidence_interval(0.95)
    assert (found.p, found.holm, found.degrees) == pytest.approx((expected.pvalue, expected.pvalue, seeds - 1))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert stats.t_p(stats.paired_difference(values, range(seeds), reference, range(seeds))) == pytest.approx(found.p)


def test_three_cells_agree_with_a_hand_computed_example():
    scores = {"a": {0: 0.0, 1: 2.0, 2: 4.0}, "b": {0: 5.0, 1: 6.0, 2: 10.0}, "c": {0: 1.0, 1: 7.0, 2: 2.0}}
    found = against(scores, "a")["b"]
    # Variances: a 4, b 7, b - a (5, 4, 6) 1; one other cell, so that each of 1 and 4 + 7 weighs a half: 6.
    assert (found.n, found.mean) == (3, 5.0)
    balance = (2 * 4 * 7 / (4**2 + 7**2)) ** 2
    assert found.degrees == pytest.approx(2 * (1 + balance) / (1 + balance / 4))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(5 / (6 / 3) ** 0.5, found.degrees))


def test_what_seeds_share_is_taken_from_the_other_cells():
    generator = np.random.default_rng(3)
    here, there = generator.normal(size=(2, 3))
    seeds = np.array([0.0, 40.0, -70.0])
    others = generator.normal(size=(4, 3)) * 1e-6
    error, degrees = standard_error(here, there, others)
    with_seeds, with_seeds_degrees = standard_error(here + seeds, there + seeds, others + seeds)
    assert with_seeds == pytest.approx(float(error), rel=1e-4)
    assert with_seeds_degrees == pytest.approx(float(degrees), rel=1e-4)


def test_other_cells_seeds_make_the_error_no_smaller_than_welchs_on_average():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20_000, 6, 3))
    error, _ = standard_error(scores[:, 0], scores[:, 1], scores[:, 2:])
    assert np.mean(error**2) > 2 / 3


def test_with_many_quiet_cells_the_degrees_approach_twice_those_of_pairs():
    here = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    _, degrees = standard_error(here, here[::-1], np.zeros((30, 5)))
    assert 7.9 < degrees < 8


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_cells_and_seeds_changes_nothing(scores, random):
    def shuffled(items):
        items = list(items)
        random.shuffle(items)
        return dict(items)
    other = shuffled((cell, shuffled(values.items())) for cell, values in scores.items())
    assert against(other, "cell 0") == against(scores, "cell 0")
    assert list(against(other, "cell 0")) == [cell for cell in other if cell != "cell 0"]


@given(tables)
def test_a_comparison_the_other_way_round_is_its_mirror_image(scores):
    there, here = against(scores, "cell 0")["cell 1"], against(scores, "cell 1")["cell 0"]
    assert (here.mean, here.low, here.high, here.degrees, here.p) == pytest.approx(
        (-there.mean, -there.high, -there.low, there.degrees, there.p))


@given(tables, st.floats(-5, 5), st.floats(0.1, 100))
def test_another_unit_or_origin_changes_no_p_value(scores, origin, unit):
    moved = {cell: {seed: origin + unit * value for seed, value in values.items()} for cell, values in scores.items()}
    for before, after in zip(against(scores, "cell 0").values(), against(moved, "cell 0").values(), strict=True):
        assert (after.p, after.holm, after.degrees) == pytest.approx((before.p, before.holm, before.degrees), rel=1e-6)
        assert (after.low, after.high) == pytest.approx((unit * before.low, unit * before.high), rel=1e-6, abs=1e-9)


@given(tables)
def test_the_interval_leaves_out_zero_where_p_is_below_the_level(scores):
    for found in against(scores, "cell 0").values():
        assert found.low < found.mean < found.high
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


@given(tables)
def test_holms_correction_is_over_all_comparisons_of_the_table(scores):
    found = against(scores, "cell 0").values()
    assert [one.holm for one in found] == stats.holm([one.p for one in found])


def test_cells_are_compared_over_the_seeds_that_both_have():
    scores = table(5, 5)
    del scores["cell 1"][4], scores["cell 0"][0]
    common = {cell: {seed: values[seed] for seed in (1, 2, 3)} for cell, values in scores.items()}
    assert against(scores, "cell 0")["cell 1"].n == 3
    assert numbers(against(scores, "cell 0")["cell 1"])[:-1] == numbers(against(common, "cell 0")["cell 1"])[:-1]


def test_a_cell_without_a_seed_of_both_says_nothing_of_what_seeds_share():
    scores = table(5, 4)
    fewer = {cell: values for cell, values in scores.items() if cell != "cell 4"}
    del scores["cell 4"][2]
    assert numbers(against(scores, "cell 0")["cell 1"])[:-1] == numbers(against(fewer, "cell 0")["cell 1"])[:-1]


def test_a_cell_without_a_seed_of_one_alone_counts():
    full = table(5, 4)
    scores = full | {cell: {seed: full[cell][seed] for seed in range(3)} for cell in ("cell 1", "cell 4")}
    common = {cell: {seed: full[cell][seed] for seed in range(3)} for cell in full}
    assert numbers(against(scores, "cell 0")["cell 1"])[:-1] == numbers(against(common, "cell 0")["cell 1"])[:-1]


@given(st.lists(st.sets(st.sampled_from(SEEDS)), min_size=2, max_size=6), st.integers(0, 100))
@settings(max_examples=200)
def test_it_is_defined_whatever_seeds_are_missing(present, generator):
    full = table(len(present), len(SEEDS), generator=generator)
    scores = {cell: {seed: full[cell][seed] for seed in seeds} for cell, seeds in zip(full, present, strict=True)}
    found = against(scores, "cell 0")
    for cell, seeds in list(zip(full, present, strict=True))[1:]:
        n = len(seeds & present[0])
        assert found[cell].n == n
        assert (found[cell].mean is None) == (n == 0)
        assert (found[cell].p is None) == (found[cell].holm is None) == (found[cell].low is None) == (n < 2)


def test_a_single_pair_has_a_mean_and_no_p_value():
    scores = table(4, 3)
    scores["cell 1"] = {2: 0.95}
    found = against(scores, "cell 0")
    assert numbers(found["cell 1"]) == [1, pytest.approx(0.95 - scores["cell 0"][2]), None, None, None, None, None]
    assert [one.holm for one in found.values()][1:] == stats.holm([found["cell 2"].p, found["cell 3"].p])


def test_seeds_that_agree_by_chance_claim_nothing_alone():
    same = {"a": {0: 0.9, 1: 0.8, 2: 0.7}, "b": {0: 0.8, 1: 0.7, 2: 0.6}}
    constant = {"a": dict.fromkeys(range(3), 0.1), "b": dict.fromkeys(range(3), 0.3), "c": dict.fromkeys(range(3), 0.2)}
    for found in (*against(same, "a").values(), *against(constant, "a").values()):
        assert numbers(found) == [3, found.mean, None, None, None, None, None]


def test_seeds_that_agree_by_chance_are_judged_by_the_noise_of_other_cells():
    scores = table(5, 3) | {"a": dict.fromkeys(range(3), 0.5), "b": dict.fromkeys(range(3), 0.6)}
    found = against(scores, "a")["b"]
    assert found.degrees == pytest.approx(2)
    assert 0 < found.p < 0.05
    closer = scores | {"b": dict.fromkeys(range(3), 0.5001)}
    assert against(closer, "a")["b"].p > 0.9


def test_a_wild_cell_leaves_comparisons_of_the_others_as_they_were():
    quiet = table(6, 3)
    wild = quiet | {"wild": {0: 0.1, 1: 0.1, 2: 0.4}}
    calm = quiet | {"wild": dict(quiet["cell 5"])}
    for cell in ("cell 1", "cell 2", "cell 3"):
        with_wild, with_calm = against(wild, "cell 0")[cell], against(calm, "cell 0")[cell]
        assert with_wild.high - with_wild.low < 2 * (with_calm.high - with_calm.low)


def test_the_third_cell_alone_does_not_set_the_least_noise():
    quiet = table(2, 3)
    calm, wild = (against(quiet | {"cell 2": dict(enumerate(values))}, "cell 0")["cell 1"]
                  for values in ((0.9, 0.91, 0.89), (0.1, 0.1, 0.4)))
    assert numbers(wild)[:-1] == numbers(calm)[:-1]


def test_a_wild_cell_does_not_hide_what_the_others_seeds_share():
    quiet = table(7, 3, noise=0.001, seed_effect=0.05)
    wild = quiet | {"cell 6": {0: 0.1, 1: 0.9, 2: 0.4}}
    width, with_wild = (one.high - one.low for one in (against(scores, "cell 0")["cell 1"] for scores in (quiet, wild)))
    assert with_wild < 1.5 * width


def test_a_wild_cell_is_judged_by_its_own_seeds():
    found = against(table(6, 3) | {"wild": {0: 0.1, 1: 0.1, 2: 0.4}}, "cell 0")["wild"]
    assert found.degrees == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("beside", [1, 4])
def test_what_seeds_can_show_is_found_four_times_out_of_five_at_the_corrected_level(beside):
    seen = np.sqrt(scipy.stats.chi2.median(5) / 5)  # half of all estimates of the noise lie below that much of it
    half_width = float(scipy.stats.t.ppf(0.975, 5) * seen)
    test = Contrast(n=6, mean=0.0, low=-half_width, high=half_width, degrees=5.0)
    size = test.detectable(comparisons=beside)  # in standard errors
    edge = float(scipy.stats.t.ppf(1 - 0.025 / beside, 5))
    assert scipy.stats.nct.sf(edge, 5, size) == pytest.approx(0.8, abs=1e-6)
    assert test.seeds_needed(size, beside) == 6


def test_a_reference_that_is_no_cell_is_refused():
    with pytest.raises(KeyError, match="cell 9"):
        against(table(3, 3), "cell 9")


CHOSEN = headline_simulation.CANDIDATES[headline_simulation.CHOSEN]


def test_the_simulation_judges_the_test_that_tables_use():
    scores = np.random.default_rng(0).normal(size=(1, 4, 3))
    error, degrees = CHOSEN(scores)
    p = headline_simulation.p_values(scores, error, degrees)[0]
    found = against({str(cell): dict(enumerate(row)) for cell, row in enumerate(scores[0])}, "0")
    assert [one.p for one in found.values()] == pytest.approx(list(p))
    assert [one.holm < 0.05 for one in found.values()] == list(headline_simulation.found_by_holm(p[None])[0])


def measured(cells, seeds, noise, seed_effect, test, repetitions=4000):
    variances = headline_simulation.noises(cells)[noise]
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(repetitions, cells, seeds)) * np.sqrt(variances)[:, None]
    scores += np.sqrt(seed_effect) * generator.normal(size=(repetitions, 1, seeds))
    return {measure: float(values.mean()) for measure, values in
            headline_simulation.baseline_rows(scores, variances, test)}


@pytest.mark.parametrize("seed_effect", [0, 1])
@pytest.mark.parametrize(("cells", "seeds"), list(itertools.product([3, 5], [3, 5])))
def test_any_false_finding_stays_below_the_level_when_noise_is_unequal(cells, seeds, seed_effect):
    for noise in headline_simulation.MUST_PASS:
        for measure, value in measured(cells, seeds, noise, seed_effect, CHOSEN).items():
            if measure.startswith("error"):
                assert value < 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5, (noise, measure)


@pytest.mark.parametrize(("cells", "seeds", "gain"), [(3, 3, 0.06), (5, 3, 0.06), (10, 3, 0.04), (5, 5, 0.1)])
def test_it_finds_more_than_the_paired_t_test(cells, seeds, gain):
    ours, paired = (measured(cells, seeds, "equal", 0, test, 2000)["power: 4 errors"]
                    for test in (CHOSEN, headline_simulation.paired))
    assert ours > paired + gain
