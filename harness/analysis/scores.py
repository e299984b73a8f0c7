"""Scores of the test set beside accuracy and loss: what they are, which way they are better, and their values.

Pure, over arrays [test example] as `predictions.npz` has them, which are those of the best validation epoch.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.analysis import predictions as outcomes
from harness.analysis.stats import Estimate, estimate
from harness.records import RunRecord, Scores

Predictions = Mapping[str, np.ndarray]
RECORDED = tuple(field.name for field in dataclasses.fields(Scores) if field.name != "epoch")
TOP = 5
# Besides all that end in accuracy, those of one's own included.
_FRACTIONS = ("macro_precision", "macro_recall", "macro_f1", "predicted_count_deviation", "confusion_share",
              "calibration_error")


def lower_is_better(metric: str) -> bool:
    """Whether the lower of two values is the better one: of a loss or an error."""
    return metric.endswith(("loss", "error"))


def is_fraction(metric: str) -> bool:
    """Whether values are fractions, which are printed in percent."""
    return metric.endswith("accuracy") or metric in _FRACTIONS


def estimated(values: Sequence[float], metric: str) -> Estimate:
    """Estimates a score; what the t interval reaches beyond the values that it can take is cut off."""
    found = estimate(values)
    if found.low is None or found.high is None:
        return found
    low = max(found.low, 0.0) if is_fraction(metric) or metric in (*RECORDED, LOG_LOSS) else found.low
    return dataclasses.replace(found, low=low, high=min(found.high, 1.0) if is_fraction(metric) else found.high)


def top5_accuracy(run: Predictions, classes: Sequence[str]) -> float | None:
    """Gives the share of examples whose class is among the five of the highest logits; None of up to five classes."""
    if len(classes) <= TOP or "rank" not in run:
        return None
    return float(np.mean(run["rank"] < TOP))


def balanced_accuracy(run: Predictions, classes: Sequence[str]) -> float | None:
    """Gives the mean over classes of the share of their test examples that are found; of classes that have any.

    Source: scikit-learn's balanced_accuracy_score.
    """
    matrix = outcomes.confusion(label=run["label"], predicted=run["predicted"], classes=len(classes))
    support = matrix.sum(axis=1)
    return float(np.mean(np.diagonal(matrix)[support > 0] / support[support > 0]))


def macro_f1(run: Predictions, classes: Sequence[str]) -> float | None:
    """Gives the mean over classes of the harmonic mean of precision and recall: see `classes.class_scores`."""
    matrix = outcomes.confusion(label=run["label"], predicted=run["predicted"], classes=len(classes))
    held = matrix.sum(axis=1) + matrix.sum(axis=0)
    return float(np.mean(2 * np.diagonal(matrix)[held > 0] / held[held > 0])) if held.any() else None


def calibration_error(run: Predictions, classes: Sequence[str]) -> float | None:
    """Gives the expected calibration error, in 15 bins of equal width: see `predictions.reliability`."""
    if "probability" not in run:
        return None
    return outcomes.reliability(run["probability"], run["predicted"] == run["label"]).error


def tta_accuracy(run: Predictions, classes: Sequence[str]) -> float | None:
    """Gives the accuracy of the classes predicted with test-time augmentation; None where there was none."""
    return float(np.mean(run["tta_predicted"] == run["label"])) if "tta_predicted" in run else None


OF_PREDICTIONS: Mapping[str, Callable[[Predictions, Sequence[str]], float | None]] = {
    "top5_accuracy": top5_accuracy, "balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1,
    "calibration_error": calibration_error, "tta_accuracy": tta_accuracy}
LOG_LOSS = "log_loss"  # is the record's test loss, under the name that scikit-learn has for it
NAMES = (*OF_PREDICTIONS, LOG_LOSS)


def of_runs(records: Mapping[str, RunRecord], predictions: Mapping[str, Predictions],
            own: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Gives run_id -> name -> value of the runs that are done; what a run does not tell is left out.

    Args:
      predictions: run_id -> what `predictions.npz` has, of the runs where it is known.
      own: run_id -> name -> value of the ablation's own metrics.
    """
    found: dict[str, dict[str, float]] = {}
    for run_id, record in records.items():
        if record.status != "done" or record.best is None:
            continue
        run, classes = predictions.get(run_id), record.dataset.class_names
        known = {name: score(run, classes) for name, score in OF_PREDICTIONS.items()} if run else {}
        known[LOG_LOSS] = record.best.test_loss
        found[run_id] = {name: value for name, value in known.items() if value is not None} | dict(own.get(run_id, {}))
    return found
