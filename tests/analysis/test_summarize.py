import dataclasses

import numpy as np
import pytest
import synthetic

from harness.analysis.cells import METRICS, View, ViewError
from harness.analysis.summarize import summarize
from harness.records import Placement
from harness.records.pooling import MixtureError
from harness.reporting import answer, captions
from harness.reporting.tables import report

LEVELS = ["none", "norm", "l2", "both", "late"]


def planned_and_records():
    """Five cells of three planned runs: whole, one diverged, one run only, whole, and none done."""
    runs = [synthetic.record({"regularizer": level}, seed, 0.9 + 0.01 * place + 0.001 * seed * (place + 1))
            for place, level in enumerate(LEVELS) for seed in range(3)]
    plan = synthetic.plan({"regularizer": LEVELS}, runs)
    records = [*runs[:5], synthetic.record({"regularizer": "norm"}, 2, None, status="diverged"), runs[6], *runs[9:12]]
    records += [synthetic.record({"regularizer": "late"}, seed, None, status=status)
                for seed, status in enumerate(("oom", "error"))]
    return plan, synthetic.as_read(*records)


@pytest.fixture
def summary():
    return summarize("made_up", *planned_and_records())


def changed_in(records, where, change):
    """Changes the records that a condition picks."""
    return {name: change(record) if where(record) else record for name, record in records.items()}


def is_both(record):
    return record.labels["regularizer"] == "both"


def caption(summary):
    return "\n".join(captions.caption(summary))


def test_rows_are_in_the_plan_s_order_with_every_cell(summary):
    assert [row.label for row in summary.rows] == ["regularizer=none", *LEVELS[1:]]
    assert [row.is_baseline for row in summary.rows] == [True, False, False, False, False]


def test_only_done_runs_are_averaged_and_all_others_counted(summary):
    none, norm, l2, both, late = summary.rows
    assert none.test_accuracy.mean == pytest.approx(0.901, abs=1e-12)
    assert norm.test_accuracy.mean == pytest.approx((0.910 + 0.912) / 2, abs=1e-12)
    assert norm.runs == {"planned": 3, "done": 2, "diverged": 1, "oom": 0, "error": 0, "missing": 0}
    assert l2.runs == {"planned": 3, "done": 1, "diverged": 0, "oom": 0, "error": 0, "missing": 2}
    assert (l2.test_accuracy.n, l2.test_accuracy.low) == (1, None)
    assert both.runs["done"] == 3
    assert late.runs == {"planned": 3, "done": 0, "diverged": 0, "oom": 1, "error": 1, "missing": 1}
    assert (late.test_accuracy.n, late.test_accuracy.mean, late.cost, late.timing) == (0, None, None, None)
    counts = "9 done, 1 diverged (norm: 1), 1 oom (late: 1), 1 failed (late: 1), 3 missing (l2: 2; late: 1)."
    assert f"15 planned; {counts}" in caption(summary)


def test_headline_is_the_best_validation_epoch_s_state(summary):
    row = summary.rows[0]
    assert row.last_test_accuracy.mean == pytest.approx(row.test_accuracy.mean - 0.004, abs=1e-12)


def test_differences_are_paired_by_seed(summary):
    none, norm, l2, both, late = summary.rows
    assert none.difference.n == 0
    assert norm.difference.n == 2
    assert norm.difference.mean == pytest.approx((0.010 + 0.011) / 2, abs=1e-12)
    assert (l2.difference.n, l2.difference.low) == (1, None)
    assert both.difference.mean == pytest.approx(0.033, abs=1e-12)
    assert late.difference.n == 0


def test_fewer_pairs_than_runs_are_stated():
    plan, records = planned_and_records()
    del records["regularizer=none,seed=0"]
    assert "Fewer pairs than the cell or its baseline has runs: norm: 1; l2: 0; both: 2." in caption(
        summarize("made_up", plan, records))


def test_the_best_is_marked_only_when_the_lead_is_sure(summary):
    assert not any(row.is_best for row in summary.rows), "the second best shares one seed only"
    plan, records = planned_and_records()
    sure = synthetic.as_read(*(synthetic.record({"regularizer": "l2"}, seed, 0.92 + 0.003 * seed) for seed in range(3)))
    marked = summarize("made_up", plan, records | sure)
    assert [row.label for row in marked.rows if row.is_best] == ["both"]
    assert "Bold is the best mean" in caption(marked)


