import dataclasses

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, recall_score, top_k_accuracy_score

from ablations import metrics
from harness.analysis import cells, scores
from harness.analysis.cells import View, ViewError
from harness.analysis.summarize import summarize

CLASSES = tuple("abcdefg")
OUTCOMES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


def outcome(logits, label):
    """Gives what a run keeps of its logits."""
    order = np.argsort(-logits, axis=1, kind="stable")
    powers = np.exp(logits)
    return {"predicted": order[:, 0].astype(np.uint8), "label": label.astype(np.uint8),
            "rank": np.argmax(order == label[:, None], axis=1).astype(np.uint8),
            "probability": (powers / powers.sum(1, keepdims=True)).max(1)}


def drawn(examples=300):
    generator = np.random.default_rng(0)
    label = generator.integers(0, len(CLASSES), examples)
    return generator.normal(0, 1, (examples, len(CLASSES))) + 0.7 * np.eye(len(CLASSES))[label], label


@given(OUTCOMES)
def test_balanced_accuracy_and_macro_f1_are_scikit_learns(found):
    label, predicted = np.array(found, dtype=np.uint8).T
    run = {"label": label, "predicted": predicted}
    # Its own balanced_accuracy_score, which is this, warns of classes that are predicted alone.
    expected = recall_score(label, predicted, labels=np.unique(label), average="macro", zero_division=0)
    assert scores.balanced_accuracy(run, CLASSES) == pytest.approx(expected)
    assert scores.macro_f1(run, CLASSES) == pytest.approx(f1_score(label, predicted, average="macro", zero_division=0))


def test_top_5_and_balanced_accuracy_are_scikit_learns_and_top_5_says_nothing_of_five_classes():
    logits, label = drawn()
    run = outcome(logits, label)
    assert scores.top5_accuracy(run, CLASSES) == top_k_accuracy_score(label, logits, k=5)
    assert scores.balanced_accuracy(run, CLASSES) == pytest.approx(balanced_accuracy_score(label, run["predicted"]))
    assert scores.top5_accuracy(run, CLASSES[:5]) is None
    assert scores.top5_accuracy({name: run[name] for name in ("predicted", "label")}, CLASSES) is None


def test_the_calibration_error_is_that_of_15_equal_bins_by_hand():
    """Four of confidence 0.95, three right, in the last bin; two of 0.55, both right, in the ninth."""
    run = {"label": np.array([0, 0, 0, 0, 1, 1]), "predicted": np.array([0, 0, 0, 1, 1, 1]),
           "probability": np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])}
    assert scores.calibration_error(run, CLASSES) == pytest.approx(4 / 6 * 0.20 + 2 / 6 * 0.45)
    assert scores.calibration_error({name: run[name] for name in ("label", "predicted")}, CLASSES) is None


def test_log_loss_is_another_name_of_the_test_loss():
    """The harness's own loss is held against optax's elsewhere; here, that both names mean the same thing."""
    logits, label = drawn()
    powers = np.exp(logits)
    record = synthetic.record({}, 0, 0.9)
    expected = log_loss(label, powers / powers.sum(1, keepdims=True))
    record = dataclasses.replace(record, best=dataclasses.replace(record.best, test_loss=expected))
    known = scores.of_runs(synthetic.as_read(record), {}, {})
    assert known[synthetic.run_id(record)] == {"log_loss": expected}


def test_a_run_that_is_not_done_has_no_score_and_a_metric_of_ones_own_is_added():
    done, failed = synthetic.record({"a": "x"}, 0, 0.9), synthetic.record({"a": "y"}, 0, None, status="oom")
    name = synthetic.run_id(done)
    known = scores.of_runs(synthetic.as_read(done, failed), {name: outcome(*drawn())}, {name: {"kappa": 0.5}})
    assert list(known) == [name]
    assert set(known[name]) == {*scores.NAMES, "kappa"} - {"tta_accuracy"}


def test_the_accuracy_with_test_time_augmentation_is_of_its_own_predictions():
    run = outcome(*drawn())
    half = run | {"tta_predicted": np.where(np.arange(len(run["label"])) % 2, run["label"], (run["label"] + 1) % 10)}
    assert scores.tta_accuracy(run, CLASSES) is None
    assert scores.tta_accuracy(half, CLASSES) == 0.5


@pytest.mark.parametrize(("metric", "lower", "fraction"), [
    ("test_accuracy", False, True), ("top5_accuracy", False, True), ("macro_f1", False, True),
    ("log_loss", True, False),
    ("calibration_error", True, True), ("kappa", False, False), ("cost_error", True, False),
    ("my_accuracy", False, True), ("count_deviation", False, False), ("mean_f1", False, False),
])
def test_a_metrics_name_says_which_way_it_is_better_and_whether_it_is_in_percent(metric, lower, fraction):
    view = View(metric=metric, own_metrics=("kappa", "cost_error", "my_accuracy", "count_deviation", "mean_f1"))
    assert (view.lower_is_better, view.is_fraction) == (lower, fraction)


def three_runs_each(values):
    runs = [synthetic.record({"a": level}, seed, 0.9) for level in values for seed in range(3)]
    more = {synthetic.run_id(run): {"calibration_error": value + 0.001 * run.seed ** 2} for run in runs
            if (value := values[run.labels["a"]]) is not None}
    return synthetic.plan({"a": list(values)}, runs), synthetic.as_read(*runs), more


def test_the_lowest_calibration_error_leads_and_is_compared():
    plan, records, more = three_runs_each({"x": 0.2, "y": 0.1, "z": 0.19})
    found = summarize("made_up", plan, records, View(metric="calibration_error"), more=more)
    assert found.verdict.leader == "a=y"
    assert found.rows[1].difference.mean == pytest.approx(-0.1)
    assert found.rows[1].score.mean == pytest.approx(0.1 + 0.005 / 3)


def test_cells_without_the_score_have_none_and_not_zero():
    plan, records, more = three_runs_each({"x": 0.2, "y": None})
    found = summarize("made_up", plan, records, View(metric="calibration_error"), more=more)
    assert (found.rows[1].score.n, found.rows[1].score.mean) == (0, None)
    assert found.verdict.leader == "a=x"


def test_predictions_of_the_last_epoch_are_not_kept():
    with pytest.raises(ViewError, match="needs --select=best_validation"):
        View(metric="macro_f1", select="last")
    assert View(metric="log_loss", select="last").lower_is_better


def test_names_that_are_taken_are_all_that_a_report_knows():
    assert set(metrics.TAKEN) == set(cells.METRICS)
