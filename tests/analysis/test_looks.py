import dataclasses

import numpy as np
import pytest
import synthetic

from harness.analysis import looks
from harness.analysis.headline import Contrast, against
from harness.analysis.summarize import summarize
from harness.records import Stopping
from tests import until_decided_simulation as simulation

CELLS = ["a=x", "a=y", "a=z"]
COMPARED = dict.fromkeys(CELLS, "a=x")
RULE = Stopping(0.005, 2, tuple(range(8)))
NOISE = np.random.default_rng(0).normal(0, 0.001, (3, 8))


def records(seeds, means=(0.9, 0.95, 0.9), status=lambda cell, seed: "done"):
    """Invents the runs of so many seeds per cell, with these mean validation accuracies."""
    invented = []
    for place, (cell, most) in enumerate(zip(CELLS, seeds, strict=True)):
        for seed in range(most):
            state = status(cell, seed)
            value = means[place] - 0.01 + NOISE[place, seed] if state == "done" else None
            invented.append(synthetic.record({"a": cell[-1]}, seed, value, status=state))
    return synthetic.as_read(*invented)


def answers(looked):
    return {cell: (one.answer, one.seeds) for cell, one in looked.outcomes.items()}


def test_the_first_look_waits_for_the_first_seeds_of_every_cell():
    for known in ({}, records((2, 2, 1))):
        looked = looks.look(RULE, COMPARED, known)
        assert (looked.outcomes, looked.waiting, looked.seeds) == ({}, tuple(CELLS), (0, 1))


def test_what_is_decided_gets_no_more_seeds_and_its_baseline_as_long_as_anything_is_open():
    looked = looks.look(RULE, COMPARED, records((2, 2, 2)))
    assert answers(looked) == {"a=y": ("differs", 2), "a=z": ("open", 2)}
    assert (looked.waiting, looked.seeds) == (("a=x", "a=z"), (2, 3))
    looked = looks.look(RULE, COMPARED, records((4, 2, 4)))
    assert answers(looked) == {"a=y": ("differs", 2), "a=z": ("alike", 4)}
    assert looked.waiting == looked.seeds == ()


def test_seeds_end_at_the_most_there_may_be():
    strict = dataclasses.replace(RULE, within=1e-6)
    looked = looks.look(strict, COMPARED, records((8, 2, 8)))
    assert answers(looked)["a=z"] == ("open", 8)
    assert looked.waiting == ()


def test_looks_are_taken_at_validation_accuracy_alone():
    known = records((4, 4, 4))
    worse = {run_id: dataclasses.replace(one, best=dataclasses.replace(one.best, test_accuracy=0.1))
             for run_id, one in known.items()}
    assert looks.look(RULE, COMPARED, worse) == looks.look(RULE, COMPARED, known)


def test_a_cell_whose_runs_all_fail_is_given_up_and_one_failure_costs_a_pair():
    all_diverge = records((2, 2, 2), status=lambda cell, seed: "diverged" if cell == "a=z" else "done")
    looked = looks.look(RULE, COMPARED, all_diverge)
    assert answers(looked) == {"a=y": ("differs", 2), "a=z": ("failed", 2)}
    assert looked.waiting == ()
    one = records((6, 2, 6), status=lambda cell, seed: "diverged" if (cell, seed) == ("a=z", 1) else "done")
    looked = looks.look(RULE, COMPARED, one)
    found = looked.outcomes["a=z"]
    assert (found.answer, found.interval.n) == ("alike", found.seeds - 1)
    no_baseline = records((2, 2, 2), status=lambda cell, seed: "oom" if cell == "a=x" else "done")
    assert looks.look(RULE, COMPARED, no_baseline).waiting == ()


def test_a_launch_asks_look_by_look_whatever_else_is_recorded():
    known = records((8, 8, 8))
    assert looks.look(RULE, COMPARED, known, most=0).waiting == tuple(CELLS)
    assert looks.look(RULE, COMPARED, known, most=1).waiting == ("a=x", "a=z")


