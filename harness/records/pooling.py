"""Which records belong together: what may be averaged in a cell, and what may be compared between cells.

Records of unlike experiments are refused. Records of one experiment that other code, versions, settings of jax or
layouts have trained may share a table, which then says so: their numbers may differ by more than their seeds.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from harness.records.configs import config_differences, differences
from harness.records.folder import Folder
from harness.records.record import RunRecord


class MixtureError(Exception):
    """Records that may not share a row or a table; the message is one line."""


def refuse_mixtures(records: Iterable[RunRecord], varied: Iterable[str] = ()) -> None:
    """Refuses records that would make a mean or a difference of unlike things.

    A cell's records must agree in configuration, data and device. Cells that are compared must agree in device, in
    precision unless a factor varies it, and in data and backbone weights if they name the same.

    Args:
      records: of one ablation.
      varied: paths of the fields that its factors set.

    Raises:
      MixtureError: naming the runs and the fields.
    """
    def device(record: RunRecord) -> Any:
        return {"environment": {"platform": record.environment.platform, "device": record.environment.device}}

    def data(record: RunRecord) -> Any:
        return {"dataset": {"fingerprint": record.dataset.fingerprint}}

    def data_differ(one: RunRecord, other: RunRecord) -> list[str]:
        # Classes may be renamed; the same names in another order are of other classes.
        ours, others = list(one.dataset.class_names), list(other.dataset.class_names)
        mixed = differences(ours, others, "dataset.class_names") if set(ours) == set(others) else []
        return [*differences(data(one), data(other)), *mixed]

    def cells_differ(one: RunRecord, other: RunRecord) -> list[str]:
        return [*config_differences(one.config, other.config, "config"),
                *data_differ(one, other), *differences(device(one), device(other))]

    def compared_facts(record: RunRecord) -> Any:
        if "precision" in varied:
            return device(record)
        return {"config": {"precision": record.config.get("precision")}, **device(record)}

    def data_named(record: RunRecord) -> Any:
        return json.dumps(record.config.get("dataset"), sort_keys=True), record.config.get("validation_size")

    records, varied = list(records), set(varied)
    if twice := [name for name, number in Counter(record.run_id for record in records).items() if number > 1]:
        raise MixtureError(f"more than one record of {'; '.join(twice)}: move all but one out of runs/")
    _refuse(records, lambda record: record.cell, cells_differ)
    _refuse(records, data_named, data_differ)
    _refuse(records, lambda record: None, _in(compared_facts))
    _refuse([record for record in records if record.backbone], lambda record: record.backbone and record.backbone.name,
            _in(lambda record: {"backbone": {
                "weights_sha256": record.backbone and record.backbone.weights_sha256}}))


class Table:
    """The records that share tables with a launch's, whether they are there or intended.

    Launches that begin together, on unlike machines, see of each other what has been recorded since.

    Attributes:
      records: by run_id.
    """

    def __init__(self, folder: Folder, near: Set[str] | None, intended: Mapping[str, RunRecord], varied: Iterable[str]):
        """Reads what is there.

        Args:
          near: the runs to look at, beside the first that is recorded of the others; None means all.
          intended: what is to be recorded, in the place of what is there of the same runs.
          varied: see `refuse_mixtures`.
        """
        self._folder, self._near, self._varied = folder, near, varied
        self._seen, self._replaced = set[str](), dict[str, str]()
        there = self._new()
        self.records = {**there, **intended}
        # Another launch may train these anew as well; what it records of them is to be seen.
        self._replaced = {run_id: there[run_id].finished_at for run_id in intended.keys() & there.keys()}
        self._seen -= self._replaced.keys()

    def refuse_mixtures(self) -> None:
        """Raises MixtureError if they do not belong together."""
        refuse_mixtures(self.records.values(), self._varied)

    def look(self, own: Iterable[str]) -> None:
        """Reads what other launches have recorded since it last looked, and refuses mixtures.

        Args:
          own: runs that the launch has recorded itself.
        """
        self._seen.update(own)
        if new := self._new():
            self.records |= new
            self.refuse_mixtures()

    def _new(self) -> dict[str, RunRecord]:
        names = self._folder.recorded(self._seen) if self._near is None else sorted(self._near - self._seen)
        if self._near is not None and self._seen <= self._near:  # a device or a precision that differs shows there, too
            names += self._folder.recorded(self._near)[:1]
        new = {run_id: record for run_id in names if (record := self._folder.record(run_id)) is not None
               and record.finished_at != self._replaced.get(run_id)}
        self._seen.update(new)
        return new


def kind(record: RunRecord) -> dict[str, str]:
    """Says by what a run was trained, as far as numbers may depend on it: fact -> what it was."""
    machine = record.environment
    dirty = " with uncommitted changes" if machine.git_dirty else ""
    settings = {f"jax's {name}": value or "none" for name, value in machine.numerics.items()}
    return {"training code": (machine.training_code or "")[:12]
            or f"commit {(machine.git_commit or 'unknown')[:12]}{dirty}",
            **{name: machine.packages.get(name, "unknown") for name in _VERSIONS}, "Python": machine.python,
            "settings of jax": "recorded" if settings else "not recorded", **settings,
            LAYOUT: "; then ".join(record.placement.layouts) if record.placement else "unknown"}


_VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")
LAYOUT = "layout (which changes rounding alone)"


def unlike(records: Iterable[RunRecord]) -> dict[str, dict[str, int]]:
    """Lists the facts in which records differ: fact -> what it was -> number of records."""
    kinds = [kind(record) for record in records]
    facts = dict.fromkeys(itertools.chain(*kinds))
    counts = {fact: Counter(one[fact] for one in kinds if fact in one) for fact in facts}
    return {fact: dict(values) for fact, values in counts.items() if len(values) > 1}


def _in(facts: Callable[[RunRecord], Any]) -> Callable[[RunRecord, RunRecord], list[str]]:
    return lambda one, other: differences(facts(one), facts(other))


def _refuse(records: Iterable[RunRecord], scope: Callable[[RunRecord], Any],
            differ: Callable[[RunRecord, RunRecord], list[str]]) -> None:
    first: dict[Any, RunRecord] = {}
    found = []
    for record in records:
        other = first.setdefault(scope(record), record)
        if changed := differ(other, record):
            found.append(f"{other.run_id} and {record.run_id} differ in {', '.join(changed)}")
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise MixtureError("runs that do not belong together are neither averaged nor compared: "
                           f"{'; '.join(found[:3])}{more}. Keep one kind apart: train into another --results_dir, "
                           "or move its folders out of runs/")

