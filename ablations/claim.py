"""A figure that a source states, to be held against what is measured. Called by `ablations.spec` and the ablations."""

import dataclasses
import math
from collections.abc import Mapping

from models.options import choice

SCORES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
COUNTS = ("parameters", "macs_per_example", "memory_estimate_bytes", "compiled_bytes", "numbers_held")


@dataclasses.dataclass(frozen=True)
class Claim:
    """States a source's figure and under which protocol it was found.

    Attributes:
      source: who states it.
      metric: a score (fractions, not percent), or a count of `COUNTS`. "numbers_held" counts all training and
        validation pixels, the parameters, and the inputs and outputs of layers with parameters for one batch.
      value: the figure.
      kind: "about", "at_least" or "at_most" the value.
      within: how far from the value still counts as about it; 0 for counts, which must be equal.
      state: "last" for scores after the last epoch, as a notebook that trains to the end has them, or
        "best_validation".
      labels: factor -> level of the cells it is about; a factor left out means any of its levels.
      over: factor -> level; if given, the claim is about the difference from the cell with these levels instead.
      protocol: how the source came by it, where that differs or is not known.
    """

    source: str
    metric: str
    value: float
    kind: str = "about"
    within: float = 0.0
    state: str = "last"
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    over: Mapping[str, str] | None = None
    protocol: str = ""

    def __post_init__(self) -> None:
        choice("metric", self.metric, (*SCORES, *COUNTS))
        choice("kind", self.kind, ("about", "at_least", "at_most"))
        choice("state", self.state, ("last", "best_validation"))
        if not self.source.strip():
            raise ValueError("a claim needs a source")
        if not math.isfinite(self.value):
            raise ValueError(f"value must be a number, not {self.value!r}")
        if self.metric.endswith("accuracy") and not -1 <= self.value <= 1:
            raise ValueError(f"{self.metric} is a fraction, not {self.value!r}")
        if not 0 <= self.within < math.inf:
            raise ValueError(f"within must be at least 0, not {self.within!r}")
        if self.kind == "about" and self.metric in SCORES and not self.within:
            raise ValueError(f'a claim of "about" a {self.metric} needs within: how far off still counts')