def test_a_rule_keeps_the_ablation_s_seeds_and_takes_whole_steps():
    assert looks.rule(0.5, (7, 1, 4), 10) == Stopping(0.005, 3, (7, 1, 4, 0, 2, 3, 5, 6, 8))
    assert looks.rule(0.5, (3,), 5) == Stopping(0.005, 2, (3, 0, 1, 2))
    for points, most, message in ((0.0, 30, "above 0"), (0.5, 5, "leaves no second look: 3 seeds are added")):
        with pytest.raises(ValueError, match=message):
            looks.rule(points, (0, 1, 2), most)


def test_tables_correct_the_test_set_s_tests_for_looks_and_comparisons():
    known = records((6, 4, 6), means=(0.9, 0.904, 0.9))
    runs = list(known.values())
    plain = synthetic.plan({"a": ["x", "y", "z"]}, runs)
    ruled = dataclasses.replace(plain, comparisons=COMPARED, stopping=RULE)
    before, after = (summarize("made_up", plan, known) for plan in (plain, ruled))
    for row, same in zip(before.rows[1:], after.rows[1:], strict=True):
        assert same.difference.mean == row.difference.mean
        assert same.difference.low < row.difference.low < row.difference.high < same.difference.high
        assert same.comparison.headline_holm > row.comparison.headline_p
    assert [one.answer for one in after.looked.outcomes.values()] == ["differs", "alike"]


def test_a_corrected_p_value_is_below_five_percent_where_the_interval_excludes_zero():
    generator = np.random.default_rng(1)
    for size in (0.0, 2.0, 3.0, 4.0, 6.0):
        cells = {"b": dict(enumerate(generator.normal(0, 1, 6))), "c": dict(enumerate(generator.normal(size, 1, 6)))}
        for test in looks.corrected(against(cells, "b"), RULE).values():
            assert (test.holm < 0.05) == (test.low > 0 or test.high < 0)


def test_what_stopped_early_is_corrected_more_and_missing_pairs_count_as_an_earlier_look():
    def corrected(pairs):
        [test] = looks.corrected({"a=y": Contrast(pairs, 1.0, 0.5, 1.5, 5.0, p=0.001)}, RULE).values()
        return test.holm

    assert corrected(2) == corrected(3) > corrected(4) > corrected(6) > corrected(8) == corrected(9) > 0.001


@pytest.mark.parametrize("cells", [2, 5])
def test_the_simulation_decides_as_launches_do(cells):
    means = np.r_[90.0, 90.0, np.linspace(90.5, 92.0, cells - 2)]
    invented = simulation.scores(15, means, np.full(cells, 0.1), 0.1, 12, 5) / 100
    answer, used, ends = simulation.decided(invented, 3, 0.005, simulation.levels(cells, 3, 12))
    names = {"open": simulation.OPEN, "differs": simulation.DIFFERS, "alike": simulation.ALIKE}
    rule = Stopping(0.005, 3, tuple(range(12)))
    for study, values in enumerate(invented):
        known = synthetic.as_read(*(synthetic.record({"a": str(cell)}, seed, value - 0.01)
                                    for cell, row in enumerate(values) for seed, value in enumerate(row)))
        looked = looks.look(rule, {f"a={cell}": "a=0" for cell in range(cells)}, known)
        found = list(looked.outcomes.values())
        assert [names[one.answer] for one in found] == list(answer[study])
        assert [one.seeds for one in found] == list(used[study])
        assert [(one.interval.low, one.interval.high) for one in found] == [pytest.approx(end) for end in ends[study]]


@pytest.mark.parametrize("cells", [2, *(pytest.param(cells, marks=pytest.mark.slow) for cells in (5, 10))])
def test_of_two_thousand_studies_without_a_difference_at_most_one_in_twenty_finds_one(cells):
    invented = simulation.scores(2000, np.zeros(cells), np.ones(cells), 0.0, 30, 1)
    answer, _, _ = simulation.decided(invented, 3, 0.0, simulation.levels(cells, 3, 30))
    assert 0.01 < np.any(answer == simulation.DIFFERS, axis=1).mean() <= 0.05


def test_differences_of_half_a_point_are_found_with_fewer_seeds_than_a_fixed_number_takes():
    [found] = simulation.savings(200, 0, sizes=(0.5,), numbers=(2,)).to_dict("records")
    assert found["differs"] > 0.95
    assert found["mean_runs"] < 0.8 * found["fixed_runs"]
