"""A cell against the baseline: paired by seed over what the runs scored, and over the test examples that both saw.

Pure.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from harness.analysis import stats
from harness.analysis.power import Planned, planned
from harness.analysis.stats import Estimate

HALF_A_POINT = 0.005

Predictions = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SharedExamples:
    """Two cells on the same test examples, pair of runs by pair; says nothing of other seeds.

    Attributes:
      pairs: runs of the same seed whose predictions are known.
      gained, lost: examples that only the cell, and only the baseline, classifies correctly; means over pairs.
      difference: in accuracy, its interval over test examples: an example's values over pairs are averaged first.
      p: the exact McNemar p values of the pairs, merged.
      clear: pairs whose own p value is below 0.05.
    """

    pairs: int
    gained: float
    lost: float
    difference: Estimate
    p: float
    clear: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A cell against the baseline in the table's metric.

    Attributes:
      balanced: both have the same seeds done.
      only_here, only_there: seeds done in the cell alone, in the baseline alone.
      difference: paired by seed; the interval is the headline test's where that has one, else the pairs' own.
      headline_p, headline_holm: of the headline test, and corrected over the table; see `harness.analysis.headline`.
      verdict: "above", "below" or "unclear", by the latter.
      sign_flip_p, t_p: of the paired differences; None where they cannot tell.
      sign_flip_holm, t_holm: these corrected over the table.
      detectable: smallest true difference that as many pairs show with power 0.8, the noise being what was seen.
      seeds_for_half_a_point: pairs needed to show a difference of 0.005, of which None is above `power.MOST_SEEDS`;
        None as a whole where there is no noise to plan with.
      shared: on the same test examples; None without predictions.
      unlike: in what paired runs differ besides what is compared; see `harness.records.pooling.kind`.
    """

    balanced: bool
    only_here: tuple[int, ...]
    only_there: tuple[int, ...]
    difference: Estimate
    sign_flip_p: float | None
    t_p: float | None
    detectable: Planned
    seeds_for_half_a_point: Planned | None
    shared: SharedExamples | None
    sign_flip_holm: float | None = None
    t_holm: float | None = None
    headline_p: float | None = None
    headline_holm: float | None = None
    verdict: str = "unclear"
    unlike: tuple[str, ...] = ()


def compare(values: Mapping[int, float], reference: Mapping[int, float], predictions: Mapping[int, Predictions],
            reference_predictions: Mapping[int, Predictions]) -> Comparison:
    """Compares a cell with the baseline; the corrected p values follow from `corrected`.

    Args:
      values, reference: seed -> value, of the cell and of the baseline.
      predictions, reference_predictions: seed -> "predicted" and "label", int [test example].
    """
    paired = stats.differences(list(values.values()), list(values), list(reference.values()), list(reference))
    difference = stats.estimate(paired)
    detectable, seeds = planned(difference.sd or 0.0, difference.n, HALF_A_POINT)
    return Comparison(
        balanced=values.keys() == reference.keys(), only_here=tuple(sorted(values.keys() - reference.keys())),
        only_there=tuple(sorted(reference.keys() - values.keys())), difference=difference,
        sign_flip_p=stats.sign_flip_p(paired), t_p=stats.t_p(difference),
        detectable=detectable, seeds_for_half_a_point=seeds,
        shared=shared_examples(predictions, reference_predictions))


def corrected(comparisons: Sequence[Comparison | None]) -> list[Comparison | None]:
    """Corrects the p values of a table's comparisons for their number."""
    sign_flip = stats.holm([one.sign_flip_p if one else None for one in comparisons])
    t = stats.holm([one.t_p if one else None for one in comparisons])
    return [dataclasses.replace(one, sign_flip_holm=by_flips, t_holm=by_t) if one else None
            for one, by_flips, by_t in zip(comparisons, sign_flip, t, strict=True)]


def shared_examples(predictions: Mapping[int, Predictions], reference: Mapping[int, Predictions]
                    ) -> SharedExamples | None:
    """Compares two cells on the test examples that both saw, for each seed that both have; None without one.

    Args:
      predictions, reference: as in `compare`; runs whose labels differ did not see the same examples and are left out.
    """
    changes = []
    for seed in sorted(predictions.keys() & reference.keys()):
        here, there = predictions[seed], reference[seed]
        if np.array_equal(here["label"], there["label"]):
            changes.append(np.subtract(here["predicted"] == here["label"], there["predicted"] == there["label"],
                                       dtype=np.int8))
    if not changes:
        return None
    change = np.stack(changes)  # [pair, test example]: 1 gained, -1 lost
    gained, lost = (change > 0).sum(axis=1), (change < 0).sum(axis=1)
    p_values = [stats.mcnemar_p(int(won), int(gone)) for won, gone in zip(gained, lost, strict=True)]
    merged = stats.merged_p(p_values)
    assert merged is not None, "there is a pair"
    return SharedExamples(len(changes), float(gained.mean()), float(lost.mean()), stats.estimate(change.mean(axis=0)),
                          merged, sum(p < 0.05 for p in p_values))
