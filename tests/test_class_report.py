import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from harness.class_report import class_scores, confusion


def runs(classes=5, number=3):
    generator = np.random.default_rng(0)
    label = generator.integers(0, classes, 200).astype(np.uint8)
    found = []
    for _ in range(number):
        predicted = np.where(generator.uniform(size=200) < 0.6, label, generator.integers(0, classes, 200))
        found.append({"predicted": predicted.astype(np.uint8), "label": label})
    return found


def test_the_confusion_matrix_has_true_classes_as_rows():
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    [run] = runs(number=1)
    assert (confusion(run["label"], run["predicted"], 5) == confusion_matrix(run["label"], run["predicted"])).all()


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
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, 0.0, 0.0, 0)
    assert weighted.recall == 0.5, "the weighted recall is the accuracy"
    assert macro.recall == pytest.approx(1 / 3)


def test_many_classes_in_small_integers_do_not_overflow():
    label = np.arange(100, dtype=np.uint8)
    assert confusion(label, label, 100).trace() == 100
