"""From records and plan to one row per cell, effects, claims and the verdict.

Pure. Text from records is passed on as it is; whoever renders it makes it inert.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis import claims, looks, stats
from harness.analysis.cells import CellRow, Summary, View, ViewError, level_named
from harness.analysis.compare import Comparison, Predictions, compare, corrected
from harness.analysis.effects import Effects, Together, factorial_effects, is_full, sums
from harness.analysis.scores import LOG_LOSS, RECORDED, estimated
from harness.analysis.stats import Estimate
from harness.analysis.verdict import Scores, Verdict, decide
from harness.records import STATUSES, Cost, Plan, PlannedRun, RunRecord, Stopping, Timing
from harness.records.loaded import Apart
from harness.records.pooling import refuse_mixtures, unlike


def summarize(ablation: str, plan: Plan | None, records: Mapping[str, RunRecord], view: View | None = None,
              predictions: Mapping[str, Predictions] | None = None,
              more: Mapping[str, Mapping[str, float]] | None = None, apart: Apart | None = None) -> Summary:
    """Sums up an ablation.

    Args:
      ablation: its name.
      plan: without one nothing is missing and no baseline is known.
      records: run_id -> record.
      view: what to show; None means test accuracy of the best validation epoch against the planned baseline.
      predictions: run_id -> "predicted" and "label", int [test example], of the runs where they are known.
      more: run_id -> name -> score that the record does not have, of the runs where it is known.
      apart: what beside these records counts nowhere.

    Raises:
      harness.records.pooling.MixtureError: if a cell's records, or cells that are compared, differ in what must agree.
      harness.analysis.cells.ViewError: if no cell is the view's baseline.
    """
    view = view or View()
    refuse_mixtures(records.values(), plan.varied if plan else ())
    planned = {run.run_id: run for run in plan.runs} if plan else {}
    added = {run_id: record for run_id, record in records.items() if run_id not in planned}
    runs: dict[str, PlannedRun | RunRecord] = {**planned, **added}
    cells = {run.cell: dict(run.labels) for run in runs.values()}
    names = dict.fromkeys([*(plan.factors if plan else ()), *(name for labels in cells.values() for name in labels)])
    factors = tuple(name for name in names if len({labels.get(name) for labels in cells.values()}) > 1)
    labels = {cell: _label(cell, of_cell, factors, plan) for cell, of_cell in cells.items()}
    rule = plan.stopping if plan else None
    baselines = _baselines(view, plan, cells, labels, factors)
    done, predicted = _by_cell(cells, records, predictions or {})
    counts = _counts(planned, records)
    scores = _by_seed(done, _values(records, more or {}, view))
    verdict = decide(scores, baselines, -1 if view.lower_is_better else 1, rule)
    comparisons = _comparisons(scores, predicted, done, baselines, verdict)
    rows = tuple(
        CellRow(cell=cell, label=labels[cell], labels=cells[cell], is_baseline=baselines.get(cell) == cell,
                baseline=None if baselines.get(cell) == cell else baselines.get(cell),
                runs=counts[cell], **_scores(done[cell], scores[cell], view),
                **_against(cell, comparison, verdict), **_costs(done[cell]), mixed=tuple(unlike(done[cell])))
        for cell, comparison in zip(cells, comparisons, strict=True))
    by_cells = functools.partial(_sums, done, baselines, scores)
    summary = Summary(
        ablation, plan.question if plan else next((one.question for one in records.values()), ""), view, factors,
        rows, verdict,
        _looked_at(_effects(plan, factors, cells, scores, by_cells), rule),
        claims.check(plan.claims if plan else (), cells, Counter(run.cell for run in runs.values()), done, predicted),
        records, plan, None if predictions is None else len(predictions),
        looks.look(rule, plan.comparisons, records) if plan and rule else None, apart or Apart())
    return dataclasses.replace(summary, rows=_by_worth(summary)) if summary.leaves_out else summary


def _by_worth(summary: Summary) -> tuple[CellRow, ...]:
    """Orders a full model's rows: itself, then the cells that lost most without their component; unknown ones last."""
    sign = -1 if summary.view.lower_is_better else 1
    return tuple(sorted(summary.rows, key=lambda row: (
        not row.is_baseline, row.difference.mean is None, sign * (row.difference.mean or 0.0))))


def _looked_at(effects: Effects | None, rule: Stopping | None) -> Effects | None:
    """Corrects effects where seeds were added by a rule."""
    if effects is None or rule is None:
        return effects

    def corrected(found: Sequence[Any]) -> tuple[Any, ...]:
        tests = looks.corrected({str(place): one.contrast for place, one in enumerate(found)}, rule)
        return tuple(dataclasses.replace(one, contrast=test) for one, test in zip(found, tests.values(), strict=True))

    return dataclasses.replace(effects, margins=corrected(effects.margins), together=corrected(effects.together))