def test_an_uncertain_lead_is_not_marked():
    runs = [synthetic.record({"a": level}, seed, value) for level, values in
            {"x": (0.90, 0.93, 0.91), "y": (0.91, 0.92, 0.92)}.items() for seed, value in enumerate(values)]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    assert not any(row.is_best for row in found.rows)
    assert "Bold" not in caption(found)


@pytest.mark.parametrize("case", ["no plan", "baseline not planned", "baseline not done"])
def test_a_missing_baseline_is_stated(case):
    plan, records = planned_and_records()
    if case == "no plan":
        plan, reason = None, "without a plan the baseline is unknown"
    elif case == "baseline not planned":
        plan = dataclasses.replace(plan, factors={"regularizer": ("other", *LEVELS)})
        reason = "no planned cell has all reference levels"
    else:
        records = {name: record for name, record in records.items() if "none" not in name}
        reason = "the baseline (regularizer=none) has no done run"
    found = summarize("made_up", plan, records)
    assert f"Differences are n/a: {reason}" in caption(found)
    assert all(row.difference.mean is None for row in found.rows)


def test_a_plan_without_records_has_rows():
    plan, _ = planned_and_records()
    found = summarize("made_up", plan, {})
    assert [row.runs["missing"] for row in found.rows] == [3] * 5
    assert "15 planned; 0 done, 15 missing" in caption(found)


def test_runs_outside_the_plan_are_counted():
    plan, records = planned_and_records()
    found = summarize("made_up", plan, records | synthetic.as_read(synthetic.record({"regularizer": "none"}, 7, 0.9)))
    assert "1 of them outside the plan" in caption(found)
    assert found.rows[0].test_accuracy.n == 4


def test_only_factors_that_vary_are_named():
    runs = [synthetic.record({"width": width, "depth": "2", "rate": rate}, 0, 0.9) for width in "ab" for rate in "cd"]
    plan = synthetic.plan({"width": ["a", "b"], "depth": ["2"], "rate": ["c", "d"]}, runs)
    found = summarize("made_up", plan, synthetic.as_read(*runs))
    assert found.factors == ("width", "rate")
    assert found.rows[1].label == "width=a, rate=d"
    alone = synthetic.record({}, 0, 0.9)
    found = summarize("made_up", synthetic.plan({}, [alone]), synthetic.as_read(alone))
    assert found.factors == ()
    assert found.rows[0].is_baseline


def test_caption_states_what_the_numbers_rest_on():
    plan, records = planned_and_records()
    warning = "the pixels differ from the official archives (*sic*)"
    records = changed_in(records, lambda record: True, lambda record: dataclasses.replace(
        record, dataset=dataclasses.replace(record.dataset, warnings=(warning,)),
        environment=dataclasses.replace(record.environment, git_dirty=True)))
    text = caption(summarize("made_up", plan, records))
    for fact in ("fashion_mnist", "55,000 training, 5,000 validation and 10,000 test", "Seeds done: 0, 1, 2.",
                 "95 % t interval", "AMD EPYC, 2 cores", "jax 0.10.2",
                 "0123456789ab with uncommitted changes", f"Warning: {warning}"):
        assert fact in text
    assert text.count(warning) == 1


def changed(seed, **changes):
    return synthetic.as_read(synthetic.record({"regularizer": "none"}, seed, 0.9, **changes))


CONFIG = synthetic.record({"regularizer": "none"}, 1, 0.9).config
MIXTURES = {
    "precision": ({"config": CONFIG | {"precision": "bfloat16"}}, "config.precision"),
    "any setting": ({"config": CONFIG | {"batch_size": 256}}, "config.batch_size: 128 -> 256"),
    "pixels": ({"dataset": dataclasses.replace(synthetic.DATASET, fingerprint="e" * 64)}, "dataset.fingerprint"),
    "platform": ({"environment": dataclasses.replace(synthetic.ENVIRONMENT, platform="gpu")}, "environment.platform"),
    "device": ({"environment": dataclasses.replace(synthetic.ENVIRONMENT, device="NVIDIA H200")}, "environment.device"),
}


