"""How well each class is told from the others: counts and scores per cell, from the runs' test predictions.

Pure; `harness.report` calls it. scikit-learn would give the same numbers; for a thousand runs this is many times
faster, and a test holds the two against each other.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """A class of a cell, means over its runs; scores are fractions.

    Attributes:
      name: of the class; "macro average" over classes, "weighted average" by their support.
      precision: share of the predictions of this class that are right; 0 for a class never predicted.
      recall: share of its test examples that are found.
      f1: harmonic mean of the two, taken run by run.
      support: its test examples.
      predicted: how often it is predicted.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: float


def confusion(label: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts test examples as int [true class, predicted class].

    Args:
      label, predicted: int [test example].
    """
    pairs = np.asarray(label, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_scores(predictions: Sequence[Mapping[str, np.ndarray]], class_names: Sequence[str]) -> list[ClassScores]:
    """Scores each class over the runs of a cell, the two averages last.

    Args:
      predictions: [run] of "predicted" and "label", int [test example]; at least one.
    """
    matrices = np.stack([confusion(run["label"], run["predicted"], len(class_names)) for run in predictions])
    right = np.diagonal(matrices, axis1=1, axis2=2)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    def scored(name: str, weights: np.ndarray, support: int, predicted: float) -> ClassScores:
        """Averages over classes, then over runs."""
        means = [float(np.average(scores, axis=1, weights=weights).mean()) for scores in (precision, recall, f1)]
        return ClassScores(name, means[0], means[1], means[2], support, predicted)

    one_class = np.eye(len(class_names))
    total = int(support[0].sum())
    return [
        *(scored(name, one_class[place], int(support[0, place]), float(predicted[:, place].mean()))
          for place, name in enumerate(class_names)),
        scored("macro average", np.ones(len(class_names)), total, float(total)),
        scored("weighted average", support[0], total, float(total))]
