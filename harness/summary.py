"""From records and plan to one row per cell and a caption that says what the rows rest on.

Pure: `harness.report` reads the files and renders what comes out of here. Text from records is passed on as it is;
whoever renders it makes it inert.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.records import STATUSES, Cost, Timing, differences
from harness.stats import Estimate, estimate, paired_difference

Record = Mapping[str, Any]


class MixtureError(Exception):
    """Records that may not share a row; the message is one line."""


@dataclasses.dataclass(frozen=True)
class CellRow:
    """One cell over its seeds; accuracies are fractions over the done runs.

    Attributes:
      label: names the cell by what varies in this ablation.
      runs: status -> number of runs, with "planned" and "missing"; all but "done" are counted and never averaged.
      test_accuracy, validation_accuracy: at the best validation epoch.
      last_test_accuracy: at the last epoch.
      difference: in test accuracy from the baseline, paired by seed; n = 0 for the baseline itself or without one.
      is_best: has the highest mean, and its paired difference from the second highest has an interval above zero.
      cost: of one run, the largest over seeds; None without a done run.
      timing: means over the runs that shared the machine with the most others.
    """

    cell: str
    label: str
    labels: dict[str, str]
    is_baseline: bool
    is_best: bool
    runs: dict[str, int]
    test_accuracy: Estimate
    validation_accuracy: Estimate
    last_test_accuracy: Estimate
    difference: Estimate
    cost: Cost | None
    timing: Timing | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """All a table needs.

    Attributes:
      factors: names of those that vary.
      rows: in the plan's order.
      caption: sentences.
    """

    ablation: str
    question: str
    factors: tuple[str, ...]
    rows: tuple[CellRow, ...]
    caption: tuple[str, ...]


def summarize(ablation: str, plan: Mapping[str, Any] | None, records: Mapping[str, Record]) -> Summary:
    """Sums up an ablation.

    Args:
      ablation: its name.
      plan: as `harness.records.Folder.plan` gives it; without one nothing is missing and no baseline is known.
      records: run_id -> record.

    Raises:
      MixtureError: if a cell's records, or the data of several cells, differ in what must agree.
    """
    refuse_mixtures(records.values())
    planned = {run["run_id"]: run for run in plan["runs"]} if plan else {}
    runs = planned | {run_id: record for run_id, record in records.items() if run_id not in planned}
    cells = {run["cell"]: dict(run["labels"]) for run in runs.values()}
    names = dict.fromkeys([*(plan["factors"] if plan else ()), *(name for labels in cells.values() for name in labels)])
    factors = tuple(name for name in names if len({labels.get(name) for labels in cells.values()}) > 1)
    reference = {name: levels[0] for name, levels in plan["factors"].items()} if plan else None
    baseline = next((cell for cell, labels in cells.items() if labels == reference), None)

    done = {cell: [record for record in records.values() if record["cell"] == cell and record["status"] == "done"]
            for cell in cells}
    best = _best(done)
    rows = tuple(
        CellRow(
            cell=cell,
            label=_label(cell, labels, factors),
            labels=labels,
            is_baseline=cell == baseline,
            is_best=cell == best,
            runs=_count(cell, planned, records),
            test_accuracy=_accuracy(done[cell], "best", "test_accuracy"),
            validation_accuracy=_accuracy(done[cell], "best", "validation_accuracy"),
            last_test_accuracy=_accuracy(done[cell], "last", "test_accuracy"),
            difference=_difference(done[cell], done[baseline]) if baseline not in (None, cell) else Estimate(0),
            cost=_cost(done[cell]),
            timing=_timing(done[cell]),
        )
        for cell, labels in cells.items()
    )
    question = plan["question"] if plan else next(iter(records.values()))["question"]
    seeds = sorted({run["seed"] for run in runs.values()})
    unplanned = len(records.keys() - planned.keys()) if plan else 0
    caption = (
        *_data_sentences(records.values()),
        _coverage(rows, seeds, unplanned, has_plan=plan is not None),
        "Accuracy is that of the state at the best validation epoch, the test set read once: mean over seeds with its "
        "95 % t interval; n counts done runs. There is no interval (n/a) below two, or where all values are equal.",
        _baseline_sentence(rows, has_plan=plan is not None),
        *(["Bold is the best mean, where the interval of its paired difference from the second best excludes zero."]
          if best is not None else []),
        *_cost_sentences(rows),
        *_environment_sentences(records.values()),
        *dict.fromkeys(f"Warning: {text}" for record in records.values() for text in record["dataset"]["warnings"]),
    )
    return Summary(ablation, question, factors, rows, caption)


def refuse_mixtures(records: Iterable[Record]) -> None:
    """Refuses records that would make a mean or a difference of unlike things.

    A cell's records must agree in configuration, data and device; cells that name the same data must have the same.

    Raises:
      MixtureError: naming the runs and the fields.
    """
    def cell_facts(record: Record) -> Any:
        return {"config": record["config"], "dataset": {"fingerprint": record["dataset"]["fingerprint"]},
                "environment": {key: record["environment"].get(key) for key in ("platform", "device")}}

    def data_named(record: Record) -> Any:
        return record["config"].get("dataset"), record["config"].get("validation_size")

    records = list(records)
    if twice := [name for name, number in Counter(map(_name, records)).items() if number > 1]:
        raise MixtureError(f"more than one record of {'; '.join(twice)}: move all but one out of runs/")
    _refuse(records, lambda record: record["cell"], cell_facts)
    _refuse(records, data_named, lambda record: {"dataset": {"fingerprint": record["dataset"]["fingerprint"]}})


def _refuse(records: Iterable[Record], scope: Callable[[Record], Any], facts: Callable[[Record], Any]) -> None:
    first: dict[Any, Record] = {}
    found = []
    for record in records:
        other = first.setdefault(scope(record), record)
        if changed := differences(facts(other), facts(record)):
            found.append(f"{_name(other)} and {_name(record)} differ in {', '.join(changed)}")
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise MixtureError(f"runs that do not belong together are not averaged: {'; '.join(found[:3])}{more}. "
                           "Keep one kind apart: train into another --results_dir, or move its folders out of runs/")


def _name(record: Record) -> str:
    return f"{record['cell']},seed={record['seed']}"


def _label(cell: str, labels: Mapping[str, str], factors: Sequence[str]) -> str:
    if len(factors) > 1:
        return ", ".join(f"{name}={labels.get(name, '-')}" for name in factors)
    return labels.get(factors[0], cell) if factors else cell


def _values(records: Sequence[Record], state: str, metric: str) -> list[float]:
    return [record[state][metric] for record in records]


def _accuracy(records: Sequence[Record], state: str, metric: str) -> Estimate:
    """Estimates a fraction: what the t interval reaches beyond 0 and 1 is cut off."""
    found = estimate(_values(records, state, metric))
    if found.low is None or found.high is None:
        return found
    return dataclasses.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _difference(records: Sequence[Record], reference: Sequence[Record]) -> Estimate:
    return paired_difference(_values(records, "best", "test_accuracy"), [record["seed"] for record in records],
                             _values(reference, "best", "test_accuracy"), [record["seed"] for record in reference])


def _best(done: Mapping[str, Sequence[Record]]) -> str | None:
    ranked = sorted((cell for cell in done if done[cell]), reverse=True,
                    key=lambda cell: float(np.mean(_values(done[cell], "best", "test_accuracy"))))
    if len(ranked) < 2:
        return None
    lead = _difference(done[ranked[0]], done[ranked[1]])
    return ranked[0] if lead.low is not None and lead.low > 0 else None


def _count(cell: str, planned: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, int]:
    here = [run_id for run_id, run in planned.items() if run["cell"] == cell]
    status = Counter(record["status"] for record in records.values() if record["cell"] == cell)
    return {"planned": len(here)} | {name: status[name] for name in STATUSES} | {
        "missing": sum(run_id not in records for run_id in here)}


def _cost(records: Sequence[Record]) -> Cost | None:
    known = [record["cost"] for record in records if record["cost"]]
    if not known:
        return None
    largest: dict[str, Any] = {
        field.name: max((cost[field.name] for cost in known if cost[field.name] is not None), default=None)
        for field in dataclasses.fields(Cost) if field.name != "layers"}
    return Cost(layers=(), **largest)


def _timing(records: Sequence[Record]) -> Timing | None:
    known = [record["timing"] for record in records if record["timing"]]
    if not known:
        return None
    # A run that had the machine to itself is faster than one of several: a mean of both would describe neither.
    most = max(timing["members_at_once"] for timing in known)
    known = [timing for timing in known if timing["members_at_once"] == most]
    means: dict[str, Any] = {}
    for field in dataclasses.fields(Timing):
        values = [timing[field.name] for timing in known if timing[field.name] is not None]
        means[field.name] = float(np.mean(values)) if values else None
    return Timing(**(means | {"members_at_once": most, "launches": max(timing["launches"] for timing in known)}))


def _data_sentences(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(
        f"Data: {data['name']} ({data['source']}), {data['train_examples']:,} training, "
        f"{data['validation_examples']:,} validation and {data['test_examples']:,} test examples of "
        f"{' x '.join(map(str, data['image_shape']))} in {len(data['class_names'])} classes, "
        f"fingerprint {data['fingerprint'][:12]}."
        for data in (record["dataset"] for record in records)))


def _coverage(rows: Sequence[CellRow], seeds: Sequence[int], unplanned: int, *, has_plan: bool) -> str:
    def total(status: str) -> int:
        return sum(row.runs[status] for row in rows)

    def where(status: str) -> str:
        return "; ".join(f"{row.label}: {row.runs[status]}" for row in rows if row.runs[status])

    counts = [f"{total('done')} done"]
    counts += [f"{total(status)} {status} ({where(status)})" for status in (*STATUSES[1:], "missing") if total(status)]
    planned = f"{total('planned')} planned" if has_plan else "no plan, so what is missing is unknown"
    extra = f"; {unplanned} of them outside the plan" if unplanned else ""
    return f"Runs: {planned}; {', '.join(counts)}{extra}. Seeds: {', '.join(map(str, seeds))}."


def _baseline_sentence(rows: Sequence[CellRow], *, has_plan: bool) -> str:
    baseline = next((row for row in rows if row.is_baseline), None)
    if baseline is None:
        reason = "no planned cell has all reference levels" if has_plan else "without a plan the baseline is unknown"
        return f"Differences are n/a: {reason}."
    if not baseline.runs["done"]:
        return f"Differences are n/a: the baseline ({baseline.label}) has no done run."
    fewer = [f"{row.label}: {row.difference.n}" for row in rows
             if not row.is_baseline and row.runs["done"] and row.difference.n < row.runs["done"]]
    note = f" Fewer pairs than n: {'; '.join(fewer)}." if fewer else ""
    return (f"Differences are in percentage points of test accuracy from the baseline ({baseline.label}), paired by "
            f"seed, with their 95 % t interval.{note}")


def _cost_sentences(rows: Sequence[CellRow]) -> list[str]:
    together = sorted({row.timing.members_at_once for row in rows if row.timing})
    if not together:
        return []
    number = f"{together[0]}" if len(together) == 1 else f"{together[0]} to {together[-1]}"
    return [f"MACs are of one example's forward pass. Memory is estimated for one run as parameters + gradients + "
            f"optimizer state + activations at the batch size; compiled is the training program's own figure. "
            f"Throughput and train s are one run's, compilation excluded, with so many runs side by side: {number}. "
            "Compile s is that of the program which its runs share, less where it was cached."]


def _environment_sentences(records: Iterable[Record]) -> list[str]:
    def text(environment: Mapping[str, Any]) -> str:
        commit = str(environment.get("git_commit") or "unknown")[:12]
        dirty = " with uncommitted changes" if environment.get("git_dirty") else ""
        return (f"Device: {environment.get('device_count', 1)} x {environment.get('device')} "
                f"({environment.get('platform')}); jax {environment.get('packages', {}).get('jax', 'unknown')}; "
                f"commit {commit}{dirty}.")

    return list(dict.fromkeys(text(record["environment"]) for record in records))
