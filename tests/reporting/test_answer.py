import dataclasses
import itertools
import re

import numpy as np
import pytest
import scipy.stats
import synthetic

from ablations.claim import Claim
from harness.analysis.cells import View
from harness.analysis.power import seeds_needed
from harness.analysis.stats import Estimate
from harness.analysis.summarize import summarize
from harness.reporting import answer, rounded

NOISE = (0.0, 0.001, -0.001)


def answered(factors, mean, *, noise=1, view=None, change=None, **planned):
    """Answers for a full factorial with three seeds whose cells have these means and a little noise."""
    runs = []
    for place, levels in enumerate(itertools.product(*factors.values())):
        labels = dict(zip(factors, levels, strict=True))
        for seed in range(3):
            run = synthetic.record(labels, seed, mean(labels) + noise * NOISE[(seed + place) % 3])
            runs.append(change(run, labels) if change else run)
    plan = synthetic.plan(factors, runs)
    found = summarize("made_up", dataclasses.replace(plan, **planned), synthetic.as_read(*runs), view)
    return " ".join(answer.sentences(found))


TWO = {"net": ["mlp", "cnn"], "drop": ["0", "0.1", "0.2"]}


def test_of_one_factor_cells_are_held_against_the_baseline_and_the_leader_is_named():
    words = answered({"a": ["x", "y", "z"]}, lambda labels: {"x": 0.9, "y": 0.95, "z": 0.85}[labels["a"]])
    assert re.match(r"Against x: y \(\+5\.\d\d \[.*\]\) is clearly better; "
                    r"z \(-\d\.\d\d \[.*\]\) is clearly worse\. Best: y", words)
    assert "clearly ahead of every other cell." in words
    assert "seeds find" not in words, "nothing is left open"


def test_a_bare_number_or_none_keeps_its_factor():
    words = answered({"rate": ["none", "0.1"]}, lambda labels: 0.9 + 0.05 * (labels["rate"] == "0.1"))
    assert words.startswith("Against rate=none: rate=0.1 (+5.")


def test_factors_that_do_not_depend_on_each_other_are_told_on_average():
    words = answered(TWO, lambda labels: 0.8 + 0.1 * (labels["net"] == "cnn") + 0.2 * float(labels["drop"]))
    assert "On average over drop against mlp: cnn (+10." in words
    assert "On average over net against drop=0: drop=0.2 (+" in words
    assert "Effects may add up: farthest from it are" in words
    assert "beyond the sum of both." in words


def test_averages_over_fewer_seeds_than_single_cells_have_say_over_which():
    runs = [synthetic.record({"net": net, "drop": drop}, seed,
                             0.8 + 0.1 * (net == "cnn") + 0.2 * float(drop) + NOISE[(seed + len(net + drop)) % 3])
            for net, drop in itertools.product(*TWO.values()) for seed in range(4)]
    kept = [run for run in runs if run.seed < 3 or run.labels["drop"] != "0.2"]
    said = [" ".join(answer.sentences(summarize("made_up", synthetic.plan(TWO, runs), synthetic.as_read(*which))))
            for which in (kept, runs)]
    assert "On average over net, in the 3 seeds that all of them have, against drop=0: " in said[0]
    assert "On average over net against drop=0: " in said[1]


def test_averages_are_told_where_no_cell_can_be_held_against_the_baseline():
    runs = [synthetic.record({"net": net, "drop": drop}, seed, 0.8 + 0.1 * (net == "cnn") + NOISE[seed])
            for net, drop in itertools.product(("mlp", "cnn"), TWO["drop"]) for seed in range(3)]
    kept = [run for run in runs if (run.labels["net"], run.labels["drop"]) != ("mlp", "0")]
    found = summarize("made_up", synthetic.plan(TWO, runs), synthetic.as_read(*kept))
    assert found.verdict.against == {}
    assert answer.sentences(found)


def test_of_three_factors_two_are_held_together_on_average_over_the_third():
    three = {"net": ["mlp", "cnn"], "drop": ["0", "0.2"], "norm": ["off", "on"]}

    def mean(labels, extra):
        return 0.5 + 0.1 * (labels["net"] == "cnn") * (1 + extra * (labels["drop"] == "0.2"))

    assert re.search(r"beyond the sum of both, on average over (net|drop|norm)\.", answered(
        three, lambda labels: mean(labels, 0)))
    assert "Effects do not add up, on average over norm: cnn gives +10." in answered(
        three, lambda labels: mean(labels, 2))