@pytest.mark.parametrize("case", MIXTURES)
def test_unlike_runs_in_a_cell_are_refused_by_name(case):
    changes, field = MIXTURES[case]
    plan, records = planned_and_records()
    with pytest.raises(MixtureError) as error:
        summarize("made_up", plan, records | changed(1, **changes))
    assert "regularizer=none,seed=0 and regularizer=none,seed=1 differ in" in str(error.value)
    assert field in str(error.value)
    assert "\n" not in str(error.value)


def test_cells_on_other_pixels_under_one_name_are_refused():
    plan, records = planned_and_records()
    records = changed_in(records, is_both, lambda record: dataclasses.replace(
        record, dataset=dataclasses.replace(record.dataset, fingerprint="e" * 64)))
    with pytest.raises(MixtureError, match=r"regularizer=both,seed=0 differ in dataset\.fingerprint"):
        summarize("made_up", plan, records)


def test_a_run_recorded_twice_is_refused():
    plan, records = planned_and_records()
    twice = {"copy of seed 0": synthetic.record({"regularizer": "none"}, 0, 0.9)}
    with pytest.raises(MixtureError, match="more than one record of regularizer=none,seed=0"):
        summarize("made_up", plan, records | twice)


def test_no_interval_of_an_accuracy_leaves_its_range():
    runs = [synthetic.record({"f": "a"}, seed, accuracy) for seed, accuracy in enumerate((0.99, 0.98))]
    [row] = summarize("made_up", None, synthetic.as_read(*runs)).rows
    assert (row.test_accuracy.high, row.validation_accuracy.high) == (1.0, 1.0)
    assert 0 < row.test_accuracy.low < 0.98


def test_a_cell_without_evidence_against_it_keeps_the_best_from_being_marked():
    runs = [synthetic.record({"a": level}, seed, value) for level, values in
            {"x": (0.90, 0.901, 0.902), "y": (0.950, 0.951, 0.953), "z": (0.99, 0.80, 0.98)}.items()
            for seed, value in enumerate(values)]
    plan = synthetic.plan({"a": ["x", "y", "z"]}, runs)
    found = summarize("made_up", plan, synthetic.as_read(*runs))
    assert found.verdict.leader == "a=y"
    assert not any(row.is_best for row in found.rows), "y is clear of x, and z scatters too much to tell"
    assert found.rows[0].behind_best_p < 0.05 < found.rows[2].behind_best_p
    assert found.rows[1].behind_best_p is None
    without = summarize("made_up", plan, {name: record for name, record in synthetic.as_read(*runs).items()
                                          if "a=z" not in name})
    assert [row.label for row in without.rows if row.is_best] == ["y"]


def test_cells_on_other_devices_are_not_compared():
    plan, records = planned_and_records()
    records = changed_in(records, is_both, lambda record: dataclasses.replace(
        record, environment=dataclasses.replace(record.environment, device="NVIDIA H200")))
    with pytest.raises(MixtureError, match=r"regularizer=both,seed=0 differ in environment\.device"):
        summarize("made_up", plan, records)


def test_cells_of_other_precision_are_compared_only_if_a_factor_varies_it():
    runs = [synthetic.record({"precision": level}, seed, 0.9) for level in ("float32", "bfloat16") for seed in (0, 1)]
    records = synthetic.as_read(*runs)
    for record in records.values():
        record.config["precision"] = record.labels["precision"]
    plan = synthetic.plan({"precision": ["float32", "bfloat16"]}, runs)
    with pytest.raises(MixtureError, match=r"differ in config\.precision: \"float32\" -> \"bfloat16\""):
        summarize("made_up", plan, records)
    found = summarize("made_up", dataclasses.replace(plan, varied=("precision",)), records)
    assert found.rows[1].difference.n == 2


@pytest.mark.parametrize("name", ["regularizer=both", "both"])
def test_another_baseline_is_named_by_its_cell_or_its_label(name):
    plan, records = planned_and_records()
    found = summarize("made_up", plan, records, View(baseline=name))
    assert [row.label for row in found.rows if row.is_baseline] == ["both"]
    assert found.rows[0].difference.mean == pytest.approx(-0.033, abs=1e-12)
    assert "from the baseline (both)" in caption(found)


def test_an_unknown_baseline_lists_the_cells():
    plan, records = planned_and_records()
    cells = "; ".join(f"regularizer={level}" for level in LEVELS)
    with pytest.raises(ViewError, match=rf"^--baseline=bth must be one of {cells}$"):
        summarize("made_up", plan, records, View(baseline="bth"))


