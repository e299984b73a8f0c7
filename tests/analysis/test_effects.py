import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.analysis.effects import factorial_effects

TWO = {"norm": ["no", "yes"], "drop": ["no", "yes"]}


def by_hand(noise=0.0):
    """A 2 x 2 design: norm +2, drop -1, together 3 more, two seeds four apart."""
    means = {("no", "no"): 10.0, ("yes", "no"): 12.0, ("no", "yes"): 9.0, ("yes", "yes"): 14.0}
    return {cell: {0: mean + noise * (cell == ("yes", "yes")), 1: mean + 4.0} for cell, mean in means.items()}


def test_effects_agree_with_a_hand_computed_design():
    found = factorial_effects(TWO, by_hand())
    sizes = {effect.factors: effect.estimate.mean for effect in found.effects}
    # norm: (12 + 14) / 2 - (10 + 9) / 2; drop: (9 + 14) / 2 - (10 + 12) / 2; together: (14 - 9) - (12 - 10).
    assert sizes == pytest.approx({("norm",): 3.5, ("drop",): 0.5, ("norm", "drop"): 3.0}, abs=1e-12)
    assert found.seeds == (0, 1)
    assert not found.note


def test_without_noise_there_is_no_interval_to_claim():
    found = factorial_effects(TWO, by_hand())
    assert all(effect.estimate.low is None and effect.p is None for effect in found.effects)
    assert all(term.f is None and term.p is None for term in found.terms)


def made_up():
    levels = {"a": ["0", "1", "2"], "b": ["x", "y"], "c": ["p", "q"]}
    generator = np.random.default_rng(3)
    values = {cell: {seed: 0.9 + 0.01 * len(set(cell)) + 0.02 * seed + generator.normal(0, 0.01) for seed in (0, 1, 5)}
              for cell in itertools.product(*levels.values())}
    rows = [dict(zip("abc", cell, strict=True)) | {"seed": str(seed), "value": value}
            for cell, of_cell in values.items() for seed, value in of_cell.items()]
    return levels, values, pd.DataFrame(rows)


def test_the_analysis_of_variance_agrees_with_statsmodels():
    levels, values, frame = made_up()
    table = anova_lm(ols("value ~ C(seed) + C(a) * C(b) * C(c)", frame).fit())
    for term in factorial_effects(levels, values).terms:
        row = table.loc[":".join(f"C({name})" for name in term.factors)]
        assert term.degrees == row["df"]
        assert term.residual_degrees == table.loc["Residual", "df"]
        assert term.f == pytest.approx(row["F"], rel=1e-9)
        assert term.p == pytest.approx(row["PR(>F)"], abs=1e-9)


def test_effects_and_intervals_agree_with_statsmodels():
    levels, values, frame = made_up()
    # Effects are averages over the other factors: contrasts of the cell means of the saturated model.
    frame["cell"] = frame["a"] + frame["b"] + frame["c"]
    fit = ols("value ~ C(cell) + C(seed) - 1", frame).fit()
    names = ["".join(cell) for cell in itertools.product(*levels.values())]
    places = [list(fit.params.index).index(f"C(cell)[{name}]") for name in names]
    for effect in factorial_effects(levels, values).effects:
        weights = np.ones(len(names))
        for factor, level, reference in zip(effect.factors, effect.levels, effect.references, strict=True):
            axis = list(levels).index(factor)
            weights *= [(name[axis] == level) * 1.0 - (name[axis] == reference) for name in names]
        weights /= np.sum(weights > 0) / 2 ** (len(effect.factors) - 1)
        contrast = np.zeros(len(fit.params))
        contrast[places] = weights
        expected = fit.t_test(contrast)
        assert effect.estimate.mean == pytest.approx(expected.effect[0], abs=1e-9)
        assert (effect.estimate.low, effect.estimate.high) == pytest.approx(tuple(expected.conf_int()[0]), abs=1e-9)
        assert effect.p == pytest.approx(float(expected.pvalue), abs=1e-9)


def test_what_all_runs_of_a_seed_share_is_no_noise():
    levels, values, _ = made_up()
    moved = {cell: {seed: value + 5.0 * seed for seed, value in of_cell.items()} for cell, of_cell in values.items()}
    pairs = zip(factorial_effects(levels, values).effects, factorial_effects(levels, moved).effects, strict=True)
    for one, other in pairs:
        assert (one.estimate.low, one.p) == pytest.approx((other.estimate.low, other.p), abs=1e-9)


def test_a_seed_that_a_cell_lacks_is_left_out_and_named():
    values = by_hand(noise=1.0)
    whole = factorial_effects(TWO, {cell: {0: of_cell[0], 1: of_cell[1], 2: 99.0} if cell != ("yes", "no")
                                    else of_cell for cell, of_cell in values.items()})
    assert whole.seeds == (0, 1)
    assert whole.effects == factorial_effects(TWO, values).effects
    assert whole.note.startswith("Effects rest on the seeds that every cell has (0, 1); left out: 2, missing from "
                                 "norm=yes, drop=no.")


def test_a_cell_without_runs_is_named_and_nothing_is_guessed():
    values = by_hand()
    del values["no", "yes"]
    found = factorial_effects(TWO, values)
    assert found.effects == found.terms == ()
    assert found.note == "Effects are n/a: no seed is done in every cell; short of runs: norm=no, drop=yes."


def test_one_seed_gives_sizes_without_intervals():
    found = factorial_effects(TWO, {cell: {0: of_cell[0]} for cell, of_cell in by_hand().items()})
    assert [effect.estimate.mean for effect in found.effects] == pytest.approx([3.5, 0.5, 3.0])
    assert all(effect.estimate.low is None for effect in found.effects)


def test_a_cell_that_scatters_far_more_than_the_others_is_named():
    levels, values, _ = made_up()
    assert not factorial_effects(levels, values).note
    for seed in values["1", "x", "q"]:
        values["1", "x", "q"][seed] += 0.5 * (seed - 1)
    assert "seeds of a=1, b=x, c=q scatter" in factorial_effects(levels, values).note