def test_a_cell_whose_done_runs_lack_the_score_is_not_one_without_a_done_run():
    runs = [synthetic.record({"a": level}, seed, 0.9) for level in "xyz" for seed in range(3)]
    records = synthetic.as_read(*runs)
    more = {name: {"tta_accuracy": 0.8 + 0.1 * better + NOISE[(run.seed + better) % 3]}
            for name, run in records.items() if run.labels["a"] != "x" for better in [run.labels["a"] == "z"]}
    found = summarize("made_up", synthetic.plan({"a": ["y", "x", "z"]}, runs), records, View(metric="tta_accuracy"),
                      None, more)
    assert answer.lead(found).endswith("clearly ahead of every other cell that has this score.")


def test_factors_that_depend_on_each_other_are_not_averaged():
    words = answered(TWO, lambda labels: 0.8 + 0.5 * float(labels["drop"]) * (1 if labels["net"] == "cnn" else -1))
    assert "On average" not in words
    assert "Against net=mlp, drop=0: net=" in words
    assert re.search(r"Effects do not add up: cnn gives [+-]0\.\d\d at drop=0 and \+20\.\d\d at drop=0\.2 \(", words)


def test_cells_are_compared_within_the_level_that_the_plan_names():
    runs = {"mlp": 0.8, "cnn": 0.9}
    words = answered(TWO, lambda labels: runs[labels["net"]] + 0.5 * float(labels["drop"]) * (labels["net"] == "cnn"),
                     within=("net",))
    assert "Against net=cnn, drop=0: net=cnn, drop=0.2 (+10." in words
    assert "Against net=mlp, drop=0: " in words
    assert "Against net=mlp, drop=0: net=cnn" not in words


def regularized(run, labels):
    """Gives a run the configuration that its label says."""
    config = dict(run.config, labels={}, norm="norm" in labels["a"], drop="drop" in labels["a"])
    return dataclasses.replace(run, config=config)


@pytest.mark.parametrize(("both", "said"), [
    (0.93, "norm and drop may add up: together they give "),
    (0.99, "Effects do not add up: norm gives +1."),
])
def test_a_cell_with_both_changes_is_held_against_their_sum(both, said):
    means = {"none": 0.9, "norm": 0.91, "drop": 0.92, "norm+drop": both}
    assert said in answered({"a": list(means)}, lambda labels: means[labels["a"]], change=regularized)


def test_what_the_source_claims_and_is_not_so_is_told_with_what_was_measured():
    claims = synthetic.claimed(Claim("a notebook", "test_accuracy", 0.96, "at_least"))
    words = answered({"a": ["x", "y"]}, lambda labels: 0.9 + 0.02 * (labels["a"] == "y"), claims=claims)
    assert re.search(r"2 do not hold \(test accuracy, last epoch: at least 96\.00, "
                     r"measured 89\.\d\d to 91\.\d\d\)", words)


def test_means_that_lack_runs_are_told_with_what_became_of_them():
    def change(run, labels):
        lost = labels["a"] == "y" and run.seed == 2
        return synthetic.record(labels, 2, None, status="diverged") if lost else run

    words = answered({"a": ["x", "y"]}, lambda labels: 0.9 + 0.05 * (labels["a"] == "y"), change=change)
    assert "clearly ahead of every other cell. In no mean: 1 of 3 runs of y diverged." in words
    assert "In no mean" not in answered({"a": ["x", "y"]}, lambda labels: 0.9 + 0.05 * (labels["a"] == "y"))


def test_what_cannot_be_audited_alone_is_no_answer():
    claims = synthetic.claimed(Claim("a notebook", "curves", unaudited="in pictures"))
    assert "claims" not in answered({"a": ["x", "y"]}, lambda labels: 0.9, claims=claims)


@pytest.mark.parametrize("noise", [1, 5])
def test_what_the_seeds_leave_open_has_its_size_and_the_seeds_that_half_a_point_takes(noise):
    words = answered({"a": ["x", "y"]}, lambda labels: 0.9 + 0.002 * (labels["a"] == "y"), noise=noise)
    found = re.search(r"3 seeds find a true difference of (\d\.\d\d) points four times out of five; "
                      r"half a point takes about (\d+) seeds\.", words)
    assert found
    # Two cells of three seeds: the headline test is the paired t test, for which `power` plans without approximation.
    differences = [0.002 + noise * (NOISE[(seed + 1) % 3] - NOISE[seed]) for seed in range(3)]
    # Half of all estimates of three seeds lie below 0.83 of what they estimate.
    noise = float(np.std(differences, ddof=1) / np.sqrt(scipy.stats.chi2.median(2) / 2))
    assert abs(int(found[2]) - seeds_needed(noise, 0.005)) <= 1