@pytest.mark.parametrize(("view", "line"), [
    ({"metric": "accuracy"}, f"--metric=accuracy must be one of {', '.join(METRICS)}"),
    ({"select": "first"}, "--select=first must be one of best_validation, last"),
])
def test_a_misspelt_view_lists_what_there_is(view, line):
    with pytest.raises(ViewError) as error:
        View(**view)
    assert str(error.value) == line


def test_the_last_epoch_s_scores_can_be_selected():
    plan, records = planned_and_records()
    found = summarize("made_up", plan, records, View(select="last"))
    assert found.rows[0].score.mean == found.rows[0].test_accuracy.mean == found.rows[0].last_test_accuracy.mean
    assert found.rows[3].difference.mean == pytest.approx(0.033, abs=1e-12)
    assert "after the last epoch" in caption(found)


def test_of_a_loss_the_lowest_is_best():
    runs = [synthetic.record({"a": level}, seed, 0.9) for level in "xy" for seed in range(3)]
    records = synthetic.as_read(*runs)
    losses = {"x": (0.5, 0.501, 0.504), "y": (0.30, 0.301, 0.305)}
    records = changed_in(records, lambda record: True, lambda record: dataclasses.replace(
        record, best=dataclasses.replace(record.best, test_loss=losses[record.labels["a"]][record.seed])))
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), records, View(metric="test_loss"))
    assert [row.is_best for row in found.rows] == [False, True]
    assert found.rows[1].score.mean == pytest.approx(0.302, abs=1e-12)
    assert found.rows[1].test_accuracy.mean == pytest.approx(0.9)
    assert "Differences are in test loss" in caption(found)


def test_optimistic_readings_are_each_run_s_better_one():
    runs = [synthetic.record({}, seed, 0.9) for seed in range(2)]
    records = synthetic.as_read(*runs)
    records = changed_in(records, lambda record: record.seed == 1, lambda record: dataclasses.replace(
        record, last=dataclasses.replace(record.last, test_accuracy=0.95, validation_accuracy=0.5)))
    [row] = summarize("made_up", synthetic.plan({}, runs), records).rows
    assert row.optimistic_test_accuracy.mean == pytest.approx((0.90 + 0.95) / 2)
    assert row.optimistic_validation_accuracy.mean == pytest.approx(0.91)


def factorial(skip=lambda run: False):
    runs = [synthetic.record({"norm": norm, "drop": drop}, seed,
                             0.8 + 0.02 * (norm == "yes") + 0.01 * (drop == "yes") + 0.001 * seed)
            for norm in ("no", "yes") for drop in ("no", "yes") for seed in range(3)]
    plan = synthetic.plan({"norm": ["no", "yes"], "drop": ["no", "yes"]}, runs)
    return plan, synthetic.as_read(*(run for run in runs if not skip(run)))


def test_a_full_factorial_has_effects():
    effects = summarize("made_up", *factorial()).effects
    assert {one.factor: one.contrast.mean for one in effects.margins} == pytest.approx(
        {"norm": 0.02, "drop": 0.01}, abs=1e-12)
    assert [one.contrast.mean for one in effects.together] == pytest.approx([0.0], abs=1e-12)


def test_a_missing_cell_leaves_a_note_in_the_place_of_effects():
    effects = summarize("made_up", *factorial(lambda run: run.cell == "norm=yes,drop=yes")).effects
    assert effects.note == "Main effects are n/a: no seed is done in every cell; short of runs: norm=yes, drop=yes."


def test_a_design_that_is_no_factorial_says_so():
    plan, records = factorial()
    plan = dataclasses.replace(plan, runs=tuple(run for run in plan.runs if run.cell != "norm=yes,drop=yes"))
    records = {name: record for name, record in records.items() if record.cell != "norm=yes,drop=yes"}
    assert "not every combination" in summarize("made_up", plan, records).effects.note
    assert summarize("made_up", None, records).effects is None


def test_one_factor_has_no_effects_table(summary):
    assert summary.effects is None


