import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from harness.analysis import predictions

CLASSES = 5
OUTCOMES = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


@given(OUTCOMES)
def test_confusion_is_scikit_learns(found):
    label, predicted = np.array(found, dtype=np.uint8).T
    expected = confusion_matrix(label, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(predictions.confusion(label=label, predicted=predicted, classes=CLASSES), expected)


def test_rows_are_the_true_classes_and_no_place_tells_the_two_apart():
    label, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    matrix = predictions.confusion(label=label, predicted=predicted, classes=3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(TypeError, match="positional"):
        predictions.confusion(label, predicted, classes=3)


def test_confusion_holds_classes_whose_square_is_beyond_a_byte():
    label = np.arange(300, dtype=np.uint16)
    matrix = predictions.confusion(label=label, predicted=np.roll(label, 1), classes=300)
    assert matrix.sum() == 300
    assert matrix[0, 299] == matrix[299, 298] == 1


@pytest.mark.parametrize(("predicted", "label"), [([0, 1], [0]), ([0, 5], [0, 1]), ([0, 1], [0, 5])])
def test_what_does_not_fit_is_refused(predicted, label):
    with pytest.raises(ValueError, match=r"predictions|class"):
        predictions.confusion(label=np.array(label), predicted=np.array(predicted), classes=CLASSES)


def test_pairs_are_the_errors_by_how_often():
    matrix = np.array([[90, 2, 0], [7, 50, 2], [0, 1, 0]])
    assert predictions.confused_pairs(matrix) == [(1, 0), (0, 1), (1, 2), (2, 1)]
    assert predictions.confused_pairs(np.diag([3, 4])) == []


def test_a_row_sums_to_a_hundred_percent_unless_it_is_empty():
    percent = predictions.row_percent(np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 6.0]]))
    np.testing.assert_allclose(percent.sum(axis=1), [100, 0, 100])
    assert percent[0, 1] == 25


def test_calibration_error_by_hand():
    # Bins of 1/15: 0.50 and 0.52 lie in (7/15, 8/15], 0.95 and 1.00 in the last.
    probability = np.array([0.50, 0.52, 0.95, 1.0])
    found = predictions.reliability(probability, np.array([True, False, True, True]))
    assert found.count[[7, 14]].tolist() == [2, 2]
    assert found.count.sum() == 4
    np.testing.assert_allclose(found.accuracy[[7, 14]], [0.5, 1.0])
    np.testing.assert_allclose(found.confidence[[7, 14]], [0.51, 0.975])
    assert found.error == pytest.approx(0.5 * 0.01 + 0.5 * 0.025, abs=1e-12)


def test_a_bin_includes_its_upper_end_and_zero_is_in_the_first():
    probability = np.array([0.0, 1 / 5, np.nextafter(1 / 5, 1), 1.0])
    assert np.flatnonzero(predictions.reliability(probability, np.ones(4, bool)).count).tolist() == [0, 2, 3, 14]


@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=50))
def test_calibration_error_is_between_the_overall_gap_and_one(found):
    probability = np.array([one for one, _ in found], dtype=np.float16)
    correct = np.array([one for _, one in found])
    error = predictions.reliability(probability, correct).error
    overall = abs(correct.mean() - probability.astype(float).mean())
    assert overall - 1e-9 <= error <= 1 + 1e-9
