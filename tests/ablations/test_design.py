import collections
import dataclasses
import itertools
import math

import pytest
from place import ROOT

from ablations import design, lookup
from ablations.spec import Ablation, Factor, LogUniform, RandomCells, RunConfig, SpecError, Uniform
from models import MLPConfig

BASE = RunConfig(dataset="digits")
RATES = Factor("optimizer.learning_rate", {"0.01": 0.01, "0.1": 0.1})
WIDTHS = Factor("model.hidden", {"8": (8,), "16": (16,), "32": (32,)})
KINDS = Factor("optimizer.kind", {"sgd": "sgd", "adam": "adam"})
MOMENTUM = Factor("optimizer.momentum", {"0": 0.0, "0.9": 0.9}, under={"kind": "sgd"})


def ablation(**changes):
    return Ablation(**{"question": "Why?", "base": BASE, "factors": {"rate": RATES, "width": WIDTHS},
                       "seeds": (0,)} | changes)


def cells(**changes):
    return [run.cell for run in ablation(**changes).runs()]


@pytest.mark.parametrize("exclude", [
    {"rate": "0.1", "width": ("16", "32")},
    lambda labels: labels["rate"] == "0.1" and labels["width"] != "8",
    ({"rate": "0.1", "width": "16"}, lambda labels: labels == {"rate": "0.1", "width": "32"})])
def test_what_a_condition_excludes_is_not_trained(exclude):
    assert cells(exclude=exclude) == ["rate=0.01,width=8", "rate=0.01,width=16", "rate=0.01,width=32",
                                      "rate=0.1,width=8"]


def test_a_nested_factor_exists_under_its_level_alone():
    made = ablation(factors={"kind": KINDS, "momentum": MOMENTUM})
    assert [run.cell for run in made.runs()] == ["kind=sgd,momentum=0", "kind=sgd,momentum=0.9", "kind=adam"]
    assert set(made.comparisons().values()) == {"kind=sgd,momentum=0"}
    assert [run.config.optimizer.momentum for run in made.runs()] == [0.0, 0.9, 0.0]


def test_the_baseline_lacks_what_does_not_exist_at_its_levels():
    adam_first = dataclasses.replace(KINDS, levels={"adam": "adam", "sgd": "sgd"})
    made = ablation(factors={"kind": adam_first, "momentum": MOMENTUM}, design="one_at_a_time")
    assert list(made.comparisons()) == ["kind=adam", "kind=sgd,momentum=0", "kind=sgd,momentum=0.9"]
    assert set(made.comparisons().values()) == {"kind=adam"}


def test_a_factor_that_is_nested_two_deep_is_changed_where_it_exists():
    """Its reference cell has neither the factor nor the one above it."""
    kinds = Factor("optimizer.kind", {"adam": "adam", "sgd": "sgd"})
    nesterov = Factor("optimizer.nesterov", {"off": False, "on": True}, under={"momentum": "0.9"})
    made = ablation(factors={"kind": kinds, "momentum": MOMENTUM, "nesterov": nesterov}, design="one_at_a_time")
    assert list(made.comparisons())[-1] == "kind=sgd,momentum=0.9,nesterov=on"


def test_a_range_of_which_nothing_was_drawn_is_no_level():
    """No cell of the study has the factor, whose parent stays at another level."""
    rates = Factor("optimizer.momentum", Uniform(0.5, 0.9), under={"kind": "sgd"})
    made = ablation(factors={"kind": Factor("optimizer.kind", {"adam": "adam", "sgd": "sgd"}), "momentum": rates,
                             "rate": Factor("optimizer.learning_rate", LogUniform(1e-4, 1e-1))},
                    design=RandomCells(3, seed=0), exclude={"kind": "sgd"})
    assert list(made.levels()) == ["kind", "rate"]


def test_listed_cells_are_trained_in_their_order_with_reference_levels_where_they_name_none():
    made = ablation(design=({"width": "16"}, {"rate": "0.1", "width": "32"}, {}))
    assert list(made.comparisons().items()) == [
        ("rate=0.01,width=16", "rate=0.01,width=8"), ("rate=0.1,width=32", "rate=0.01,width=8"),
        ("rate=0.01,width=8", "rate=0.01,width=8")]


