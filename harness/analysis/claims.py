"""What an ablation's source claims against what was measured, and whether the claim holds.

Pure. The claims come from the plan, as `ablations.claim.Claim` states them.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from harness.analysis import predictions as outcomes
from harness.analysis.classes import class_scores
from harness.analysis.compare import Predictions
from harness.analysis.scores import RECORDED
from harness.analysis.stats import Estimate, estimate, paired_difference
from harness.records import Cost, DatasetFacts, PlannedClaim, RunRecord

Verdict = Literal["holds", "does not hold", "cannot tell", "not measured", "not auditable"]
PREDICTED = ("macro_precision", "macro_recall", "macro_f1", "predicted_count_deviation", "confusion_share",
             "confusion_rank")
FROM_PREDICTIONS = (*PREDICTED, "smallest_test_class")
_HELD = ("layer_parameters", "layer_outputs", "layer_held", "pixels_held", "activations_held", "numbers_held")
# The data set's own training images include those held out for validation here.
_OF_DATA: Mapping[str, Callable[[DatasetFacts], int]] = {
    "images": lambda data: data.train_examples + data.validation_examples + data.test_examples,
    "training_images": lambda data: data.train_examples + data.validation_examples,
    "test_images": lambda data: data.test_examples,
    "numbers_per_image": lambda data: math.prod(data.image_shape),
    "classes": lambda data: len(data.class_names),
}


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """A claim about a cell.

    Attributes:
      cell, over: the cell, and the one it is compared with if the claim is about a difference; without a cell if the
        claim is not auditable and about no single one.
      metric, kind, value, within, state, source, of: as in `ablations.claim.Claim`.
      protocol: the claim's; before it why the claim is not auditable, if it is not.
      measured: over the done runs; of a difference paired by seed.
      lowest: of these runs, where the claim is about each of them.
    """

    cell: str | None
    over: str | None
    metric: str
    kind: str
    value: float | None
    within: float
    state: str
    source: str
    of: tuple[str, ...]
    protocol: str
    measured: Estimate
    verdict: Verdict
    lowest: float | None = None


def check(claims: Sequence[PlannedClaim], cells: Mapping[str, Mapping[str, str]], runs: Mapping[str, int],
          done: Mapping[str, Sequence[RunRecord]], predictions: Mapping[str, Mapping[int, Predictions]]
          ) -> tuple[ClaimRow, ...]:
    """Holds each claim against each cell that it is about; one that is not auditable is named once.

    Args:
      claims: the plan's.
      cells: name -> labels.
      runs: cell -> how many runs it has, also those that are not done.
      done: cell -> its done records.
      predictions: cell -> seed -> "predicted" and "label", int [test example], of the best validation epoch.
    """
    rows = []
    for claim in claims:
        about = {cell: labels for cell, labels in cells.items() if claim.labels.items() <= labels.items()}
        if claim.unaudited:
            rows.append(_row(claim, next(iter(about)) if len(about) == 1 else None, None, Estimate(0), "not auditable"))
            continue
        before = len(rows)
        for cell, labels in about.items():
            over = None
            if claim.over is not None:
                other = {**labels, **claim.over}
                over = next((name for name, these in cells.items() if these == other), None)
                if over in (None, cell):
                    continue
            values = _values(claim, done[cell], predictions[cell])
            measured = _measure(claim.metric, values,
                                _values(claim, done[over], predictions[over]) if over else None)
            assert claim.value is not None, "only what is not audited has no figure"
            lowest = min(values.values(), default=None) if claim.kind == "each_at_least" else None
            judged = (_judge_each(claim.value, lowest, all_done=len(values) == runs[cell])
                      if claim.kind == "each_at_least" else verdict(claim.kind, claim.value, claim.within, measured))
            rows.append(_row(claim, cell, over, measured, judged, lowest))
        if len(rows) == before:  # no cell has what it is to be compared with
            over = ", ".join(f"{name}={level}" for name, level in (claim.over or {}).items())
            rows.append(_row(claim, None, over or None, Estimate(0), "not measured"))
    return tuple(rows)


def _row(claim: PlannedClaim, cell: str | None, over: str | None, measured: Estimate, judged: Verdict,
         lowest: float | None = None) -> ClaimRow:
    protocol = "; ".join(part for part in (claim.unaudited, claim.protocol) if part)
    return ClaimRow(
        cell, over, of=claim.of, protocol=protocol, measured=measured, verdict=judged, lowest=lowest,
        **{name: getattr(claim, name) for name in ("metric", "kind", "value", "within", "state", "source")})


def _judge_each(value: float, lowest: float | None, *, all_done: bool) -> Verdict:
    """Judges a claim about each run by the lowest of them; it is shown wrong by one, and right by all alone."""
    if lowest is None:
        return "not measured"
    if lowest < value:
        return "does not hold"
    return "holds" if all_done else "cannot tell"


def verdict(kind: str, value: float, within: float, measured: Estimate) -> Verdict:
    """Judges a claim by where the measured interval lies.

    The claim is a range: from the value up for "at_least", down for "at_most", value -+ within for "about". It holds
    if the whole interval is inside, does not hold if all of it is outside, and else nothing can be told.

    Args:
      measured: of an exact count, the ends of its interval are the least and the greatest that a run has.
    """
    if measured.mean is None:
        return "not measured"
    if measured.low is None or measured.high is None:
        return "cannot tell"
    lowest = -math.inf if kind == "at_most" else value - (within if kind == "about" else 0.0)
    highest = math.inf if kind == "at_least" else value + (within if kind == "about" else 0.0)
    if lowest <= measured.low and measured.high <= highest:
        return "holds"
    return "does not hold" if measured.high < lowest or measured.low > highest else "cannot tell"


def unit(metric: str) -> Literal["fraction", "loss", "number"]:
    """Tells what a metric's figures are in."""
    if metric.endswith("_loss"):
        return "loss"
    is_fraction = metric.endswith("_accuracy") or (metric in PREDICTED and metric != "confusion_rank")
    return "fraction" if is_fraction else "number"


