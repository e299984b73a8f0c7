import dataclasses
import json
import math

import numpy as np
import pytest
import sklearn.metrics
import synthetic
from flax import nnx
from place import ROOT

from ablations import ABLATIONS
from ablations.claim import COUNTS, PREDICTED, SCORES, Claim
from ablations.spec import Ablation, Factor, RunConfig, SpecError
from harness.analysis import claims
from harness.analysis.scores import RECORDED
from harness.analysis.stats import Estimate
from harness.analysis.summarize import summarize
from harness.records import Cost, Layer
from harness.records.configs import as_json
from harness.reporting import answer
from harness.reporting.render import DASH, shortened
from harness.reporting.tables import evidence

RESULTS = ROOT / "results"
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


def summary(*stated, accuracies=((0.951, 0.95, 0.952), (0.97, 0.972, 0.974))):
    runs = [synthetic.record({"a": level}, seed, value) for level, values in zip("xy", accuracies, strict=True)
            for seed, value in enumerate(values)]
    plan = synthetic.plan({"a": ["x", "y"]}, runs, claims=stated)
    return summarize("made_up", plan, synthetic.as_read(*runs))


def test_a_claim_without_labels_is_about_every_cell():
    rows = summary(Claim("someone", "test_accuracy", 0.96, "at_least", state="best_validation")).claims
    assert [(row.cell, row.verdict) for row in rows] == [("a=x", "does not hold"), ("a=y", "holds")]


def test_the_last_epoch_is_what_a_notebook_reads():
    [row] = summary(Claim("someone", "test_accuracy", 0.967, within=0.01, labels={"a": "y"})).claims
    assert row.measured.mean == pytest.approx(0.972 - 0.004)
    assert row.verdict == "holds"


@pytest.mark.parametrize(("value", "expected"), [(0.945, "holds"), (0.946, "holds"), (0.9465, "does not hold")])
def test_a_claim_about_each_run_is_judged_by_the_lowest(value, expected):
    """The mean is 0.947, and its interval reaches from 0.9445 on."""
    found = summary(Claim("someone", "test_accuracy", value, "each_at_least", labels={"a": "x"}))
    [row] = found.claims
    assert row.lowest == pytest.approx(0.946)
    assert row.verdict == expected
    named = {"does not hold": " (test accuracy, last epoch: each at least 94.65, lowest 94.60)", "holds": ""}[expected]
    assert f"1 {expected}{named}." in answer.claimed(found)
    table = evidence.claims(found)
    assert table.cells[0][4].text.endswith(", lowest 94.60")
    assert any(note.startswith("Each at least") for note in table.notes)


def test_a_claim_about_each_run_holds_where_all_runs_are_done_alone():
    stated = Claim("someone", "test_accuracy", 0.9, "each_at_least", state="best_validation")
    runs = [synthetic.record({"a": "x"}, seed, value, status=status)
            for seed, (value, status) in enumerate([(0.95, "done"), (0.93, "done"), (None, "diverged")])]

    def verdicts(value, runs, planned):
        claim = dataclasses.replace(stated, value=value)
        plan = synthetic.plan({"a": ["x", "y"]}, planned, claims=(claim,))
        return [row.verdict for row in summarize("made_up", plan, synthetic.as_read(*runs)).claims]

    assert verdicts(0.9, runs[:2], runs[:2]) == ["holds"]
    assert verdicts(0.9, runs[:2], runs) == verdicts(0.9, runs, runs) == ["cannot tell"]
    assert verdicts(0.94, runs, runs) == ["does not hold"]
    assert verdicts(0.94, runs[2:], runs) == ["not measured"]


def test_a_claimed_difference_is_paired_by_seed():
    [row] = summary(Claim("someone", "test_accuracy", 0.0, "at_least", labels={"a": "y"}, over={"a": "x"})).claims
    assert (row.cell, row.over, row.measured.mean) == ("a=y", "a=x", pytest.approx(0.021))
    assert row.verdict == "holds"


def test_counts_are_exact_and_one_run_suffices():
    stated = [Claim("someone", "parameters", value, labels={"a": "x"}) for value in (1_234_567, 1)]
    right, wrong = summary(*stated).claims
    assert (right.verdict, wrong.verdict) == ("holds", "does not hold")
    assert right.measured.low == right.measured.high == 1_234_567