def test_without_the_cell_of_all_reference_levels_the_first_one_listed_is_the_baseline():
    made = ablation(design=({"width": "16"}, {"width": "32"}))
    assert set(made.comparisons().values()) == {"rate=0.01,width=16"}


def test_leave_one_out_is_the_full_model_and_each_component_removed():
    parts = {"norm": Factor("model.batch_norm", {"with": True, "without": False}),
             "drop": Factor("model.dropout", {"with": 0.2, "without": 0.0})}
    assert cells(factors=parts, design="leave_one_out") == [
        "norm=with,drop=with", "norm=without,drop=with", "norm=with,drop=without"]


DRAWN = {"rate": Factor("optimizer.learning_rate", LogUniform(1e-4, 1e-1)),
         "drop": Factor("model.dropout", Uniform(0.0, 0.5)), "batch": Factor("batch_size", LogUniform(16, 256)),
         "width": WIDTHS}


def test_cells_are_drawn_from_ranges_by_their_seed_alone():
    def of(n, seed, seeds=(0,), factors=DRAWN):
        return [run.labels for run in ablation(factors=factors, design=RandomCells(n, seed), seeds=seeds).runs()]

    assert of(20, 1) == of(20, 1)
    assert of(20, 1)[:11] == of(10, 1), "more cells leave the first ones as they are"
    assert of(5, 1) != of(5, 2)
    assert of(5, 1, seeds=(7, 8))[::2] == of(5, 1), "seeds of training change no cell, and all cells have them"
    fewer = {name: factor for name, factor in DRAWN.items() if name != "drop"}
    assert [labels["rate"] for labels in of(5, 1, factors=fewer)] == [labels["rate"] for labels in of(5, 1)]


def test_drawn_values_lie_in_their_ranges_and_labels_say_all_of_them():
    made = ablation(factors=DRAWN, design=RandomCells(200, 0))
    base, *runs = made.runs()
    assert base.config.optimizer.learning_rate == BASE.optimizer.learning_rate
    rates = [run.config.optimizer.learning_rate for run in runs]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert abs(sum(math.log10(rate) for rate in rates) / 200 + 2.5) < 0.25, "halfway on a logarithmic scale"
    assert abs(sum(run.config.model.dropout for run in runs) / 200 - 0.25) < 0.04
    assert {type(run.config.batch_size) for run in runs} == {int}
    assert {run.labels["width"] for run in runs} == {"8", "16", "32"}
    assert all(float(run.labels["rate"]) == run.config.optimizer.learning_rate for run in runs)


def drawn(levels, number=20_000):
    return collections.Counter(itertools.islice(Factor("batch_size", levels).drawn("batch", 0), number))


def test_each_whole_number_of_a_range_is_as_likely_as_any_other():
    found = drawn(Uniform(-1, 3))
    assert sorted(found) == ["-1", "0", "1", "2", "3"]
    assert all(abs(count - 4000) < 250 for count in found.values())
    assert Uniform(1, 3).draw(0.0) == "1"
    assert Uniform(1, 3).draw(1.0) == "3"
    assert Uniform(1, 123456).draw(1 - 2**-53) == "123456"


def test_each_whole_number_of_a_range_is_as_likely_as_its_logarithm_is_wide():
    found = drawn(LogUniform(1, 4))
    whole = math.log(4.5 / 0.5)
    assert set(found) == {"1", "2", "3", "4"}
    for number in range(1, 5):
        expected = 20_000 * math.log((number + 0.5) / (number - 0.5)) / whole
        assert abs(found[str(number)] - expected) < 250
    assert LogUniform(15, 17).draw(0.0) == "15"
    assert LogUniform(15, 17).draw(1.0) == "17"


def test_what_is_excluded_is_drawn_anew():
    made = ablation(factors=DRAWN, design=RandomCells(9), exclude={"width": ("16", "32")})
    assert [run.labels["width"] for run in made.runs()] == ["8"] * 10