def _values(records: Mapping[str, RunRecord], more: Mapping[str, Mapping[str, float]], view: View
            ) -> dict[tuple[str, int], float]:
    """Reads the view's metric of the runs that are done, by cell and seed; what a run does not tell is left out."""
    metric = "test_loss" if view.metric == LOG_LOSS else view.metric
    return {(record.cell, record.seed): more[run_id][metric] if metric not in RECORDED
            else _score(record, view.state, metric)
            for run_id, record in records.items()
            if record.status == "done" and (metric in RECORDED or metric in more.get(run_id, {}))}


def _by_seed(done: Mapping[str, Sequence[RunRecord]], values: Mapping[tuple[str, int], float]
             ) -> dict[str, dict[int, float]]:
    return {cell: {record.seed: values[cell, record.seed] for record in of_cell if (cell, record.seed) in values}
            for cell, of_cell in done.items()}


def _by_cell(cells: Iterable[str], records: Mapping[str, RunRecord], predictions: Mapping[str, Predictions]
             ) -> tuple[dict[str, list[RunRecord]], dict[str, dict[int, Predictions]]]:
    """Groups the done runs of each cell, and by seed what they predicted."""
    done: dict[str, list[RunRecord]] = {cell: [] for cell in cells}
    predicted: dict[str, dict[int, Predictions]] = {cell: {} for cell in done}
    for run_id, record in records.items():
        if record.status == "done":
            done[record.cell].append(record)
            if run_id in predictions:
                predicted[record.cell][record.seed] = predictions[run_id]
    return done, predicted


def _comparisons(scores: Scores, predicted: Mapping[str, Mapping[int, Predictions]],
                 done: Mapping[str, Sequence[RunRecord]], baselines: Mapping[str, str], verdict: Verdict
                 ) -> list[Comparison | None]:
    """Compares each cell with its baseline, where both have done runs; predictions are the best state's."""
    return corrected([
        _judged(compare(scores[cell], scores[base], predicted[cell], predicted[base]), cell, verdict,
                _unlike(done[cell], done[base]))
        if (base := baselines.get(cell)) not in (None, cell) and scores[cell] and scores[base] else None
        for cell in scores])


def _scores(done: Sequence[RunRecord], scores: Mapping[int, float], view: View) -> dict[str, Any]:
    """Estimates what a cell's runs scored."""
    return {
        "score": estimated(list(scores.values()), view.metric),
        "test_accuracy": _accuracy(done, "test_accuracy", view.state),
        "validation_accuracy": _accuracy(done, "validation_accuracy", view.state),
        "last_test_accuracy": _accuracy(done, "test_accuracy", "last"),
        "optimistic_validation_accuracy": _accuracy(done, "validation_accuracy", "best", "last"),
        "optimistic_test_accuracy": _accuracy(done, "test_accuracy", "best", "last"),
        "interquartile_mean": stats.interquartile_mean([list(scores.values())], np.random.default_rng(0))}


def _against(cell: str, comparison: Comparison | None, verdict: Verdict) -> dict[str, Any]:
    """Tells how a cell stands to the baseline and to the leader."""
    return {"is_best": cell == verdict.best, "comparison": comparison,
            "difference": comparison.difference if comparison else Estimate(0),
            "behind_best_p": verdict.behind[cell].holm if cell in verdict.behind else None}


def _costs(done: Sequence[RunRecord]) -> dict[str, Any]:
    # A run that had the machine to itself is faster than one of several: a mean of both would describe neither.
    known = [record.timing for record in done if record.timing]
    beside = Counter(timing.members_at_once for timing in known)
    usual = max(beside, key=lambda number: (beside[number], number), default=None)
    known = [timing for timing in known if timing.members_at_once == usual]
    return {"cost": _cost(done), "timing": _timing(known), "timed": len(known),
            "layers": next((record.cost.layers for record in done if record.cost), ())}


def _score(record: RunRecord, state: str, metric: str) -> float:
    """Reads a score of a run that is done."""
    return getattr(getattr(record, state), metric)


def _baselines(view: View, plan: Plan | None, cells: Mapping[str, Mapping[str, str]],
               labels: Mapping[str, str], factors: Sequence[str]) -> dict[str, str]:
    """Maps each cell to the one that it is compared with, a baseline to itself; what has none is left out."""
    if view.baseline is not None:
        alone = factors if len(factors) == 1 else ()  # whose level names a cell
        named = next((cell for cell, levels in cells.items()
                      if view.baseline in (cell, labels[cell], *(levels.get(name) for name in alone))), None)
        if named is None:
            raise ViewError(f"--baseline={view.baseline} must be one of {'; '.join(cells)}")
        return dict.fromkeys(cells, named)
    if plan is None:
        return {}
    if plan.comparisons:
        return {cell: base for cell, base in plan.comparisons.items() if cell in cells and base in cells}
    known = {tuple(sorted(of_cell.items())): cell for cell, of_cell in cells.items()}
    reference = {name: levels[0] for name, levels in plan.factors.items()}
    bases = {cell: known.get(tuple(sorted((reference | {
        name: of_cell[name] for name in plan.within if name in of_cell}).items()))) for cell, of_cell in cells.items()}
    return {cell: base for cell, base in bases.items() if base is not None}


