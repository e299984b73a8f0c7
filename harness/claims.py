"""What an ablation's source claims against what was measured, and whether the claim holds.

Pure; `harness.summary` calls it. The claims come from the plan, as `ablations.claim.Claim` states them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.stats import Estimate, estimate, paired_difference

Verdict = Literal["holds", "does not hold", "cannot tell", "not measured"]
Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """A claim about a cell.

    Attributes:
      cell, over: the cell, and the one it is compared with if the claim is about a difference.
      metric, kind, value, within, state, source, protocol: as in `ablations.claim.Claim`.
      measured: over the done runs; of a difference paired by seed.
    """

    cell: str
    over: str | None
    metric: str
    kind: str
    value: float
    within: float
    state: str
    source: str
    protocol: str
    measured: Estimate
    verdict: Verdict


def check(claims: Sequence[Mapping[str, Any]], cells: Mapping[str, Mapping[str, str]],
          done: Mapping[str, Sequence[Record]]) -> tuple[ClaimRow, ...]:
    """Holds each claim against each cell that it is about.

    Args:
      claims: the plan's.
      cells: name -> labels.
      done: cell -> its done records.
    """
    rows = []
    for claim in claims:
        for cell, labels in cells.items():
            if not claim["labels"].items() <= labels.items():
                continue
            over = None
            if claim["over"] is not None:
                other = {**labels, **claim["over"]}
                over = next((name for name, these in cells.items() if these == other), None)
                if over in (None, cell):
                    continue
            measured = _measure(claim, done[cell], done[over] if over else None)
            judged = verdict(claim["kind"], claim["value"], claim["within"], measured)
            rows.append(ClaimRow(
                cell, over, measured=measured, verdict=judged,
                **{name: claim[name] for name in ("metric", "kind", "value", "within", "state", "source", "protocol")}))
    return tuple(rows)


def verdict(kind: str, value: float, within: float, measured: Estimate) -> Verdict:
    """Judges a claim by where the measured interval lies.

    The claim is a range: from the value up for "at_least", down for "at_most", value -+ within for "about". It holds
    if the whole interval is inside, does not hold if all of it is outside, and else nothing can be told.

    Args:
      measured: an exact count has both ends of its interval at the mean.
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


def is_score(metric: str) -> bool:
    """Whether a metric is a score, with uncertainty over seeds, and not a count."""
    return metric.endswith(("_loss", "_accuracy"))


def _measure(claim: Mapping[str, Any], records: Sequence[Record], reference: Sequence[Record] | None) -> Estimate:
    here = _values(claim, records)
    if reference is not None:
        there = _values(claim, reference)
        found = paired_difference(list(here.values()), list(here), list(there.values()), list(there))
    else:
        found = estimate(list(here.values()))
        if claim["metric"].endswith("accuracy") and found.low is not None and found.high is not None:
            found = dataclasses.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
    if is_score(claim["metric"]) or found.mean is None:
        return found
    return dataclasses.replace(found, low=found.mean, high=found.mean) if not found.sd else found


def _values(claim: Mapping[str, Any], records: Sequence[Record]) -> dict[int, float]:
    """Reads a claim's metric as seed -> value; what a record does not tell is left out."""
    if is_score(claim["metric"]):
        state = "last" if claim["state"] == "last" else "best"
        return {record["seed"]: record[state][claim["metric"]] for record in records}
    known = {record["seed"]: numbers_held(record) if claim["metric"] == "numbers_held"
             else record["cost"][claim["metric"]] for record in records if record["cost"]}
    return {seed: value for seed, value in known.items() if value is not None}


def numbers_held(record: Record) -> int | None:
    """Counts numbers as a source did: all pixels of the official training set, parameters, inputs and outputs.

    Inputs and outputs are those of the layers with parameters, for one batch; None if the layers are not known.
    """
    data, cost = record["dataset"], record["cost"]
    if not cost["layers"]:
        return None
    pixels = math.prod(data["image_shape"])
    passed, width = 0, pixels
    for layer in cost["layers"]:
        out = math.prod(layer["output_shape"])
        passed += width + out if layer["parameters"] else 0
        width = out
    examples = data["train_examples"] + data["validation_examples"]
    return examples * pixels + cost["parameters"] + record["config"]["batch_size"] * passed
