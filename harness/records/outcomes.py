"""A run's test predictions: what of them must fit the run's record."""

from collections.abc import Mapping

import numpy as np

from harness.records.reading import FormError
from harness.records.record import RunRecord

# What reports read; logits, which may be kept beside them, are the ablation's own metrics'.
REPORTED = ("predicted", "label", "probability", "rank", "tta_predicted")
REMEDY = ("the run counts without its predictions; delete the file, or put a copy in its place, or move the run's "
          "folder away to train it again")


def check(record: RunRecord, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks test predictions by themselves and against the size of the test set.

    Raises:
      FormError: if they cannot be those of the run.
    """
    examples, classes = record.dataset.test_examples, len(record.dataset.class_names)
    for name in REPORTED:
        if name not in arrays:
            continue
        values = arrays[name]
        if values.shape != (examples,):
            raise FormError(f"has {name} of shape {values.shape}, and the test set has {examples} examples")
        if values.dtype.kind not in ("f" if name == "probability" else "iu"):
            raise FormError(f"has {name} of type {values.dtype}")
        highest = 1.0 if name == "probability" else classes - 1
        if examples and not (values.min() >= 0 and values.max() <= highest):  # which no nan is
            raise FormError(f"has a {name} that is not from 0 to {highest:g}")


def contradiction(record: RunRecord, arrays: Mapping[str, np.ndarray]) -> str | None:
    """Says where predictions that pass `check` and the record's accuracy tell of different runs."""
    if record.best is None or not {"predicted", "label"} <= arrays.keys() or not len(arrays["label"]):
        return None
    right, examples = np.count_nonzero(arrays["predicted"] == arrays["label"]), len(arrays["label"])
    if abs(record.best.test_accuracy * examples - right) < 0.01:
        return None
    return (f"has a test accuracy of {record.best.test_accuracy:.6g}, and its predictions.npz {right} of {examples} "
            "right: one of the two was changed")