def _label(cell: str, labels: Mapping[str, str], factors: Sequence[str], plan: Plan | None) -> str:
    if plan and plan.design == "leave_one_out":
        lost = [name for name, levels in plan.factors.items() if labels.get(name) not in (levels[0], None)]
        return f"without {' and '.join(lost)}" if lost else "full model"
    if len(factors) > 1:
        return ", ".join(f"{name}={labels.get(name, '-')}" for name in factors)
    return level_named(factors[0], labels[factors[0]]) if factors and factors[0] in labels else cell


def _judged(comparison: Comparison, cell: str, verdict: Verdict, unlike: tuple[str, ...]) -> Comparison:
    """Adds to a comparison what the headline test makes of it."""
    test = verdict.against[cell]
    difference = comparison.difference
    if test.low is not None:
        difference = dataclasses.replace(difference, low=test.low, high=test.high)
    side = next(side for side in ("above", "below", "unclear") if cell in getattr(verdict, side))
    return dataclasses.replace(comparison, difference=difference, headline_p=test.p, headline_holm=test.holm,
                               verdict=side, unlike=unlike)


def _unlike(records: Sequence[RunRecord], reference: Sequence[RunRecord]) -> tuple[str, ...]:
    """Lists the facts in which two runs of the same seed differ."""
    other = {record.seed: record for record in reference}
    pairs = [(record, other[record.seed]) for record in records if record.seed in other]
    return tuple(dict.fromkeys(fact for pair in pairs for fact in unlike(pair)))


def _accuracy(records: Sequence[RunRecord], metric: str, *states: str) -> Estimate:
    """Estimates an accuracy; of several states each run's highest."""
    return estimated([max(_score(record, state, metric) for state in states) for record in records], metric)


def _effects(plan: Plan | None, factors: Sequence[str], cells: Mapping[str, Mapping[str, str]], scores: Scores,
             by_cells: Callable[[], tuple[Together, ...]]) -> Effects | None:
    """Estimates what factors do, or says why not; `by_cells` finds what single cells tell of changes made together."""
    levels = _levels(plan, factors)
    if plan is None or not levels:
        found = by_cells()
        return Effects(together=found) if found else None
    def place(labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in factors)

    planned = list(dict.fromkeys(place(run.labels) for run in plan.runs))
    of_factors = factorial_effects(levels, {place(labels): scores[cell] for cell, labels in cells.items()}, planned)
    if of_factors.margins or is_full(levels, planned):
        return of_factors
    return Effects(together=by_cells(), note=of_factors.note)


def _sums(done: Mapping[str, Sequence[RunRecord]], baselines: Mapping[str, str], scores: Scores
          ) -> tuple[Together, ...]:
    known = {cell: records[0].config for cell, records in done.items() if records}
    return sums(known, {cell: base for cell, base in baselines.items() if cell in known and base in known}, scores)


def _levels(plan: Plan | None, factors: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Gives the planned levels of the factors that vary; nothing where fewer than two do or the plan lacks one."""
    if plan is None or len(factors) < 2 or not set(factors) <= plan.factors.keys():
        return {}
    return {name: plan.factors[name] for name in factors}


def _counts(planned: Mapping[str, PlannedRun], records: Mapping[str, RunRecord]) -> dict[str, dict[str, int]]:
    """Counts what became of each cell's runs: cell -> status -> number."""
    cells = dict.fromkeys(run.cell for runs in (planned, records) for run in runs.values())
    found = {cell: dict.fromkeys(("planned", *STATUSES, "missing"), 0) for cell in cells}
    for run_id, run in planned.items():
        found[run.cell]["planned"] += 1
        found[run.cell]["missing"] += run_id not in records
    for record in records.values():
        found[record.cell][record.status] += 1
    return found


def _cost(records: Sequence[RunRecord]) -> Cost | None:
    known = [record.cost for record in records if record.cost]
    if not known:
        return None
    largest: dict[str, Any] = {
        field.name: max((value for cost in known if (value := getattr(cost, field.name)) is not None), default=None)
        for field in dataclasses.fields(Cost) if field.name != "layers"}
    return Cost(layers=(), **largest)


def _timing(known: Sequence[Timing]) -> Timing | None:
    if not known:
        return None
    means: dict[str, Any] = {}
    for field in dataclasses.fields(Timing):
        values = [value for timing in known if (value := getattr(timing, field.name)) is not None]
        means[field.name] = float(np.mean(values)) if values else None
    launches = max(timing.launches for timing in known)
    return Timing(**(means | {"members_at_once": known[0].members_at_once, "launches": launches}))
