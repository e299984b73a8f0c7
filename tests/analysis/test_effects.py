import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from harness.analysis.effects import across, factorial_effects, sums

TWO = {"norm": ["no", "yes"], "drop": ["no", "yes"]}


def by_hand(noise=0.0):
    """A 2 x 2 design: norm +2, drop -1, together 3 more, two seeds four apart."""
    means = {("no", "no"): 10.0, ("yes", "no"): 12.0, ("no", "yes"): 9.0, ("yes", "yes"): 14.0}
    return {cell: {0: mean + noise * (cell == ("yes", "yes")), 1: mean + 4.0} for cell, mean in means.items()}


def contrasts(found):
    return {(one.factor, one.level): one.contrast for one in found.margins} | {
        one.parts: one.contrast for one in found.together}


def means(found):
    return {name: contrast.mean for name, contrast in contrasts(found).items()}


def test_effects_agree_with_a_hand_computed_design():
    found = factorial_effects(TWO, by_hand())
    # norm: (12 + 14) / 2 - (10 + 9) / 2; drop: (9 + 14) / 2 - (10 + 12) / 2; together: (14 - 9) - (12 - 10).
    assert means(found) == pytest.approx({("norm", "yes"): 3.5, ("drop", "yes"): 0.5,
                                          (("norm", "yes"), ("drop", "yes")): 3.0}, abs=1e-12)
    assert (found.together[0].alone, found.together[0].together) == pytest.approx((2.0, 5.0), abs=1e-12)
    assert not found.note


def test_without_noise_there_is_no_interval_to_claim():
    assert all(contrast.low is None and contrast.p is None for contrast in contrasts(factorial_effects(TWO, by_hand())
                                                                                      ).values())


def made_up():
    levels = {"a": ["0", "1", "2"], "b": ["x", "y"], "c": ["p", "q"]}
    generator = np.random.default_rng(3)
    values = {cell: {seed: 0.9 + 0.01 * len(set(cell)) + 0.02 * seed + generator.normal(0, 0.01) for seed in (0, 1, 5)}
              for cell in itertools.product(*levels.values())}
    rows = [dict(zip("abc", cell, strict=True)) | {"seed": str(seed), "value": value}
            for cell, of_cell in values.items() for seed, value in of_cell.items()]
    return levels, values, pd.DataFrame(rows)


def weights(levels, parts):
    """How each cell enters the mean effect of parts, factor -> level, over all levels of the other factors."""
    cells = list(itertools.product(*levels.values()))
    found = np.ones(len(cells))
    for factor, level in parts.items():
        axis = list(levels).index(factor)
        found *= [(cell[axis] == level) * 1.0 - (cell[axis] == levels[factor][0]) for cell in cells]
    return found * math.prod(len(levels[factor]) for factor in parts) / len(cells)


def test_sizes_agree_with_statsmodels():
    levels, values, frame = made_up()
    # Effects are averages over the other factors: contrasts of the cell means of the saturated model.
    frame["cell"] = frame["a"] + frame["b"] + frame["c"]
    fit = ols("value ~ C(cell) + C(seed) - 1", frame).fit()
    names = ["".join(cell) for cell in itertools.product(*levels.values())]
    places = [list(fit.params.index).index(f"C(cell)[{name}]") for name in names]
    found = factorial_effects(levels, values)
    pairs = [({one.factor: one.level}, one.contrast) for one in found.margins]
    pairs += [(dict(one.parts), one.contrast) for one in found.together]
    assert len(pairs) == 4 + 5
    for parts, contrast in pairs:
        vector = np.zeros(len(fit.params))
        vector[places] = weights(levels, parts)
        assert contrast.mean == pytest.approx(fit.t_test(vector).effect[0], abs=1e-9)


def test_a_contrast_of_two_cells_is_the_paired_t_test():
    table = np.random.default_rng(1).normal(size=(2, 4))
    found = across(table, np.array([-1, 1]))
    assert found.p == pytest.approx(float(stats.ttest_rel(table[1], table[0]).pvalue), abs=1e-12)
    assert found.degrees == pytest.approx(3)


