"""A figure that a source states, to be held against what is measured."""

import dataclasses
import math
from collections.abc import Mapping

from models.options import choice

SCORES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
PREDICTED = ("macro_precision", "macro_recall", "macro_f1", "predicted_count_deviation", "confusion_share",
             "confusion_rank")
COUNTS = ("parameters", "trainable_parameters", "macs_per_example", "memory_estimate_bytes", "compiled_bytes",
          "measured_peak_bytes", "parameters_bytes", "layer_parameters", "layer_outputs", "layer_held", "pixels_held",
          "activations_held", "numbers_held", "images", "training_images", "test_images", "smallest_test_class",
          "numbers_per_image", "classes")
_MEASURED = "measured_peak_bytes"
_FRACTIONS = ("_accuracy", "_precision", "_recall", "_f1", "_share")


@dataclasses.dataclass(frozen=True)
class Claim:
    """States a source's figure and under which protocol it was found, or why it cannot be audited.

    Scores and fractions are given as fractions, not percent. Of the metrics in `PREDICTED`, "predicted_count_deviation"
    is the mean over classes of how far the number of predictions is from the true number, as a share of that;
    "confusion_share" the share of all mispredictions that are between the two classes of the pairs; "confusion_rank"
    the place of a pair among all pairs of classes by mispredictions between them, 1 the most. Of those in `COUNTS`,
    "pixels_held" counts all training and validation pixels, "layer_held" a layer's inputs and outputs for one batch,
    "activations_held" their sum over layers with parameters, "numbers_held" pixels, activations and parameters;
    "layer_outputs" are one example's, "training_images" include those held out for validation.

    Attributes:
      source: who states it.
      metric: one of `SCORES`, `PREDICTED` or `COUNTS`, or "epochs_trained"; what is stated, in words, if unaudited.
      value: the figure; None where an unaudited claim has none.
      kind: "about", "at_least" or "at_most" the value, judged by the interval of the mean; "each_at_least" for a score
        that no run may be below.
      within: how far from the value still counts as about it; 0 for counts, which must be equal.
      state: "last" for scores after the last epoch, as a notebook that trains to the end has them, or
        "best_validation", the only one whose predictions are kept.
      labels: factor -> level of the cells it is about; a factor left out means any of its levels.
      over: factor -> level; if given, the claim is about the difference from the cell with these levels instead.
      protocol: how the source came by it, where that differs or is not known.
      of: what the metric is read from: a layer's name, or pairs of classes, one after the other.
      unaudited: why records cannot tell whether it holds; empty if they can.
    """

    source: str
    metric: str
    value: float | None = None
    kind: str = "about"
    within: float = 0.0
    state: str = "last"
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    over: Mapping[str, str] | None = None
    protocol: str = ""
    of: tuple[str, ...] = ()
    unaudited: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source.strip():
            raise ValueError("a claim needs a source")
        for name in ("labels", "over"):
            if not isinstance(given := getattr(self, name), Mapping) and (name == "labels" or given is not None):
                raise ValueError(f'{name} must be a dict such as {{"units": "512"}}, not {given!r}')
        if self.value is not None and (not isinstance(self.value, int | float) or not math.isfinite(self.value)):
            raise ValueError(f"value must be a number, not {self.value!r}")
        if not self.unaudited:
            self._check_metric()
            self._check_range()
        elif not self.metric.strip():
            raise ValueError("an unaudited claim needs to say in metric what is stated")

    def _check_metric(self) -> None:
        choice("metric", self.metric, (*SCORES, *PREDICTED, *COUNTS, "epochs_trained"))
        choice("state", self.state, ("last", "best_validation"))
        if self.metric in PREDICTED and self.state == "last":
            raise ValueError(f'{self.metric} needs state="best_validation": predictions of other epochs are not kept')
        names = len(self.of)
        fits = {"confusion_rank": names == 2, "confusion_share": names > 0 and names % 2 == 0}.get(
            self.metric, names == self.metric.startswith("layer_"))
        if not fits:
            raise ValueError("of holds one layer for a metric of layers, pairs of classes for one of confusion, else "
                             f"nothing; not {self.of!r} for {self.metric}")

    def _check_range(self) -> None:
        choice("kind", self.kind, ("about", "at_least", "each_at_least", "at_most"))
        if self.kind == "each_at_least" and (self.over or self.metric not in SCORES):
            raise ValueError("each_at_least is for scores, and not for their differences")
        if self.value is None:
            raise ValueError(f"a claim of {self.metric} needs a value, or unaudited: why it cannot be audited")
        if self.metric.endswith(_FRACTIONS) and not -1 <= self.value <= 1:
            raise ValueError(f"{self.metric} is a fraction, not {self.value!r}")
        if not 0 <= self.within < math.inf:
            raise ValueError(f"within must be at least 0, not {self.within!r}")
        if self.metric.endswith(_FRACTIONS) and self.within >= 1:
            raise ValueError(f"within is a fraction as {self.metric} is, 0.01 for one point; not {self.within!r}")
        if self.kind == "about" and not self.within and (self.metric not in COUNTS or self.metric == _MEASURED):
            raise ValueError(f'a claim of "about" a {self.metric} needs within: how far off still counts')