@pytest.mark.parametrize(("changes", "message"), [
    ({"exclude": {"rte": "0.1"}}, 'exclude names "rte"; the factors are rate, width'),
    ({"exclude": {"rate": "1"}}, "exclude names rate=1; the levels are 0.01, 0.1"),
    ({"exclude": {"width": "8"}}, "leaves out the baseline rate=0.01,width=8: put another level first"),
    ({"factors": {"momentum": MOMENTUM}}, 'under "kind", which must be a factor that stands before it'),
    ({"factors": {"kind": KINDS, "m": dataclasses.replace(MOMENTUM, under={"kind": "lion"})}}, "kind are sgd, adam"),
    ({"design": ({"rate": "1"},)}, "a listed cell has rate=1; the levels are 0.01, 0.1"),
    ({"design": ({"lr": "1"},)}, 'a listed cell names "lr"; the factors are'),
    ({"design": ({}, {"rate": "0.01"})}, "design lists the cell rate=0.01,width=8 twice"),
    ({"design": ()}, "no cells"), ({"design": {"rate": "0.1"}}, "each a dict of factor -> level; not {'rate': '0.1'}"),
    ({"design": ("rate",)}, "each a dict of factor -> level; not"), ({"design": None}, "design must be one of"),
    ({"design": ({"rate": 0.1},)}, 'by its label, text such as "0.1", not by 0.1'),
    ({"exclude": {"rate": 0.1}}, 'by its label, text such as "0.1", not by 0.1'),
    ({"exclude": "rate"}, "exclude must be a dict of factor -> level or levels, a function .* not 'rate'"),
    ({"factors": {"kind": KINDS, "m": dataclasses.replace(MOMENTUM, under=("kind", "sgd"))}},
     'factor "m": under must be a dict such as {"optimizer": "sgd"}, not'),
    ({"factors": {"kind": KINDS, "momentum": MOMENTUM}, "design": ({"kind": "adam", "momentum": "0"},)},
     "names momentum, which does not exist there"),
    ({"design": "leave_one_out"}, 'factor "width": leave_one_out needs two levels'),
    ({"factors": DRAWN}, 'factor "rate" has a range: design=RandomCells'),
    ({"factors": {"f": Factor("model.hidden", Uniform(1, 9))}, "design": RandomCells(2)}, "of the base is no number"),
    ({"factors": {"f": Factor("epoch", Uniform(1, 9))}, "design": RandomCells(2)}, "did you mean epochs"),
    ({"design": RandomCells(7)}, "only 5 different cells to draw, not 7"),
])
def test_a_design_that_makes_no_sense_fails_when_it_is_built(changes, message):
    with pytest.raises(SpecError, match=message):
        ablation(**changes)


@pytest.mark.parametrize("make", [lambda: Uniform(1, 1), lambda: LogUniform(0, 1), lambda: Uniform("a", 1),
                                  lambda: RandomCells(0)])
def test_a_range_without_room_is_refused(make):
    with pytest.raises(SpecError, match="needs"):
        make()


@pytest.mark.parametrize(("texts", "kept"), [
    ([], 6), (["rate=0.1,width=8"], 1), (["width=8", "width=16,seed"], 4), (["/rate=0.1,.*=(8|32),/"], 2),
    (["/^rate=0.01/", "width=8"], 4), (["nothing"], 0), (["/=16,seed=0$/"], 2)])
def test_runs_are_picked_by_any_of_several_texts_or_expressions(texts, kept):
    assert len(design.picked(ablation().runs(), texts)) == kept


def test_an_expression_that_is_none_is_told():
    with pytest.raises(SpecError, match=r"--only=/\(/ is no regular expression: "):
        design.picked(ablation().runs(), ["/(/"])
    with pytest.raises(SpecError, match="--only is empty"):
        design.picked(ablation().runs(), ["x", ""])


def test_a_model_may_be_a_nested_factor_s_parent():
    factors = {"net": Factor("model", {"small": MLPConfig(hidden=(8,)), "large": MLPConfig(hidden=(64,))}),
               "drop": Factor("model.dropout", {"0": 0.0, "0.5": 0.5}, under={"net": "large"}), "rate": RATES}
    assert len(cells(factors=factors)) == 2 * 3


def test_the_example_of_components_leaves_each_out():
    made = lookup.find(str(ROOT / "ablations" / "examples" / "components.py")).ablation
    assert [sum(label == "without" for label in run.labels.values()) for run in made.runs()[::3]] == [0, 1, 1, 1]
