"""What test predictions say beyond one accuracy: which classes are confused, and how far probabilities can be believed.

Pure, over arrays [test example] as `predictions.npz` has them; the tables of classes and the pictures rest on it.
"""

import dataclasses

import numpy as np

BINS = 15


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Examples sorted into equal bins of the predicted class's probability, the k-th from (k - 1) / BINS to k / BINS.

    Attributes:
      count: int [bin].
      accuracy, confidence: float [bin], means over the bin's examples; nan in an empty bin.
      error: the expected calibration error.
    """

    count: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray
    error: float


def confusion(*, label: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts test examples, int [true class, predicted class].

    Args:
      label, predicted: int [test example].

    Raises:
      ValueError: if the lengths differ, or a class is not below `classes`.
    """
    predicted, label = np.asarray(predicted, dtype=np.int64), np.asarray(label, dtype=np.int64)
    if predicted.shape != label.shape or predicted.ndim != 1:
        raise ValueError(f"{predicted.shape} predictions and {label.shape} labels")
    if len(label) and max(predicted.max(), label.max()) >= classes:
        raise ValueError(f"class {max(predicted.max(), label.max())} among {classes} classes")
    return np.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confused_pairs(matrix: np.ndarray) -> list[tuple[int, int]]:
    """Lists (true, predicted) of the off-diagonal counts above zero, most frequent first, then in class order.

    Args:
      matrix: [true class, predicted class], counts or their mean over seeds.
    """
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:np.count_nonzero(wrong)]
    return [(int(place // len(matrix)), int(place % len(matrix))) for place in order]


def row_percent(matrix: np.ndarray) -> np.ndarray:
    """Divides by the examples of each true class; a class without any stays zero."""
    total = matrix.sum(axis=1, keepdims=True)
    return 100 * matrix / np.where(total > 0, total, 1)


def reliability(probability: np.ndarray, correct: np.ndarray) -> Reliability:
    """Compares the predicted class's probability with how often it is right.

    The expected calibration error is the mean of |accuracy - confidence| over the bins, weighted by their examples.

    Args:
      probability: float [test example], of the predicted class.
      correct: bool [test example].

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", sec. 2; 15 bins as in their tables.
    """
    probability = np.asarray(probability, dtype=np.float64)
    # A bin includes its upper end: ceil puts 1/15 into the first and what lies just above into the second.
    place = np.clip(np.ceil(probability * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    some = np.where(count > 0, count, np.nan)
    accuracy = np.bincount(place, weights=correct, minlength=BINS) / some
    confidence = np.bincount(place, weights=probability, minlength=BINS) / some
    gaps = np.abs(accuracy - confidence)[count > 0]
    error = float(np.average(gaps, weights=count[count > 0])) if len(gaps) else float("nan")
    return Reliability(count, accuracy, confidence, error)