def claimed(*stated, runs, predictions=None):
    """Holds claims against runs of one cell, or of cells that the factor "a" tells apart."""
    levels = list(dict.fromkeys(run.labels["a"] for run in runs))
    plan = synthetic.plan({"a": levels}, runs, claims=stated)
    return summarize("made_up", plan, synthetic.as_read(*runs), predictions=predictions)


def test_numbers_are_counted_as_the_source_counts_them():
    # 60,000 x 784 pixels, 235,146 parameters, and inputs and outputs of three layers for a batch of 128.
    layers = [("dense_1", 256, 200_960), ("dropout_2", 256, 0), ("dense_3", 128, 32_896), ("dense_4", 10, 1_290)]
    run = synthetic.record({"a": "x"}, 0, 0.9)
    counted = dataclasses.replace(run.cost, parameters=235_146, layers=tuple(
        Layer(name, (width,), parameters, 0) for name, width, parameters in layers))
    stated = [Claim("someone", metric, value, of=of) for metric, value, of in (
        ("pixels_held", 47_040_000, ()), ("activations_held", 199_936, ()), ("numbers_held", 47_475_082, ()),
        ("layer_held", 133_120, ("dense_1",)), ("layer_held", 49_152, ("dense_3",)), ("layer_held", 0, ("dropout_2",)),
        ("layer_parameters", 32_896, ("dense_3",)), ("layer_outputs", 256, ("dropout_2",)),
        ("images", 70_000, ()), ("training_images", 60_000, ()), ("test_images", 10_000, ()),
        ("numbers_per_image", 784, ()), ("classes", 10, ()))]
    rows = claimed(*stated, runs=[dataclasses.replace(run, cost=counted)]).claims
    assert {row.metric: row.measured.mean for row in rows if row.verdict != "holds"} == {}
    rows = claimed(*stated, runs=[run]).claims  # its layers are not known
    assert {row.metric for row in rows if row.verdict == "not measured"} == {
        "activations_held", "numbers_held", "layer_held", "layer_parameters", "layer_outputs", "pixels_held"}


def test_a_layer_that_is_not_there_is_not_measured():
    run = synthetic.record({"a": "x"}, 0, 0.9)
    layers = (Layer("dense_1", (10,), 7_850, 0),)
    run = dataclasses.replace(run, cost=dataclasses.replace(run.cost, layers=layers))
    there, gone = claimed(*(Claim("someone", "layer_parameters", 7_850, of=(name,)) for name in ("dense_1", "dense_9")),
                          runs=[run]).claims
    assert (there.verdict, gone.verdict) == ("holds", "not measured")


def test_epochs_trained_vary_by_seed_and_so_need_an_interval():
    stated = Claim("someone", "epochs_trained", 16, within=3.0), Claim("someone", "epochs_trained", 29, "at_most")
    runs = [synthetic.record({"a": "x"}, seed, 0.9, epochs=epochs) for seed, epochs in enumerate((15, 16, 17))]
    about, below = claimed(*stated, runs=runs).claims
    assert (about.measured.mean, about.verdict, below.verdict) == (16, "holds", "holds")
    assert about.measured.low == pytest.approx(16 - 2.484, abs=1e-3)
    assert [row.verdict for row in claimed(*stated, runs=runs[:1]).claims] == ["cannot tell"] * 2


def test_measured_memory_is_what_the_process_held_at_most_and_no_mean_of_seeds():
    stated = Claim("someone", "measured_peak_bytes", 47_475_082, within=1e6)
    runs = [synthetic.record({"a": "x"}, seed, 0.9) for seed in range(3)]
    runs = [dataclasses.replace(run, cost=dataclasses.replace(run.cost, measured_peak_bytes=300_000_000 + run.seed))
            for run in runs]
    several, one = claimed(stated, runs=runs), claimed(stated, runs=runs[:1])
    assert (several.claims[0].verdict, one.claims[0].verdict) == ("does not hold", "does not hold")
    assert evidence.claims(several).cells[0][4].text == "300,000,002"
    assert several.claims[0].measured.n == 3
    near = claimed(Claim("someone", "measured_peak_bytes", 300_500_000, within=1e6), runs=runs)
    assert near.claims[0].verdict == "holds"


def measured_memory(**of_cells):
    """Invents runs of cells that each held so many bytes, seed by seed."""
    return [dataclasses.replace(run, cost=dataclasses.replace(run.cost, measured_peak_bytes=held))
            for level, values in of_cells.items() for seed, held in enumerate(values)
            for run in [synthetic.record({"a": level}, seed, 0.9)]]