def test_with_many_cells_a_contrast_is_welch_s_test_of_more_than_two_means():
    generator = np.random.default_rng(2)
    table = generator.normal(size=(400, 5))
    table[::2] *= 3
    found = across(table, np.repeat([-1 / 200, 1 / 200], 200))
    parts = table.var(axis=1, ddof=1) / 200**2 / 5
    error, degrees = math.sqrt(parts.sum()), parts.sum()**2 / np.sum(parts**2 / 4)
    assert found.degrees == pytest.approx(degrees, rel=0.1)
    assert (found.high - found.mean) == pytest.approx(float(stats.t.isf(0.025, degrees)) * error, rel=0.1)


def test_what_all_runs_of_a_seed_share_is_no_noise():
    levels, values, _ = made_up()
    moved = {cell: {seed: value + 5.0 * seed for seed, value in of_cell.items()} for cell, of_cell in values.items()}
    one, other = (contrasts(factorial_effects(levels, those)) for those in (values, moved))
    for name in one:
        assert (one[name].low, one[name].p) == pytest.approx((other[name].low, other[name].p), abs=1e-9)


def test_a_cell_that_scatters_widens_what_it_enters_more_than_the_rest():
    levels, values, _ = made_up()
    calm = contrasts(factorial_effects(levels, values))
    values["2", "x", "q"] = {seed: value + 0.2 * (seed - 2) for seed, value in values["2", "x", "q"].items()}
    wild = contrasts(factorial_effects(levels, values))
    width = {name: (wild[name].high - wild[name].low) / (calm[name].high - calm[name].low) for name in calm}
    assert width["a", "2"] > 2 * width["a", "1"]


def test_a_cell_that_scatters_leaves_contrasts_without_it_as_they_are():
    values = additive(0.1)
    wild = values | {("2", "z"): {seed: value + 40.0 * (seed == 1) for seed, value in values["2", "z"].items()}}
    one, other = (factorial_effects(THREE, those).together for those in (values, wild))
    for calm, shaken in zip(one, other, strict=True):
        untouched = ("a", "2") not in calm.parts or ("b", "z") not in calm.parts
        assert (calm.contrast.p == pytest.approx(shaken.contrast.p)) == untouched


def test_a_seed_that_a_cell_lacks_is_left_out_and_named():
    values = by_hand(noise=1.0)
    whole = factorial_effects(TWO, {cell: {0: of_cell[0], 1: of_cell[1], 2: 99.0} if cell != ("yes", "no")
                                    else of_cell for cell, of_cell in values.items()})
    assert contrasts(whole) == contrasts(factorial_effects(TWO, values))
    assert whole.note.startswith("Effects rest on the seeds that every cell has (0, 1); left out: 2, missing from "
                                 "norm=yes, drop=no.")


def test_a_cell_that_is_given_up_is_not_among_those_that_a_seed_is_missing_from():
    levels = {"a": ("0", "1", "2"), "b": ("x", "y")}
    values = {cell: {seed: float(seed) for seed in range(3)} for cell in itertools.product(*levels.values())}
    del values["1", "x"][0]
    values["2", "y"] = {0: 1.0}
    found = factorial_effects(levels, values)
    assert found.note.endswith("Effects rest on the seeds that every cell that enters has (1, 2); left out: 0, missing "
                               "from a=1, b=x.")


def test_a_cell_without_runs_is_named_and_nothing_is_guessed():
    values = by_hand()
    del values["no", "yes"]
    found = factorial_effects(TWO, values)
    assert found.margins == found.together == ()
    assert found.note == "Main effects are n/a: no seed is done in every cell; short of runs: norm=no, drop=yes."


def test_one_seed_gives_sizes_without_intervals():
    found = factorial_effects(TWO, {cell: {0: of_cell[0]} for cell, of_cell in by_hand().items()})
    assert list(means(found).values()) == pytest.approx([3.5, 0.5, 3.0])
    assert all(contrast.low is None for contrast in contrasts(found).values())


