"""How well each class is told from the others: counts and scores per cell, from the runs' test predictions.

Pure. scikit-learn gives the same numbers, which the tests check, but no word of a class that a run does not have; it
takes nine times as long and a quarter of a second to import.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from harness.analysis import predictions as outcomes


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """A class of a cell, means over its runs; scores are fractions, None where no run has the class.

    A run has a class with test examples or predictions; a score whose divisor is then 0 is 0.

    Attributes:
      name: of the class; "macro average" over the classes that a run has, "weighted average" by their support.
      precision: share of the predictions of this class that are right.
      recall: share of its test examples that are found.
      f1: harmonic mean of the two, taken run by run.
      support: its test examples.
      predicted: how often it is predicted.

    Source: scikit-learn's precision_recall_fscore_support with its default labels and zero_division=0.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: float


def class_scores(predictions: Sequence[Mapping[str, np.ndarray]], class_names: Sequence[str]) -> list[ClassScores]:
    """Scores each class over the runs of a cell, the two averages last.

    Args:
      predictions: [run] of "predicted" and "label", int [test example]; at least one.

    Raises:
      ValueError: if a class has no name.
    """
    matrices = np.stack([outcomes.confusion(label=run["label"], predicted=run["predicted"], classes=len(class_names))
                         for run in predictions])
    right = np.diagonal(matrices, axis1=1, axis2=2)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    absent = support + predicted == 0
    shares = (right / np.maximum(predicted, 1), right / np.maximum(support, 1),
              2 * right / np.maximum(support + predicted, 1))
    scores = [np.ma.masked_array(share, absent) for share in shares]
    # What is masked throughout has a masked mean, which `tolist` gives as None.
    means = [[*score.mean(axis=0).tolist(), score.mean(axis=1).mean().tolist(),
              np.ma.average(score, axis=1, weights=support[0]).mean().tolist()] for score in scores]
    total = int(support[0].sum())
    return [ClassScores(*row) for row in zip(
        [*class_names, "macro average", "weighted average"], *means, [*support[0].tolist(), total, total],
        [*predicted.mean(axis=0).tolist(), float(total), float(total)], strict=True)]