def test_a_difference_in_measured_memory_is_one_process_less_the_other():
    stated = Claim("someone", "measured_peak_bytes", 60, "at_most", labels={"a": "y"}, over={"a": "x"})
    [row] = claimed(stated, runs=measured_memory(x=(100, 300), y=(200, 350))).claims
    assert (row.measured.mean, row.measured.n, row.verdict) == (50, 2, "holds")
    [row] = claimed(stated, runs=measured_memory(x=(None,), y=(200,))).claims
    assert row.verdict == "not measured"


def test_a_count_that_differs_from_run_to_run_is_equal_to_no_figure():
    runs = [dataclasses.replace(run, cost=dataclasses.replace(run.cost, compiled_bytes=held))
            for held, run in ((seed + 40, synthetic.record({"a": "x"}, seed, 0.9)) for seed in range(3))]
    inside, outside, near = claimed(*(Claim("someone", "compiled_bytes", value, within=within)
                                      for value, within in ((41, 0), (50, 0), (41, 1))), runs=runs).claims
    assert [row.verdict for row in (inside, outside, near)] == ["cannot tell", "does not hold", "holds"]


def test_a_claim_whose_other_cell_is_not_there_is_not_measured_and_not_gone():
    stated = Claim("someone", "test_accuracy", 0.0, "at_least", labels={"a": "y"}, over={"a": "z"})
    [row] = claimed(stated, runs=[synthetic.record({"a": level}, 0, 0.9) for level in "xy"]).claims
    assert (row.cell, row.verdict) == (None, "not measured")


def confused(*mistakes):
    """Invents a run per seed on ten classes of 20, the last of 30; mistakes: (true, predicted) -> how many."""
    label = np.repeat(np.arange(10, dtype=np.uint8), [20] * 9 + [30])
    runs, predictions = [], {}
    for seed, by_class in enumerate(mistakes):
        predicted = label.copy()
        for (true, guess), count in by_class.items():
            predicted[20 * true:20 * true + count] = guess
        runs.append(synthetic.record({"a": "x"}, seed, 0.9))
        predictions[synthetic.run_id(runs[-1])] = {"label": label, "predicted": predicted}
    return runs, predictions


def predicted_claim(metric, value, kind, of=()):
    return Claim("someone", metric, value, kind, state="best_validation", of=of)


def test_confused_pairs_are_counted_in_both_directions():
    both_ways = {(0, 2): 3, (2, 0): 3}
    runs, predictions = confused(both_ways | {(5, 7): 4, (1, 9): 5}, both_ways | {(7, 5): 5, (1, 9): 4})
    ranks = [predicted_claim("confusion_rank", 2, "at_most", pair) for pair in (("c", "a"), ("f", "h"), ("b", "d"))]
    share = predicted_claim("confusion_share", 0.5, "at_least", ("a", "c", "h", "f"))
    first, second, never, both = claimed(*ranks, share, runs=runs, predictions=predictions).claims
    assert (first.measured.mean, first.measured.sd, first.verdict) == (1, 0, "cannot tell")
    assert (second.measured.mean, never.measured.mean) == (2.5, 4)
    assert both.measured.mean == pytest.approx((10 / 15 + 11 / 15) / 2)
    assert both.of == ("a", "c", "h", "f")


def test_predicted_counts_are_held_against_the_true_ones():
    # Class 0 is predicted 10 times of 20 and class 1 30 times: two of ten classes are half of their number away.
    runs, predictions = confused({(0, 1): 10}, {(0, 1): 12})
    stated = predicted_claim("predicted_count_deviation", 0.1, "at_least"), Claim("someone", "smallest_test_class", 20)
    deviation, smallest = claimed(*stated, runs=runs, predictions=predictions).claims
    assert deviation.measured.mean == pytest.approx((0.1 + 0.12) / 2)
    assert (smallest.measured.low, smallest.measured.high, smallest.verdict) == (20, 20, "holds")


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
def test_macro_scores_are_those_of_scikit_learn(metric):
    runs, predictions = confused({(0, 1): 10, (3, 4): 2})
    [row] = claimed(predicted_claim(f"macro_{metric}", 0.5, "at_least"), runs=runs, predictions=predictions).claims
    [run] = predictions.values()
    scores = sklearn.metrics.precision_recall_fscore_support(run["label"], run["predicted"], average="macro")
    assert row.measured.mean == pytest.approx(scores[("precision", "recall", "f1").index(metric)])