def test_predictions_of_shared_examples_are_compared_where_they_are_known():
    plan, records = planned_and_records()
    label = np.array([0, 1, 0], np.uint8)
    known = {name: {"predicted": np.array([0, 1, "norm" in name], np.uint8), "label": label} for name, record
             in records.items() if record.status == "done" and record.cell.endswith(("none", "norm"))}
    found = summarize("made_up", plan, records, predictions=known)
    norm, both = found.rows[1].comparison.shared, found.rows[3].comparison.shared
    assert (norm.pairs, norm.gained, norm.lost) == (2, 0.0, 1.0)
    assert both is None
    assert "rest on 5 of 9 done runs" in caption(found)
    assert "are n/a: no run kept predictions" in caption(summarize("made_up", plan, records, predictions={}))


BY_OTHER_MEANS = {
    "training code": ({"training_code": "e" * 64}, "training code: 3 with dddddddddddd; 3 with eeeeeeeeeeee"),
    "jax": ({"packages": {"jax": "0.12.0"}}, "jax: 3 with 0.10.2; 3 with 0.12.0"),
    "settings": ({"numerics": {"xla_flags": "--fast"}}, "jax's xla_flags: 3 with none; 3 with --fast"),
}


@pytest.mark.parametrize("case", BY_OTHER_MEANS)
@pytest.mark.parametrize("where", ["within a cell", "between cells"])
def test_runs_of_other_code_versions_or_settings_meet_only_with_a_line_that_says_so(case, where):
    """One line under the table, which names what differs, and a mark on every difference across it."""
    change, line = BY_OTHER_MEANS[case]
    usual = dataclasses.replace(synthetic.ENVIRONMENT, training_code="d" * 64, numerics={"xla_flags": ""})
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.01 * place + 0.001 * seed)
            for place, level in enumerate("xy") for seed in range(3)]
    others = runs[3:] if where == "between cells" else [runs[2], runs[3], runs[4]]
    runs = [dataclasses.replace(run, environment=dataclasses.replace(usual, **(change if run in others else {})))
            for run in runs]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    [said] = [sentence for sentence in captions.caption(found) if "Runs differ in" in sentence]
    assert said.startswith(f"\u2020 Runs differ in {line}."), "the mark first: of a long line the end is cut"
    assert ("Averaged all the same in x; y." in said) is (where == "within a cell")
    assert "\u2020 marks" in said
    assert "\u2020" in report.markdown(found).partition("| y ")[2].partition("\n")[0]
    same = [dataclasses.replace(run, environment=usual) for run in runs]
    plain = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, same), synthetic.as_read(*same))
    assert "Runs differ" not in caption(plain)


def test_layouts_that_differ_are_named_as_changing_rounding_alone():
    placement = Placement(("2 devices, one run on each",), "", 3, 0, 3)
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.001 * seed, placement=placement) for level in "xy"
            for seed in range(2)]
    runs[3] = dataclasses.replace(runs[3], placement=dataclasses.replace(placement, layouts=("1 device, one run",)))
    text = caption(summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs)))
    assert "layout (which changes rounding alone): 3 with 2 devices, one run on each; 1 with 1 device, one run." in text


def test_the_same_verdict_is_in_rows_sentences_and_marks():
    """A cell that hardly learned is clearly worse at three seeds, whatever its seeds' scatter."""
    runs = [synthetic.record({"a": level}, seed, value) for level, values in
            {"x": (0.889, 0.8899, 0.8891), "y": (0.10, 0.17, 0.34), "z": (0.886, 0.8871, 0.8868),
             "w": (0.9, 0.91, 0.905)}.items() for seed, value in enumerate(values)]
    found = summarize("made_up", synthetic.plan({"a": list("xyzw")}, runs), synthetic.as_read(*runs))
    assert "a=y" in found.verdict.below
    sides = {row.cell: row.comparison.verdict for row in found.rows if row.comparison}
    assert sides == {cell: side for side in ("above", "below", "unclear") for cell in getattr(found.verdict, side)}
    text = report.markdown(found)
    for row in found.rows[1:]:
        line = text.partition(f"| {row.label} | 3 |")[2].partition("\n")[0]
        assert ("\\*" in line) is (row.comparison.verdict != "unclear")
    words = " ".join(answer.sentences(found))
    assert "y (-68.60 [-99.26, -37.94]) is clearly worse" in words
    # Of leader and baseline one thing is said.
    assert ("a=w" in found.verdict.above) is ("a=x" not in found.verdict.near)