CONFIGS = {"none": {"norm": False, "drop": 0.0}, "norm": {"norm": True, "drop": 0.0},
           "drop": {"norm": False, "drop": 0.1}, "both": {"norm": True, "drop": 0.1},
           "more": {"norm": True, "drop": 0.2}}


def test_a_cell_that_makes_two_others_changes_at_once_is_held_against_their_sum():
    values = {"none": {0: 10.0, 1: 14.0}, "norm": {0: 12.0, 1: 16.0}, "drop": {0: 9.0, 1: 13.0},
              "both": {0: 14.0, 1: 18.5}, "more": {0: 0.0, 1: 1.0}}
    [found] = sums(CONFIGS, dict.fromkeys(CONFIGS, "none"), values)
    assert found.parts == ("norm", "drop")
    assert (found.alone, found.together) == pytest.approx((2.0, 5.25))
    assert found.contrast.mean == pytest.approx(3.25)
    factorial = factorial_effects(TWO, {("no", "no"): values["none"], ("yes", "no"): values["norm"],
                                        ("no", "yes"): values["drop"], ("yes", "yes"): values["both"]})
    assert found.contrast == factorial.together[0].contrast


def test_cells_of_different_baselines_make_no_sum():
    values = {cell: {0: 1.0, 1: 2.0} for cell in CONFIGS}
    assert not sums(CONFIGS, {"none": "none", "norm": "none", "drop": "drop", "both": "none"}, values)


def test_a_field_that_some_were_recorded_without_is_no_change():
    values = {"none": {0: 10.0, 1: 14.0}, "norm": {0: 12.0, 1: 16.0}, "drop": {0: 9.0, 1: 13.0},
              "both": {0: 14.0, 1: 18.5}}
    older = {cell: {"model": dict(config) | ({} if cell == "none" else {"new": 0})} for cell, config in CONFIGS.items()}
    baselines = dict.fromkeys(values, "none")
    assert sums(older, baselines, values) == sums(CONFIGS, baselines, values) != ()


def without(values, *cells):
    return {cell: of_cell for cell, of_cell in values.items() if cell not in cells}


THREE = {"a": ["0", "1", "2"], "b": ["x", "y", "z"]}


def additive(noise=0.0):
    """A 3 x 3 design: each step of a is worth 1, of b 10; noise is of seeds and cells."""
    generator = np.random.default_rng(4)
    return {(a, b): {seed: int(a) + 10.0 * "xyz".index(b) + noise * generator.normal() for seed in range(3)}
            for a, b in itertools.product(*THREE.values())}


def test_over_missing_cells_a_level_is_compared_in_matched_pairs_alone():
    there = list(without(additive(), ("2", "z"), ("1", "y")))
    found = factorial_effects(THREE, additive(), there)
    assert {(one.factor, one.level): (one.contrast.mean, one.pairs) for one in found.margins} == {
        ("a", "1"): (1.0, 2), ("a", "2"): (2.0, 2), ("b", "y"): (10.0, 2), ("b", "z"): (20.0, 2)}
    assert found.note.startswith("Not every combination of levels is there: a main effect is the mean over pairs of "
                                 "cells that differ in that factor alone (a=1: 2; a=2: 2; b=y: 2; b=z: 2).")
    cells = {labels: np.mean(list(additive()[labels].values())) for labels in there}
    z, x = (np.mean([mean for (_, b), mean in cells.items() if b == level]) for level in "zx")
    assert z - x == 19.5, "a mean over what is there would mix b up with a"


def test_a_cell_of_which_no_run_is_done_costs_its_pairs_and_not_the_effects():
    values = additive(0.1)
    del values["1", "y"]
    found = factorial_effects(THREE, values)
    assert {(one.factor, one.level): one.pairs for one in found.margins} == {
        ("a", "1"): 2, ("a", "2"): 3, ("b", "y"): 2, ("b", "z"): 3}
    assert "(without a done run, or short of seeds: a=1, b=y)" in found.note
    assert all(one.contrast.low < {"a": 1, "b": 10}[one.factor] * THREE[one.factor].index(one.level) < one.contrast.high
               for one in found.margins)
    squares = {one.parts[0][1] + one.parts[1][1]: one.contrast.mean for one in found.together}
    assert set(squares) == {"1z", "2y", "2z"}