def test_a_baseline_that_a_reader_has_chosen_is_what_the_answer_compares_with():
    words = answered(TWO, lambda labels: 0.8 + 0.1 * (labels["net"] == "cnn"), view=View(baseline="net=cnn,drop=0.1"))
    assert words.startswith("Against net=cnn, drop=0.1: ")
    assert "On average" not in words


def test_a_loss_has_no_points_and_less_is_better():
    def change(run, labels):
        best = dataclasses.replace(run.best, test_loss=0.3 - 0.1 * (labels["a"] == "y") + 0.001 * run.seed**2)
        return dataclasses.replace(run, best=best)

    words = answered({"a": ["x", "y"]}, lambda labels: 0.9, change=change, view=View(metric="test_loss"))
    assert "point" not in words
    assert "y (-0.1" in words


def test_one_cell_is_told_with_nothing_to_compare_it_with():
    assert re.fullmatch(r"Mean: 90\.00 \[.*\] %; nothing is compared\.", answered({"a": ["x"]}, lambda labels: 0.9))


def test_a_level_that_fails_to_train_hides_no_cell_that_is_clear():
    def mean(labels):
        return 0.9 - 0.03 * (labels["rate"] == "low") - 0.4 * (labels == {"net": "cnn", "rate": "low"})

    def wild(run, labels):
        best = dataclasses.replace(run.best, test_accuracy=run.best.test_accuracy + 0.3 * (run.seed == 1))
        return dataclasses.replace(run, best=best) if labels == {"net": "cnn", "rate": "low"} else run

    words = answered({"net": ["mlp", "cnn"], "rate": ["mid", "low", "high"]}, mean, change=wild)
    assert "On average" not in words, "no average is clear"
    assert re.match(r"Against net=mlp, rate=mid: net=mlp, rate=low \(-[23]\.\d\d \[.*?\]\) is clearly worse", words)


def test_a_level_that_is_better_on_average_explains_no_cell_that_is_worse():
    """One net scatters: what dropout does to the other is clear in its cell alone."""
    def mean(labels):
        return 0.8 + 0.1 * (labels["net"] == "cnn") - 0.02 * (labels == {"net": "cnn", "drop": "0.1"})

    def wild(run, labels):
        best = dataclasses.replace(run.best, test_accuracy=run.best.test_accuracy + 0.04 * (run.seed - 1))
        return dataclasses.replace(run, best=best) if labels == {"net": "mlp", "drop": "0.1"} else run

    words = answered({"net": ["mlp", "cnn"], "drop": ["0", "0.1"]}, mean, change=wild, within=("net",))
    assert re.search(r"Against net=cnn, drop=0: net=cnn, drop=0\.1 \(-[12]\.\d\d \[.*?\]\) is clearly worse", words)


def test_one_seed_of_a_damaged_cell_does_not_speak_for_the_five_of_the_others():
    runs = [synthetic.record({"a": one, "b": two}, seed, 0.9 + NOISE[(seed + place) % 3])
            for place, (one, two) in enumerate(itertools.product("xy", "uv")) for seed in range(5)
            if seed == 0 or (one, two) != ("y", "v")]
    planned = [*runs, *(synthetic.record({"a": "y", "b": "v"}, seed, 0.9) for seed in range(1, 5))]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"], "b": ["u", "v"]}, planned), synthetic.as_read(*runs))
    assert {margin.contrast.n for margin in found.effects.margins} == {1}
    words = " ".join(answer.sentences(found))
    assert "On average" not in words
    assert re.search(r"Against a=x, b=u: .*a=y, b=u \([+-]\d\.\d\d", words)