def test_without_predictions_their_claims_are_not_measured():
    runs, predictions = confused({(0, 2): 1}, {(0, 2): 2})
    stated = [predicted_claim("macro_f1", 0.9, "at_least"),
              predicted_claim("confusion_rank", 2, "at_most", ("a", "nine"))]
    assert [row.verdict for row in claimed(*stated, runs=runs).claims] == ["not measured"] * 2
    assert claimed(stated[1], runs=runs, predictions=predictions).claims[0].verdict == "not measured"


def test_what_cannot_be_audited_is_named_once_with_its_reason():
    stated = [Claim("someone", "a picture", unaudited="no figures", protocol="10 epochs"),
              Claim("someone", "another", 6_000, labels={"a": "y"}, unaudited="no records")]
    table = summary(*stated)
    assert [(row.cell, row.verdict, row.protocol) for row in table.claims] == [
        (None, "not auditable", "no figures; 10 epochs"), ("a=y", "not auditable", "no records")]
    shown = evidence.claims(table)
    assert shown.rows[0] == ("someone", DASH, "a picture", DASH, DASH, "not auditable", "no figures; 10 epochs")
    assert shown.rows[1] == ("someone", "y", "another", "6,000", DASH, "not auditable", "no records")
    assert any(note.startswith("Not auditable") for note in shown.notes)


def test_the_table_names_what_was_measured_and_its_unit():
    runs, predictions = confused({(0, 2): 3, (1, 9): 4}, {(0, 2): 4, (1, 9): 4, (5, 7): 5}, {(0, 2): 5, (1, 9): 4})
    stated = [predicted_claim("confusion_rank", 2, "at_most", ("a", "c")),
              predicted_claim("confusion_share", 0.5, "at_least", ("a", "c", "b", "j")),
              Claim("someone", "epochs_trained", 8, within=1.0),
              Claim("someone", "layer_parameters", 896, of=("conv_1",))]
    table = evidence.claims(claimed(*stated, runs=runs, predictions=predictions))
    assert [row[2:5] for row in table.rows] == [
        ("confusion rank of a/c, best validation epoch", "at most 2", "1.7 [1.0, 3.1]"),
        ("confusion share of a/c, b/j, best validation epoch", "at least 50.00", "87.18 [32.02, 100.00]"),
        ("epochs trained", "8 ± 1", "8.0 [n/a]"), ("layer parameters of conv_1", "896", DASH)]
    assert [note.partition(":")[0] for note in table.notes[1:]] == [
        "Precision, recall, F1, predicted counts and confusion come from the test predictions, which are those of the "
        "best validation epoch.", "Confusion rank"]


def test_a_plan_of_before_there_were_more_fields_still_reads(tmp_path):
    runs = [synthetic.record({"a": "x"}, seed, 0.95 + seed / 1000) for seed in range(3)]
    folder = synthetic.write(
        tmp_path, synthetic.plan({"a": ["x"]}, runs, claims=[Claim("someone", "test_accuracy", 0.9, "at_least")]))
    stored = json.loads((folder.path / "plan.json").read_text())
    del stored["claims"][0]["of"], stored["claims"][0]["unaudited"]
    (folder.path / "plan.json").write_text(json.dumps(stored))
    [row] = summarize("made_up", folder.plan(), synthetic.as_read(*runs)).claims
    assert (row.verdict, row.of, row.protocol) == ("holds", (), "")


def test_what_is_not_measured_says_so():
    runs = [synthetic.record({"a": level}, 0, None, status="oom") for level in "xy"]
    stated = [Claim("someone", metric, 0.5, "at_least") for metric in ("test_accuracy", "parameters")]
    plan = synthetic.plan({"a": ["x", "y"]}, runs, claims=stated)
    assert {row.verdict for row in summarize("made_up", plan, synthetic.as_read(*runs)).claims} == {"not measured"}