def test_a_cell_that_lacks_all_but_one_seed_costs_its_pairs_and_not_all_the_others_seeds():
    values = additive(0.1)
    gone = {cell: of_cell for cell, of_cell in values.items() if cell != ("1", "y")}
    found = factorial_effects(THREE, values | {("1", "y"): {0: values["1", "y"][0]}})
    assert contrasts(found) == contrasts(factorial_effects(THREE, gone))
    assert all(one.contrast.n == 3 for one in found.margins)
    assert "short of seeds: a=1, b=y)" in found.note


def test_where_several_cells_lack_seeds_those_go_that_lack_most():
    """Of five seeds one cell has the first alone, another all but the last."""
    values = {cell: {seed: of_cell[seed % 3] + seed for seed in range(5)} for cell, of_cell in additive(0.1).items()}
    values["1", "y"] = {0: values["1", "y"][0]}
    values["2", "z"].pop(4)
    found = factorial_effects(THREE, values)
    assert {(one.factor, one.level): (one.pairs, one.contrast.n) for one in found.margins} == {
        ("a", "1"): (2, 4), ("a", "2"): (3, 4), ("b", "y"): (2, 4), ("b", "z"): (3, 4)}


@pytest.mark.parametrize("lacking", [1, 3])
def test_where_no_pairs_would_be_left_sizes_rest_on_the_one_seed_that_all_have(lacking):
    """As where a run of a two by two design is damaged, and where a second seed has just begun."""
    values = by_hand()
    for cell in list(values)[:lacking]:
        values[cell] = {0: values[cell][0]}
    found = factorial_effects(TWO, values)
    assert [one.contrast.n for one in (*found.margins, *found.together)] == [1, 1, 1]
    assert found.note.startswith("Effects rest on the seeds that every cell has (0); left out: 1, missing from")


@pytest.mark.parametrize("values", [{}, {cell: {seed: 1.0} for seed, cell in enumerate(by_hand())}])
def test_where_no_seed_is_shared_nothing_is_compared(values):
    found = factorial_effects(TWO, values)
    assert found.margins == found.together == ()
    assert found.note.startswith("Main effects are n/a: no seed is done in every cell; short of runs: norm=no, drop=no")


def test_where_pairs_are_not_even_planned_no_run_is_to_blame():
    values = {cell: of for cell, of in by_hand().items() if cell != ("yes", "yes")}
    damaged = values | {("no", "yes"): {0: 1.0}}
    assert factorial_effects(TWO, damaged, list(values)) == factorial_effects(TWO, values, list(values))


def test_where_all_that_is_planned_is_done_a_missing_combination_is_the_reason():
    found = factorial_effects(TWO, {cell: of for cell, of in by_hand().items() if cell != ("yes", "yes")},
                              [cell for cell in by_hand() if cell != ("yes", "yes")])
    assert found.note == "Main effects are n/a: not every combination of levels is planned."


def test_a_level_with_fewer_than_two_pairs_has_no_average():
    found = factorial_effects(THREE, additive(), list(without(additive(), ("2", "y"), ("2", "z"))))
    assert ("a", "2") not in {(one.factor, one.level) for one in found.margins}
    assert "and n/a for a=2, which has fewer than two." in found.note


def test_a_nested_factor_is_averaged_where_it_exists():
    factors = {"kind": ["sgd", "adam"], "momentum": ["0", "0.9"], "width": ["8", "16"]}
    values = {(kind, momentum, width): {0: 1.0, 1: 1.5} for width in ("8", "16")
              for kind, momentum in (("sgd", "0"), ("sgd", "0.9"), ("adam", ""))}
    found = factorial_effects(factors, values, list(values))
    assert {(one.factor, one.pairs) for one in found.margins} == {("momentum", 2), ("width", 3)}
    assert "n/a for kind=adam" in found.note
