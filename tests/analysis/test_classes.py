import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from harness.analysis.classes import class_scores
from harness.analysis.summarize import summarize
from harness.reporting.tables import details, report


def runs(classes=5, number=3):
    generator = np.random.default_rng(0)
    label = generator.integers(0, classes, 200).astype(np.uint8)
    found = []
    for _ in range(number):
        predicted = np.where(generator.uniform(size=200) < 0.6, label, generator.integers(0, classes, 200))
        found.append({"predicted": predicted.astype(np.uint8), "label": label})
    return found


@pytest.mark.parametrize("average", [None, "macro", "weighted"])
def test_scores_agree_with_scikit_learn(average):
    found = class_scores(runs(), list("abcde"))
    shown = found[:5] if average is None else [row for row in found if row.name == f"{average} average"]
    expected = np.mean([np.stack([np.atleast_1d(part) for part in precision_recall_fscore_support(
        run["label"], run["predicted"], average=average, zero_division=0)[:3]]) for run in runs()], axis=0)
    ours = np.array([[row.precision, row.recall, row.f1] for row in shown]).T
    assert ours == pytest.approx(expected, abs=1e-9)


def test_a_class_never_predicted_scores_zero_and_one_without_examples_does_no_harm():
    label = np.array([0, 0, 1, 1], np.uint8)
    a, b, c, macro, weighted = class_scores([{"label": label, "predicted": np.zeros(4, np.uint8)}], ["a", "b", "c"])
    assert (a.precision, a.recall, a.support, a.predicted) == (0.5, 1.0, 2, 4.0)
    assert (b.precision, b.recall, b.f1, b.support, b.predicted) == (0.0, 0.0, 0.0, 2, 0.0)
    assert (c.precision, c.recall, c.f1, c.support, c.predicted) == (None, None, None, 0, 0.0)
    assert weighted.recall == 0.5, "the weighted recall is the accuracy"
    assert macro.recall == 0.5


def test_a_perfect_classifier_scores_one_however_many_classes_have_no_example():
    label = np.arange(100, dtype=np.uint8) % 4
    *_, absent, macro, weighted = class_scores([{"label": label, "predicted": label}], list("abcde"))
    assert (absent.precision, absent.recall, absent.f1) == (None, None, None)
    for average in (macro, weighted):
        assert (average.precision, average.recall, average.f1, average.support) == (1.0, 1.0, 1.0, 100)


EXAMPLES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(EXAMPLES)
def test_scores_with_absent_classes_are_scikit_learns_run_by_run(found):
    label, *predicted = np.array(found, np.uint8).T
    cell = [{"label": label, "predicted": one} for one in predicted]
    *classes, macro, weighted = class_scores(cell, list("abcdefg"))
    for average in (macro, weighted):
        kind = average.name.removesuffix(" average")
        expected = np.mean([precision_recall_fscore_support(label, one, average=kind, zero_division=0)[:3]
                            for one in predicted], axis=0)
        np.testing.assert_allclose([average.precision, average.recall, average.f1], expected, atol=1e-12)
    known = [[np.full(3, np.nan)] * 7 for _ in predicted]
    for run, one in zip(known, predicted, strict=True):
        present = np.union1d(label, one)
        scores = precision_recall_fscore_support(label, one, average=None, zero_division=0)[:3]
        for place, *values in zip(present, *scores, strict=True):
            run[place] = np.array(values)
    for place, one in enumerate(classes):
        runs_with = [run[place] for run in known if not np.isnan(run[place]).any()]
        ours = [one.precision, one.recall, one.f1]
        assert ours == (pytest.approx(np.mean(runs_with, axis=0), abs=1e-12) if runs_with else [None] * 3)


def test_without_a_test_example_there_is_no_score():
    nothing = np.zeros(0, np.uint8)
    assert {(one.precision, one.recall, one.f1, one.support) for one in class_scores(
        [{"label": nothing, "predicted": nothing}], ["a", "b"])} == {(None, None, None, 0)}


def test_an_absent_class_is_not_available_in_the_table_and_empty_in_the_file():
    row = synthetic.record({"option": "a"}, 0, 0.9)
    summary = summarize("made_up", synthetic.plan({"option": ["a"]}, [row]), synthetic.as_read(row))
    label = np.array([0, 0, 1, 1], np.uint8)
    scores = class_scores([{"label": label, "predicted": np.array([0, 0, 0, 1], np.uint8)}], ["x", "y", "z"])
    found = {row.cell: (1, scores)}
    [table] = details.classes(summary, found)
    assert table.rows[0] == ("x", "66.67", "100.00", "80.00", "2", "3.0")
    assert table.rows[2] == ("z", "n/a", "n/a", "n/a", "0", "0.0")
    assert table.rows[3][2] == "75.00"
    assert "A class that no run has is n/a and in no average." in table.lead[0]
    assert report.to_csv(details.class_records(found)).splitlines()[3] == f"{row.cell},1,z,,,,0,0.0"


def test_a_class_without_a_name_is_refused():
    with pytest.raises(ValueError, match="class 2 among 2 classes"):
        class_scores([{"label": np.array([0, 1]), "predicted": np.array([0, 2])}], ["a", "b"])


def test_many_classes_in_small_integers_do_not_overflow():
    label = np.arange(100, dtype=np.uint8)
    scores = class_scores([{"label": label, "predicted": label}], [f"class {place}" for place in label])
    assert {(one.recall, one.support) for one in scores[:100]} == {(1.0, 1)}