@pytest.mark.parametrize(("changes", "message"), [
    ({"metric": "accuracy"}, "metric must be one of train_loss, train_accuracy"),
    ({"kind": "more"}, "kind must be one of about, at_least, each_at_least, at_most"),
    ({"kind": "each_at_least", "over": {"rate": "1"}}, "each_at_least is for scores"),
    ({"kind": "each_at_least", "metric": "epochs_trained"}, "each_at_least is for scores"),
    ({"state": "first"}, "state must be one of last, best_validation"),
    ({"source": " "}, "needs a source"),
    ({"value": 96.0}, "test_accuracy is a fraction, not 96"),
    ({"value": float("nan")}, "must be a number"),
    ({"within": -0.1}, "within must be at least 0"),
    ({"kind": "about", "within": 1.0}, "within is a fraction as test_accuracy is, 0.01 for one point; not 1.0"),
    ({"kind": "about"}, "needs within"),
    ({"kind": "about", "metric": "measured_peak_bytes", "value": 5e8}, "needs within"),
    ({"metric": "epochs_trained", "value": 16, "kind": "about"}, "needs within"),
    ({"value": None}, "needs a value, or unaudited"),
    ({"unaudited": "no figures", "metric": " "}, "say in metric what is stated"),
    ({"metric": "macro_f1"}, 'needs state="best_validation"'),
    ({"metric": "macro_f1", "state": "best_validation", "value": 96.0}, "macro_f1 is a fraction"),
    ({"metric": "confusion_rank", "state": "best_validation", "of": ("cat",)}, "pairs of classes"),
    ({"metric": "confusion_share", "state": "best_validation", "of": ("a", "b", "c")}, "pairs of classes"),
    ({"metric": "layer_parameters"}, "one layer"),
    ({"of": ("cat",)}, "else nothing"),
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
    assert set(SCORES) == set(RECORDED)
    assert PREDICTED == claims.PREDICTED
    stored = {field.name for field in dataclasses.fields(Cost)}
    assert stored & set(COUNTS) == {"parameters", "trainable_parameters", "macs_per_example", "memory_estimate_bytes",
                                    "compiled_bytes", "measured_peak_bytes", "parameters_bytes"}


def audited(name):
    return [claim for claim in ABLATIONS[name].claims if not claim.unaudited]


def test_the_sources_claims_are_stated():
    stated = {name for name in ABLATIONS if audited(name)}
    assert {"kmnist_mlp", "cifar10_cnn", "fashion_mlp", "fashion_regularization", "cifar10_mlp_vs_cnn", "kmnist_split",
            "cifar10_transfer", "fashion_optimizer", "fashion_depth_width"} == stated
    assert not any(ABLATIONS[name].claims for name in ("mnist_mlp", "cifar100_transfer")), (
        "what is claimed of one data set is not of another")


def test_a_search_without_an_outcome_is_named_wherever_it_is_repeated():
    for name in ("depth_width", "optimizer", "l2_strength"):
        assert ABLATIONS[f"fashion_{name}"].claims[:1] == ABLATIONS[f"mnist_{name}"].claims != ()
    assert ABLATIONS["mnist_regularization"].claims


@pytest.mark.parametrize("name", [name for name in ABLATIONS if ABLATIONS[name].claims])
def test_a_reason_is_not_cut_off_in_a_table(name):
    for claim in ABLATIONS[name].claims:
        whole = "; ".join(part for part in (claim.unaudited, claim.protocol) if part)
        assert shortened(whole) == whole, claim.metric


@pytest.mark.parametrize(("name", "shape"), [("cifar10_cnn", (32, 32, 3)), ("fashion_mlp", (28, 28, 1))])
def test_claims_about_layers_state_what_the_network_has(name, shape):
    stated = [claim for claim in audited(name) if claim.metric in ("layer_parameters", "layer_outputs")]
    [labels] = {tuple(claim.labels.items()) for claim in stated}
    config = next(run.config for run in ABLATIONS[name].runs() if set(labels) <= run.labels.items())
    rows = {row.name: row for row in nnx.eval_shape(
        lambda: config.model.build(10, shape, nnx.Rngs(0))).rows(shape)}
    for claim in stated:
        row = rows[claim.of[0]]
        assert claim.value == (row.parameters if claim.metric == "layer_parameters" else math.prod(row.output_shape))


def test_claims_about_confusion_name_classes_of_the_data_set():
    cifar10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
    named = {name for claim in audited("cifar10_cnn") if claim.metric.startswith("confusion") for name in claim.of}
    assert named == {"airplane", "bird", "dog", "deer", "horse"} <= cifar10


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("*/plan.json")))
def test_shipped_plans_state_the_claims_of_their_ablation(name):
    plan = json.loads((RESULTS / name / "plan.json").read_text())
    assert plan["claims"] == as_json(ABLATIONS[name].claims)
