import dataclasses

import pytest
import synthetic

from ablations import ABLATIONS
from ablations.claim import COUNTS, SCORES, Claim
from ablations.spec import Ablation, Factor, RunConfig, SpecError
from harness import claims
from harness.configs import as_json
from harness.records import Cost
from harness.rows import METRICS
from harness.stats import Estimate
from harness.summary import summarize

NARROW = Estimate(5, 0.90, 0.01, 0.89, 0.91)


@pytest.mark.parametrize(("kind", "value", "within", "measured", "expected"), [
    ("at_least", 0.88, 0.0, NARROW, "holds"),
    ("at_least", 0.89, 0.0, NARROW, "holds"),
    ("at_least", 0.90, 0.0, NARROW, "cannot tell"),
    ("at_least", 0.96, 0.0, NARROW, "does not hold"),
    ("at_most", 0.92, 0.0, NARROW, "holds"),
    ("at_most", 0.88, 0.0, NARROW, "does not hold"),
    ("about", 0.90, 0.01, NARROW, "holds"),
    ("about", 0.90, 0.005, NARROW, "cannot tell"),
    ("about", 0.92, 0.02, NARROW, "cannot tell"),
    ("about", 0.95, 0.02, NARROW, "does not hold"),
    ("about", 0.90, 0.01, Estimate(1, 0.90), "cannot tell"),
    ("at_least", 0.5, 0.0, Estimate(3, 0.90, 0.0), "cannot tell"),
    ("about", 0.90, 0.01, Estimate(0), "not measured"),
    ("about", 235_146, 0.0, Estimate(5, 235_146.0, 0.0, 235_146.0, 235_146.0), "holds"),
    ("about", 235_146, 0.0, Estimate(5, 235_145.0, 0.0, 235_145.0, 235_145.0), "does not hold"),
])
def test_a_claim_is_judged_by_where_the_interval_lies(kind, value, within, measured, expected):
    assert claims.verdict(kind, value, within, measured) == expected


def summary(*stated, accuracies=((0.95, 0.951, 0.952), (0.97, 0.972, 0.974))):
    runs = [synthetic.record({"a": level}, seed, value) for level, values in zip("xy", accuracies, strict=True)
            for seed, value in enumerate(values)]
    plan = synthetic.plan({"a": ["x", "y"]}, runs) | {"claims": as_json(stated)}
    return summarize("made_up", plan, synthetic.as_read(*runs))


def test_a_claim_without_labels_is_about_every_cell():
    rows = summary(Claim("someone", "test_accuracy", 0.96, "at_least", state="best_validation")).claims
    assert [(row.cell, row.verdict) for row in rows] == [("a=x", "does not hold"), ("a=y", "holds")]


def test_the_last_epoch_is_what_a_notebook_reads():
    [row] = summary(Claim("someone", "test_accuracy", 0.967, within=0.01, labels={"a": "y"})).claims
    assert row.measured.mean == pytest.approx(0.972 - 0.004)
    assert row.verdict == "holds"


def test_a_claimed_difference_is_paired_by_seed():
    [row] = summary(Claim("someone", "test_accuracy", 0.0, "at_least", labels={"a": "y"}, over={"a": "x"})).claims
    assert (row.cell, row.over, row.measured.mean) == ("a=y", "a=x", pytest.approx(0.021))
    assert row.verdict == "holds"


def test_counts_are_exact_and_one_run_suffices():
    stated = [Claim("someone", "parameters", value, labels={"a": "x"}) for value in (1_234_567, 1)]
    right, wrong = summary(*stated).claims
    assert (right.verdict, wrong.verdict) == ("holds", "does not hold")
    assert right.measured.low == right.measured.high == 1_234_567


def test_numbers_held_are_counted_as_the_source_counts_them():
    # 60,000 x 784 pixels, 235,146 parameters, and inputs and outputs of three layers for a batch of 128.
    layers = [("dense_1", 256, 200_960), ("dropout_2", 256, 0), ("dense_3", 128, 32_896), ("dense_4", 10, 1_290)]
    run = as_json(synthetic.record({}, 0, 0.9))
    run["cost"] |= {"parameters": 235_146, "layers": [
        {"name": name, "output_shape": [width], "parameters": parameters} for name, width, parameters in layers]}
    assert claims.numbers_held(run) == 47_040_000 + 235_146 + 199_936 == 47_475_082
    run["cost"]["layers"] = []
    assert claims.numbers_held(run) is None


def test_what_is_not_measured_says_so():
    runs = [synthetic.record({"a": level}, 0, None, status="oom") for level in "xy"]
    stated = [Claim("someone", metric, 0.5, "at_least") for metric in ("test_accuracy", "parameters")]
    plan = synthetic.plan({"a": ["x", "y"]}, runs) | {"claims": as_json(stated)}
    assert {row.verdict for row in summarize("made_up", plan, synthetic.as_read(*runs)).claims} == {"not measured"}


@pytest.mark.parametrize(("changes", "message"), [
    ({"metric": "accuracy"}, "metric must be one of train_loss, train_accuracy"),
    ({"kind": "more"}, "kind must be one of about, at_least, at_most"),
    ({"state": "first"}, "state must be one of last, best_validation"),
    ({"source": " "}, "needs a source"),
    ({"value": 96.0}, "test_accuracy is a fraction, not 96"),
    ({"value": float("nan")}, "must be a number"),
    ({"within": -0.1}, "within must be at least 0"),
    ({"kind": "about"}, "needs within"),
])
def test_a_claim_that_makes_no_sense_fails_when_it_is_built(changes, message):
    with pytest.raises(ValueError, match=message):
        Claim(**{"source": "someone", "metric": "test_accuracy", "value": 0.9, "kind": "at_least"} | changes)


@pytest.mark.parametrize("changes", [{"labels": {"rate": "9"}}, {"labels": {"width": "8"}},
                                     {"labels": {"rate": "1"}, "over": {"rate": "9"}}])
def test_a_claim_about_no_cell_fails_when_the_ablation_is_built(changes):
    claim = Claim("someone", "test_accuracy", 0.9, "at_least", **changes)
    with pytest.raises(SpecError, match=r"no cell has these; the cells are rate=1; rate=2$"):
        Ablation("Why?", RunConfig("digits"), {"rate": Factor("epochs", {"1": 1, "2": 2})}, claims=(claim,))


def test_metrics_are_those_of_the_records():
    assert set(SCORES) == set(METRICS)
    assert set(COUNTS) - {"numbers_held"} <= {field.name for field in dataclasses.fields(Cost)}


def test_the_sources_claims_are_stated():
    stated = {name for name, ablation in ABLATIONS.items() if ablation.claims}
    assert {"kmnist_mlp", "cifar10_cnn", "fashion_mlp", "fashion_regularization", "cifar10_mlp_vs_cnn"} <= stated
    assert not any(name.startswith("mnist") for name in stated), "what is claimed of one data set is not of another"