def is_score(metric: str) -> bool:
    """Whether a metric is read from the network at some epoch, and so differs from seed to seed."""
    return metric.endswith(("_loss", "_accuracy")) or metric in PREDICTED


def is_exact(metric: str) -> bool:
    """Whether a metric is a figure that seeds have no part in, so that one run suffices."""
    return not is_score(metric) and metric != "epochs_trained"


def _measure(metric: str, here: Mapping[int, float], there: Mapping[int, float] | None) -> Estimate:
    """Estimates a metric, or its paired difference from `there`, from seed -> value."""
    if metric == "measured_peak_bytes":  # one process trains run after run, and keeps what it once held
        if not here or there == {}:
            return Estimate(0)
        most = float(max(here.values()) - max(there.values() if there else [0]))
        return Estimate(min(len(here), len(there or here)), most, 0.0, most, most)
    if there is not None:
        found = paired_difference(list(here.values()), list(here), list(there.values()), list(there))
    else:
        found = estimate(list(here.values()))
        if found.low is not None and found.high is not None:
            lowest = 1.0 if metric in ("epochs_trained", "confusion_rank") else 0.0
            highest = 1.0 if unit(metric) == "fraction" and metric != "predicted_count_deviation" else math.inf
            found = dataclasses.replace(found, low=max(found.low, lowest), high=min(found.high, highest))
    if not is_exact(metric) or found.mean is None:
        return found
    values = ([here[seed] - there[seed] for seed in here if seed in there] if there is not None
              else list(here.values()))
    return dataclasses.replace(found, low=min(values), high=max(values))


def _values(claim: PlannedClaim, records: Sequence[RunRecord], predictions: Mapping[int, Predictions]
            ) -> dict[int, float]:
    """Reads a claim's metric as seed -> value; what a run does not tell is left out."""
    known = {record.seed: _read(claim, record, predictions.get(record.seed)) for record in records}
    return {seed: value for seed, value in known.items() if value is not None}


def _read(claim: PlannedClaim, record: RunRecord, predictions: Predictions | None) -> float | None:
    metric, of = claim.metric, claim.of
    if not _is_known(metric, len(of)):  # a plan that another version, or nobody, has written
        return None
    if metric.endswith(("_loss", "_accuracy")):
        return getattr(record.last if claim.state == "last" else record.best, metric)
    if metric == "epochs_trained":
        return record.epochs_trained
    if metric in _OF_DATA:
        return _OF_DATA[metric](record.dataset)
    if metric in FROM_PREDICTIONS:
        return None if predictions is None else _predicted(metric, of, record.dataset.class_names, predictions)
    if not record.cost:
        return None
    if metric.startswith("layer_") or metric.endswith("_held"):
        return _held(metric, of, record)
    return getattr(record.cost, metric)


def _is_known(metric: str, of: int) -> bool:
    if metric.endswith(("_loss", "_accuracy")):
        return metric in RECORDED
    if metric.startswith("confusion_"):
        return of == 2 if metric == "confusion_rank" else metric in PREDICTED and of > 0 and of % 2 == 0
    costs = [field.name for field in dataclasses.fields(Cost) if field.name != "layers"]
    known = (*_OF_DATA, *FROM_PREDICTIONS, *_HELD, "epochs_trained", *costs)
    return metric in known and (of > 0 or not metric.startswith("layer_"))


def _predicted(metric: str, of: Sequence[str], classes: Sequence[str], predictions: Predictions) -> float | None:
    """Works a metric out from a run's test predictions; None for classes that the data set has not."""
    if metric.startswith("macro_"):
        return getattr(class_scores([predictions], classes)[-2], metric.removeprefix("macro_"))
    matrix = outcomes.confusion(label=predictions["label"], predicted=predictions["predicted"], classes=len(classes))
    support = matrix.sum(axis=1)
    if metric == "smallest_test_class":
        return int(support.min())
    if metric == "predicted_count_deviation":
        return float(np.mean(np.abs(matrix.sum(axis=0) - support) / np.maximum(support, 1)))
    if not set(of) <= set(classes):
        return None
    between = np.triu(matrix + matrix.T, 1)
    places = [tuple(sorted(map(list(classes).index, pair))) for pair in zip(of[::2], of[1::2], strict=True)]
    if metric == "confusion_rank":
        return 1 + int(np.sum(between > between[places[0]]))
    return float(sum(between[place] for place in places) / between.sum()) if between.any() else None


def _held(metric: str, of: Sequence[str], record: RunRecord) -> int | None:
    """Counts the numbers that a layer has, or all that a source counts; None if the layers are not known."""
    assert record.cost is not None, "its caller has looked"
    layers = {layer.name: layer for layer in record.cost.layers}
    if not layers or not set(of) <= layers.keys():
        return None
    if metric == "layer_parameters":
        return layers[of[0]].parameters
    if metric == "layer_outputs":
        return math.prod(layers[of[0]].output_shape)
    data = record.dataset
    pixels = _OF_DATA["training_images"](data) * _OF_DATA["numbers_per_image"](data)
    held, width = {}, _OF_DATA["numbers_per_image"](data)
    for name, layer in layers.items():
        out = math.prod(layer.output_shape)
        held[name] = record.config["batch_size"] * (width + out) if layer.parameters else 0
        width = out
    if metric == "layer_held":
        return held[of[0]]
    activations = sum(held.values())
    return {"pixels_held": pixels, "activations_held": activations,
            "numbers_held": pixels + record.cost.parameters + activations}[metric]
