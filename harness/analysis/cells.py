"""What a summary consists of: a row per cell, effects, claims, and what they answer."""

import dataclasses
import functools
from collections.abc import Mapping

from harness.analysis import scores
from harness.analysis.claims import ClaimRow
from harness.analysis.compare import Comparison
from harness.analysis.effects import Effects
from harness.analysis.looks import Looked
from harness.analysis.stats import Estimate
from harness.analysis.verdict import Verdict
from harness.records import STATUSES, Cost, Layer, Plan, RunRecord, Timing
from harness.records.loaded import Apart

METRICS = (*scores.RECORDED, *scores.NAMES)
ABSENT = (*STATUSES[1:], "missing")  # of a cell's runs, what no mean contains
# Levels that say nothing without their factor.
_BARE = {"none", "no", "yes", "on", "off", "true", "false", "True", "False"}
MARK = "\u2020"  # of a difference whose pairs of runs differ in more than the cell
SELECTIONS = {"best_validation": "best", "last": "last"}


class ViewError(Exception):
    """A view that the records do not allow; the message is one line that lists the valid choices."""


@dataclasses.dataclass(frozen=True)
class View:
    """What of the records a table shows.

    Attributes:
      baseline: the cell that others are compared with, by its name or its row's label; None means the planned one.
      metric: one of `METRICS`, or of the ablation's own.
      select: which state's scores count: "best_validation", of the best validation epoch, or "last".
      own_metrics: names of the ablation's own, which may be asked for.
    """

    baseline: str | None = None
    metric: str = "test_accuracy"
    select: str = "best_validation"
    own_metrics: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        metrics = (*METRICS, *self.own_metrics)
        for name, value, valid in (("metric", self.metric, metrics), ("select", self.select, SELECTIONS)):
            if value not in valid:
                raise ViewError(f"--{name}={value} must be one of {', '.join(valid)}")
        if self.select == "last" and self.metric not in (*scores.RECORDED, scores.LOG_LOSS):
            raise ViewError(f"--metric={self.metric} needs --select=best_validation: test predictions of the last "
                            "epoch are not kept")

    @property
    def state(self) -> str:
        """Names the record's field that holds the scores."""
        return SELECTIONS[self.select]

    @property
    def lower_is_better(self) -> bool:
        """Whether the lower of two scores is the better one."""
        return scores.lower_is_better(self.metric)

    @property
    def is_fraction(self) -> bool:
        """Whether scores are fractions, which are printed in percent."""
        return scores.is_fraction(self.metric)


@dataclasses.dataclass(frozen=True)
class CellRow:
    """One cell over its seeds; accuracies are fractions over the done runs.

    Attributes:
      label: names the cell by what varies in this ablation.
      is_baseline: others are compared with it.
      baseline: the cell that it is compared with; None where it is compared with none.
      runs: status -> number of runs, with "planned" and "missing"; all but "done" are counted and never averaged.
      score: in the view's metric; `test_accuracy` unless another is asked for.
      test_accuracy, validation_accuracy: of the state that the view selects.
      last_test_accuracy: at the last epoch.
      optimistic_validation_accuracy: the higher of the selected and the last epoch's, run by run.
      optimistic_test_accuracy: the higher of the two readings of the test set, run by run.
      interquartile_mean: of the score.
      difference: in score from the baseline, paired by seed; n = 0 for the baseline itself or without one.
      comparison: all that is known of that difference; None for a baseline, without one, or without a done run.
      is_best: has the best mean, and is clearly ahead of every other cell; see `harness.analysis.verdict`.
      behind_best_p: the headline test's corrected p value of being behind the cell with the best mean; None for that
        cell, and where seeds cannot tell.
      cost: of one run, the largest over seeds; None without a done run.
      timing: means over the runs that had so many beside them as most of the cell's runs, of equally many the larger.
      timed: how many runs these are.
      layers: rows of the layer table of a done run.
      mixed: in what the done runs differ besides their seeds; see `harness.records.pooling.kind`.
    """

    cell: str
    label: str
    labels: dict[str, str]
    is_baseline: bool
    baseline: str | None
    is_best: bool
    runs: dict[str, int]
    score: Estimate
    test_accuracy: Estimate
    validation_accuracy: Estimate
    last_test_accuracy: Estimate
    optimistic_validation_accuracy: Estimate
    optimistic_test_accuracy: Estimate
    interquartile_mean: Estimate
    difference: Estimate
    comparison: Comparison | None
    behind_best_p: float | None
    cost: Cost | None
    timing: Timing | None
    timed: int
    layers: tuple[Layer, ...]
    mixed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Summary:
    """All a table needs.

    Attributes:
      factors: names of those that vary.
      rows: in the plan's order; cells outside the plan follow in the order of their runs' names. Of a full model and
        what is left without its components: the full model, then the component that is worth most, and so on.
      verdict: what the rows answer.
      effects: of a full factorial, or of cells that make the changes of two others at once; None without either.
      claims: each claim of the source for each cell it is about.
      records: run_id -> record, all that the rows are of.
      plan: what was planned; None where nobody knows.
      predictions: how many runs' test predictions are known; None where they were not asked for.
      looked: what was decided at which number of seeds, where seeds were added until it was; else None.
      apart: what beside these records counts nowhere.
    """

    ablation: str
    question: str
    view: View
    factors: tuple[str, ...]
    rows: tuple[CellRow, ...]
    verdict: Verdict
    effects: Effects | None
    claims: tuple[ClaimRow, ...]
    records: Mapping[str, RunRecord]
    plan: Plan | None
    predictions: int | None
    looked: Looked | None = None
    apart: Apart = Apart()

    @functools.cached_property
    def by_cell(self) -> dict[str, CellRow]:
        """Gives the rows by their cells."""
        return {row.cell: row for row in self.rows}

    @functools.cached_property
    def levels(self) -> dict[str, set[str]]:
        """Gives the levels that the rows have of each factor."""
        return {name: {row.labels[name] for row in self.rows if name in row.labels} for name in self.factors}

    @functools.cached_property
    def runs(self) -> dict[str, list[str]]:
        """Gives the runs that each cell has records of."""
        found: dict[str, list[str]] = {row.cell: [] for row in self.rows}
        for run_id, record in self.records.items():
            found[record.cell].append(run_id)
        return found

    @property
    def leaves_out(self) -> bool:
        """Whether cells are a full model and what is left of it without a component."""
        return self.plan is not None and self.plan.design == "leave_one_out" and self.view.baseline is None


def ranked(summary: Summary) -> list[CellRow]:
    """Lists the cells that have done runs, the highest mean first; equal ones in the plan's order."""
    done = [row for row in summary.rows if row.test_accuracy.mean is not None]
    return sorted(done, key=lambda row: -(row.test_accuracy.mean or 0.0))


def level_named(factor: str, label: str) -> str:
    """Names a level, with its factor where a bare 0.1 or none would be lost."""
    return label if label[:1].isalpha() and label not in _BARE else f"{factor}={label}"