def test_a_level_without_an_average_is_told_cell_by_cell():
    factors = {"a": ["0", "1", "2"], "b": ["x", "y", "z"]}
    runs = [synthetic.record({"a": one, "b": two}, seed, 0.7 + 0.1 * int(one) + NOISE[(seed + place) % 3])
            for place, (one, two) in enumerate(itertools.product(*factors.values())) for seed in range(3)
            if (one, two) not in {("2", "y"), ("2", "z")}]
    found = summarize("made_up", synthetic.plan(factors, runs), synthetic.as_read(*runs))
    words = " ".join(answer.sentences(found))
    assert "On average" in words
    assert re.search(r"Against a=0, b=x: a=2, b=x \(\+\d\d\.\d\d", words)


def test_the_seeds_that_are_told_are_those_of_whole_cells():
    runs = [synthetic.record({"a": level}, seed, 0.9 + NOISE[(seed + place) % 3])
            for place, level in enumerate("xyz") for seed in range(3) if (level, seed) != ("y", 2)]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y", "z"]}, runs), synthetic.as_read(*runs))
    assert [test.n for test in found.verdict.against.values()] == [2, 3]
    assert " 3 seeds find a true difference" in " ".join(answer.sentences(found))


def test_a_cell_without_a_done_run_is_not_among_those_that_the_best_is_ahead_of():
    runs = [synthetic.record({"a": level}, seed, mean + NOISE[(seed + place) % 3])
            for place, (level, mean) in enumerate((("x", 0.8), ("y", 0.9))) for seed in range(3)]
    planned = [*runs, *(synthetic.record({"a": "z"}, seed, 0.9) for seed in range(3))]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y", "z"]}, planned), synthetic.as_read(*runs))
    assert "clearly ahead of every other cell that has a done run." in " ".join(answer.sentences(found))


def test_a_claim_about_each_run_is_refuted_by_its_lowest_whatever_other_cells_lack():
    stated = synthetic.claimed(Claim("a notebook", "test_accuracy", 0.95, "each_at_least", state="best_validation"))
    runs = [synthetic.record({"a": "x"}, seed, value) for seed, value in enumerate((0.952, 0.946))]
    planned = [*runs, synthetic.record({"a": "y"}, 0, 0.9)]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, planned, claims=stated), synthetic.as_read(*runs))
    assert "each at least 95.00, lowest 94.60)" in answer.claimed(found)


@pytest.mark.parametrize("name", [
    "$\\frac{$", "<script>alert(1)</script>", "two\nlines", "\x1b[31mred", "x" * 200, "a=b, c"])
def test_names_of_any_kind_are_printable_in_the_answer(name):
    for levels in ([name, "y"], ["y", name]):
        words = answered({"a": levels, "b\n": ["0", name]}, lambda labels: 0.9 + 0.05 * (labels["a"] == name))
        assert words.startswith(("Against ", "On average "))
        assert words.isprintable()
        assert len(words) < 2000


def test_what_one_seed_shows_is_called_untested_and_not_alike():
    runs = [synthetic.record({"a": level}, 0, value) for level, value in {"x": 0.9, "y": 0.95, "z": 0.8}.items()]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y", "z"]}, runs), synthetic.as_read(*runs))
    assert answer.sentences(found)[0] == (
        "Against x: z (-10.00 [n/a]), y (+5.00) are untested: one seed, or equal ones, show no spread to test by.")


def test_where_nothing_can_be_compared_yet_the_terminal_says_so_too():
    runs = [synthetic.record({"a": level}, 0, 0.9) for level in "xy"]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(runs[0]))
    assert answer.sentences(found) == ["Too few cells are done to compare them.", "In no mean: 1 run is missing."]


def test_a_list_hides_no_single_name():
    assert answer.listed("abcde") == "a, b, c, d, e"
    assert answer.listed("abcdef") == "a, b, c, d and 2 more"


@pytest.mark.parametrize(("mean", "low", "high", "written"), [
    (0.3456789, 0.3, 0.4, "0.3457 [0.3000, 0.4000]"),
    (0.000012, 0.00001, 0.00002, "0.00001200 [0.00001000, 0.00002000]"),
    (1234569.8, 1234567.8, 1234571.7, "1234570 [1234568, 1234572]"), (0.0, 0.0, 0.0, "0.0000 [0.0000, 0.0000]")])
def test_a_score_of_any_size_keeps_digits(mean, low, high, written):
    assert rounded.plain(Estimate(3, mean, None, low, high)) == written


def test_no_count_is_a_thousand_of_its_unit():
    assert (rounded.count(999_999), rounded.size(1024**2 - 1), rounded.count(999), rounded.count(1000)) == (
        "1.00 M", "1.00 MiB", "999", "1.00 k")
